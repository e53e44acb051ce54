"""Distils tokens: which of a stream are kept (Huang et al. 2026, eq. 2 and 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class KeptTokens:
    """The distilled tokens of one stream.

    Attributes:
        tokens: (B, k, d), zero where `mask` is False.
        mask: (B, k) bool; a clip with fewer than k patches keeps what it has.
        indices: (B, k) patch index in time of each kept token, ascending; -1 where `mask` is False.
        scores: (B, k) L2 norm of each kept token (eq. 2), 0 where `mask` is False.
    """

    tokens: Tensor
    mask: Tensor
    indices: Tensor
    scores: Tensor


def distil(tokens: Tensor, mask: Tensor, k: int, selection: str = "energy", training: bool = False) -> KeptTokens:
    """Keep k tokens of each clip, in order of time.

    Args:
        tokens: (B, P, d) projected patches.
        mask: (B, P) bool, True for real patches; padding is never kept.
        k: number of tokens to keep; ignored by "all".
        selection: "energy" (largest L2 norm), "random" or "all".
        training: "random" then draws anew each time. In evaluation that would make the answer depend on the batch, so
            the choice is a fixed pseudo-random function of the patch index: a clip always keeps the same patches.
    """
    energy = tokens.norm(dim=-1)  # (B, P)  eq. 2
    if selection == "all":
        indices = torch.arange(tokens.shape[1], device=tokens.device).expand(mask.shape)
        kept = mask
    else:
        score = energy.detach() if selection == "energy" else _random_scores(energy, training)
        score = score.masked_fill(~mask, -torch.inf)
        k = min(k, tokens.shape[1])
        indices = score.topk(k, dim=1).indices.sort(dim=1).values  # (B, k)  eq. 3
        kept = mask.gather(1, indices)
    gathered = tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
    return KeptTokens(
        tokens=gathered * kept[..., None],
        mask=kept,
        indices=indices.masked_fill(~kept, -1),
        scores=(energy.gather(1, indices) * kept).detach(),
    )


def _random_scores(like: Tensor, training: bool) -> Tensor:
    """Random in training; a fixed hash of the patch index in evaluation."""
    if training:
        return torch.rand_like(like)
    index = torch.arange(like.shape[1], device=like.device, dtype=torch.float64)
    return ((index * 12.9898).sin() * 43758.5453).frac().abs().to(like.dtype).expand(like.shape)
