"""Features of a study's clips on a GPU as a whole: a batch is gathered there, and no processor pads and copies it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fas_core.encoders.base import ClipFeatures
from fas_core.training.clips import Clips
from fas_core.training.loop import Trainer
from fas_core.training.residual import tone_logits

STREAMS = ("acoustic", "semantic")


class Resident:
    """Clips without variants, patches in fp16 as they come from the cache.

    Args:
        clips: digest -> features.
    """

    def __init__(self, clips: dict[str, ClipFeatures], device: torch.device):
        self.row = {digest: row for row, digest in enumerate(clips)}
        self.patches, self.start, self.length, self.deviation = {}, {}, {}, {}
        for stream in STREAMS:
            parts = [torch.from_numpy(np.asarray(getattr(c, stream), np.float16)) for c in clips.values()]
            lengths = torch.tensor([len(p) for p in parts])
            self.patches[stream] = torch.cat(parts).to(device)
            self.length[stream], self.start[stream] = lengths.to(device), (lengths.cumsum(0) - lengths).to(device)
            deviations = np.stack([getattr(c, f"{stream}_deviation") for c in clips.values()])
            self.deviation[stream] = torch.from_numpy(deviations.astype(np.float32)).to(device)

    def rows(self, digests: Sequence[str]) -> Tensor:
        """(N,) places of these clips."""
        return torch.tensor([self.row[digest] for digest in digests], device=self.length["acoustic"].device)

    def collate(self, rows: Tensor) -> dict[str, Tensor]:
        """As `fas_core.batching.collate` of these clips."""
        batch = {}
        for stream in STREAMS:
            lengths = self.length[stream][rows]
            steps = torch.arange(int(lengths.max()), device=rows.device)
            mask = steps < lengths[:, None]
            places = (self.start[stream][rows, None] + steps).clamp(max=len(self.patches[stream]) - 1)
            batch[stream] = self.patches[stream][places].float().masked_fill(~mask[..., None], 0.0)
            batch[f"{stream}_mask"], batch[f"{stream}_deviation"] = mask, self.deviation[stream][rows]
        return batch


class ResidentTrainer(Trainer):
    """A `Trainer` of clips without variants that lie on the GPU; it draws what the other one draws."""

    def use(self, resident: Resident) -> ResidentTrainer:
        self.resident, self.rows = resident, resident.rows(self.train_clips.digests)
        return self

    def _augmented(self, indices: np.ndarray, seed: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, 1])
        drawn = rng.integers(1, size=len(indices))
        batch = self.resident.collate(self.rows[torch.from_numpy(indices).to(self.rows.device)])
        chance = torch.from_numpy(rng.random(len(indices))).to(self.rows.device)
        p = self.arguments.pathway_dropout / 2
        batch["acoustic_mask"] &= ~(chance < p)[:, None]
        batch["semantic_mask"] &= ~(chance > 1 - p)[:, None]
        if self.raw_model.config.residual:
            batch["tone_logits"] = tone_logits(self.train_clips, indices, drawn)
        return batch


def held(clips: Sequence[Clips]) -> dict[str, ClipFeatures]:
    """digest -> features of the clips as they are."""
    return {digest: each.features(i, "") for each in clips for i, digest in enumerate(each.digests)}
