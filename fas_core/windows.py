"""Windows over audio: overlapping ones of a timeline, cut as it streams in, and those of 30 s that Whisper hears one after the other.

Everything that counts the audio tokens of a language model counts by `count_windows`.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from fas_core.audio import SAMPLE_RATE, Audio, AudioLimits, is_silent
from fas_core.errors import FASError

SHORTEST = AudioLimits().min_seconds  # what an encoder can answer: 25 ms
SHORTEST_SAMPLES = math.ceil(SHORTEST * SAMPLE_RATE)
WINDOW_SECONDS = 30.0  # Whisper's
WINDOW_SAMPLES = round(WINDOW_SECONDS * SAMPLE_RATE)


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


def count_windows(num_samples: int) -> int:
    """Windows of 30 s over raw samples at 16 kHz, before the front end; what is left under 25 ms gets none.

    Examples:
        >>> [count_windows(n) for n in (399, 400, 480_000, 480_399, 480_400)]
        [0, 1, 1, 1, 2]
    """
    whole, rest = divmod(num_samples, WINDOW_SAMPLES)
    return whole + (rest >= SHORTEST_SAMPLES)


def cut_windows(samples: np.ndarray) -> list[np.ndarray]:
    """(n,) samples at 16 kHz -> `count_windows(n)` views of at most 30 s, in order."""
    starts = range(0, count_windows(len(samples)) * WINDOW_SAMPLES, WINDOW_SAMPLES)
    return [samples[start : start + WINDOW_SAMPLES] for start in starts]
