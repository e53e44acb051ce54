"""What a clip's statistics owe to voice, recording and speed rather than to emotion, and how little of it to keep.

A classifier trained by Adam gives every one of thousands of standardised features a weight of about the same size, also
those along which nothing but speakers and channels differ; on another corpus these are what moves. Three remedies, all
estimated on training clips and kept in the checkpoint (docs/results.md says what they gained, and what not):

- clip outlying features (`squash`), so that one that moved far in another corpus cannot drown the rest;
- shrink the directions in which speakers and augmentation variants of the same emotion differ, a soft form of nuisance
  attribute projection (Solomonoff, Campbell and Boardman 2005);
- let the linear pathway head read principal components at their natural scale, where a step of Adam is largest along
  the strong directions, which corpora share.
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn

from fas_core.errors import FeatureError

COMPONENT_SCALE = 3.0  # deviation of the first component


class StatisticsFilter(nn.Module):
    """Clipping and shrinking of standardised clip statistics, and their principal components.

    Args:
        dim: width of the statistics, 2 D.
        squash: features are clipped at plus and minus this many deviations; 0 leaves them.
        rank: directions that may be shrunk; 0: none.
        components: principal components; 0: none.

    The buffers are zero, and nothing happens, until `set` is called.
    """

    def __init__(self, dim: int, squash: float, rank: int, components: int):
        super().__init__()
        self.squash = squash
        self.register_buffer("nuisance", torch.zeros(rank, dim))
        self.register_buffer("components", torch.zeros(components, dim))
        self.register_buffer("centre", torch.zeros(components))

    def forward(self, x: Tensor) -> Tensor:  # (B, 2 D) -> (B, 2 D)
        x = x.clamp(-self.squash, self.squash) if self.squash else x
        return x - (x @ self.nuisance.T) @ self.nuisance if len(self.nuisance) else x

    def principal(self, x: Tensor) -> Tensor:
        """Filtered statistics (B, 2 D) -> (B, components), or as they are where there are none."""
        return x @ self.components.T - self.centre if len(self.components) else x

    @torch.no_grad()
    def set(self, fitted: "FittedFilter") -> None:
        """Take over what was estimated; missing directions stay zero."""
        for name in ("nuisance", "components", "centre"):
            values = torch.as_tensor(getattr(fitted, name))
            getattr(self, name)[: len(values)] = values[: len(getattr(self, name))].to(self.centre)


@dataclass
class FittedFilter:
    """Buffers of a `StatisticsFilter`: (rank, 2 D), (components, 2 D) and (components,)."""

    nuisance: np.ndarray
    components: np.ndarray
    centre: np.ndarray


def fit_filter(
    statistics: np.ndarray, labels: np.ndarray, groups: list, squash: float, penalty: float, rank: int, components: int
) -> FittedFilter:
    """Estimate what a `StatisticsFilter` holds.

    Args:
        statistics: (N, 2 D) standardised statistics, of clips in all their variants.
        labels: (N,) emotions; groups: (N,) what must not matter: voice and variant.
        penalty: a direction of between-group variance v is shrunk by sqrt(1 + penalty * v).

    Raises:
        FeatureError: there are no statistics.
    """
    if not len(statistics):
        raise FeatureError("no labelled clip to estimate nuisances of; see the list of failed files, and --corpora")
    x = np.clip(statistics, -squash, squash) if squash else statistics
    offsets = _group_offsets(x, labels, groups) / np.sqrt(max(len(set(zip(labels, groups, strict=True))), 1))
    _, deviation, directions = _leading(offsets, rank)
    shrink = 1 / np.sqrt(1 + penalty * deviation**2)
    nuisance = np.sqrt(1 - shrink)[:, None] * directions
    x = x - (x @ nuisance.T) @ nuisance
    mean = x.mean(0)
    _, deviation, directions = _leading(x - mean, components)
    scaled = directions * (COMPONENT_SCALE * np.sqrt(len(x)) / deviation[:1]) if len(directions) else directions
    return FittedFilter(nuisance, scaled, scaled @ mean)


def _group_offsets(x: np.ndarray, labels: np.ndarray, groups: list) -> np.ndarray:
    """Mean of each emotion in each group, less the mean of the emotion."""
    rows, names = [], np.asarray(groups)
    for label in np.unique(labels):
        mine = labels == label
        mean = x[mine].mean(0)
        rows += [x[mine & (names == group)].mean(0) - mean for group in np.unique(names[mine])]
    return np.stack(rows)


def _leading(x: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The leading singular vectors and values, at most `rank`, the same on every run."""
    rank = min(rank, *x.shape)
    if rank == 0:
        return np.zeros((len(x), 0)), np.zeros(0), np.zeros((0, x.shape[1]), np.float32)
    return randomized_svd(x.astype(np.float32), rank, n_iter=4, random_state=0)
