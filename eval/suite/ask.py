"""Asks systems about benchmarks: one system at a time, each clip once, whatever was answered before taken from the store.

With several processes each asks about its share of the clips that have no answer; they share nothing but the folder of answers.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from tqdm import tqdm

from fas_core.atomic import write_json
from fas_core.errors import FASError
from fas_eval.suite.store import AnswerStore, StoreError
from fas_eval.suite.workers import Workers
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.system_types import Planned

SAMPLE_SECONDS = 0.2


@dataclass
class Asked:
    """One system's answers.

    Attributes:
        planned: what was asked for. title: the system's.
        answers: benchmark -> one answer for each of its clips, in their order.
        facts: `System.describe`, and peak memory. identity: `System.identity`.
        points: benchmark -> (N, d) of `System.embed`.
        stopped: why it did not answer everything; "" where it did.
    """

    planned: Planned
    title: str = ""
    kind: str = ""
    answers: dict[str, list[SystemAnswer]] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    identity: dict = field(default_factory=dict)
    points: dict = field(default_factory=dict)
    stopped: str = ""


def ask(planned: Planned, benchmarks: dict[str, list[BenchmarkClip]], root: Path, workers: Workers, *, embed: Sequence[str] = (),
        quiet: bool = False) -> Asked:  # fmt: skip
    """Build a system, ask it what is missing, read all answers back.

    Args:
        benchmarks: name -> readable clips. root: folder of answers. embed: benchmarks whose fused tokens are wanted.

    Raises:
        FASError: the system cannot be built; the message says what is missing.
        StoreError: answers cannot be kept.
    """
    try:
        system = planned.build()
    except Exception:
        workers.wait(), workers.wait()  # of the other processes, should one of them have built it
        raise
    try:
        _check_training(system, planned)
        return _ask(system, planned, benchmarks, root, workers, embed, quiet)
    finally:
        system.close()


def _check_training(system: System, planned: Planned) -> None:
    """What a system was trained on decides on which side it is scored, before it is built; of a hub id it shows only now.

    Raises:
        FASError: it might be scored on clips that it was trained on.
    """
    unknown = sorted(set(system.training_corpora) - set(planned.training_corpora) - {"manifest"})  # a form, no corpus
    if unknown:
        raise FASError(
            f"trained on {', '.join(unknown)}, which shows only now that it is loaded; to have it scored on other clips, write it as an "
            f"entry of a YAML file (--systems-file) with training_corpora: [{', '.join(system.training_corpora)}]"
        )


def _ask(
    system: System, planned: Planned, benchmarks: dict, root: Path, workers: Workers, embed: Sequence[str], quiet: bool
) -> Asked:
    asked = Asked(planned, planned.title or system.title, system.kind, identity=system.identity())
    store, peak = AnswerStore(root, system, workers.index), [0.0]
    workers.wait()  # all have to see the same answers before anyone adds to them, or their shares would not fit
    try:
        for name, clips in benchmarks.items():
            _ask_missing(system, store, name, clips, workers, quiet, peak)
    except StoreError:
        raise
    except Exception as error:  # a system that breaks does not end the run
        asked.stopped = f"{type(error).__name__}: {error}"
    workers.wait()
    if workers.number > 1:
        store.load()  # what the others were told
    asked.answers = {name: _collected(store, keyed(system, clips), asked.stopped) for name, clips in benchmarks.items()}
    asked.facts = _facts(store, system, peak, workers)
    if workers.is_main and not asked.stopped:
        asked.points = {name: _points(system, benchmarks[name]) for name in embed if name in benchmarks}
    return asked


def _ask_missing(
    system: System,
    store: AnswerStore,
    name: str,
    clips: list[BenchmarkClip],
    workers: Workers,
    quiet: bool,
    peak: list[float],
) -> None:
    """Raises `FASError` for answers that were not asked for; what was answered before is kept."""
    by_id, keys = {clip.id: clip for clip in clips}, keyed(system, clips)
    missing = [by_id[clip.id] for clip in store.missing(keys)]
    mine = missing[workers.index :: workers.number]
    if system.whole_benchmark:
        mine = clips if missing and workers.is_main else []
    if not mine:
        return
    digests, waiting = {clip.id: clip.digest for clip in keys}, {clip.id for clip in mine}
    label = f"{system.name}{'' if system.seed is None else f', seed {system.seed}'}: {name}"
    bar = tqdm(total=len(mine), desc=label, unit="clip", disable=quiet or not workers.is_main)
    with bar, peak_memory(peak):
        for answer in system.answer(mine):
            if answer.clip not in waiting:
                problem = "answered twice" if answer.clip in digests else "answered, and not of this benchmark"
                raise FASError(
                    f"clip {answer.clip}: {problem}; expected one answer for each clip that `answer` was given"
                )
            waiting.remove(answer.clip)
            store.add(digests[answer.clip], answer)
            bar.update()


def keyed(system: System, clips: list[BenchmarkClip]) -> list[BenchmarkClip]:
    """The clips as the store finds their answers: an answer that depends on the other clips is an answer to that set only."""
    if not system.whole_benchmark:
        return clips
    together = hashlib.sha256(" ".join(sorted(clip.digest for clip in clips)).encode()).hexdigest()[:16]
    return [replace(clip, digest=f"{clip.digest}@{together}") for clip in clips]


def _collected(store: AnswerStore, clips: list[BenchmarkClip], stopped: str) -> list[SystemAnswer]:
    return [store.get(clip) or SystemAnswer.failure(clip.id, stopped or "the system gave no answer") for clip in clips]


def _facts(store: AnswerStore, system: System, peak: list[float], workers: Workers) -> dict:
    """What the system says of itself, kept beside its answers, so that a report from cached answers has it too."""
    file = store.folder / "facts.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    facts = known | {key: value for key, value in system.describe().items() if value not in (None, [])}
    if peak[0]:
        facts["peak_memory_mb"] = max(peak[0], known.get("peak_memory_mb", 0))
    if workers.is_main and store.folder.is_dir() and facts != known:
        with suppress(OSError):  # a folder that can only be read serves as well, the facts are told again each time
            write_json(file, facts)
    return facts


def _points(system: System, clips: list[BenchmarkClip]):
    try:
        return system.embed(clips)
    except Exception:
        return None  # the map is an extra


@contextmanager
def peak_memory(peak: list[float]) -> Iterator[None]:
    """Raises the one value of `peak` to the largest resident memory in MB of this process and its children meanwhile."""
    done = threading.Event()
    process = psutil.Process()

    def sample():
        while not done.wait(SAMPLE_SECONDS):
            try:
                parts = [process, *process.children(recursive=True)]
                peak[0] = max(peak[0], round(sum(p.memory_info().rss for p in parts) / 2**20, 1))
            except psutil.Error:
                continue  # a child ended meanwhile

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
