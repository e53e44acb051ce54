"""The bootstrap: what is drawn, clips or speakers, and intervals from what was drawn.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993. Every figure of the suite is a function of counts
(of a confusion matrix, say), so that a resample is one draw of counts, whatever the number of clips.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, stdtrit

from fas_core.errors import FASError


class Bootstrap:
    """Resamples of one set of clips; the same seed draws the same clips or speakers for every system.

    Args:
        clips: number of clips.
        speakers: (N,) speaker of each clip, to draw speakers with all their clips; None draws clips. One single speaker
            cannot be drawn: clips are, and `resampled` says so.
        resamples, seed: of the draws.

    Attributes:
        resampled: "clips" or "speakers". units: how many of them there are.

    Raises:
        FASError: no resamples, or speakers that are missing or do not fit the clips.
    """

    def __init__(self, clips: int, speakers: Sequence[str] | None = None, resamples: int = 1000, seed: int = 42):
        if resamples < 1:
            raise FASError(f"resamples: {resamples}; expected at least 1")
        self.resamples, self.seed = resamples, seed
        self.speakers, self.units, self.resampled = None, clips, "clips"
        if speakers is not None:
            names, index = np.unique(_checked_speakers(speakers, clips), return_inverse=True)
            if len(names) > 1:
                self.speakers, self.units, self.resampled = index, len(names), "speakers"

    def counts(self, cells: np.ndarray, size: int) -> np.ndarray:
        """(resamples, size) how many clips fall into each cell; `cells` (N,) is the cell of each clip, in 0..size-1.

        Clips drawn with replacement follow a multinomial over the cells. Speakers follow one of their own, and each
        brings the counts of its clips.
        """
        generator = np.random.default_rng(self.seed)
        occupied, index = np.unique(cells, return_inverse=True)
        if self.speakers is None:
            found = generator.multinomial(self.units, np.bincount(index) / self.units, size=self.resamples)
        else:
            table = np.zeros((self.units, len(occupied)))  # float: numpy multiplies integers slowly
            np.add.at(table, (self.speakers, index), 1)
            found = generator.multinomial(self.units, np.full(self.units, 1 / self.units), size=self.resamples) @ table
        drawn = np.zeros((self.resamples, size), dtype=np.int64)
        drawn[:, occupied] = found
        return drawn

    def interval(self, values: np.ndarray, confidence: float) -> list[float]:
        """Expanded percentile interval of (resamples,) values; NaN, a figure that a resample did not have, is left out.

        The plain percentile interval is too short for few units: it has the spread of n - 1 of n units and the normal
        distribution's tails. The levels are moved out to where Student's t would put them (Hesterberg, "What Teachers
        Should Know About the Bootstrap", The American Statistician 69(4), 2015, section 4.1). From some fifty units on
        there is no difference to speak of; ten speakers get the 0.9% and 99.1% points instead of 2.5% and 97.5%.
        """
        tail = 100 * ndtr(-self.t_quantile(confidence))
        return [float(v) for v in np.nanpercentile(values, [tail, 100 - tail])]

    def t_quantile(self, confidence: float) -> float:
        """Bootstrap standard errors in half an interval: Student's t with units - 1 degrees of freedom, and
        sqrt(n / (n - 1)) because the resamples spread around the sample and not around what it stands for.
        """
        if self.units < 2:
            return np.inf
        return float(stdtrit(self.units - 1, (1 + confidence) / 2) * np.sqrt(self.units / (self.units - 1)))


def _checked_speakers(speakers: Sequence[str], clips: int) -> np.ndarray:
    if len(speakers) != clips:
        raise FASError(f"speakers: {len(speakers)} for {clips} clips; expected one a clip, or None to draw clips")
    unknown = sum(speaker in (None, "") for speaker in speakers)
    if unknown:
        raise FASError(f"speakers: {unknown} of {clips} clips have none; expected one a clip, or None to draw clips")
    return np.asarray(speakers, dtype=str)
