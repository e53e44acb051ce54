"""Training of a transformer on texts that are tokens already; torch alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fas_core.precision import has_bf16

Read = Callable[[Tensor, Tensor], Tensor]  # (B, T) token numbers, (B, T) mask -> (B, 7) logits


class Rows:
    """N lines as tokens, and what is to be learnt of them.

    Args:
        ids: token numbers of each. targets: (N, 7) shares, times the weight of the line. padding: number of the token that fills up.
    """

    def __init__(self, ids: Sequence[Sequence[int]], targets: np.ndarray, padding: int):
        self.ids, self.targets, self.padding = ids, torch.from_numpy(targets), padding
        self.lengths = np.array([len(each) for each in ids])

    def loss(self, read: Read, places: np.ndarray, device: torch.device) -> Tensor:
        """Cross-entropy of some of them."""
        length = int(self.lengths[places].max())
        ids = np.full((len(places), length), self.padding, np.int64)
        for row, place in zip(ids, places, strict=True):
            row[: self.lengths[place]] = self.ids[place]
        mask = torch.arange(length) < torch.from_numpy(self.lengths[places])[:, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and has_bf16("cpu")):
            logits = read(torch.from_numpy(ids).to(device), mask.to(device))
        targets = self.targets[torch.from_numpy(places)].to(device)
        return -(targets * logits.float().log_softmax(1)).sum(1).mean()

    def batches(self, epochs: int, batch: int, seed: int):
        """Lines of like length together, in an order of the seed, so that little is padded."""
        random = np.random.default_rng(seed)
        for _ in range(epochs):
            order = random.permutation(len(self.lengths))
            chunks = np.array_split(order, max(1, len(order) // (50 * batch)))
            ordered = [part[np.argsort(self.lengths[part], kind="stable")] for part in chunks]
            flat = [places for part in ordered for places in np.array_split(part, max(1, len(part) // batch))]
            yield from (flat[place] for place in random.permutation(len(flat)))


def fit(
    model: torch.nn.Module,
    read: Read,
    rows: Rows,
    *,
    epochs: float,
    learning_rate: float,
    seed: int,
    batch: int,
    log=lambda line: None,
) -> None:
    """AdamW, a tenth of warm-up and linear decay, on a GPU where there is one, where the model stays."""
    device = find_device()
    torch.set_float32_matmul_precision("high")
    model.to(device).train()
    steps = math.ceil(epochs * len(rows.lengths) / batch)
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=0.01, fused=device.type == "cuda")
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (steps * 0.1 + 1), 1 - step / steps)
    )
    start, mean = time.monotonic(), torch.zeros((), device=device)
    for step, places in zip(range(steps), rows.batches(math.ceil(epochs), batch, seed), strict=False):
        loss = rows.loss(read, places, device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean += (loss.detach() - mean) / min(step + 1, 100)
        if step % 100 == 99:
            log(f"step {step + 1} of {steps}, loss {mean.item():.3f}, {time.monotonic() - start:.0f} s")
    model.eval()


def find_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
