"""Six acoustic cues of eGeMAPS, each low, medium or high: energy, pitch, dynamics, brightness, formants, voice quality.

The paper names the cues and not the functionals behind them; which ones make a cue is our choice, after Eyben et al. (2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from fas_core.cues.functionals import Functionals
from fas_core.cues.levels import Statistics, level_of
from fas_core.errors import FASError
from fas_core.sources import audio_digest

CODE_VERSION = 1  # raise it whenever the levels of a clip change
WIDTH = 0.5  # deviations from the mean at which medium ends: about three levels of one size
# cue -> functional -> sign: a cue is the mean of the signed deviations
CUES: dict[str, dict[str, int]] = {
    "energy": {"loudness_sma3_amean": 1},
    "pitch": {"F0semitoneFrom27.5Hz_sma3nz_amean": 1},
    "dynamics": {"loudness_sma3_stddevNorm": 1, "F0semitoneFrom27.5Hz_sma3nz_stddevNorm": 1},
    "brightness": {"alphaRatioV_sma3nz_amean": 1, "hammarbergIndexV_sma3nz_amean": -1},
    "formants": {"F1frequency_sma3nz_amean": 1, "F2frequency_sma3nz_amean": 1},
    "voice_quality": {"HNRdBACF_sma3nz_amean": 1, "jitterLocal_sma3nz_amean": -1, "shimmerLocaldB_sma3nz_amean": -1},
}
COLUMNS = {  # of the 88 functionals
    "F0semitoneFrom27.5Hz_sma3nz_amean": 0,
    "F0semitoneFrom27.5Hz_sma3nz_stddevNorm": 1,
    "loudness_sma3_amean": 10,
    "loudness_sma3_stddevNorm": 11,
    "jitterLocal_sma3nz_amean": 30,
    "shimmerLocaldB_sma3nz_amean": 32,
    "HNRdBACF_sma3nz_amean": 34,
    "F1frequency_sma3nz_amean": 40,
    "F2frequency_sma3nz_amean": 46,
    "alphaRatioV_sma3nz_amean": 58,
    "hammarbergIndexV_sma3nz_amean": 60,
}
Levels = tuple[str, ...]  # of the six cues, in the order of `CUES`


def measures_of(vector: np.ndarray) -> dict[str, float]:
    """(88,) functionals -> those that the cues are made of, by name."""
    return {name: float(vector[column]) for name, column in COLUMNS.items()}


def cue_levels(vector: np.ndarray, statistics: Statistics, speaker: str | None = None) -> Levels:
    """(88,) functionals -> the level of each cue, by the statistics of a corpus or of the speaker."""
    z = statistics.standardised(measures_of(vector), speaker)
    values = [np.mean([sign * z[name] for name, sign in parts.items()]) for parts in CUES.values()]
    return tuple(level_of(float(value), statistics.width) for value in values)


def arousal(levels: Sequence[str]) -> int:
    """1 where energy, pitch, dynamics and brightness are rather high, -1 where they are rather low, 0 between; no valence.

    Other symbols than levels count as nothing.

    Examples:
        >>> arousal(("high", "medium", "low", "high", "low", "low"))
        1
    """
    steps = {"low": -1, "high": 1}
    return int(np.sign(sum(steps.get(level, 0) for level in levels[:4])))


class CueReader:
    """Cues of clips.

    Args:
        statistics: of a corpus (`python -m fas_core.cues statistics`).
        folder: where functionals are kept; None keeps them in memory, and those of samples nowhere.

    Raises:
        FASError: statistics that lack a functional. MissingDependencyError: opensmile is not installed, at the first clip.
    """

    def __init__(self, statistics: Statistics, folder: Path | None = None):
        check_statistics(statistics)
        self.statistics, self.folder = statistics, folder

    @cached_property
    def functionals(self) -> Functionals:
        return Functionals(self.folder)

    def __call__(self, clips: Sequence[np.ndarray]) -> list[Levels]:
        """Samples (n,) at 16 kHz of each clip -> levels. Those of a clip depend on no other."""
        return [self.levels(self.functionals.of(samples)) for samples in clips]

    def levels(self, vector: np.ndarray, speaker: str | None = None) -> Levels:
        """Of (88,) functionals."""
        return cue_levels(vector, self.statistics, speaker)

    def of_files(self, files: Sequence[str], speakers: Sequence[str | None] = ()) -> list[Levels]:
        """Levels of files. Raises `AudioError`."""
        try:
            vectors = [self.functionals.get(file, audio_digest(file)) for file in files]
        finally:
            self.functionals.save()
        who = speakers or [None] * len(files)
        return [cue_levels(v, self.statistics, s) for v, s in zip(vectors, who, strict=True)]


def check_statistics(statistics: Statistics, where: str = "cue statistics") -> None:
    """Raises `FASError` for statistics that lack a functional of the cues."""
    missing = sorted(set(COLUMNS) - set(statistics.corpus))
    if missing:
        raise FASError(f"{where}: {missing[0]} is missing; expected those of python -m fas_core.cues statistics")


def fit_statistics(
    vectors: Sequence[np.ndarray], speakers: Sequence[str | None] = (), by: str = "corpus", width: float = WIDTH
) -> Statistics:
    """Statistics of the cues over clips, from (88,) functionals of each. Raises as `Statistics.fit`."""
    values: list[Mapping[str, float | None]] = [measures_of(vector) for vector in vectors]
    return Statistics.fit(values, speakers, by, width)
