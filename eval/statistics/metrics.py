"""Figures of a seven-class emotion classifier, with bootstrap intervals.

Point estimates are those of scikit-learn. Names as in the papers: WA (weighted accuracy) is plain accuracy, UA
(unweighted accuracy) the mean recall of the classes, macro-F1 the mean F1 of the classes. "The classes" are
those present in the reference: a corpus with four emotions is scored on four, and a prediction of one of
the other three is an error (of recall, and so of F1), never a class of its own. An answer that names no emotion, -1, is
an error likewise.
"""

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.statistics.resampling import Bootstrap

METRICS = ("accuracy", "ua", "macro_f1")
COLUMNS = len(EMOTIONS) + 1  # of a confusion matrix: the last one holds answers that name no emotion


def point_figures(labels: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """`METRICS` without intervals, means over the classes present in the reference.

    Args:
        labels: (N,) indices into `EMOTIONS`. answers: (N,) likewise, -1 where no emotion was named.
    """
    confusion = np.zeros((1, len(EMOTIONS), COLUMNS), dtype=np.int64)
    np.add.at(confusion[0], (labels, answer_columns(answers)), 1)
    return {name: float(values[0]) for name, values in confusion_metrics(confusion).items()}


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
