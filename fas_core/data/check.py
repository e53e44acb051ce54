"""Looks at every clip of a corpus before anything is trained on it: decodes it, and says what is wrong."""

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from fas_core.data.corpora import read_corpus
from fas_core.data.exclusions import ExclusionList, relative_name
from fas_core.errors import AudioError, CorpusError, MissingDependencyError
from fas_core.labels import UNKNOWN
from fas_core.paths import is_dir

VERSION = 1


@dataclass(frozen=True)
class _Clip:
    file: str  # relative to the checked folder
    path: Path
    emotion: str | None
    speaker: str | None


@dataclass(frozen=True)
class _Look:
    """What one decoded file showed; either an error, or a reason why it was not looked at, or the rest."""

    seconds: float = 0.0
    digest: str = ""  # sha256 of the decoded samples: a copy in another lossless format has the same
    silent: bool = False
    error: str | None = None
    not_checked: str | None = None


@dataclass(frozen=True)
class Duplicate:
    """Files with the same decoded samples; `kept` is None where their labels contradict each other."""

    files: list[str]
    labels: list[str]
    kept: str | None


@dataclass
class CheckReport:
    """What `check_corpus` found. Files are named relative to the checked folder.

    Attributes:
        durations: min, median, max and total of the decoded clips, in seconds.
        labels, speakers: clips by emotion and by speaker; empty without a corpus.
        left_out: what the corpus's reader left out, why -> clips.
        errors: file -> why it does not decode.
        not_checked: file -> what has to be installed to look at it; says nothing about the file.
    """

    directory: str
    corpus: str | None
    files: int
    durations: dict[str, float]
    labels: dict[str, int]
    speakers: dict[str, int]
    left_out: dict[str, int]
    errors: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing has to be looked into; labels left out by design are no problem."""
        unread = any(reason.startswith((UNKNOWN, "audio file missing", "no emotion given")) for reason in self.left_out)
        return not (unread or self.errors or self.silent or self.duplicates or self.not_checked)

    def exclusions(self) -> ExclusionList:
        """The files that training should leave out; of equal files with one label the first stays."""
        listed = {file: f"decode error: {reason}" for file, reason in self.errors.items()}
        listed |= dict.fromkeys(self.silent, "digital silence")
        for group in self.duplicates:
            conflict = f"same audio with other labels ({', '.join(group.labels)})"
            reason = conflict if group.kept is None else f"duplicate of {group.kept}"
            listed |= {file: reason for file in group.files if file != group.kept}
        return ExclusionList(listed)

    def to_dict(self) -> dict:
        """Ready for JSON, with a version."""
        return {"version": VERSION, "clean": self.clean, **asdict(self)}


def check_corpus(root: str | Path, corpus: str | None = None, *, jobs: int = 1, progress: bool = True) -> CheckReport:
    """Decodes every clip below a folder and reports errors, silence, copies, durations, labels and speakers.

    Args:
        root: the folder; for a corpus its official layout.
        corpus: a key of `CORPORA`; None takes any audio file, without labels.
        jobs: threads that decode side by side; the report does not depend on it.
        progress: a bar on the standard error.

    Raises:
        CorpusError: nothing to check there.
    """
    clips, left_out = _clips_of(root, corpus)
    looks = _look_at_all(clips, jobs, progress)
    named = dict(zip((clip.file for clip in clips), looks, strict=True))
    return CheckReport(
        directory=str(root),
        corpus=corpus,
        files=len(clips),
        durations=_durations([look.seconds for look in looks if look.digest]),
        labels=_count(clip.emotion for clip in clips),
        speakers=_count(clip.speaker for clip in clips),
        left_out=left_out,
        errors={file: look.error for file, look in named.items() if look.error},
        silent=[file for file, look in named.items() if look.silent],
        duplicates=_duplicates(clips, looks),
        not_checked={file: look.not_checked for file, look in named.items() if look.not_checked},
    )


def _clips_of(root: str | Path, corpus: str | None) -> tuple[list[_Clip], dict[str, int]]:
    if corpus is not None:
        reading = read_corpus(corpus, root, exclude_labels=["*"])  # reported below as unknown
        folder = root if is_dir(root) else Path(root).parent
        rows = reading.dataset.select_columns(["audio", "emotion", "speaker"])
        clips = [
            _Clip(relative_name(row["audio"], folder), Path(row["audio"]), row["emotion"], row["speaker"])
            for row in rows
        ]
        return sorted(clips, key=lambda clip: clip.file), dict(reading.excluded)
    from fas_core.sources import find_audio_files

    if not is_dir(root):
        raise CorpusError(f"{root}: no such folder")
    files = find_audio_files([root])
    if not files:
        raise CorpusError(f"{root}: no audio file here or below; --corpus NAME reads a corpus by its table")
    return [_Clip(relative_name(path, root), path, None, None) for path in files], {}


def _look_at_all(clips: Sequence[_Clip], jobs: int, progress: bool) -> list[_Look]:
    with ThreadPoolExecutor(max(1, jobs)) as pool:  # decoding, resampling and hashing run outside Python's lock
        looks = pool.map(_look_at, (clip.path for clip in clips))
        return list(tqdm(looks, total=len(clips), unit="clip", desc="check", disable=None if progress else True))


def _look_at(path: Path) -> _Look:
    from fas_core.audio import load_audio

    try:
        audio = load_audio(path)
    except MissingDependencyError as error:
        return _Look(not_checked=str(error))
    except AudioError as error:
        return _Look(error=error.problem)
    except Exception as error:  # a decoder's own failure must not end a run over a hundred thousand clips
        return _Look(error=f"{type(error).__name__}: {error}")
    return _Look(audio.duration, hashlib.sha256(audio.samples.tobytes()).hexdigest(), audio.is_silent)


def _duplicates(clips: Sequence[_Clip], looks: Sequence[_Look]) -> list[Duplicate]:
    groups: dict[str, list[_Clip]] = defaultdict(list)
    for clip, look in zip(clips, looks, strict=True):
        if look.digest and not look.silent:  # silence of one length is always equal, and listed anyway
            groups[look.digest].append(clip)
    return [_duplicate(group) for group in groups.values() if len(group) > 1]


def _duplicate(group: list[_Clip]) -> Duplicate:
    labels = sorted({clip.emotion for clip in group if clip.emotion is not None})
    # With two labels one of them is wrong, and nobody knows which: none of the clips can be trusted.
    return Duplicate([clip.file for clip in group], labels, group[0].file if len(labels) <= 1 else None)


def _durations(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    figures = {"min": min, "median": statistics.median, "max": max, "total": sum}
    return {name: round(figure(seconds), 4) for name, figure in figures.items()}


def _count(values) -> dict[str, int]:
    return dict(sorted(Counter(value for value in values if value is not None).items()))
