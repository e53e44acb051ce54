"""What decoders give: an opened source, and of its channels the mix, one, or each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fas_core.arrays import as_float
from fas_core.errors import AudioError

BLOCK_FRAMES = 65_536
Channel = int | Literal["mix", "each"]


@dataclass
class Decoded:
    """An opened source: `blocks` gives float32 samples at `rate` Hz, (n,), or (n, channels) of each channel."""

    rate: int
    channels: int
    frames: int | None  # as the header says, None when it does not
    blocks: Iterator[np.ndarray]


def downmix(samples: np.ndarray, source: str, channel: Channel = "mix") -> np.ndarray:
    """(n,) or (n, channels), float or integer PCM, to (n,) float32, full scale at 1.

    Args:
        channel: "mix", the mean over channels; the number of one, from 1; or "each", which gives (n, channels).

    Raises:
        AudioError: no such channel.
    """
    floats = as_float(samples)
    return _chosen(floats, source, channel) if floats.ndim == 2 else floats


def _chosen(samples: np.ndarray, source: str, channel: Channel) -> np.ndarray:
    check_channel(channel, samples.shape[1], source)
    if channel == "each":
        return samples if samples.shape[1] > 1 else samples[:, 0]
    return samples.mean(axis=1) if channel == "mix" else np.ascontiguousarray(samples[:, channel - 1])


def check_channel(channel: Channel, channels: int, source: str) -> None:
    """Raises `AudioError` where a source has no such channel."""
    if channel not in ("mix", "each") and not 1 <= channel <= channels:
        raise AudioError(source, f"has no channel {channel}", f"expected mix, each, or a number from 1 to {channels}")
