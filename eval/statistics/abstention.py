"""What a system gains by not answering where it is least sure.

Source: Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017 (risk and coverage);
AURC as in Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019.
"""

import numpy as np

POINTS = 100  # of the curve that is kept; AURC is that of all clips
COVERAGES = (0.8, 0.9)


def risk_coverage(correct: np.ndarray, confidence: np.ndarray) -> dict:
    """Risk (share of errors) of the most confident clips, by coverage (their share of all clips).

    Clips of equal confidence have no order: within such a tie errors are spread evenly, which is the mean over all
    orders, so that the curve does not depend on how the clips are sorted.

    Args:
        correct: (N,) bool. confidence: (N,) any numbers, the lowest abstain first.

    Returns:
        JSON-ready. `coverage` and `risk`: at most `POINTS` points, the last at coverage 1. `aurc`: mean risk over the
        coverages 1/N, 2/N, ..., 1. `accuracy_at`: "0.8", "0.9" -> accuracy of at least that share of the clips.
    """
    _, tie, size = np.unique(-np.asarray(confidence), return_inverse=True, return_counts=True)
    wrong = np.bincount(tie, weights=~np.asarray(correct, dtype=bool)) / size
    clips = len(tie)
    risk = np.cumsum(np.repeat(wrong, size)) / np.arange(1, clips + 1)
    points = _first_clips(np.arange(1, POINTS + 1) / POINTS, clips)
    return {
        "coverage": ((points + 1) / clips).tolist(),
        "risk": risk[points].tolist(),
        "aurc": float(risk.mean()),
        "accuracy_at": {str(c): float(1 - risk[_first_clips([c], clips)[0]]) for c in COVERAGES},
    }


def _first_clips(coverages, clips: int) -> np.ndarray:
    """Index of the last clip that each coverage needs; without duplicates."""
    needed = np.ceil(np.round(np.asarray(coverages) * clips, 6))  # 0.07 * 100 is a little more than 7
    return np.unique(needed.astype(int)) - 1
