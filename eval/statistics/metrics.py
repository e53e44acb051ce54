"""Figures of a seven-class emotion classifier, with bootstrap intervals.

Point estimates come from scikit-learn. Names as in the papers: WA (weighted accuracy) is plain accuracy, UA
(unweighted accuracy) the mean recall of the classes, macro-F1 the mean F1 of the classes. "The classes" are
those present in the reference: a corpus with four emotions is scored on four, and a prediction of one of
the other three is an error (of recall, and so of F1), never a class of its own. An answer that names no emotion, -1, is
an error likewise.
"""

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from eval.statistics.resampling import Bootstrap
from fas_core.calibration import apply_temperature, expected_calibration_error
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

METRICS = ("accuracy", "ua", "macro_f1")
COLUMNS = len(EMOTIONS) + 1  # of a confusion matrix: the last one holds answers that name no emotion


@dataclass(frozen=True)
class ClassificationReport:
    """Everything that is reported about one set of answers. Figures are fractions of 1, never per cent.

    Attributes:
        clips: number of clips scored.
        accuracy: WA. ua: mean recall. macro_f1: mean F1. Means over the classes present in the reference.
        intervals: metric -> (low, high), percentile bootstrap at `confidence` (`resampling.Bootstrap`).
        recall: emotion -> recall, of the classes present in the reference.
        support: emotion -> clips in the reference.
        confusion: 7 x 7 counts, rows the reference, columns the answer, in the order of `EMOTIONS`.
        ece_before: expected calibration error of softmax(logits). ece_after: of softmax(logits /
            temperature), None where no temperature was fitted.
        resampled: "clips" or "speakers", what the bootstrap draws. resamples, seed, confidence: how.
    """

    clips: int
    accuracy: float
    ua: float
    macro_f1: float
    intervals: dict[str, tuple[float, float]]
    recall: dict[str, float]
    support: dict[str, int]
    confusion: list[list[int]]
    ece_before: float
    ece_after: float | None
    resampled: str
    resamples: int
    seed: int
    confidence: float = 0.95

    def to_dict(self) -> dict:
        """JSON-ready."""
        return {**asdict(self), "intervals": {name: list(pair) for name, pair in self.intervals.items()}}


def classification_report(
    labels: np.ndarray,
    logits: np.ndarray,
    *,
    temperature: float | None = None,
    speakers: list[str] | None = None,
    resamples: int = 1000,
    seed: int = 42,
) -> ClassificationReport:
    """Score answers against the reference.

    Args:
        labels: (N,) indices into `EMOTIONS`.
        logits: (N, 7), uncalibrated.
        temperature: fitted on validation (`fas_core.calibration`); None where there is none.
        speakers: (N,) speaker of each clip: the bootstrap then draws speakers with all their clips, which
            gives the wider and more honest interval where the clips of one voice resemble each other. None
            draws clips.
        resamples: bootstrap resamples. seed: of the bootstrap.

    Raises:
        FASError: no clips, or shapes and labels that do not fit.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.shape[1] != len(EMOTIONS):
        raise FASError(f"logits: shape {logits.shape}; expected (N, {len(EMOTIONS)}), one column an emotion")
    ece_before = expected_calibration_error(apply_temperature(logits, 1.0), labels)  # checks labels as well
    bootstrap = Bootstrap(len(labels), speakers, resamples, seed)
    found = answer_figures(labels, logits.argmax(axis=1), bootstrap, ClassificationReport.confidence)
    return ClassificationReport(
        **{name: found[name] for name in ("clips", *METRICS, "recall", "support", "resampled", "resamples", "seed")},
        intervals={name: tuple(pair) for name, pair in found["intervals"].items()},
        confusion=[row[: len(EMOTIONS)] for row in found["confusion"]],
        ece_before=ece_before,
        ece_after=None
        if temperature is None
        else expected_calibration_error(apply_temperature(logits, temperature), labels),
    )


def answer_figures(labels: np.ndarray, answers: np.ndarray, bootstrap: Bootstrap, confidence: float) -> dict:
    """What the named emotions alone say, JSON-ready; the fields are described at `scores.score_answers`.

    Args:
        labels: (N,) indices into `EMOTIONS`. answers: (N,) likewise, -1 where no emotion was named; both checked.
    """
    classes = np.unique(labels)
    by_class = precision_recall_fscore_support(labels, answers, labels=classes, zero_division=0)
    names = [EMOTIONS[c] for c in classes]
    precision, recall, f1, support = (dict(zip(names, x.tolist(), strict=True)) for x in by_class)
    resampled = confusion_metrics(resample_confusions(labels, answers, bootstrap))
    return {
        "clips": len(labels),
        "accuracy": float(accuracy_score(labels, answers)),
        "ua": float(by_class[1].mean()),
        "macro_f1": float(by_class[2].mean()),
        "intervals": {name: bootstrap.interval(values, confidence) for name, values in resampled.items()},
        "recall": recall,
        "precision": precision,
        "f1": f1,
        "support": support,
        "confusion": confusion_matrix(labels, answers, labels=[*range(len(EMOTIONS)), -1])[:-1].tolist(),
        "resampled": bootstrap.resampled,
        "resamples": bootstrap.resamples,
        "seed": bootstrap.seed,
        "confidence": confidence,
    }


def checked_indices(values: np.ndarray, name: str, clips: int | None = None, lowest: int = 0) -> np.ndarray:
    """(N,) indices into `EMOTIONS`; with `lowest` -1 also the answer that names none.

    Raises:
        FASError: none at all, another number than `clips`, or values that are no such indices; it calls them `name`.
    """
    values = np.asarray(values)
    if values.ndim != 1 or not len(values) or (clips is not None and len(values) != clips):
        expected = "(N,), N at least 1" if clips is None else f"({clips},), one a clip"
        raise FASError(f"{name}: shape {values.shape}; expected {expected}")
    if not np.issubdtype(values.dtype, np.integer) or values.min() < lowest or values.max() >= len(EMOTIONS):
        none = ", -1 where no emotion is named" if lowest < 0 else ""
        raise FASError(f"{name}: expected indices (integers) of emotions, 0..{len(EMOTIONS) - 1}{none}")
    return values


def answer_columns(answers: np.ndarray) -> np.ndarray:
    """Column of the confusion matrix of each answer: -1, no emotion named, has the last one."""
    return np.where(answers < 0, COLUMNS - 1, answers)


def resample_confusions(labels: np.ndarray, answers: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    """Confusion matrices (resamples, 7, 8) of bootstrap resamples; every metric here is a function of them."""
    cells = labels * COLUMNS + answer_columns(answers)
    return bootstrap.counts(cells, len(EMOTIONS) * COLUMNS).reshape(-1, len(EMOTIONS), COLUMNS)


def confusion_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """`METRICS` of each of (R, 7, 8) confusion matrices, as (R,) arrays; classes present in that reference
    count.
    """
    hits = np.diagonal(confusion, axis1=1, axis2=2)  # (R, 7)
    reference, answered = confusion.sum(axis=2), confusion.sum(axis=1)[:, : len(EMOTIONS)]  # (R, 7)
    present = reference > 0
    classes = present.sum(axis=1)
    recall = hits / np.maximum(reference, 1)
    f1 = 2 * hits / np.maximum(reference + answered, 1)
    return {
        "accuracy": hits.sum(axis=1) / reference.sum(axis=1),
        "ua": (recall * present).sum(axis=1) / classes,
        "macro_f1": (f1 * present).sum(axis=1) / classes,
    }
