"""Low, medium or high: a measured value by the mean and deviation of its corpus, or of its speaker, kept in a JSON file."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fas_core.atomic import write_json
from fas_core.errors import FASError
from fas_core.model_files import read_object
from fas_core.paths import expanded, is_file

LEVELS = ("low", "medium", "high")
BY = ("corpus", "speaker")
WIDTH = 1.0  # deviations from the mean to the next level, as C2SER has it (Zhao et al. 2025)
FEWEST = 5  # clips of a speaker whose own mean is taken
SMALLEST = 1e-6  # deviation below which a measure does not differ between clips

Spread = tuple[float, float]  # mean, standard deviation


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of measures.

    Attributes:
        corpus: measure -> over all clips.
        speakers: speaker -> measure -> over the speaker's clips; empty where levels go by the corpus.
        width: deviations from the mean at which medium ends.
        clips: number of clips that were counted.
    """

    corpus: Mapping[str, Spread]
    speakers: Mapping[str, Mapping[str, Spread]] = field(default_factory=dict)
    width: float = WIDTH
    clips: int = 0

    def __post_init__(self):
        if not (isinstance(self.width, int | float) and 0 < self.width < math.inf):
            raise FASError(f"width of levels: {self.width!r}; expected a positive number of standard deviations")

    @classmethod
    def fit(
        cls,
        values: Sequence[Mapping[str, float | None]],
        speakers: Sequence[str | None] = (),
        by: str = "corpus",
        width: float = WIDTH,
    ) -> Statistics:
        """The statistics of a corpus.

        Args:
            values: of each clip, measure -> value; None and NaN were not measured.
            speakers: of each clip; needed by "speaker". A speaker of fewer than `FEWEST` clips is measured by the corpus.
            by: one of `BY`.

        Raises:
            FASError: no clips, another `by`, speakers that are not known.
        """
        if by not in BY:
            raise FASError(f"levels by {by!r}: expected one of {', '.join(BY)}")
        if not values:
            raise FASError("statistics of no clip; expected at least one")
        own = defaultdict(list)
        for clip, speaker in zip(values, speakers, strict=True) if by == "speaker" else ():
            if speaker is not None:
                own[speaker].append(clip)
        if by == "speaker" and not own:
            raise FASError("levels by speaker: the corpus names no speakers; expected levels by corpus")
        known = {name: spreads(clips) for name, clips in sorted(own.items()) if len(clips) >= FEWEST}
        return cls(spreads(values), known, width, len(values))

    def standardised(self, values: Mapping[str, float | None], speaker: str | None = None) -> dict[str, float]:
        """Measure -> deviations from the mean, of those measures that are known and were measured.

        The mean is the speaker's own where it is known, else the corpus's.
        """
        own = self.speakers.get(speaker, {}) if speaker is not None else {}
        found = {}
        for name, value in values.items():
            mean, deviation = own.get(name) or self.corpus.get(name) or (0.0, 0.0)
            if is_measured(value) and (name in own or name in self.corpus):
                found[name] = (value - mean) / deviation if deviation > SMALLEST else 0.0
        return found

    def levels(self, values: Mapping[str, float | None], speaker: str | None = None) -> dict[str, str]:
        """Measure -> one of `LEVELS`; see `standardised`.

        Examples:
            >>> Statistics({"pitch": (200.0, 20.0)}).levels({"pitch": 221.0})
            {'pitch': 'high'}
        """
        return {name: level_of(z, self.width) for name, z in self.standardised(values, speaker).items()}

    def to_dict(self) -> dict:
        """JSON-ready, as `from_dict` reads it."""
        return {
            "width": self.width,
            "clips": self.clips,
            "corpus": {name: list(spread) for name, spread in self.corpus.items()},
            "speakers": {who: {n: list(s) for n, s in own.items()} for who, own in self.speakers.items()},
        }

    @classmethod
    def from_dict(cls, record: Mapping, where: str = "statistics") -> Statistics:
        """The reverse of `to_dict`.

        Raises:
            FASError: a field that is missing or of another form; the message names `where` it stands.
        """
        try:
            corpus = {name: _spread(s) for name, s in record["corpus"].items()}
            speakers = {who: {n: _spread(s) for n, s in own.items()} for who, own in record.get("speakers", {}).items()}
            return cls(corpus, speakers, float(record.get("width", WIDTH)), int(record.get("clips", 0)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FASError(
                f"{where}: {error}; expected corpus: {{MEASURE: [mean, deviation]}}, speakers of the same form, width, clips"
            ) from None

    def save(self, path: str | Path) -> Path:
        return write_json(expanded(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Statistics:
        """Of a JSON file. Raises `FASError`: no such file, or another form."""
        path = expanded(path)
        if not is_file(path):
            raise FASError(
                f"{path}: no such file; expected statistics of a corpus (python -m fas_core.cues statistics)"
            )
        return cls.from_dict(read_object(path), str(path))


def speaker_of(row: Mapping) -> str | None:
    """The speaker of a clip, a row of a corpus, under a name that no other corpus has; None where it is not known."""
    return None if row["speaker"] is None else f"{row['corpus']}:{row['speaker']}"


def level_of(z: float, width: float = WIDTH) -> str:
    """low below -width, high above width, else medium."""
    return LEVELS[0] if z < -width else LEVELS[2] if z > width else LEVELS[1]


def opposite(level: str) -> str:
    """The level mirrored; medium stays."""
    return LEVELS[2 - LEVELS.index(level)]


def spreads(clips: Iterable[Mapping[str, float | None]]) -> dict[str, Spread]:
    """Measure -> mean and standard deviation (of the population) over the clips in which it was measured."""
    measured = defaultdict(list)
    for clip in clips:
        for name, value in clip.items():
            if is_measured(value):
                measured[name].append(float(value))
    return {name: (float(np.mean(v)), float(np.std(v))) for name, v in measured.items()}


def is_measured(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _spread(pair) -> Spread:
    mean, deviation = (float(value) for value in pair)
    if not (math.isfinite(mean) and 0 <= deviation < math.inf):
        raise ValueError(f"{[mean, deviation]}")
    return mean, deviation
