"""How audio becomes windows, and so how many tokens it is. Everything that counts audio tokens counts here."""

import math

import numpy as np

from fas_core.audio import SAMPLE_RATE, AudioLimits

AUDIO_TOKEN = "<|audio|>"
WINDOW_SECONDS = 30.0
WINDOW_SAMPLES = round(WINDOW_SECONDS * SAMPLE_RATE)
SHORTEST_SAMPLES = math.ceil(AudioLimits().min_seconds * SAMPLE_RATE)  # 25 ms: less is no window


def count_windows(num_samples: int) -> int:
    """Windows of 30 s over raw samples at 16 kHz, before the front end; what is left under 25 ms gets none.

    >>> [count_windows(n) for n in (399, 400, 480_000, 480_399, 480_400)]
    [0, 1, 1, 1, 2]
    """
    whole, rest = divmod(num_samples, WINDOW_SAMPLES)
    return whole + (rest >= SHORTEST_SAMPLES)


def cut_windows(samples: np.ndarray) -> list[np.ndarray]:
    """(n,) samples at 16 kHz -> `count_windows(n)` views of at most 30 s, in order."""
    starts = range(0, count_windows(len(samples)) * WINDOW_SAMPLES, WINDOW_SAMPLES)
    return [samples[start : start + WINDOW_SAMPLES] for start in starts]
