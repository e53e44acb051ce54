"""`python -m fas_alm.conversations rationales NAME=FOLDER ... --output FILE`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fas_alm.conversations.jsonl import write_conversations
from fas_alm.conversations.questions import check_names
from fas_alm.conversations.rationales.build import build_rationales, kept_texts
from fas_alm.conversations.rationales.writing import EndpointWriter, write_by_template
from fas_alm.prompts import LANGUAGES
from fas_alm.training.transcripts import KeptWords
from fas_alm.transcript import Said
from fas_core.cues.attributes import ATTRIBUTES, PITCHES, AttributeReader
from fas_core.cues.levels import BY, LEVELS, WIDTH, Statistics, speaker_of
from fas_core.data import has_folds, load_corpus
from fas_core.errors import FASError
from fas_core.paths import expanded
from fas_core.sources import audio_digest
from fas_core.training.arguments import parse_pairs

VERSION = 1  # raise it whenever a template or the instruction changes


class Words(str, Enum):
    """Where the words of a clip come from."""

    corpus = "corpus"
    auto = "auto"
    none = "none"


By = Enum("By", {name: name for name in BY}, type=str)
Pitch = Enum("Pitch", {name: name for name in PITCHES}, type=str)


def write_rationales(
    corpora: Sequence[str],
    out: Path,
    *,
    languages: Sequence[str],
    by: str,
    width: float,
    statistics: Path | None,
    words: str,
    whisper: str,
    pitch: str,
    endpoint: Mapping | None,
    fold: int | None,
    exclude: Mapping,
    cache: Path,
    seed: int,
) -> str:
    """Write the conversations and their statistics; what was done, for the screen.

    Raises:
        FASError: corpora, languages or a file of statistics that are wrong, no clip that can be told of, an endpoint that does not
            answer: what it wrote before is kept beside `out` for the next run.
        MissingDependencyError: a package is not installed; the message names the extra.
    """
    check_names("--languages", languages, LANGUAGES)
    cache = expanded(cache)
    rows = [
        dict(row)
        for name, folder in parse_pairs(list(corpora), "corpus")
        for row in load_corpus(name, folder, fold=fold if has_folds(name) else None, **exclude)
    ]
    rows = with_words(rows, words, whisper, cache)
    values = AttributeReader(cache / "attributes", pitch)(rows)
    known = Statistics.load(statistics) if statistics else None
    known = known or Statistics.fit(values, [*map(speaker_of, rows)], by, width)
    writer, identity = _writer(endpoint)
    out = expanded(out)
    with kept_texts(out.with_name(f"{out.name}.partial"), identity | {"version": VERSION}) as kept:
        made, left_out = build_rationales(
            rows, values, known, writer, languages=languages, seed=seed, kept=kept if endpoint else None
        )
        if not made:
            raise FASError(f"rationales: of {len(rows)} clips none has an emotion and something that can be measured")
        write_conversations(out, made)
    known.save(out.with_name(f"{out.stem}.statistics.json"))
    replaced = len(writer.replaced) if isinstance(writer, EndpointWriter) else 0
    return "\n".join([f"{out}: {len(made)} rationales", *_counts(made, left_out, replaced)])


def with_words(rows: list[dict], words: str, whisper: str, cache: Path) -> list[dict]:
    """The clips with the words that are to be told as their "text", and their language.

    Args:
        words: "corpus" leaves them as they are; "auto" has a Whisper write down those that the corpus does not have; "none" tells none.
    """
    if words == Words.none.value:
        return [row | {"text": None} for row in rows]
    silent = {row["audio"]: audio_digest(row["audio"]) for row in rows if not row["text"]}
    if words == Words.corpus.value or not silent:
        return rows
    from fas_alm.listening import WhisperListener

    listener = WhisperListener(whisper)
    heard = KeptWords(cache / "spoken", listener.encoder.identity()["weights_sha256"])(silent, listener)
    return [
        row | ({"text": said.text, "language": said.language or row["language"]} if isinstance(said, Said) else {})
        for row, said in ((row, heard.get(row["audio"])) for row in rows)
    ]


def _writer(endpoint: Mapping | None):
    """The writer, and what decides its texts."""
    if endpoint is None:
        return write_by_template, {"writer": "template"}
    from fas_alm.endpoint import ChatEndpoint

    chat = ChatEndpoint.from_options(endpoint)
    return EndpointWriter(chat), {"writer": "endpoint"} | chat.identity()


def _counts(made, left_out: Counter, replaced: int) -> list[str]:
    lines = []
    for name in ATTRIBUTES:
        found = Counter(c.levels[name] for c in made if name in c.levels)
        missing = len(made) - sum(found.values())
        told = ", ".join(f"{found[level]} {level}" for level in LEVELS)
        lines.append(f"{name}: {told}" + (f"; {missing} could not be measured" if missing else ""))
    lines += [f"left out: {count} clips: {why}" for why, count in left_out.items()]
    return lines + (
        [f"templates in the place of {replaced} answers that did not name their levels"] if replaced else []
    )


def rationales(
    corpora: Annotated[list[str], typer.Argument(help="Corpora as NAME=FOLDER.", metavar="NAME=FOLDER")],
    output: Annotated[Path, typer.Option(help="JSONL file to write; the statistics go beside it.")],
    languages: Annotated[str, typer.Option(help="Languages of questions and rationales.")] = ",".join(LANGUAGES),
    by: Annotated[By, typer.Option(help="Levels by the corpora's mean, or by each speaker's.")] = By.corpus,
    width: Annotated[float, typer.Option(help="Deviations from the mean at which medium ends.")] = WIDTH,
    statistics: Annotated[
        Path | None,
        typer.Option(help="File of `python -m fas_core.cues statistics --of attributes`; default: of these clips."),
    ] = None,
    transcripts: Annotated[
        Words, typer.Option(help="Words: the corpus's; auto: by Whisper where it has none; none.")
    ] = Words.corpus,
    whisper: Annotated[str, typer.Option(help="Whisper with decoder, for --transcripts auto.")] = "offline:base",
    pitch: Annotated[Pitch, typer.Option(help="pyworld, or praat-parselmouth.")] = Pitch.world,
    writer: Annotated[
        str | None, typer.Option(help="Model of an OpenAI-compatible endpoint that writes; default: templates.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Of that endpoint, with its /v1; default: OpenAI's.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable with its key.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold, of corpora that have folds (RAVDESS, IEMOCAP).")] = None,
    exclude: Annotated[Path | None, typer.Option(help="Exclusion list of `fas data check`.")] = None,
    exclude_labels: Annotated[
        list[str] | None, typer.Option(help="Leave out clips of this label; * for all unknown ones; repeatable.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Where measurements and transcripts are kept.")] = Path(
        "~/.cache/fas_alm"
    ),
    seed: Annotated[int, typer.Option(help="Of wordings and languages.")] = 42,
) -> None:
    """Explicit chain of thought: pace, pitch and loudness of each clip by low, medium and high, its words, and then its emotion.

    A run of an endpoint that was stopped goes on where it was. `check` says of every line whether it names exactly its levels.

    Example:

      python -m fas_alm.conversations rationales ravdess=data/ravdess --fold 1 --output rationales.jsonl
    """
    endpoint = {"model": writer, "base_url": base_url, "api_key_env": api_key_env} if writer else None
    done = write_rationales(
        corpora, output, languages=languages.split(","), by=by.value, width=width, statistics=statistics,
        words=transcripts.value, whisper=whisper, pitch=pitch.value, endpoint=endpoint, fold=fold,
        exclude=dict(exclude=exclude, exclude_labels=exclude_labels or []), cache=cache, seed=seed,
    )  # fmt: skip
    typer.echo(done)
