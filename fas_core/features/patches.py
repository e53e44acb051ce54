"""Patchification: the paper's downsampling in time by s, as the mean of real frames."""

from __future__ import annotations

from typing import overload

import numpy as np
import torch
from torch import Tensor


def num_patches(frames: int, patch_size: int = 5) -> int:
    """Patches of a clip with that many frames: ceil(T / s)."""
    return -(-frames // patch_size)


@overload
def patchify(frames: Tensor, patch_size: int = 5) -> Tensor: ...
@overload
def patchify(frames: np.ndarray, patch_size: int = 5) -> np.ndarray: ...
def patchify(frames: Tensor | np.ndarray, patch_size: int = 5) -> Tensor | np.ndarray:
    """Means over s consecutive frames.

    Args:
        frames: (T, D) real frames of one clip, no padding; tensor or array.
        patch_size: s.

    Returns:
        (ceil(T / s), D) of the same kind; the last patch is the mean of the frames that are left.
    """
    if isinstance(frames, np.ndarray):
        return patchify(torch.from_numpy(frames), patch_size).numpy()
    whole = len(frames) // patch_size * patch_size
    patches = frames[:whole].unflatten(0, (-1, patch_size)).mean(dim=1) if whole else frames[:0]
    if whole == len(frames):
        return patches
    return torch.cat([patches, frames[whole:].mean(dim=0, keepdim=True)])


def frame_deviation(frames: Tensor) -> Tensor:
    """Standard deviation over the frames of one clip, what patches lose of it included: (T, D) -> (D,).

    In two passes, because `torch.std` over the first dimension is slow on a CPU.
    """
    return (frames - frames.mean(dim=0)).square().mean(dim=0).sqrt()
