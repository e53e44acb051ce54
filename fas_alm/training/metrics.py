"""What validation says: accuracy of the options, and how much of the answer's probability they hold."""

import numpy as np
from transformers import EvalPrediction

from fas_core.calibration import fit_temperature
from fas_core.training.fas import head_metrics


def option_metrics(scores: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> dict[str, float]:
    """Metrics of lettered answers.

    Args:
        scores: (N, 7) log-probabilities of the options over the whole vocabulary, in the order of the labels.
        labels: (N,) indices of the right options.
        temperature: divides the scores before the calibration error.

    Returns:
        `accuracy`, `ua`, `macro_f1`, `ece_before`, `ece`, `temperature`, `clips`, and `mass`, the mean probability that the
        seven letters hold together.
    """
    scores = np.asarray(scores, dtype=np.float64)
    return head_metrics(scores, labels, temperature) | {"mass": float(np.exp(scores).sum(1).mean())}


def trainer_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """For transformers' trainer; only numbers that a tracker can draw."""
    metrics = option_metrics(prediction.predictions, prediction.label_ids)
    return {name: metrics[name] for name in ("accuracy", "ua", "macro_f1", "mass")}


def calibrated(scores: np.ndarray, labels: np.ndarray) -> tuple[float, dict[str, float]]:
    """The temperature that fits the validation clips best, and their metrics with it."""
    temperature = fit_temperature(np.asarray(scores, dtype=np.float64), labels)
    return temperature, option_metrics(scores, labels, temperature)
