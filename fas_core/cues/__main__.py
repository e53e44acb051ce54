"""`python -m fas_core.cues statistics NAME=FOLDER ... --output FILE` and `python -m fas_core.cues shares NAME=FOLDER --statistics FILE`."""

import logging
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fas_core.cli.app import App, run
from fas_core.cues.acoustic import CUES, CueReader, check_statistics, measures_of
from fas_core.cues.acoustic import WIDTH as CUE_WIDTH
from fas_core.cues.attributes import ATTRIBUTES, AttributeReader
from fas_core.cues.functionals import Functionals
from fas_core.cues.levels import LEVELS, WIDTH, Statistics, speaker_of
from fas_core.data.corpora import load_corpus
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.markdown import table
from fas_core.paths import expanded
from fas_core.sources import audio_digest
from fas_core.training.arguments import parse_pairs

app = App(help="Measure voices, and name their levels.")


class Of(str, Enum):
    """What is measured."""

    cues = "cues"
    attributes = "attributes"


class By(str, Enum):
    """Whose mean levels go by."""

    corpus = "corpus"
    speaker = "speaker"


Corpora = Annotated[list[str], typer.Argument(help="Corpora as NAME=FOLDER.", metavar="NAME=FOLDER")]
OfOption = Annotated[Of, typer.Option(help="The six cues of eGeMAPS, or pitch, loudness and rate.")]
Excluded = Annotated[
    list[str] | None, typer.Option(help="Leave out clips of this label; * for all unknown ones; repeatable.")
]
Cache = Annotated[Path, typer.Option(help="Where measurements are kept.")]
CACHE = Path("~/.cache/fas_alm")


@app.command(aliases={"--out": "--output"})
def statistics(
    corpora: Corpora,
    output: Annotated[Path, typer.Option(help="JSON file to write.")],
    of: OfOption = Of.cues,
    by: Annotated[By, typer.Option(help="Mean and deviation of the corpus, or of each speaker.")] = By.corpus,
    width: Annotated[
        float | None,
        typer.Option(
            help=f"Deviations from the mean at which medium ends; default: {CUE_WIDTH} for cues, {WIDTH} for attributes."
        ),
    ] = None,
    exclude_labels: Excluded = None,
    cache: Cache = CACHE,
) -> None:
    """Mean and deviation of what is measured over all clips of the corpora, labels unseen.

    Example:

      python -m fas_core.cues statistics ravdess=data/ravdess --output cues.json
    """
    rows = _rows(corpora, exclude_labels)
    measured = _measured(of, rows, cache)
    chosen = width or (CUE_WIDTH if of is Of.cues else WIDTH)
    found = Statistics.fit(measured, [*map(speaker_of, rows)], by.value, chosen)
    found.save(output)
    typer.echo(
        f"{output}: {len(found.corpus)} measures of {found.clips} clips, {len(found.speakers)} speakers by themselves"
    )


@app.command()
def shares(
    corpora: Corpora,
    statistics: Annotated[Path, typer.Option(help="File of `statistics`.")],
    of: OfOption = Of.cues,
    exclude_labels: Excluded = None,
    cache: Cache = CACHE,
) -> None:
    """How often each cue is low and high in each emotion, as a table of Markdown.

    Example:

      python -m fas_core.cues shares ravdess=data/ravdess --statistics cues.json
    """
    rows, known = _rows(corpora, exclude_labels), Statistics.load(statistics)
    levels = _levels(of, rows, known, cache, str(statistics))
    names = tuple(CUES) if of is Of.cues else ATTRIBUTES
    typer.echo(share_table([row["emotion"] for row in rows], levels, names))


def share_table(emotions: list[str], levels: list[dict[str, str]], names: tuple[str, ...]) -> str:
    """Rows of emotions; in each cell the share of clips (%) whose level is low, and high, of those where it was measured."""
    rows = []
    for emotion in EMOTIONS:
        own = [each for each, label in zip(levels, emotions, strict=True) if label == emotion]
        if own:
            rows.append([emotion, str(len(own)), *(_cell([each[n] for each in own if n in each]) for n in names)])
    return table(["emotion", "clips", *(f"{name.replace('_', ' ')}, low / high" for name in names)], rows)


def _cell(found: list[str]) -> str:
    if not found:
        return "-"
    return " / ".join(f"{100 * found.count(level) / len(found):.0f}" for level in (LEVELS[0], LEVELS[2]))


def _levels(of: Of, rows: list[dict], known: Statistics, cache: Path, where: str) -> list[dict[str, str]]:
    if of is Of.attributes:
        return [known.levels(v, speaker_of(r)) for v, r in zip(_measured(of, rows, cache), rows, strict=True)]
    check_statistics(known, where)
    reader = CueReader(known, expanded(cache) / "egemaps")
    found = reader.of_files([row["audio"] for row in rows], [*map(speaker_of, rows)])
    return [dict(zip(CUES, levels, strict=True)) for levels in found]


def _measured(of: Of, rows: list[dict], cache: Path) -> list[dict[str, float | None]]:
    if of is Of.attributes:
        return AttributeReader(expanded(cache) / "attributes")(rows)
    functionals = Functionals(expanded(cache) / "egemaps")
    try:
        return [measures_of(functionals.get(row["audio"], audio_digest(row["audio"]))) for row in rows]
    finally:
        functionals.save()


def _rows(corpora: list[str], exclude_labels: list[str] | None) -> list[dict]:
    rows: list[dict] = []
    for name, folder in parse_pairs(corpora, "corpus"):
        rows += list(load_corpus(name, folder, exclude_labels=exclude_labels or []))
    if not rows:
        raise FASError("corpora: no clip is left; expected NAME=FOLDER with clips")
    return rows


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    run(app, "python -m fas_core.cues")
