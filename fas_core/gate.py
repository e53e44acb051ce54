"""A gate between what the tone says and what the words say, by how reliable each is: p = g tone + (1 - g) words.

g = sigmoid(b + w x) of a few figures x of one clip (a mixture of two experts, Jacobs et al., "Adaptive Mixtures of Local Experts",
1991). It is used only where it was better than the tone alone on voices and sentences that it was not fitted on (`choose`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import entr, expit
from sklearn.model_selection import GroupKFold

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

NEUTRAL = EMOTIONS.index("neutral")
FIGURES = (
    "bias",
    "largest tone",
    "entropy of the tone",
    "largest words",
    "entropy of the words",
    "neutral words",
    "confidence",
)
START = 3.0  # of the bias: the tone, unless there is a reason
PENALTY = 1e-2  # on the squared weights, beside the mean log-likelihood
SPLITS = 3  # of the voices, and of the sentences
KEPT = 0.9  # share of the clips, right by tone and contradicted by words, whose answer has to stay
Z = 1.96


@dataclass(frozen=True)
class Gate:
    """Weights (7,) of `FIGURES`."""

    weights: tuple[float, ...]

    def share(self, tone: np.ndarray, words: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """(N,) of the tone in the answer, 0 to 1. Arguments as of `__call__`."""
        return expit(reliability(tone, words, confidence) @ np.asarray(self.weights))

    def __call__(self, tone: np.ndarray, words: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """Probabilities (N, 7).

        Args:
            tone, words: (N, 7) probabilities. confidence: (N,) of the transcripts, 0 to 1.
        """
        g = self.share(tone, words, confidence)[:, None]
        return g * np.asarray(tone) + (1 - g) * np.asarray(words)


def reliability(tone: np.ndarray, words: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """(N, 7): the `FIGURES`; entropies are shares of the largest one."""
    tone, words = np.asarray(tone, dtype=float), np.asarray(words, dtype=float)
    top = np.log(len(EMOTIONS))
    columns = [
        tone.max(1),
        entr(tone).sum(1) / top,
        words.max(1),
        entr(words).sum(1) / top,
        words[:, NEUTRAL],
        confidence,
    ]
    return np.column_stack([np.ones(len(tone)), *columns])


def fit_gate(tone: np.ndarray, words: np.ndarray, confidence: np.ndarray, labels: np.ndarray) -> Gate:
    """The gate of highest likelihood of the voices' emotions.

    Args:
        labels: (N,) emotions of the voices, in the order of `EMOTIONS`; the others as of `Gate`.
    """
    x, rows = reliability(tone, words, confidence), np.arange(len(labels))
    p, q = np.asarray(tone)[rows, labels], np.asarray(words)[rows, labels]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        g = expit(x @ weights)
        mixed = np.maximum(g * p + (1 - g) * q, 1e-9)
        gradient = -((p - q) * g * (1 - g) / mixed) @ x / len(x)
        pull = PENALTY * np.append(0, weights[1:])
        return -np.log(mixed).mean() + pull @ weights / 2, gradient + pull

    start = np.append(START, np.zeros(len(FIGURES) - 1))
    return Gate(tuple(map(float, minimize(loss, start, jac=True, method="L-BFGS-B").x)))


def out_of_fold(
    tone: np.ndarray,
    words: np.ndarray,
    confidence: np.ndarray,
    labels: np.ndarray,
    voices: Sequence[str],
    sentences: Sequence[str],
) -> np.ndarray:
    """(N, 7) by gates that met neither the clip's voice nor its sentence.

    Raises:
        FASError: fewer than two voices or sentences.
    """
    for name, groups in (("voices", voices), ("sentences", sentences)):
        if len(set(groups)) < 2:
            raise FASError(
                f"gate: {len(set(groups))} of {name}; expected clips of two or more, so that some can be left out"
            )
    of_voice, of_sentence = _folds(voices), _folds(sentences)
    found = np.array(tone, dtype=float)
    for i in np.unique(of_voice):
        for j in np.unique(of_sentence):
            test, train = (of_voice == i) & (of_sentence == j), (of_voice != i) & (of_sentence != j)
            if test.any() and train.any():  # elsewhere the answer is the tone
                gate = fit_gate(tone[train], words[train], confidence[train], labels[train])
                found[test] = gate(tone[test], words[test], confidence[test])
    return found


def _folds(groups: Sequence[str]) -> np.ndarray:
    """(N,) number of the fold of each clip; a group is in one."""
    names, folds = np.asarray(groups), np.empty(len(groups), dtype=int)
    splitter = GroupKFold(min(SPLITS, len(np.unique(names))))
    for number, (_, held_out) in enumerate(splitter.split(names, groups=names)):
        folds[held_out] = number
    return folds


def choose(
    tone: np.ndarray,
    words: np.ndarray,
    confidence: np.ndarray,
    labels: np.ndarray,
    voices: Sequence[str],
    sentences: Sequence[str],
) -> tuple[Gate | None, dict]:
    """The gate, where out of fold it is better than the tone alone; else None, and the tone is the answer.

    Better: over the voices, the mean gain in accuracy lies `Z` standard errors above 0; and where the tone alone is right and the
    words say another emotion, at least `KEPT` of the answers stay.

    Returns:
        The gate, fitted on all clips, or None; and accuracies and what decided.
    """
    mixed = out_of_fold(tone, words, confidence, labels, voices, sentences).argmax(1)
    alone, said = tone.argmax(1), words.argmax(1)
    gains = (mixed == labels).astype(float) - (alone == labels)
    names, of = np.unique(np.asarray(voices), return_inverse=True)
    by_voice = np.array([gains[of == i].mean() for i in range(len(names))])
    error = by_voice.std(ddof=1) / np.sqrt(len(names))
    contradicted = (alone == labels) & (said != labels) & (said != NEUTRAL)
    kept = float((mixed == labels)[contradicted].mean()) if contradicted.any() else 1.0
    found = dict(
        clips=len(labels), voices=len(names), tone=float((alone == labels).mean()), words=float((said == labels).mean()),
        gate=float((mixed == labels).mean()), gain_by_voice=float(by_voice.mean()), standard_error=float(error), kept=kept,
    )  # fmt: skip
    is_better = gains.mean() > 0 and by_voice.mean() > Z * error and kept >= KEPT
    return fit_gate(tone, words, confidence, labels) if is_better else None, found
