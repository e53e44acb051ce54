"""What FAS is trained on: the cross-entropies of its three heads, exact over split batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from fas_core.outputs import FASOutput


def classification_loss(
    output: FASOutput,
    labels: Tensor,
    semantic_labels: Tensor | None = None,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    totals: tuple[float, float] | None = None,
    mixing: tuple[Tensor, float] | None = None,
    clip_weights: Tensor | None = None,
    possible: Tensor | None = None,
) -> Tensor:
    """Sum of the cross-entropies of the fused answer, the acoustic head and the semantic head.

    Args:
        labels: (B,), -100 where unknown.
        semantic_labels: (B,) as `labels`; or (B, 7) probabilities, a row of zeros where unknown: the cross-entropy with soft targets
            of Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), at temperature 1.
        class_weights: (7,), for the emotion of the tone.
        totals: what the sums over this batch are divided by (tone, words), instead of this batch's own weight; so the
            mean over a global batch that is split into micro-batches and processes is exact.
        mixing: as given to the model; the fused answer then owes both labels, in their shares.
        clip_weights: (B,), for the emotion of the tone.
        possible: (B, 7) bool, the emotions that a clip's corpus has: the others are no wrong answers, and no part of the softmax. A
            mixed clip has those of both.
    """
    tone, words = totals or (label_weight(labels, class_weights, clip_weights), label_weight(semantic_labels, None))
    partners, share = mixing or (slice(None), 1.0)
    either = None if possible is None else possible | possible[partners]
    loss = share * _summed_cross_entropy(
        cast(Tensor, output.logits), labels, class_weights, label_smoothing, clip_weights, either
    )
    if mixing is not None:
        theirs = None if clip_weights is None else clip_weights[partners]
        loss = loss + (1 - share) * _summed_cross_entropy(
            cast(Tensor, output.logits), labels[partners], class_weights, label_smoothing, theirs, either
        )
    loss = loss / max(tone, 1e-8)
    if output.acoustic_logits is not None:
        acoustic = _summed_cross_entropy(output.acoustic_logits, labels, class_weights, 0.0, clip_weights, possible)
        loss = loss + acoustic / max(tone, 1e-8)
    if output.semantic_logits is not None and semantic_labels is not None:
        loss = loss + _words_loss(output.semantic_logits, semantic_labels) / max(words, 1e-8)
    return loss


def _words_loss(logits: Tensor, words: Tensor) -> Tensor:
    """Summed over the clips; words (B,) or (B, 7)."""
    if words.ndim == 1:
        return _summed_cross_entropy(logits, words, None)
    return -(words * logits.log_softmax(-1)).sum()


def label_weight(labels: Tensor | None, class_weights: Tensor | None, clip_weights: Tensor | None = None) -> float:
    """Total weight of the labels (B,), or of the probabilities (B, 7), that are known."""
    if labels is None:
        return 0.0
    if labels.ndim == 2:
        return float(labels.any(1).sum())
    known = labels != -100
    if clip_weights is None:
        return float(known.sum() if class_weights is None else class_weights[labels[known]].sum())
    weights = clip_weights[known]
    return float((weights if class_weights is None else weights * class_weights[labels[known]]).sum())


def _summed_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    smoothing: float = 0.0,
    clip_weights: Tensor | None = None,
    possible: Tensor | None = None,
) -> Tensor:
    if clip_weights is None and possible is None:
        return F.cross_entropy(
            logits, labels, weight=weight, label_smoothing=smoothing, reduction="sum", ignore_index=-100
        )
    known = labels != -100
    logits, labels = logits[known], labels[known]
    possible = torch.ones_like(logits, dtype=torch.bool) if possible is None else possible[known]
    log_likelihood = logits.masked_fill(~possible, -torch.inf).log_softmax(-1).masked_fill(~possible, 0.0)
    weighted = -log_likelihood if weight is None else -log_likelihood * weight
    losses = (1 - smoothing) * weighted.gather(1, labels[:, None])[:, 0] + smoothing * weighted.sum(1) / possible.sum(1)
    return (losses if clip_weights is None else losses * clip_weights[known]).sum()
