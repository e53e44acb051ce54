"""Windows over long audio, cut as it streams in."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from fas_core.audio import SAMPLE_RATE, Audio, AudioLimits, is_silent
from fas_core.errors import FASError

SHORTEST = AudioLimits().min_seconds  # what an encoder can answer


def check_windows(window: float, hop: float) -> None:
    """Raises `FASError` for windows that would be too short, or leave audio out between them."""
    if not (SHORTEST <= hop <= window < float("inf")):
        raise FASError(f"window {window} s, hop {hop} s: expected {SHORTEST} <= hop <= window (--window, --hop)")


def cut(blocks: Iterable[Audio], window: float, hop: float) -> Iterator[tuple[float, float, Audio]]:
    """Windows (start, end, audio) over consecutive blocks, in seconds from the start of the first.

    The last one holds what is left and may be shorter; what is left under 25 ms, or in the window before it as well,
    gets none.
    """
    size, step = round(window * SAMPLE_RATE), round(hop * SAMPLE_RATE)
    rest, position, first = np.zeros(0, dtype=np.float32), 0, None
    for block in blocks:
        first = first or block
        rest = np.concatenate([rest, block.samples])
        while len(rest) >= size:
            yield _window(first, rest[:size], position)
            rest, position = rest[step:], position + step
    # What is left is new only past the overlap with the window before.
    unseen = len(rest) - (size - step if position else 0)
    if first is not None and unseen > 0 and len(rest) >= SHORTEST * SAMPLE_RATE:
        yield _window(first, rest, position)


def _window(audio: Audio, samples: np.ndarray, position: int) -> tuple[float, float, Audio]:
    duration = len(samples) / SAMPLE_RATE
    part = replace(audio, samples=samples, duration=duration, is_silent=is_silent(samples))
    start = position / SAMPLE_RATE
    return start, start + duration, part
