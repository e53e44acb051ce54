"""What a benchmark says of one system's answers: the figures of results.json, JSON-ready."""

from collections.abc import Sequence

import numpy as np

from fas_core.calibration import expected_calibration_error, reliability_bins
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.statistics.abstention import risk_coverage
from fas_eval.statistics.metrics import answer_figures, checked_indices
from fas_eval.statistics.resampling import Bootstrap


def score_answers(
    labels: np.ndarray,
    answers: np.ndarray,
    probabilities: np.ndarray | None = None,
    speakers: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 42,
    confidence: float = 0.95,
) -> dict:
    """Score answers against the reference.

    Args:
        labels: (N,) indices into `EMOTIONS`.
        answers: (N,) indices into `EMOTIONS`, -1 where no emotion was named: wrong, never dropped.
        probabilities: (N, 7) of systems that give them; a row of NaN for a clip without. Rows of clips without an answer
            are not read.
        speakers: (N,) speaker of each clip, to draw speakers instead of clips (see docs/statistics.md for when).
        resamples, seed: of the bootstrap. confidence: of the intervals.

    Returns:
        clips, answered: how many there are, and how many were answered with an emotion.
        accuracy, ua, macro_f1: see `eval.statistics.metrics`; means over the emotions present in the reference.
        intervals: metric -> [low, high]. recall, precision, f1, support: emotion -> figure, of those emotions.
        confusion: 7 x 8 counts, rows the reference; the last column holds the clips without an answer.
        ece: expected calibration error. reliability: {"counts", "accuracy", "confidence"} of its 15 bins. Both are of
            the most probable emotion, over the answered clips that have probabilities; None where none has.
        abstention: see `abstention.risk_coverage`, over all clips; None where none has probabilities.
        resampled: "clips" or "speakers". resamples, seed, confidence: how.

    Raises:
        FASError: no clips, shapes or indices that do not fit, rows that are not probabilities.
    """
    labels = checked_indices(labels, "labels")
    answers = checked_indices(answers, "answers", len(labels), lowest=-1)
    bootstrap = Bootstrap(len(labels), speakers, resamples, seed)
    return {
        **answer_figures(labels, answers, bootstrap, confidence),
        "answered": int((answers >= 0).sum()),
        **_confidence_figures(labels, answers, probabilities),
    }


def _confidence_figures(labels: np.ndarray, answers: np.ndarray, probabilities: np.ndarray | None) -> dict:
    if probabilities is None:
        probabilities = np.full((len(labels), len(EMOTIONS)), np.nan)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.shape != (len(labels), len(EMOTIONS)):
        raise FASError(f"probabilities: shape {probabilities.shape}; expected ({len(labels)}, {len(EMOTIONS)})")
    known = (answers >= 0) & ~np.isnan(probabilities).all(axis=1)
    if not known.any():
        return {"ece": None, "reliability": None, "abstention": None}
    rows, reference = probabilities[known], labels[known]
    _check_rows(rows)
    # no answer before all others, then answers that came without probabilities
    confidence = np.where(answers < 0, -2.0, -1.0)
    confidence[known] = rows.max(axis=1)
    bins = zip(("counts", "accuracy", "confidence"), reliability_bins(rows, reference), strict=True)
    return {
        "ece": expected_calibration_error(rows, reference),
        "reliability": {name: values.tolist() for name, values in bins},
        "abstention": risk_coverage(answers == labels, confidence),
    }


def _check_rows(rows: np.ndarray) -> None:
    # written so that NaN fails too; 1e-3 leaves room for half precision
    broken = ~((rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1) < 1e-3))
    if broken.any():
        raise FASError(
            f"probabilities: {int(broken.sum())} of {len(rows)} rows are none; expected values of at least 0 "
            "that sum to 1, or NaN throughout where a clip has none"
        )
