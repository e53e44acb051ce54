"""Whether the words of a voice carry another emotion than its tone.

Two figures of an answer, `conflict` and `disagreement`, and what the FAS of the paper has instead: the divergence of its two
heads.
"""

import numpy as np
from scipy.special import rel_entr
from sklearn.metrics import roc_auc_score

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

NEUTRAL = EMOTIONS.index("neutral")


def conflict(tone: np.ndarray, words: np.ndarray, confidence: np.ndarray | float = 1.0) -> np.ndarray:
    """Probability that the words carry an emotion and the tone another: the sum over e, but for neutral, of w_e (1 - t_e).

    A sentence without emotion contradicts no tone, and a neutral tone contradicts words that carry an emotion: "Congratulations
    on your promotion", said coldly. Tone and words count as independent.

    Args:
        tone, words: (..., 7) probabilities in the order of `EMOTIONS`.
        confidence: (...) of the transcript, 0 to 1; this score, which is not calibrated, leaves it out.

    Returns:
        (...) float64 in [0, 1].

    Raises:
        FASError: shapes that differ, or rows that are not probabilities.
    """
    t, w = _pair(tone, words, "tone", "words")
    return np.clip(np.delete(w * (1 - t), NEUTRAL, axis=-1).sum(-1), 0.0, 1.0)


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
    if is_conflicting.all() or not is_conflicting.any():
        raise FASError(
            f"is_conflicting: {int(is_conflicting.sum())} of {is_conflicting.size} clips are conflicting; "
            "expected some that are and some that are not"
        )
    return float(roc_auc_score(is_conflicting, np.asarray(scores)))


def _pair(first, second, *names: str) -> tuple[np.ndarray, np.ndarray]:
    p, q = _probabilities(first, names[0]), _probabilities(second, names[1])
    if p.shape != q.shape:
        raise FASError(f"{names[1]}: shape {q.shape}; expected that of {names[0]}, {p.shape}")
    return p, q


def _probabilities(values, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    # written so that NaN fails too; 1e-3 leaves room for half precision
    if not ((values >= 0).all() and (np.abs(values.sum(axis=-1) - 1) < 1e-3).all()):
        raise FASError(f"{name}: expected probabilities, of at least 0 and summing to 1 over the last axis")
    return values / values.sum(axis=-1, keepdims=True)
