"""Temperature scaling and expected calibration error.

Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017: sections 2
    (ECE) and
4.2 (temperature scaling). One positive number divides every logit, so that the answer never changes, only
how sure it claims to be.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from fas_core.errors import FASError

# A perfectly separable validation set would pull T to 0, a useless one to infinity.
TEMPERATURE_RANGE = (0.05, 20.0)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Temperature that minimises the negative log-likelihood of `labels`, on clips that no weight was
    trained on.

    Args:
        logits: (N, C), uncalibrated.
        labels: (N,) class indices in 0..C-1.
        weights: (N,) of the clips, where they do not count alike.

    Returns:
        T within `TEMPERATURE_RANGE`; above 1 the logits were too sure of themselves.

    Raises:
        FASError: shapes that do not fit, no clips, logits that are not finite, labels outside 0..C-1.
    """
    logits, labels = _checked(logits, labels, "logits")
    rows = np.arange(len(labels))

    def negative_log_likelihood(log_temperature: float) -> float:
        likelihoods = log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels]
        return -(likelihoods.mean() if weights is None else np.average(likelihoods, weights=weights))

    # in log T the search treats 1/2 and 2 alike
    found = minimize_scalar(negative_log_likelihood, bounds=np.log(TEMPERATURE_RANGE), method="bounded")
    return float(np.exp(found.x))


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / T) over the last axis: (..., C) logits to (..., C) probabilities (float64).

    Raises:
        FASError: a temperature that is not a positive number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise FASError(f"temperature: {temperature}; expected a positive number, 1 changes nothing")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equally wide bins of confidence, weighted by their clips.

    Args:
        probabilities: (N, C), rows summing to 1.
        labels: (N,) class indices.
        bins: number of bins over (0, 1]; 15 in Guo et al.

    Returns:
        0 (calibrated) to 1.
    """
    counts, accuracy, confidence = reliability_bins(probabilities, labels, bins)
    return float(np.sum(counts * np.abs(accuracy - confidence)) / counts.sum())


def reliability_bins(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips (bins,), accuracy (bins,) and mean confidence (bins,) of each bin of confidence; empty bins hold
    0.
    """
    probabilities, labels = _checked(probabilities, labels, "probabilities")
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    filled = np.maximum(counts, 1)
    return (
        counts,
        np.bincount(index, weights=correct, minlength=bins) / filled,
        np.bincount(index, weights=confidence, minlength=bins) / filled,
    )


def _checked(scores: ArrayLike, labels: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise FASError(
            f"{name}: shape {scores.shape} with labels {labels.shape}; expected (N, C) and (N,), N at least 1"
        )
    if not np.isfinite(scores).all():
        broken = int((~np.isfinite(scores)).any(axis=1).sum())
        raise FASError(f"{name}: {broken} of {len(scores)} rows hold NaN or infinite values; expected numbers")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise FASError(f"labels: expected class indices (integers) in 0..{scores.shape[1] - 1}")
    return scores, labels
