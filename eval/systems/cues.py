"""Acoustic cues in the prompts of systems: none, the clip's own, or others that are not the clip's, to see how far a model goes by them.

Any system that is asked in words takes the options of `OPTIONS`; the audio that it hears stays as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fas_core.cues.acoustic import CODE_VERSION, Levels, check_statistics, cue_levels, fit_statistics
from fas_core.cues.functionals import Functionals
from fas_core.cues.levels import Statistics
from fas_core.cues.perturbing import CHANGED, MODES, Perturbation
from fas_core.errors import AudioError, FASError
from fas_core.paths import expanded
from fas_core.sources import audio_digest
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer

OPTIONS = ("cues", "cue_share", "cue_seed", "cue_statistics", "cues_of")
OF_MODEL = "model"  # as `cue_statistics`: those that the model was trained with
CUED = (
    "alm",
    "alm-no-audio",
    "alm-free-text",
    "alm-vllm",
    "audio-llm",
    "endpoint",
    "cascade",
)  # types that are asked in words
SHARES = (0.5, 1.0)  # of the cues that a study changes


class CuedSystem(System):
    """A system that is told cues.

    Args:
        inner: the system; it reads what is told of a clip from its attribute `told`.
        change: what is told. statistics: that levels go by; None: of the clips that are asked together, without their labels.
        folder: where functionals are kept. base: name of the same system without cues, of a study.

    Raises:
        MissingDependencyError: opensmile is not installed.
    """

    def __init__(
        self, inner: System, change: Perturbation, statistics: Statistics | None, folder: Path, base: str = ""
    ):
        self.inner, self.change, self.statistics, self.base = inner, change, statistics, base
        self.functionals = Functionals(folder)
        self.name, self.kind, self.seed = inner.name, inner.kind, inner.seed
        self.title = f"{inner.title}, {label(change)}"
        self.training_corpora, self.fold = inner.training_corpora, inner.fold
        self.whole_benchmark = inner.whole_benchmark or statistics is None or change.mode == "shuffled"

    def identity(self) -> dict:
        cues = {
            "mode": self.change.mode,
            "share": self.change.share if self.change.mode in CHANGED else None,
            "seed": self.change.seed if self.change.mode in CHANGED else None,
            "statistics": self.statistics and self.statistics.to_dict(),
            "functionals": self.functionals.version,
            "code_version": CODE_VERSION,
        }
        return self.inner.identity() | {"cues": cues}

    def describe(self) -> dict:
        cues = {"of": self.base, "mode": self.change.mode, "share": self.change.share}
        return self.inner.describe() | {"cues": cues}

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        measured = self.measured(clips)
        self.inner.told = told = self.told(measured)
        for answer in self.inner.answer(clips):
            if answer.clip in told:
                answer.cues = {"told": list(told[answer.clip]), "measured": list(measured[answer.clip])}
            yield answer

    def measured(self, clips: Sequence[BenchmarkClip]) -> dict[str, Levels]:
        """Clip -> its own levels, of those that can be read."""
        vectors = {}
        for clip in clips:
            try:
                vectors[clip.id] = self.functionals.get(clip.audio, audio_digest(clip.audio))
            except AudioError:
                continue  # the system itself says so
        self.functionals.save()
        statistics = self.statistics or (fit_statistics(_sorted(vectors)) if vectors else None)
        return {name: cue_levels(vector, statistics) for name, vector in vectors.items()}

    def told(self, measured: Mapping[str, Levels]) -> dict[str, Levels]:
        """Clip -> the symbols that are told."""
        donors = self.change.donors(list(measured)) if self.change.mode == "shuffled" else {}
        return {
            name: self.change.told(name, own, measured[donors[name]] if donors else None)
            for name, own in measured.items()
        }

    def embed(self, clips: Sequence[BenchmarkClip]) -> np.ndarray | None:
        return self.inner.embed(clips)

    def close(self) -> None:
        self.inner.close()


def label(change: Perturbation) -> str:
    """ "conflicting cues, 50 %"."""
    names = {
        "aligned": "its own cues",
        "shuffled": "shuffled cues",
        "conflict": "conflicting cues",
        "corrupted": "corrupted cues",
    }
    share = f", {100 * change.share:.0f} %" if change.mode in CHANGED and change.share < 1 else ""
    return names[change.mode] + share


def takes_cues(build: Callable) -> Callable:
    """A `build` of a system type that also takes the options of `OPTIONS`.

    cues: none (the default), aligned, shuffled, conflict, corrupted. cue_share: of the six cues that are changed (1). cue_seed: 42.
    cue_statistics: a file of `python -m fas_core.cues statistics`; "model": those that our ALM was trained with; by default those of
    the benchmark's clips, labels unseen, as of the transductive protocol. cues_of: the same system without cues, of a study.
    """

    @functools.wraps(build)
    def built(options: dict, context) -> System:
        rest = {name: value for name, value in options.items() if name not in OPTIONS}
        mode = options.get("cues", "none")
        change = Perturbation(mode, options.get("cue_share", 1.0), int(options.get("cue_seed", 42)))
        if mode == "none":
            return build(rest, context)
        statistics, folder = _statistics(options), expanded(context.cache_dir) / "egemaps"
        return CuedSystem(build(rest, context), change, statistics, folder, options.get("cues_of", ""))

    return built


def study(entries: Sequence[str | dict], shares: Sequence[float] = SHARES) -> list[dict]:
    """Entries of systems, each asked without cues, with its own, and with a share of them shuffled, in conflict and corrupted.

    Raises:
        FASError: a system that is not asked in words.
    """
    from fas_eval.systems.system_types import read_options

    found = []
    for options in map(read_options, entries):
        if options["type"] not in CUED:
            raise FASError(
                f"system {options['name']}: type {options['type']} is not asked in words; cues are told to {', '.join(CUED)}"
            )
        name = options["name"]
        found.append(options | {"cues": "none"})
        for mode in MODES[1:]:
            for share in shares if mode in CHANGED else (1.0,):
                ending = f"{mode}-{round(100 * share)}" if mode in CHANGED else mode
                found.append(options | {"name": f"{name}+{ending}", "cues": mode, "cue_share": share, "cues_of": name})
    return found


def _statistics(options: dict) -> Statistics | None:
    name = options.get("cue_statistics")
    if name is None:
        return None
    if name != OF_MODEL:
        statistics = Statistics.load(name)
        check_statistics(statistics, str(name))
        return statistics
    from fas_alm.artifacts import read_audio_config

    learned = read_audio_config(expanded(options["directory"])).cues if "directory" in options else None
    if not learned:
        raise FASError(
            f"system {options['name']}: cue_statistics model: its model has learned no cues; expected a file"
        )
    return Statistics.from_dict(learned, f"{options['directory']}/config.json: cues")


def _sorted(vectors: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Whatever the order in which clips are asked, sums round in the same way."""
    return [vectors[name] for name in sorted(vectors)]
