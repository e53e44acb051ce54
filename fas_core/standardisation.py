"""Per-stream feature standardisation: statistics of a set of clips (no labels are read)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fas_core.errors import FeatureError

MIN_DEVIATION = 1e-5


@dataclass
class FeatureStatistics:
    """Mean and deviation, each a pair of arrays, of one stream.

    Attributes:
        patches: over all patches of all clips, (D,) and (D,).
        clips: over the clips' own statistics (mean and deviation of the clip's standardised patches), (2 D,)
            and (2 D,).
    """

    patches: tuple[np.ndarray, np.ndarray]
    clips: tuple[np.ndarray, np.ndarray]


def feature_statistics(
    clips: Iterable[np.ndarray], deviations: Iterable[np.ndarray] | None = None
) -> FeatureStatistics:
    """Statistics of one stream.

    Args:
        clips: patches (P, D) of each clip; read once, never held at the same time.
        deviations: (D,) deviation over frames of each clip; that over patches where None.

    Raises:
        FeatureError: there are no clips.
    """
    count, total, squares, rows = 0, 0.0, 0.0, []
    for clip in clips:
        x = np.asarray(clip, dtype=np.float64)
        count, total, squares = count + len(x), total + x.sum(0), squares + (x**2).sum(0)
        rows.append((x.mean(0), np.sqrt(x.var(0) + 1e-6)))
    if not count:
        raise FeatureError("no clip to take feature statistics of; see the list of failed files, and --corpora")
    mean = total / count
    deviation = _scale(np.sqrt(np.maximum(squares / count - mean**2, 0)))
    # Statistics of the standardised patches follow from those of the raw ones.
    means = (np.stack([m for m, _ in rows]) - mean) / deviation
    spreads = np.stack([s for _, s in rows] if deviations is None else list(deviations)) / deviation
    pooled = np.concatenate([means, spreads], 1)
    spread = _scale(pooled.std(0))
    return FeatureStatistics(
        patches=(mean.astype(np.float32), deviation.astype(np.float32)),
        clips=(pooled.mean(0).astype(np.float32), spread.astype(np.float32)),
    )


def _scale(deviation: np.ndarray) -> np.ndarray:
    """What to divide by: 1 for a feature that never moved, or the first clip to move it would drown all others."""
    return np.where(deviation < MIN_DEVIATION, 1.0, deviation)
