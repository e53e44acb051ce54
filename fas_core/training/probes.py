"""Pathway heads by logistic regression: the strongly penalised linear probe, which carries over to other corpora better
than the same layer trained by gradient (docs/results.md).
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.training.clips import UNKNOWN, Clips

ABSENT = -20.0  # logit of an emotion that no training clip has


def fit_pathway_heads(model: FASForEmotionClassification, clips: Clips, C: float) -> None:
    """Fit each head on all variants of the clips with a label, and freeze it.

    Args:
        C: inverse strength of the L2 penalty. Classes are weighted by the inverse of their frequency.
    """
    for stream, labels in (("acoustic", clips.labels), ("semantic", clips.semantic_labels)):
        head = model.pathway[stream].linear
        head.requires_grad_(False)
        rows = [(i, v) for v in clips.variants for i in np.flatnonzero(labels != UNKNOWN)]
        if len({labels[i] for i, _ in rows}) < 2:
            continue  # no corpus teaches this head; it stays as it was initialised
        x = torch.cat([_statistics(model, clips.features(i, v), stream) for i, v in rows]).numpy()
        probe = LogisticRegression(C=C, max_iter=1000, class_weight="balanced").fit(x, labels[[i for i, _ in rows]])
        _copy(probe, head)


def _statistics(model: FASForEmotionClassification, features, stream: str) -> Tensor:
    """(1, 2 D): what the head reads of one clip."""
    mean = torch.from_numpy(np.asarray(getattr(features, stream), dtype=np.float32).mean(0))
    deviation = torch.from_numpy(np.asarray(getattr(features, f"{stream}_deviation"), dtype=np.float32))
    return model.fas.standardised_statistics(mean[None], deviation[None], stream)


def _copy(probe: LogisticRegression, head: torch.nn.Linear) -> None:
    weight, bias = probe.coef_, probe.intercept_
    if len(weight) == 1:  # scikit-learn keeps one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(ABSENT)
        head.weight[probe.classes_] = torch.from_numpy(weight).float()
        head.bias[probe.classes_] = torch.from_numpy(bias).float()
