"""Fitting of the linear text model: terms that occur often enough, then a softmax regression on shares of the seven.

scikit-learn's logistic regression takes one label a line; here a line has shares of several, its own or a teacher's, so the same
objective (cross-entropy plus |coefficients|² / 2C) is given to the same optimiser, L-BFGS.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from scipy.special import log_softmax
from sklearn.preprocessing import normalize

from fas_core.labels import EMOTIONS
from fas_core.words.ngrams import KINDS, NgramModel, tokens_of
from fas_core.words.texts import Texts

FEWEST_LINES = {"words": 3, "letters": 6}  # in which a term occurs


def fit_ngrams(
    data: Texts, *, terms: int, strength: float, weights: np.ndarray | None = None, iterations: int = 300
) -> NgramModel:
    """A model with at most `terms` terms: of all that are frequent enough, those whose coefficients do most are kept, and fitted again.

    Args:
        strength: C, the inverse of the penalty. weights: (N,) of the lines. iterations: at most; after 50 the neutral recall
            still moves by several points, and with it what a model seems to be.
    """
    model = _empty(data)
    x = matrix_of(model, data.texts)
    _fit(model, x, data, strength, weights, iterations)
    if terms < len(model.idf):
        kept, of_words = _strongest(model, x, terms), len(model.vocabulary["words"])
        model = _with_terms(model, kept)
        _fit(model, _restricted(x, kept, of_words), data, strength, weights, iterations // 2)
    return model


def matrix_of(model: NgramModel, texts: list[str]) -> csr_matrix:
    """(N, V) the weighted terms of each text."""
    rows = [model.terms(text) for text in texts]
    ends = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    values = np.concatenate([values for _, values in rows]).astype(np.float32)
    return csr_matrix((values, places, ends), shape=(len(rows), len(model.idf)))


def _empty(data: Texts) -> NgramModel:
    """Its vocabulary and idf = ln((1 + N) / (1 + lines with the term)) + 1."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for text in data.texts:
        tokens = tokens_of(text)
        for kind, count in KINDS.items():
            counts[kind].update(count(tokens).keys())
    vocabulary = {k: sorted(t for t, n in counts[k].items() if n >= FEWEST_LINES[k]) for k in KINDS}
    lines = np.array([counts[kind][term] for kind in KINDS for term in vocabulary[kind]])
    idf = np.log((1 + len(data)) / (1 + lines)) + 1
    return NgramModel(
        vocabulary, idf.astype(np.float32), np.zeros((len(idf), len(EMOTIONS)), np.float32), np.zeros(len(EMOTIONS))
    )


def _fit(
    model: NgramModel, x: csr_matrix, data: Texts, strength: float, weights: np.ndarray | None, iterations: int
) -> None:
    """From where the coefficients are."""
    transposed, shape = x.T.tocsr(), (x.shape[1] + 1, len(EMOTIONS))
    weights = np.ones(len(data), np.float32) if weights is None else weights
    targets = data.shares * weights[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = flat.reshape(shape).astype(np.float32)
        log_probabilities = log_softmax(x @ parameters[:-1] + parameters[-1], axis=1)
        errors = np.exp(log_probabilities) * weights[:, None] - targets
        gradient = np.concatenate([transposed @ errors + parameters[:-1] / strength, errors.sum(0, keepdims=True)])
        penalty = float(np.square(parameters[:-1], dtype=np.float64).sum()) / (2 * strength)
        return penalty - float((targets * log_probabilities).sum(dtype=np.float64)), gradient.ravel().astype(np.float64)

    start = np.concatenate([model.coefficients, model.bias[None]]).ravel().astype(np.float64)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxcor": 6}).x
    found = found.reshape(shape).astype(np.float32)
    model.coefficients, model.bias = found[:-1] - found[:-1].mean(1, keepdims=True), found[-1] - found[-1].mean()


def _strongest(model: NgramModel, x: csr_matrix, terms: int) -> np.ndarray:
    """Places of the terms that move the logits of the training texts most, in order."""
    use = np.asarray(x.sum(0)).ravel()
    moved = use * np.abs(model.coefficients).max(1)
    return np.sort(np.argsort(-moved, kind="stable")[:terms])


def _restricted(x: csr_matrix, kept: np.ndarray, of_words: int) -> csr_matrix:
    """The matrix of the kept terms alone, each kind scaled to length 1 again."""
    parts = [x[:, kept[kept < of_words]], x[:, kept[kept >= of_words]]]
    return hstack([normalize(part) for part in parts], format="csr", dtype=np.float32)


def _with_terms(model: NgramModel, kept: np.ndarray) -> NgramModel:
    names = [term for kind in KINDS for term in model.vocabulary[kind]]
    first = len(model.vocabulary["words"])
    vocabulary = {"words": [names[i] for i in kept if i < first], "letters": [names[i] for i in kept if i >= first]}
    return NgramModel(vocabulary, model.idf[kept], model.coefficients[kept], model.bias)
