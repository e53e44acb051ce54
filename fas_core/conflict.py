"""Whether the words of a voice carry another emotion than its tone.

Two figures of an answer, `conflict` and `disagreement`, and what the FAS of the paper has instead: the divergence of its two
heads.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, rel_entr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

NEUTRAL = EMOTIONS.index("neutral")
AS_IT_IS = (0.0, 1.0, 0.0)  # the calibration that changes nothing
EDGE = 1e-4  # scores nearer to 0 or 1 say no more


def conflict(
    tone: np.ndarray, words: np.ndarray, confidence: np.ndarray | float = 1.0, calibration: Sequence[float] = AS_IT_IS
) -> np.ndarray:
    """Probability that the words carry an emotion and the tone another.

    s = sum over e, but for neutral, of w_e (1 - t_e), and the probability is sigmoid(a + b logit(s) + d logit(c)). A sentence
    without emotion contradicts no tone, and a neutral tone contradicts words that carry an emotion: "Congratulations on your
    promotion", said coldly. Tone and words count as independent, and the transcript as right; what is wrong with that, the
    calibration mends (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).

    Args:
        tone, words: (..., 7) probabilities t and w in the order of `EMOTIONS`.
        confidence: (...) c of the transcript, 0 to 1.
        calibration: (a, b, d) of `fit_calibration`; a checkpoint has it as `conflict_calibration`.

    Returns:
        (...) float64 in [0, 1].

    Raises:
        FASError: shapes that differ, or rows that are not probabilities.
    """
    t, w = _pair(tone, words, "tone", "words")
    score = np.delete(w * (1 - t), NEUTRAL, axis=-1).sum(-1)
    if tuple(calibration) == AS_IT_IS:
        return np.clip(score, 0.0, 1.0)
    a, b, d = calibration
    return expit(a + b * _logit(score) + d * _logit(np.asarray(confidence)))


def fit_calibration(
    scores: np.ndarray, confidence: np.ndarray, is_conflicting: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float, float]:
    """(a, b, d) that make probabilities of scores that were not calibrated; d is 0 where surer transcripts conflict less.

    Args:
        scores: (N,) of `conflict`. confidence: (N,) of the transcripts. is_conflicting: (N,) bool. weights: (N,) of the clips.

    Raises:
        FASError: clips of one kind only, or scores that are lower where there is a conflict.
    """
    is_conflicting = np.asarray(is_conflicting, dtype=bool)
    _check_both_kinds(is_conflicting)
    columns = np.stack([_logit(np.asarray(scores)), _logit(np.asarray(confidence))], axis=1)
    fitted = LogisticRegression(C=1e6).fit(columns, is_conflicting, sample_weight=weights)
    if fitted.coef_[0, 1] < 0:
        fitted = LogisticRegression(C=1e6).fit(columns * [1, 0], is_conflicting, sample_weight=weights)
    slope, trust = map(float, fitted.coef_[0])
    if slope <= 0:
        raise FASError(
            f"conflict: its scores fall where words and tone conflict (slope {slope:.2f}); expected that they rise"
        )
    return float(fitted.intercept_[0]), slope, trust


def _logit(score: np.ndarray) -> np.ndarray:
    return logit(np.clip(score, EDGE, 1 - EDGE))


def disagreement(tone: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Probability that the labels of tone and words differ, neutral counted (CASE's own conflict): 1 - sum over e of w_e t_e.

    Arguments, result and errors are those of `conflict`.
    """
    t, w = _pair(tone, words, "tone", "words")
    return np.clip(1 - (t * w).sum(-1), 0.0, 1.0)


def divergence(p_acoustic: np.ndarray, p_semantic: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence, base 2, between the two pathways' answers.

    JSD(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2. Symmetric, 0 when the two agree to the
    digit and 1 when they share no emotion. Source: Lin, "Divergence Measures Based on the Shannon Entropy",
    IEEE Transactions on Information Theory 37(1), 1991.

    Args:
        p_acoustic: (..., C) probabilities of the acoustic pathway.
        p_semantic: (..., C) probabilities of the semantic pathway.

    Returns:
        (...) float64 in [0, 1].

    Raises:
        FASError: shapes that differ, or rows that are not probabilities.
    """
    p, q = _pair(p_acoustic, p_semantic, "p_acoustic", "p_semantic")
    mean = (p + q) / 2
    found = (rel_entr(p, mean) + rel_entr(q, mean)).sum(axis=-1) / (2 * np.log(2))
    return np.clip(found, 0.0, 1.0)  # rounding leaves values such as -1e-17


def conflict_auroc(scores: np.ndarray, is_conflicting: np.ndarray) -> float:
    """Area under the ROC curve of the conflict score: conflicting (true) against congruent clips.

    Args:
        scores: (N,) from `conflict`, `disagreement` or `divergence`.
        is_conflicting: (N,) bool, words and tone carry different emotions.

    Returns:
        1 when every conflicting clip scores above every congruent one, 0.5 at chance.

    Raises:
        FASError: clips of one kind only; the area is then undefined.
    """
    is_conflicting = np.asarray(is_conflicting, dtype=bool)
    _check_both_kinds(is_conflicting)
    return float(roc_auc_score(is_conflicting, np.asarray(scores)))


def _check_both_kinds(is_conflicting: np.ndarray) -> None:
    if is_conflicting.all() or not is_conflicting.any():
        raise FASError(
            f"is_conflicting: {int(is_conflicting.sum())} of {is_conflicting.size} clips are conflicting; "
            "expected some that are and some that are not"
        )


def _pair(first: ArrayLike, second: ArrayLike, *names: str) -> tuple[np.ndarray, np.ndarray]:
    p, q = _probabilities(first, names[0]), _probabilities(second, names[1])
    if p.shape != q.shape:
        raise FASError(f"{names[1]}: shape {q.shape}; expected that of {names[0]}, {p.shape}")
    return p, q


def _probabilities(values: ArrayLike, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    # written so that NaN fails too; 1e-3 leaves room for half precision
    if not ((values >= 0).all() and (np.abs(values.sum(axis=-1) - 1) < 1e-3).all()):
        raise FASError(f"{name}: expected probabilities, of at least 0 and summing to 1 over the last axis")
    return values / values.sum(axis=-1, keepdims=True)
