"""From clips of different length to padded batches with masks."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


def pad_stream(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Patches (P_i, D) -> (B, P, D) zero-padded float32 and the mask (B, P), True for real patches."""
    longest = max(1, max(len(x) for x in clips))
    out = torch.zeros(len(clips), longest, clips[0].shape[-1])
    mask = torch.zeros(len(clips), longest, dtype=torch.bool)
    for row, x in enumerate(clips):
        out[row, : len(x)] = torch.from_numpy(np.asarray(x, dtype=np.float32))
        mask[row, : len(x)] = True
    return out, mask


def collate(clips: Sequence) -> dict[str, Tensor]:
    """`ClipFeatures` -> the arguments of `FASModel.forward`."""
    acoustic, acoustic_mask = pad_stream([c.acoustic for c in clips])
    semantic, semantic_mask = pad_stream([c.semantic for c in clips])
    deviations = {
        name: torch.from_numpy(np.stack([np.asarray(getattr(c, name), dtype=np.float32) for c in clips]))
        for name in ("acoustic_deviation", "semantic_deviation")
    }
    masks = dict(acoustic_mask=acoustic_mask, semantic_mask=semantic_mask)
    return dict(acoustic=acoustic, semantic=semantic) | masks | deviations


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, so that little padding is computed; longest first."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
