"""Linear discriminants of clip statistics with a shrunk covariance: what carries over from a few voices to others.

A head trained by gradient weighs thousands of statistics of a few dozen voices alike, also those in which nothing but voices
and recordings differ; on another corpus these are what moves. A linear discriminant divides by the covariance within the
emotions, and so mistrusts the directions in which clips of one emotion differ most. Shrinking that covariance (Ledoit and
Wolf 2004) makes it estimable from fewer clips than statistics. docs/results.md says what it gained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from sklearn.covariance import shrunk_covariance
from sklearn.model_selection import GroupKFold
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from fas_core.calibration import fit_temperature
from fas_core.errors import FeatureError
from fas_core.labels import EMOTIONS

SPLITS = 3  # of the groups that are held out for the temperature
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


@dataclass(frozen=True)
class Corpora:
    """From where the clips come, and how much each counts.

    Attributes:
        names: (N,) corpus of each clip.
        weights: (N,) of each clip; only their ratios matter.
        alike: the mean of an emotion is the mean of the corpora's means, each with the weight of all its clips; else each corpus
            has the weight of its clips of that emotion.
        between: of the covariance between the corpora of one emotion, beside that within (corpus, emotion). 1 is the plain
            covariance within the emotions; more mistrusts the directions in which corpora differ.
    """

    names: np.ndarray
    weights: np.ndarray
    alike: bool = False
    between: float = 1.0

    def at(self, rows: np.ndarray) -> Corpora:
        """Those of some clips."""
        return replace(self, names=self.names[rows], weights=self.weights[rows])


def fit_discriminant(
    statistics: np.ndarray,
    labels: np.ndarray,
    groups: Sequence,
    shrinkage: float,
    deviation_weight: float = 1.0,
    corpora: Corpora | None = None,
    splits: int = SPLITS,
) -> Discriminant:
    """Fit on clips; all emotions are equally likely beforehand.

    The temperature is that of discriminants fitted without the groups that they are tried on: on its own training clips a
    discriminant is far too sure.

    Args:
        statistics: (N, F), standardised; means, then deviations.
        labels: (N,) emotions in the order of `EMOTIONS`.
        groups: (N,) voices, or corpora; no group is on both sides of a split.
        shrinkage: above 0, at most 1; the share of the covariance that is replaced by a multiple of the identity.
        deviation_weight: what the second half of the statistics, the deviations, is multiplied by; less than 1 trusts them less
            than the means, because the covariance is shrunk towards one variance for all.
        corpora: where clips of several corpora are not to count alike.
        splits: into how many parts the groups are divided, each held out once.

    Raises:
        FeatureError: clips of fewer than two emotions.
    """
    return fit_discriminants(statistics, labels, groups, [shrinkage], deviation_weight, corpora, splits)[0]


def fit_discriminants(
    statistics: np.ndarray,
    labels: np.ndarray,
    groups: Sequence,
    shrinkages: Sequence[float],
    deviation_weight: float = 1.0,
    corpora: Corpora | None = None,
    splits: int = SPLITS,
) -> list[Discriminant]:
    """One for each shrinkage, all of one covariance; arguments and errors are those of `fit_discriminant`."""
    return [each for each, _ in _fit_all(statistics, labels, groups, shrinkages, deviation_weight, corpora, splits)]


def fit_with_held_out(
    statistics: np.ndarray,
    labels: np.ndarray,
    groups: Sequence,
    shrinkage: float,
    deviation_weight: float = 1.0,
    corpora: Corpora | None = None,
    splits: int = SPLITS,
) -> tuple[Discriminant, np.ndarray]:
    """The discriminant, and (N, 7) what those without each clip's group say of it, at the same temperature.

    `ABSENT` is the logit of an emotion that the other groups do not have. Arguments and errors are those of `fit_discriminant`.
    """
    return _fit_all(statistics, labels, groups, [shrinkage], deviation_weight, corpora, splits)[0]


def _fit_all(
    statistics: np.ndarray, labels: np.ndarray, groups: Sequence, shrinkages: Sequence[float], deviation_weight: float,
    corpora: Corpora | None, splits: int,
) -> list[tuple[Discriminant, np.ndarray]]:  # fmt: skip
    if len(np.unique(labels)) < 2:
        raise FeatureError(
            f"the acoustic discriminant needs clips of two emotions or more, these have {len(np.unique(labels))}; "
            "see --corpora, or --head_shrinkage 0"
        )
    scale = np.ones(np.shape(statistics)[1], np.float32)
    scale[len(scale) // 2 :] = deviation_weight
    x = np.asarray(statistics, dtype=np.float32) * scale
    fitted = _fit(x, labels, shrinkages, corpora)
    groups = np.unique(np.asarray(groups), return_inverse=True)[1]
    held_out = _held_out(x, labels, groups, shrinkages, corpora, splits)
    temperatures = [_temperature(logits, labels, corpora and corpora.weights) for logits in held_out]
    return [
        (
            _calibrated(each, scale, temperature),
            np.where(logits == ABSENT, ABSENT, logits / temperature).astype(np.float32),
        )
        for each, logits, temperature in zip(fitted, held_out, temperatures, strict=True)
    ]


def _calibrated(fitted: Discriminant, scale: np.ndarray, temperature: float) -> Discriminant:
    bias = np.where(fitted.bias == ABSENT, ABSENT, fitted.bias / temperature)
    return Discriminant(fitted.weight * scale / np.float32(temperature), bias.astype(np.float32))


def _fit(x: np.ndarray, labels: np.ndarray, shrinkages: Sequence[float], corpora: Corpora | None) -> list[Discriminant]:
    rest, means, present = _deviations(x, labels, corpora)
    covariance = (rest.T @ rest / len(rest)).astype(np.float64)
    del rest
    return [_solve(shrunk_covariance(covariance, shrinkage), means, present) for shrinkage in shrinkages]


def _solve(covariance: np.ndarray, means: np.ndarray, present: np.ndarray) -> Discriminant:
    directions = scipy.linalg.solve(covariance, means.T, assume_a="pos", overwrite_a=True).T
    weight = np.zeros((len(EMOTIONS), means.shape[1]), np.float32)
    bias = np.full(len(EMOTIONS), ABSENT, np.float32)
    weight[present], bias[present] = directions, -0.5 * (directions * means).sum(1)
    return Discriminant(weight, bias)


def _held_out(
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    shrinkages: Sequence[float],
    corpora: Corpora | None,
    splits: int,
) -> np.ndarray:
    """(S, N, 7): each group's logits by a discriminant of the other groups; `ABSENT` where there is one group only."""
    logits = np.full((len(shrinkages), len(x), len(EMOTIONS)), ABSENT)
    if len(np.unique(groups)) < 2:
        return logits
    for train, held_out in GroupKFold(min(splits, len(np.unique(groups)))).split(x, groups=groups):
        fitted = _fit(x[train], labels[train], shrinkages, corpora and corpora.at(train))
        for each, discriminant in zip(logits, fitted, strict=True):
            each[held_out] = discriminant(x[held_out])
    return logits


def _temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
    possible = (
        logits[np.arange(len(labels)), labels] != ABSENT
    )  # no temperature helps where only this group has the emotion
    if not possible.any():
        return 1.0
    return fit_temperature(logits[possible], labels[possible], None if weights is None else weights[possible])


def within_emotion_directions(
    statistics: np.ndarray, labels: np.ndarray, shrinkage: float, rank: int, corpora: Corpora | None = None
) -> np.ndarray:
    """Directions (rank, F) in which clips of one emotion differ most, so long that `whiten` leaves of them what the discriminant
    would: the shrunk deviation within the emotions becomes the same in all directions, up to the rest beyond `rank`.

    Args:
        statistics, labels, shrinkage, corpora: as for `fit_discriminant`.
        rank: fewer where there are fewer clips; the missing rows are zero.
    """
    rest = _deviations(np.asarray(statistics, dtype=np.float32), labels, corpora)[0]
    floor = shrinkage * float((rest**2).mean())
    _, scale, directions = randomized_svd(rest, min(rank, *rest.shape), n_iter=4, random_state=0)
    kept = np.sqrt(floor / ((1 - shrinkage) * scale**2 / len(rest) + floor))
    found = np.zeros((rank, rest.shape[1]), np.float32)
    found[: len(kept)] = np.sqrt(1 - kept)[:, None] * directions
    return found


def whiten(statistics: Tensor, directions: Tensor) -> Tensor:
    """(B, F) and `within_emotion_directions` (rank, F) -> (B, F)."""
    return statistics - (statistics @ directions.T) @ directions


def _deviations(
    x: np.ndarray, labels: np.ndarray, corpora: Corpora | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each clip from the mean of its emotion, (N, F); the means (C, F); and whose they are (C,).

    With corpora the rows are (N + cells, F), the mean of whose squares is the covariance that `Corpora` describes.
    """
    present = np.unique(labels)
    if corpora is not None:
        return *_deviations_by_corpus(x, labels, corpora), present
    means = np.stack([x[labels == label].mean(0) for label in present])
    return x - means[np.searchsorted(present, labels)], means, present


def _deviations_by_corpus(x: np.ndarray, labels: np.ndarray, corpora: Corpora) -> tuple[np.ndarray, np.ndarray]:
    """Clips from the mean of their cell (corpus, emotion), then cells from the mean of their emotion; and these means."""
    weights = (corpora.weights / corpora.weights.mean()).astype(np.float32)
    of_corpus = {name: weights[corpora.names == name].sum() for name in np.unique(corpora.names)}
    within, between, means = np.empty_like(x), [], []
    for label in np.unique(labels):
        names = np.unique(corpora.names[labels == label])
        cells = [np.flatnonzero((labels == label) & (corpora.names == name)) for name in names]
        centres = np.stack([np.average(x[cell], axis=0, weights=weights[cell]) for cell in cells]).astype(np.float32)
        sizes = np.array([weights[cell].sum() for cell in cells])
        means.append(
            np.average(centres, axis=0, weights=[of_corpus[name] for name in names] if corpora.alike else sizes)
        )
        for cell, centre in zip(cells, centres, strict=True):
            within[cell] = np.sqrt(weights[cell])[:, None] * (x[cell] - centre)
        between.append(np.sqrt(corpora.between * sizes)[:, None] * (centres - means[-1]))
    rows = np.concatenate([within, *between]).astype(np.float32)
    rows *= np.float32(np.sqrt(len(rows) / len(x)))  # the mean over all rows is then the sum over the clips' weights
    return rows, np.stack(means).astype(np.float32)
