"""How far a clip lies from those that were trained on: what says, without a label, that an answer is not to be relied on.

The distance of a clip is that of Mahalanobis to the nearest group of training clips, one a (corpus, emotion), with the shrunk
covariance within the groups (Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018).
A corpus that nobody trained on is far from every group; within the training corpora a new voice is near to some. Of the covariance
the directions of largest variance are kept, and one variance for the rest, so that a checkpoint holds it in a megabyte.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fas_core.discriminant import whiten, within_emotion_directions

SHRINKAGE = 0.3  # of the covariance within the groups


class Familiarity(nn.Module):
    """Distances of clips to the groups of training clips; buffers (rank, F) and (groups, F), zeros until `set`."""

    directions: Tensor
    centres: Tensor

    def __init__(self, rank: int, groups: int, width: int):
        super().__init__()
        self.register_buffer("directions", torch.zeros(rank, width))
        self.register_buffer("centres", torch.zeros(groups, width))

    def forward(self, statistics: Tensor) -> Tensor:
        """Standardised statistics (B, F) -> (B,) logarithm of the squared distance to the nearest group, a feature."""
        x = whiten(statistics.detach().float(), self.directions)
        squares = (x**2).sum(1, keepdim=True) - 2 * x @ self.centres.T + (self.centres**2).sum(1)  # (B, groups)
        return squares.min(1).values.clamp(min=1e-6).div(x.shape[1]).log()

    def set(self, directions: np.ndarray, centres: np.ndarray) -> None:
        """What `fit_familiarity` gives."""
        self.directions.copy_(torch.from_numpy(directions))
        self.centres.copy_(torch.from_numpy(centres))


def groups_of(corpora: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """(N,) number of the group (corpus, emotion) of each clip, from 0, without gaps."""
    names = np.char.add(np.char.add(np.asarray(corpora, dtype=str), "/"), np.asarray(labels).astype(str))
    return np.unique(names, return_inverse=True)[1]


def fit_familiarity(statistics: np.ndarray, groups: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (rank, F) and whitened centres (groups, F), of standardised statistics (N, F) and the group (N,) of each clip."""
    directions = within_emotion_directions(statistics, groups, SHRINKAGE, rank)
    centres = np.stack([statistics[groups == group].mean(0) for group in np.unique(groups)]).astype(np.float32)
    return directions, whiten(torch.from_numpy(centres), torch.from_numpy(directions)).numpy()
