"""Another room and microphone."""

import numpy as np

from fas_core.audio import SAMPLE_RATE
from fas_core.features.augment.level import rms


def change_channel(samples: np.ndarray, deviation_db: float, rng: np.random.Generator) -> np.ndarray:
    """A random transfer function; the level is kept."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    mel = 2595 * np.log10(1 + frequency / 700)
    gain = np.interp(mel, np.linspace(0, mel[-1], 7), rng.normal(0, deviation_db, 7))
    low_pass, high_pass = rng.uniform(3000, 6000), rng.uniform(100, 350)
    if rng.random() < 0.3:
        gain -= 60 * np.clip((frequency - low_pass) / 1000, 0, 1)
    if rng.random() < 0.3:
        gain -= 40 * np.clip((high_pass - frequency) / 100, 0, 1)
    changed = np.fft.irfft(spectrum * 10 ** (gain / 20), len(samples))
    snr_db, noise = rng.uniform(10, 30), rng.standard_normal(len(samples))
    if rng.random() < 0.5:
        changed = changed + noise * rms(changed) * 10 ** (-snr_db / 20)
    return (changed * rms(samples) / max(rms(changed), 1e-12)).astype(np.float32)
