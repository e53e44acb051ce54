"""A run of the suite: benchmarks, systems, answers, scores, report."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import transformers
from huggingface_hub import constants

from fas_core.atomic import write_json
from fas_core.errors import CorpusError, FASError
from fas_core.labels import EMOTIONS
from fas_core.paths import expanded
from fas_core.provenance import provenance
from fas_eval.benchmarks.clips import CheckedClips, clips_of, facts
from fas_eval.benchmarks.entries import BENCHMARKS, find_benchmark, missing, missing_entry
from fas_eval.benchmarks.loading import load_benchmark, shared_side
from fas_eval.benchmarks.locations import DataLocations
from fas_eval.presets import Preset
from fas_eval.report.build import build_report
from fas_eval.report.maps import maps_of
from fas_eval.suite.ask import Asked, ask
from fas_eval.suite.score import ScoredSet, Statistics, results, write_answers
from fas_eval.suite.store import StoreError
from fas_eval.suite.workers import Workers
from fas_eval.systems.context import BuildContext
from fas_eval.systems.system_types import Planned, plan_systems

VERSION = 1
PROTOCOLS = ("inductive", "transductive")
SYNTHETIC = "synthetic-conflict"
CLIPS = 280  # of the synthetic corpus, where it has to be rendered
STANDARDISED = ("fas", "fas-train")  # types that have a transductive protocol
PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class RunSettings:
    """How a run is made; `Preset` says what it compares, `BuildContext` what systems may know.

    Attributes:
        output: folder of the report. answers: folder of answers; "answers" in `output` by default.
        statistics: of intervals and tests. protocols: some of `PROTOCOLS`.
        reference: system that the others are tested against; all pairs by default. only: names of systems; all by default.
        limit: clips of each benchmark; all by default.
        needs_benchmarks, needs_training: whether a corpus that is not there is an error, or a line of the report.
        audio: whether audio is copied into the report; None: synthetic speech only. preset: its name, for the record.
    """

    output: Path
    answers: Path | None = None
    statistics: Statistics = field(default_factory=Statistics)
    protocols: Sequence[str] = PROTOCOLS[:1]
    reference: str | None = None
    only: Sequence[str] = ()
    limit: int | None = None
    needs_benchmarks: bool = False
    needs_training: bool = False
    audio: bool | None = None
    preset: str | None = None

    @property
    def answers_folder(self) -> Path:
        return self.answers or self.output / "answers"


def run_suite(preset: Preset, context: BuildContext, settings: RunSettings) -> dict:
    """Ask, score, and write the report to `settings.output`.

    Args:
        preset: systems, benchmarks, training corpora, fold and seeds.
        context: places, encoders, device; the corpora to train on, the fold and the processes are filled in here.

    Returns:
        results.json; {} in processes other than the main one.

    Raises:
        FASError: bad input, before anything is asked.
    """
    workers = Workers.of_this_run()
    _check_writable(settings.output)
    locations = _with_synthetic(context, preset, workers)
    absent = _absent(preset, locations, settings.needs_benchmarks)
    there = [name for name in preset.benchmarks if name not in {entry["name"] for entry in absent}]
    train, untrained = _training(preset, locations, settings.needs_training)
    if preset.train and workers.is_main:
        print(training_text(preset.train, train))
    _stay_offline_if_there_is_no_hub()
    transformers.logging.disable_progress_bar()  # of loading weights; those of the clips tell more
    context = replace(context, locations=locations, training=train, fold=preset.fold, workers=workers)
    planned = _planned(settings, preset, context)
    sets, unusable = _benchmarks(there, planned, context, settings)
    asked, failed = _ask_all(planned, sets, settings.answers_folder, preset, context)
    if not workers.is_main:
        return {}
    found = results(asked, sets, [*absent, *unusable, *untrained, *failed], settings.statistics, settings.reference)
    about = {"version": VERSION, "preset": settings.preset, "title": preset.title, "limit": settings.limit}
    found["suite"] = asdict(settings.statistics) | about | {"train": preset.train, "trained_on": list(train)}
    found["provenance"] = provenance()
    found["maps"] = maps_of(asked, sets) if preset.maps else {}
    try:
        write_answers(asked, sets, settings.output)
        write_json(settings.output / "results.json", found)
        build_report(settings.output, audio=settings.audio, progress=not context.quiet)
    except OSError as error:
        kept = f"the answers are kept in {settings.answers_folder}, run again to make the report"
        raise FASError(f"--output {settings.output}: cannot be written: {error.strerror or error}; {kept}") from None
    return found


def _check_writable(folder: Path) -> None:
    """Before anything is asked. Raises `FASError` where no report can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or error
        raise FASError(f"--output {folder}: {reason}; expected a folder that can be written") from None


def _with_synthetic(context: BuildContext, preset: Preset, workers: Workers) -> DataLocations:
    """Where the corpora lie; the synthetic one is rendered where it is wanted and nobody says where it is."""
    locations = context.locations
    wanted = SYNTHETIC in [*preset.benchmarks, *preset.train]
    in_root = locations.root is not None and (locations.root / SYNTHETIC).exists()
    if not wanted or in_root or SYNTHETIC in locations.overrides:
        return locations
    folder = _rendered(expanded(context.cache_dir) / SYNTHETIC, workers)
    return replace(locations, overrides=locations.overrides | {SYNTHETIC: folder})


def _rendered(folder: Path, workers: Workers) -> Path:
    """The synthetic conflict corpus, rendered once; a folder that does not exist where espeak-ng is missing."""
    from fas_core.synth.corpus import render_corpus

    if workers.is_main and not folder.exists():
        try:
            render_corpus(folder, clips=CLIPS, seed=42, train_conflict_share=1 - 1 / len(EMOTIONS))
        except FASError as error:
            print(f"{SYNTHETIC} is not rendered: {error}")
    workers.wait()
    return folder


def _absent(preset: Preset, locations: DataLocations, explicit: bool) -> list[dict]:
    """Benchmarks that are not there: an error where the user asked for them by name.

    Raises:
        CorpusError: a benchmark that was asked for, or none at all.
    """
    absent = missing(locations, preset.benchmarks)
    if explicit or len(absent) == len(preset.benchmarks):
        for entry in absent:
            locations.find(entry["name"])
    return absent


def _training(preset: Preset, locations: DataLocations, explicit: bool) -> tuple[tuple[str, ...], list[dict]]:
    """Training corpora that are there, and those of a preset that are not.

    Raises:
        CorpusError: one that was asked for with --train.
    """
    unknown = [name for name in preset.train if name not in BENCHMARKS]
    if unknown:
        raise FASError(f"--train {unknown[0]}: expected one of {', '.join(BENCHMARKS)}")
    absent = {entry["name"]: entry for entry in missing(locations, preset.train)}
    if explicit:
        for name in absent:
            locations.find(name)
    entries = [entry | {"kind": "training corpus"} for entry in absent.values()]
    return tuple(name for name in preset.train if name not in absent), entries


def training_text(wanted: Sequence[str], here: Sequence[str]) -> str:
    """One sentence: which of a preset's training corpora a run has.

    Examples:
        >>> training_text(["meld", "ravdess"], ["ravdess"])
        'training corpora: 1 of 2 here (ravdess); not here: meld'
    """
    absent = [name for name in wanted if name not in here]
    text = f"training corpora: {len(here)} of {len(wanted)} here" + (f" ({', '.join(here)})" if here else "")
    return text + (f"; not here: {', '.join(absent)}" if absent else "")


def _planned(settings: RunSettings, preset: Preset, context: BuildContext) -> list[Planned]:
    planned = plan_systems(preset.systems, context, preset.seeds)
    if settings.only:
        unknown = set(settings.only) - {p.name for p in planned}
        if unknown:
            raise FASError(f"--only {sorted(unknown)[0]}: expected some of {', '.join(p.name for p in planned)}")
        planned = [p for p in planned if p.name in settings.only]
    if "transductive" in settings.protocols:
        planned = [each for p in planned for each in _both_protocols(p, context)]
    if "inductive" not in settings.protocols:
        planned = [p for p in planned if p.options.get("own_statistics") or p.options["type"] not in STANDARDISED]
    if settings.reference not in (None, *(p.name for p in planned)):
        raise FASError(f"--reference {settings.reference}: expected one of {', '.join(p.name for p in planned)}")
    return planned


def _both_protocols(planned: Planned, context: BuildContext) -> list[Planned]:
    if planned.options["type"] not in STANDARDISED:
        return [planned]
    seeds = [planned.seed] if planned.seed is not None else [0]
    own = planned.options | {"name": f"{planned.name}, own statistics", "own_statistics": True}
    title = planned.title or planned.name
    return [planned, *plan_systems([own | {"title": f"{title}, own statistics (transductive)"}], context, seeds)]


def _benchmarks(
    names: list[str], planned: list[Planned], context: BuildContext, settings: RunSettings
) -> tuple[list[ScoredSet], list[dict]]:
    """One side of each benchmark for all systems, and those that cannot be used.

    Raises:
        CorpusError: one that was asked for by name, folds that contradict each other, or none left.
    """
    trainings = [(p.training_corpora, p.fold) for p in planned]
    sets: list[ScoredSet] = []
    unusable: list[dict] = []
    for name in dict.fromkeys(names):
        try:
            corpora, fold = shared_side(trainings, find_benchmark(name).corpus, context.fold)
            loaded = load_benchmark(
                name, context.locations, training_corpora=corpora, trained_fold=fold, fold=context.fold
            )
            cache = expanded(context.cache_dir)
            checked = some_of(_readable(name, clips_of(loaded, cache, progress=not context.quiet)), settings.limit)
        except CorpusError as error:
            if settings.needs_benchmarks:
                raise
            unusable.append(missing_entry(name, str(error)))
            continue
        known = facts(loaded, checked)
        sets.append(ScoredSet(name, checked.clips, checked.rows, checked.seconds, known, loaded.setting_for))
    if not sets:
        raise CorpusError(f"no benchmark can be used: {unusable[0]['name']}: {unusable[0]['why']}")
    return sets, unusable


def _readable(name: str, checked: CheckedClips) -> CheckedClips:
    if not checked.clips:
        first = checked.unreadable[0]
        raise CorpusError(
            f"{name}: none of its {len(checked.unreadable)} clips can be read; {first['file']}: {first['error']}"
        )
    return checked


def some_of(checked: CheckedClips, limit: int | None) -> CheckedClips:
    """That many clips, the same ones each time; all for None."""
    if limit is None or limit >= len(checked.clips):
        return checked
    picked = np.sort(np.random.default_rng(0).permutation(len(checked.clips))[:limit])
    parts = {name: [getattr(checked, name)[i] for i in picked] for name in ("clips", "rows", "seconds")}
    return replace(checked, **parts)


def _ask_all(planned: list[Planned], sets: list[ScoredSet], folder: Path, preset: Preset, context: BuildContext):
    """Every system's answers, and those that could not be built or stopped. Raises `StoreError`."""
    asked: list[Asked] = []
    failed: list[dict] = []
    clips = {benchmark.name: benchmark.clips for benchmark in sets}
    # one map a benchmark, of the first FAS: a map of each system would take longer than all answers
    mapped = next((each for each in planned if each.options["type"] in STANDARDISED), None) if preset.maps else None
    for each in planned:
        try:
            run = ask(
                each, clips, folder, context.workers, embed=list(clips) if each is mapped else (), quiet=context.quiet
            )
        except StoreError:
            raise
        except Exception as error:  # of a plugin too: whatever it is, the others are asked
            why = " ".join(str(error).split()) or type(error).__name__
            why = why if isinstance(error, FASError | ImportError | OSError) else f"{type(error).__name__}: {why}"
            failed.append({"kind": "system", "name": each.name, "why": why, "where": each.options.get("source", "")})
            continue
        if run.stopped:
            failed.append({"kind": "system", "name": each.name, "why": f"stopped: {run.stopped}", "where": ""})
        asked.append(run)
    if not asked:
        raise FASError(f"no system could be run; {failed[0]['name']}: {failed[0]['why']}")
    # another seed of what is not there says nothing new; all were tried, because every process has to build what the others build
    return asked, [entry for number, entry in enumerate(failed) if entry not in failed[:number]]


def _stay_offline_if_there_is_no_hub() -> None:
    """Without the hub every model of it would be tried again and again, for minutes each; mirrors and proxies count as the hub."""
    if constants.HF_HUB_OFFLINE:
        return
    try:
        httpx.head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except httpx.TransportError:
        constants.HF_HUB_OFFLINE = True
        print(f"{constants.ENDPOINT} cannot be reached: only models that are here already are used")
