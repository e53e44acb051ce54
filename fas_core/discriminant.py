"""Linear discriminants of clip statistics with a shrunk covariance: what carries over from a few voices to others.

A head trained by gradient weighs thousands of statistics of a few dozen voices alike, also those in which nothing but voices
and recordings differ; on another corpus these are what moves. A linear discriminant divides by the covariance within the
emotions, and so mistrusts the directions in which clips of one emotion differ most. Shrinking that covariance (Ledoit and
Wolf 2004) makes it estimable from fewer clips than statistics. docs/results.md says what it gained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from sklearn.covariance import shrunk_covariance
from sklearn.model_selection import GroupKFold
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from fas_core.calibration import fit_temperature
from fas_core.errors import FeatureError
from fas_core.labels import EMOTIONS

SPLITS = 3  # of the speakers, for the temperature
ABSENT = -1e4  # logit of an emotion that no training clip has


@dataclass
class Discriminant:
    """Calibrated logits are `statistics @ weight.T + bias`.

    Attributes:
        weight: (7, F); bias: (7,), float32.
    """

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, statistics: np.ndarray) -> np.ndarray:
        """(N, F) -> (N, 7)."""
        return statistics @ self.weight.T + self.bias


def fit_discriminant(
    statistics: np.ndarray, labels: np.ndarray, groups: Sequence, shrinkage: float, deviation_weight: float = 1.0
) -> Discriminant:
    """Fit on clips; all emotions are equally likely beforehand.

    The temperature is that of discriminants fitted without the voices that they are tried on: on its own training clips a
    discriminant is far too sure.

    Args:
        statistics: (N, F), standardised; means, then deviations.
        labels: (N,) emotions in the order of `EMOTIONS`.
        groups: (N,) voices; no voice is on both sides of a split.
        shrinkage: above 0, at most 1; the share of the covariance that is replaced by a multiple of the identity.
        deviation_weight: what the second half of the statistics, the deviations, is multiplied by; less than 1 trusts them less
            than the means, because the covariance is shrunk towards one variance for all.

    Raises:
        FeatureError: clips of fewer than two emotions.
    """
    if len(np.unique(labels)) < 2:
        raise FeatureError(
            f"the acoustic discriminant needs clips of two emotions or more, these have {len(np.unique(labels))}; "
            "see --corpora, or --head_shrinkage 0"
        )
    scale = np.ones(np.shape(statistics)[1], np.float32)
    scale[len(scale) // 2 :] = deviation_weight
    x = np.asarray(statistics, dtype=np.float32) * scale
    fitted = _fit(x, labels, shrinkage)
    temperature = _temperature(x, labels, np.unique(np.asarray(groups), return_inverse=True)[1], shrinkage)
    bias = np.where(fitted.bias == ABSENT, ABSENT, fitted.bias / temperature)
    return Discriminant(fitted.weight * scale / np.float32(temperature), bias.astype(np.float32))


def _fit(x: np.ndarray, labels: np.ndarray, shrinkage: float) -> Discriminant:
    rest, means, present = _deviations(x, labels)
    covariance = shrunk_covariance((rest.T @ rest / len(x)).astype(np.float64), shrinkage)
    directions = scipy.linalg.solve(covariance, means.T, assume_a="pos", overwrite_a=True).T
    weight = np.zeros((len(EMOTIONS), x.shape[1]), np.float32)
    bias = np.full(len(EMOTIONS), ABSENT, np.float32)
    weight[present], bias[present] = directions, -0.5 * (directions * means).sum(1)
    return Discriminant(weight, bias)


def _temperature(x: np.ndarray, labels: np.ndarray, groups: np.ndarray, shrinkage: float) -> float:
    """Fitted on each voice's logits by a discriminant of other voices; 1 where there is one voice only."""
    if len(np.unique(groups)) < 2:
        return 1.0
    logits = np.full((len(x), len(EMOTIONS)), ABSENT)
    for train, held_out in GroupKFold(min(SPLITS, len(np.unique(groups)))).split(x, groups=groups):
        logits[held_out] = _fit(x[train], labels[train], shrinkage)(x[held_out])
    possible = logits[np.arange(len(x)), labels] != ABSENT  # no temperature helps where only this voice has the emotion
    return fit_temperature(logits[possible], labels[possible]) if possible.any() else 1.0


def within_emotion_directions(statistics: np.ndarray, labels: np.ndarray, shrinkage: float, rank: int) -> np.ndarray:
    """Directions (rank, F) in which clips of one emotion differ most, so long that `whiten` leaves of them what the discriminant
    would: the shrunk deviation within the emotions becomes the same in all directions, up to the rest beyond `rank`.

    Args:
        statistics, labels, shrinkage: as for `fit_discriminant`.
        rank: fewer where there are fewer clips; the missing rows are zero.
    """
    rest = _deviations(np.asarray(statistics, dtype=np.float32), labels)[0]
    floor = shrinkage * float((rest**2).mean())
    _, scale, directions = randomized_svd(rest, min(rank, *rest.shape), n_iter=4, random_state=0)
    kept = np.sqrt(floor / ((1 - shrinkage) * scale**2 / len(rest) + floor))
    found = np.zeros((rank, rest.shape[1]), np.float32)
    found[: len(kept)] = np.sqrt(1 - kept)[:, None] * directions
    return found


def whiten(statistics: Tensor, directions: Tensor) -> Tensor:
    """(B, F) and `within_emotion_directions` (rank, F) -> (B, F)."""
    return statistics - (statistics @ directions.T) @ directions


def _deviations(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each clip from the mean of its emotion, (N, F); the means (C, F); and whose they are (C,)."""
    present = np.unique(labels)
    means = np.stack([x[labels == label].mean(0) for label in present])
    return x - means[np.searchsorted(present, labels)], means, present
