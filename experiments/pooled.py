"""Pooled baselines: logistic regression on statistics over time of one stream's patches.

"Acoustic only" and "semantic only" are this class on the patches of one stream; what fusion must beat.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

STATISTICS = ("mean", "mean+deviation")


def pool(features: list[np.ndarray], statistics: str = "mean") -> np.ndarray:
    """Statistics over time of each clip's (P, D) patches: (N, D) for "mean", (N, 2D) for "mean+deviation".

    Raises:
        FASError: an unknown statistic, no clips, or a clip that is not (P, D) with P of at least 1 and a
            common D.
    """
    if statistics not in STATISTICS:
        raise FASError(f"statistics: {statistics!r}; expected one of {', '.join(STATISTICS)}")
    if not features:
        raise FASError("features: no clips; expected a list of (P, D) arrays")
    for i, patches in enumerate(features):
        if np.ndim(patches) != 2 or not len(patches) or np.shape(patches)[1] != np.shape(features[0])[1]:
            raise FASError(f"features[{i}]: shape {np.shape(patches)}; expected (P, D), P > 0, D as in features[0]")
    # sums over the cache's fp16 would overflow
    clips = [np.asarray(patches, dtype=np.float64) for patches in features]
    pooled = np.stack([clip.mean(axis=0) for clip in clips])
    if statistics == "mean":
        return pooled
    return np.concatenate([pooled, np.stack([clip.std(axis=0) for clip in clips])], axis=1)


class PooledBaseline:
    """Standardised pooled statistics and a multinomial logistic regression.

    Args:
        statistics: "mean" or "mean+deviation" over time.
        C: inverse strength of the L2 penalty, the one setting to choose on validation.
        seed: of the solver.
    """

    def __init__(self, statistics: str = "mean+deviation", *, C: float = 1.0, seed: int = 42):
        self.statistics = statistics
        self.classifier = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000, random_state=seed))

    def fit(self, features: list[np.ndarray], labels: np.ndarray) -> "PooledBaseline":
        """Train on N clips: (P, D) patches each, and (N,) indices into `EMOTIONS`."""
        self.classifier.fit(pool(features, self.statistics), np.asarray(labels))
        return self

    def predict_proba(self, features: list[np.ndarray]) -> np.ndarray:
        """(N, 7) probabilities in the order of `EMOTIONS`; 0 for an emotion that training did not contain."""
        probabilities = np.zeros((len(features), len(EMOTIONS)))
        probabilities[:, self.classifier.classes_] = self.classifier.predict_proba(pool(features, self.statistics))
        return probabilities
