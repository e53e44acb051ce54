"""The category-level contrastive loss of Emotion2Vec-S (Zhao et al. 2025, C2SER): one emotion attracts, the others repel."""

import torch.nn.functional as F
from torch import Tensor

from fas_core.training.clips import UNKNOWN

TEMPERATURE = 0.1  # the paper names none; cosine similarities are at most 1, and a softmax over them would be flat


def category_contrast(
    tokens: Tensor, labels: Tensor, weights: Tensor, indices: Tensor, corpora: Tensor | None = None
) -> Tensor:
    """Sum over the clips of their weighted losses.

    Of each clip, the softmax of its cosine similarities with the others owes an equal share to each of its own emotion: the
    cross-entropy of CLIP's matrix, whose diagonal has become blocks of emotions. A clip that meets none of its emotion says nothing.

    Args:
        tokens: (B, D), one vector a clip.
        labels: (B,), -100 where unknown.
        weights: (B,) of the clips.
        indices: (B,) which clip each is; a clip is not compared with itself.
        corpora: (B,) numbers; clips of one corpus are then not compared.
    """
    known = labels != UNKNOWN
    pairs = known[:, None] & known & (indices[:, None] != indices)
    if corpora is not None:
        pairs = pairs & (corpora[:, None] != corpora)
    alike = pairs & (labels[:, None] == labels)
    anchors = alike.any(1)
    pairs, alike = pairs[anchors], alike[anchors].to(weights)
    vectors = F.normalize(tokens.float(), dim=-1)
    similar = (vectors[anchors] @ vectors.T / TEMPERATURE).masked_fill(~pairs, -float("inf"))
    log_shares = similar.log_softmax(-1).masked_fill(~pairs, 0.0)
    losses = -(alike * log_shares).sum(-1) / alike.sum(-1)
    return (losses * weights[anchors]).sum()
