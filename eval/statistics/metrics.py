"""Figures of a seven-class emotion classifier, with bootstrap intervals.

Point estimates come from scikit-learn. Names as in the papers: WA (weighted accuracy) is plain accuracy, UA
(unweighted accuracy) the mean recall of the classes, macro-F1 the mean F1 of the classes. "The classes" are
those present in the reference: a corpus with four emotions is scored on four, and a prediction of one of
the other three is an error (of recall, and so of F1), never a class of its own.
"""

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from fas_core.calibration import apply_temperature, expected_calibration_error
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

METRICS = ("accuracy", "ua", "macro_f1")


@dataclass(frozen=True)
class ClassificationReport:
    """Everything that is reported about one set of answers. Figures are fractions of 1, never per cent.

    Attributes:
        clips: number of clips scored.
        accuracy: WA. ua: mean recall. macro_f1: mean F1. Means over the classes present in the reference.
        intervals: metric -> (low, high), percentile bootstrap at `confidence`.
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
    predictions = logits.argmax(axis=1)
    present = np.unique(labels)
    recall = recall_score(labels, predictions, labels=present, average=None, zero_division=0)
    confusion = confusion_matrix(labels, predictions, labels=range(len(EMOTIONS)))
    resampled = resample_confusions(labels, predictions, speakers=speakers, resamples=resamples, seed=seed)
    return ClassificationReport(
        clips=len(labels),
        accuracy=float(accuracy_score(labels, predictions)),
        ua=float(recall.mean()),
        macro_f1=float(f1_score(labels, predictions, labels=present, average="macro", zero_division=0)),
        intervals=_percentile_intervals(confusion_metrics(resampled), ClassificationReport.confidence),
        recall={EMOTIONS[c]: float(r) for c, r in zip(present, recall, strict=True)},
        support={EMOTIONS[c]: int(confusion[c].sum()) for c in present},
        confusion=confusion.tolist(),
        ece_before=ece_before,
        ece_after=None
        if temperature is None
        else expected_calibration_error(apply_temperature(logits, temperature), labels),
        resampled="clips" if speakers is None else "speakers",
        resamples=resamples,
        seed=seed,
    )


def resample_confusions(labels, predictions, *, speakers=None, resamples=1000, seed=42) -> np.ndarray:
    """Confusion matrices (resamples, 7, 7) of bootstrap resamples.

    Every metric here is a function of the confusion matrix, and that of clips drawn with replacement
    follows a multinomial over the cells: one draw a resample, whatever the number of clips. Speakers are
    drawn likewise, each with the confusion matrix of its clips.
    """
    generator = np.random.default_rng(seed)
    classes = len(EMOTIONS)
    cells = np.asarray(labels) * classes + np.asarray(predictions)
    if speakers is None:
        counts = np.bincount(cells, minlength=classes**2)
        drawn = generator.multinomial(len(cells), counts / len(cells), size=resamples)
    else:
        names, index = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
        counts = np.bincount(index * classes**2 + cells, minlength=len(names) * classes**2)
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        drawn = times @ counts.reshape(len(names), classes**2)
    return drawn.reshape(resamples, classes, classes)


def confusion_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """`METRICS` of each of (R, 7, 7) confusion matrices, as (R,) arrays; classes present in that reference
    count.
    """
    hits = np.diagonal(confusion, axis1=1, axis2=2)  # (R, 7)
    reference, answered = confusion.sum(axis=2), confusion.sum(axis=1)  # (R, 7)
    present = reference > 0
    classes = present.sum(axis=1)
    recall = hits / np.maximum(reference, 1)
    f1 = 2 * hits / np.maximum(reference + answered, 1)
    return {
        "accuracy": hits.sum(axis=1) / reference.sum(axis=1),
        "ua": (recall * present).sum(axis=1) / classes,
        "macro_f1": (f1 * present).sum(axis=1) / classes,
    }


def _percentile_intervals(values: dict[str, np.ndarray], confidence: float) -> dict[str, tuple[float, float]]:
    tail = 50 * (1 - confidence)
    return {name: tuple(float(v) for v in np.percentile(x, [tail, 100 - tail])) for name, x in values.items()}
