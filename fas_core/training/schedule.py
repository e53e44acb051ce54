"""Which clips meet in which micro-batch: a pure function of seed, epoch and configuration.

Nothing here depends on the number of processes except who computes which micro-batch, so one process that accumulates
and several that share compute the same sums, and a resumed run sees the order that it would have seen.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class MicroBatch:
    """Clips of one forward pass; `seed` makes its dropout and augmentation its own. Empty: keeps processes in step."""

    indices: np.ndarray
    seed: int


def steps_per_epoch(num_clips: int, global_batch_size: int) -> int:
    """Optimiser steps of one epoch; the last one may have fewer clips."""
    return math.ceil(num_clips / global_batch_size)


def epoch_order(num_clips: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of the clips in this epoch."""
    return np.random.default_rng([seed, epoch]).permutation(num_clips)


def balanced_order(domains: np.ndarray, count: int, seed: int, epoch: int) -> np.ndarray:
    """`count` clips whose domains take turns, so that each stretch has as many of one as of any other; small ones repeat.

    A clip of a large domain may miss an epoch: which ones is drawn anew in each.

    Args:
        domains: (N,) numbers.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    names = np.unique(domains)
    turns = np.concatenate([rng.permutation(names) for _ in range(math.ceil(count / len(names)))])[:count]
    order = np.empty(count, dtype=np.int64)
    for name in names:
        rows, places = np.flatnonzero(domains == name), np.flatnonzero(turns == name)
        rounds = math.ceil(len(places) / len(rows))
        order[places] = (
            np.concatenate([rng.permutation(rows) for _ in range(rounds)])[: len(places)] if rounds else rows[:0]
        )
    return order


def micro_batches(
    clips: np.ndarray, lengths: np.ndarray, size: int, num_processes: int, seed: int, epoch: int, step: int
) -> list[MicroBatch]:
    """Split one global batch by length; the count is a multiple of the number of processes.

    Args:
        clips: indices of the clips of the global batch.
        lengths: patches of each clip of the training set, so that little padding is computed.
    """
    ordered = clips[np.argsort(-lengths[clips], kind="stable")]
    chunks = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    chunks += [ordered[:0]] * (-len(chunks) % num_processes)
    root = np.random.SeedSequence([seed, epoch, step])
    seeds = root.generate_state(len(chunks), dtype=np.uint64)
    return [MicroBatch(c, int(s % (2**63))) for c, s in zip(chunks, seeds, strict=True)]


def learning_rate_factor(step: int, total: int, warmup_ratio: float) -> float:
    """Linear warm-up, then cosine to zero (Table 3). `step` counts from 0."""
    warmup = int(total * warmup_ratio)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
