"""The clips that systems are asked about: every file decoded once before any system sees it.

A corrupt file is found here, so that all systems answer the same clips; it is reported, and the run goes on. What was
found is kept in `cache_dir/clips`, by path, time and size of the file.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from fas_core.atomic import write_text
from fas_core.audio import load_audio
from fas_core.errors import AudioError, FASError, MissingDependencyError
from fas_core.labels import EMOTIONS
from fas_core.paths import expanded
from fas_core.segments import file_of
from fas_core.sources import audio_digest
from fas_eval.benchmarks.loading import UNREADABLE, LoadedBenchmark, digest_of_digests
from fas_eval.benchmarks.published import published_results
from fas_eval.systems.base import BenchmarkClip

VERSION = 1


@dataclass
class CheckedClips:
    """A benchmark's clips after every file was decoded; the three lists go together.

    Attributes:
        clips: what systems see. rows: of the data set, with the reference. seconds: of audio, each.
        unreadable: {"file": id of the clip, "error"} of those that do not decode; they are in no list.
        data_sha256: `eval.benchmarks.loading.digest_of_digests` of all clips, the unreadable ones included.
    """

    clips: list[BenchmarkClip] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    unreadable: list[dict[str, str]] = field(default_factory=list)
    data_sha256: str = ""


@dataclass(frozen=True)
class _Look:
    """One file: either `seconds`, or why it does not decode. `stamp`: [mtime in ns, size] of what was looked at."""

    stamp: list[int]
    digest: str = UNREADABLE
    seconds: float = 0.0
    error: str | None = None
    lasting: bool = True  # False: about this machine, not about the file


def clips_of(
    loaded: LoadedBenchmark,
    cache_dir: str | Path | None = None,
    *,
    threads: int | None = None,
    progress: bool = True,
) -> CheckedClips:
    """Decode every clip of a benchmark, or remember it decoded.

    Args:
        cache_dir: keeps what was found; None keeps nothing.
        threads: decoders at once; None: as many as there are cores, at most 8.
    """
    store = _store(cache_dir, loaded.benchmark.name)
    known = _read(store)
    paths = sorted(set(loaded.dataset["audio"]))
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        looks = tqdm(
            pool.map(lambda path: _look(path, known.get(path)), paths),
            desc=f"{loaded.benchmark.name}: audio", total=len(paths), unit="clip", disable=not progress, leave=False,
        )  # fmt: skip
        found = dict(zip(paths, looks, strict=True))
    # added to what was known: another run may score another side of the corpus
    remembered = known | {path: look for path, look in found.items() if look.lasting}
    if store is not None and remembered != known:
        _write(store, remembered)
    return _checked(loaded, found)


def facts(loaded: LoadedBenchmark, checked: CheckedClips) -> dict:
    """The entry of a benchmark in results.json."""
    benchmark, rows = loaded.benchmark, checked.rows
    emotions = [row["emotion"] for row in rows]
    return {
        "title": benchmark.title or benchmark.name,
        "corpus": benchmark.corpus,
        "languages": list(benchmark.languages) or sorted({row["language"] for row in rows} - {None}),
        "setting": loaded.setting,
        "side": loaded.side,
        "fold": loaded.fold,
        "clips": len(rows),
        "corpus_clips": loaded.corpus_clips,
        "unreadable": checked.unreadable,
        "speakers": len({row["speaker"] for row in rows} - {None}),
        "emotions": {emotion: emotions.count(emotion) for emotion in EMOTIONS if emotion in emotions},
        "excluded": dict(loaded.excluded),
        "incomplete": loaded.incomplete,
        "data_sha256": checked.data_sha256,
        "conflict": benchmark.conflict or any(row["semantic_emotion"] for row in rows),
        "synthetic": benchmark.synthetic,
        "protocol": benchmark.protocol,
        "source": benchmark.source,
        "licence": benchmark.licence,
        "published": [asdict(row) for row in published_results(benchmark.published)],
        "published_note": benchmark.published_note,
    }


def _checked(loaded: LoadedBenchmark, looks: dict[str, _Look]) -> CheckedClips:
    pairs = [(row["id"], looks[row["audio"]].digest) for row in loaded.dataset]
    checked = CheckedClips(data_sha256=digest_of_digests(pairs))
    for row in loaded.dataset:
        look = looks[row["audio"]]
        if look.error is not None:
            checked.unreadable.append({"file": row["id"], "error": look.error})
            continue
        checked.clips.append(BenchmarkClip(row["id"], row["audio"], look.digest, row["language"], row["speaker"]))
        checked.rows.append(row)
        checked.seconds.append(look.seconds)
    return checked


def _look(path: str, known: _Look | None) -> _Look:
    digest, stamp = UNREADABLE, []
    try:
        status = os.stat(file_of(path))
        stamp = [status.st_mtime_ns, status.st_size]
        if known is not None and known.stamp == stamp:
            return known
        digest = audio_digest(path)
        return _Look(stamp, digest, round(load_audio(path).duration, 4))
    except MissingDependencyError as error:
        return _Look(stamp, digest, error=str(error), lasting=False)
    except AudioError as error:  # without its source: the path of a machine has no place in results
        return _Look(stamp, digest, error=error.problem + (f" ({error.hint})" if error.hint else ""))
    except (FASError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return _Look(stamp, digest, error=reason or type(error).__name__, lasting=False)


def _store(cache_dir: str | Path | None, name: str) -> Path | None:
    """One file a benchmark; "manifest:PATH" is no file name."""
    if cache_dir is None:
        return None
    return expanded(cache_dir) / "clips" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _read(store: Path | None) -> dict[str, _Look]:
    """What is remembered; nothing where the file is damaged or of another version: then all is decoded again."""
    try:
        content = json.loads(store.read_text(encoding="utf-8")) if store else {}
        if content.get("version") != VERSION:
            return {}
        return {path: _Look(**look) for path, look in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(store: Path, looks: dict[str, _Look]) -> None:
    content = {"version": VERSION, "files": {path: asdict(look) for path, look in sorted(looks.items())}}
    write_text(store, json.dumps(content, ensure_ascii=False))
