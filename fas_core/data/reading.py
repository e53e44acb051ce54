"""From the clips that a reader finds to one table with the columns that training and evaluation share."""

from __future__ import annotations

import inspect
import logging
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fas_core.errors import CorpusError
from fas_core.labels import CORPUS_LABELS, EMOTIONS, UNKNOWN, map_label, normal, unplaced_reason
from fas_core.paths import expanded, is_dir
from fas_core.walk import walk_files

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

COLUMNS = (
    "id",
    "audio",
    "emotion",
    "semantic_emotion",
    "text",
    "speaker",
    "language",
    "corpus",
    "split",
    "synthesizer",
)

# In the order of preference where one clip lies there in several formats; containers with video come last.
AUDIO_SUFFIXES = (".wav", ".flac", ".aiff", ".aif", ".ogg", ".opus", ".mp3", ".m4a", ".webm", ".mp4")


@dataclass(frozen=True)
class Clip:
    """One clip as a reader finds it; labels are still those of the corpus.

    Args:
        name: the corpus's own name of the clip, unique within it.
        path: the audio file.
        label: raw label of the tone.
        speaker: name of the speaker, unique within the corpus; None where nobody says.
        split: "train", "validation" or "test".
        text: the words, where the corpus gives them.
        language: ISO 639-1 code.
        semantic_label: raw label of the words, where somebody annotated them.
        corpus: where a table mixes corpora; otherwise the reader's.
        where: where the label stands, for messages; the path where empty.
        drawn: the split was drawn at random, file by file: nobody knows who speaks.
        problem: why the clip cannot be used; it is then counted under these words.
        synthesizer: what synthesized the voice; None for a human one.
    """

    name: str
    path: Path
    label: str = ""
    speaker: str | None = None
    split: str = "test"
    text: str | None = None
    language: str | None = None
    semantic_label: str | None = None
    corpus: str | None = None
    where: str = ""
    drawn: bool = False
    problem: str | None = None
    synthesizer: str | None = None


@dataclass
class Reading:
    """What a reader gives: `dataset` with the columns `COLUMNS`, and `excluded`, why -> number of clips.

    Attributes:
        drawn: the splits of some clips were drawn at random, file by file, because nobody knows who speaks.
    """

    dataset: Dataset
    excluded: Counter
    drawn: bool = False


@dataclass(frozen=True)
class CorpusReader:
    """A corpus that can be read: `reader(root, **options) -> Reading`.

    Every corpus takes the option `exclude_labels`: raw labels whose clips are left out, "*" for all that no table knows.
    Without it a label that is not known is an error.

    Args:
        name: key of the corpus, also of its label table.
        clips: finds the clips below a folder; its keyword arguments are the options.
        layout: the folder's layout in words, for the error message.
        example: one path of that layout.
    """

    name: str
    clips: Callable[..., Iterable[Clip]]
    layout: str
    example: str

    def __call__(self, root: str | Path, *, exclude_labels: Iterable[str] = (), **options: Any) -> Reading:
        """Reads a corpus: the table of its clips, and why others were left out.

        Args:
            root: folder of the corpus.
            exclude_labels: raw labels to leave out.

        Raises:
            CorpusError: no such folder, an unknown option, or nothing in it that the reader knows.
        """
        folder = Path(os.path.abspath(expanded(root)))
        if not is_dir(folder):
            raise CorpusError(f"{root}: no such folder; {self._expected()}")
        unknown = set(options) - set(self.options)
        if unknown:
            takes = ", ".join(self.options) or "none"
            raise CorpusError(f"{self.name}: no option {', '.join(sorted(unknown))}; it takes {takes}")
        if isinstance(exclude_labels, str):
            raise CorpusError(f"exclude_labels={exclude_labels!r}: expected a list of labels")
        reading = _table(self.name, self.clips(folder, **options), {normal(label) for label in exclude_labels})
        if len(reading.dataset) == 0:
            found = _counts(reading.excluded) or "no audio file"
            raise CorpusError(f"{root}: no clip of {self.name} here (found: {found}); {self._expected()}")
        _log(self.name, reading)
        return reading

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options that this corpus takes, such as fold."""
        parameters = inspect.signature(self.clips).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def _expected(self) -> str:
        return f"expected the folder that holds {self.layout}, such as {self.example}"


def audio_files(root: Path) -> list[Path]:
    """Audio files below a folder by extension, hidden ones left out; best format first, then by path."""
    found = (path for path in walk_files(root) if path.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(found, key=lambda path: (AUDIO_SUFFIXES.index(path.suffix.lower()), path.as_posix()))


def _table(corpus: str, clips: Iterable[Clip], exclude: Collection[str]) -> Reading:
    excluded: Counter = Counter()
    unplaced_words: Counter = Counter()
    unknown: dict[str, list[str]] = defaultdict(list)  # label -> where it stands
    rows: dict[str, dict] = {}
    drawn = False
    for clip in clips:
        row = _row(clip.corpus or corpus, clip)
        words = clip.semantic_label and _unusable(row["corpus"], clip.semantic_label, exclude, unknown, clip)
        problem = clip.problem or _unusable(row["corpus"], clip.label, exclude, unknown, clip) or _unwritable(row)
        if problem is None and row["id"] in rows:
            problem = "second copy of a clip"  # some archives hold the whole corpus twice, or in two formats
        if problem is not None:
            excluded[problem] += 1
            continue
        drawn |= clip.drawn
        rows[row["id"]] = row | _emotions(row["corpus"], clip, words)
        if words:
            unplaced_words[clip.semantic_label] += 1
    _check_known(corpus, unknown)
    if unplaced_words:
        logger.warning("%s: semantic emotions left empty (%s)", corpus, _counts(unplaced_words))
    ordered = [rows[key] for key in sorted(rows)]
    columns = {column: [row[column] for row in ordered] for column in COLUMNS}
    return Reading(_dataset(columns), excluded, drawn)


def _dataset(columns: dict[str, list]) -> Dataset:
    from datasets import Dataset, Features, Value  # here, so that who asks for names only does not wait for it

    return Dataset.from_dict(columns, features=Features({column: Value("string") for column in COLUMNS}))


def _row(corpus: str, clip: Clip) -> dict:
    return {
        "id": f"{corpus}/{clip.name}",
        "audio": str(clip.path),
        "text": clip.text,
        "speaker": clip.speaker,
        "language": clip.language,
        "corpus": corpus,
        "split": clip.split,
        "synthesizer": clip.synthesizer,
    }


def _emotions(corpus: str, clip: Clip, words_problem: str | None) -> dict[str, str | None]:
    table = _label_table(corpus)
    words = map_label(table, clip.semantic_label) if clip.semantic_label and not words_problem else None
    return {"emotion": map_label(table, clip.label), "semantic_emotion": words}


def _unusable(corpus: str, label: str, exclude: Collection[str], unknown: dict, clip: Clip) -> str | None:
    """Why a label gives no emotion; one that is not known, and not excluded, is added to `unknown`."""
    if normal(label) in exclude:
        return f"label left out: {label}"
    reason = unplaced_reason(_label_table(corpus), label)
    if reason and reason.startswith(UNKNOWN) and "*" not in exclude and clip.problem is None:
        unknown[label].append(clip.where or str(clip.path))
    return reason


def _unwritable(row: dict) -> str | None:
    try:
        row["audio"].encode()
    except UnicodeEncodeError:
        return "file name that is not UTF-8"
    return None


def _check_known(corpus: str, unknown: dict[str, list[str]]) -> None:
    if not unknown:
        return
    named = ", ".join(f"{label!r} ({len(where)} times, first {where[0]})" for label, where in unknown.items())
    labels = " ".join(shlex.quote(label) for label in unknown)
    raise CorpusError(
        f"{corpus}: unknown label {named}; expected those of docs/corpora.md, such as {', '.join(EMOTIONS)}; to leave such clips "
        f"out: exclude_labels=[...], --exclude_labels {labels}"
    )


def _label_table(corpus: str) -> str:
    """A corpus of the user's own, named in a manifest, is labelled in plain words."""
    return corpus if corpus in CORPUS_LABELS else "manifest"


def _counts(excluded: Counter) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in excluded.most_common())


def _log(corpus: str, reading: Reading) -> None:
    """One line; what the label tables leave out by design is information, anything else deserves a look."""
    by_design = all(
        reason.endswith("has no place") or reason.startswith("label left out") for reason in reading.excluded
    )
    logger.log(
        logging.INFO if by_design else logging.WARNING,
        "%s: %d clips, %d left out%s",
        corpus,
        len(reading.dataset),
        reading.excluded.total(),
        f" ({_counts(reading.excluded)})" if reading.excluded else "",
    )


def by_name(root: Path, parse: Callable[[Path], Clip | None]) -> Iterator[Clip]:
    """Clips of a corpus that says everything in a file's path; `parse` gives None where it cannot read it."""
    for path in audio_files(root):
        clip = parse(path)
        yield clip if clip is not None else Clip(path.stem, path, problem="file name of another form")
