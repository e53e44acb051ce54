"""The response of a room, made up."""

import numpy as np
from scipy.signal import fftconvolve

from fas_core.audio import SAMPLE_RATE
from fas_core.features.augment.level import at_level_of


def room_response(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The direct sound and, 2 to 10 ms later, Gaussian noise that falls by 60 dB in these seconds, 0 to 10 dB below it (Polack, 1988)."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail *= 10 ** (-rng.uniform(0, 10) / 20) / np.linalg.norm(tail)
    gap = np.zeros(round(rng.uniform(0.002, 0.010) * SAMPLE_RATE) - 1)
    return np.concatenate([[1.0], gap, tail])


def add_room(samples: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The length and the level are kept: what rings on after the clip is cut."""
    return at_level_of(samples, fftconvolve(samples, room_response(seconds, rng))[: len(samples)])
