"""How far an answer is to be relied on: its confidence, `unsure`, and the set of labels that holds the right one.

    confidence = sigmoid(a + b logit(p) - c (d - median)),   b, c >= 0

p is the largest probability, d the distance to the training clips (`fas_core.familiarity`). Its weights are fitted on corpora and voices
that were left out (`experiments.unsure`), so that far from the training clips the same p is believed less. A label set holds every
emotion whose probability is at least 1 - q: split conformal prediction (Sadinle, Lei and Wasserman 2019), q the quantile over left-out
corpora, each of the same weight (Dunn, Wasserman and Ramdas 2023): what holds for a corpus drawn as these were, not for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from fas_core.errors import CheckpointError, FASError

FLOOR = 1e-4  # of probabilities in a logit
LEVELS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10)) + (0.98,)  # coverages whose quantiles a checkpoint keeps
STEPS = 21  # quantiles of the distances
UNSURE_BELOW = 0.5
PENALTY = 1e-3  # on the squared weights, beside the mean log-likelihood


@dataclass(frozen=True)
class Certainty:
    """What a checkpoint keeps of it.

    Attributes:
        weights: (a, b, c). distances: (STEPS,) quantiles, ascending, of clips whose voice or corpus was left out.
        scores: of `LEVELS`, the q of label sets. below: confidence below which an answer is unsure, unless the user says otherwise.
    """

    weights: tuple[float, ...]
    distances: tuple[float, ...]
    scores: tuple[float, ...]
    below: float = UNSURE_BELOW

    @classmethod
    def of(cls, values: Mapping | None) -> Certainty | None:
        """Of `FASConfig.certainty`.

        Raises:
            CheckpointError: for values that `asdict` of none gives.
        """
        if values is None:
            return None
        lengths = {"weights": 3, "distances": STEPS, "scores": len(LEVELS)}
        is_right = isinstance(values, Mapping) and set(values) == {*lengths, "below"} and _is_number(values["below"])
        for name, length in lengths.items() if is_right else ():
            row = values[name]
            is_right = is_right and isinstance(row, Sequence) and len(row) == length and all(map(_is_number, row))
        if not is_right or not 0 <= values["below"] <= 1 or list(values["distances"]) != sorted(values["distances"]):
            expected = ", ".join(f"{name} ({length} numbers)" for name, length in lengths.items())
            raise CheckpointError(
                f"FASConfig.certainty: expected {expected}, ascending distances, below (0 to 1), or null"
            )
        weights, distances, scores = (tuple(map(float, values[name])) for name in lengths)
        return cls(weights, distances, scores, float(values["below"]))

    def to_dict(self) -> dict:
        """JSON-ready."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def confidence(self, p: ArrayLike, distance: ArrayLike) -> np.ndarray:
        """(N,) probability that the label is right, of the largest probability (N,) and the distance (N,)."""
        a, b, c = self.weights
        return _sigmoid(a + b * _logit(p) - c * (np.asarray(distance) - self.distances[STEPS // 2]))

    def familiarity(self, distance: float) -> float:
        """Share, 0 to 1, of the clips it was fitted on that lie further away."""
        return 1 - float(np.interp(distance, self.distances, np.linspace(0, 1, STEPS)))

    def label_set(self, probabilities: Mapping[str, float], coverage: float) -> list[str]:
        """Emotions by falling probability, the most probable one in any case; `coverage` as of `checked_coverage`."""
        least = 1 - float(np.interp(coverage, LEVELS, self.scores))
        ordered = sorted(probabilities, key=probabilities.__getitem__, reverse=True)
        return [e for i, e in enumerate(ordered) if i == 0 or probabilities[e] >= least]


def fit_confidence(
    p: np.ndarray, distance: np.ndarray, is_right: np.ndarray, weights: np.ndarray, median: float
) -> tuple[float, ...]:
    """(a, b, c) of highest likelihood.

    Args:
        p, distance: (N,) as of `Certainty.confidence`. is_right: (N,) bool. weights: (N,) of the clips.
        median: of the distances.
    """
    from scipy.optimize import minimize  # here, so that `fas --help` does not wait for it

    x = np.column_stack([np.ones(len(p)), _logit(p), median - np.asarray(distance)])
    signs, share = np.where(is_right, 1.0, -1.0), np.asarray(weights) / np.sum(weights)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (x @ w)
        pull = PENALTY * np.append(0, w[1:])
        return share @ np.logaddexp(0, -margins) + pull @ w / 2, -(share * signs * _sigmoid(-margins)) @ x + pull

    bounds = [(None, None), (0, None), (0, None)]
    return tuple(map(float, minimize(loss, np.array([0.0, 1.0, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B").x))


def conformal_score(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, coverage: float) -> float:
    """The q of label sets (`Certainty`) for clips (N, 7), (N,) that nobody trained on: the weighted quantile of 1 - p(label).

    Args:
        weights: (N,) of the clips. coverage: 0 to 1.
    """
    scores = 1 - probabilities[np.arange(len(labels)), labels]
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(scores[order][min(len(order) - 1, int(np.searchsorted(reached, coverage)))])


def checked_coverage(coverage: float | None) -> float | None:
    """Raises FASError for none that label sets can have."""
    if coverage is not None and not LEVELS[0] <= coverage <= LEVELS[-1]:
        raise FASError(
            f"label sets {coverage!r}: expected a coverage from {LEVELS[0]} to {LEVELS[-1]} (--label-sets, label_sets=...)"
        )
    return coverage


def checked_threshold(below: float | None) -> float | None:
    """Raises FASError for what is no probability."""
    if below is not None and not 0 <= below <= 1:
        raise FASError(
            f"unsure below {below!r}: expected a probability, 0 to 1; 0 calls nothing unsure (--unsure-below, unsure_below=...)"
        )
    return below


def _logit(p: ArrayLike) -> np.ndarray:
    p = np.clip(p, FLOOR, 1 - FLOOR)
    return np.log(p / (1 - p))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
