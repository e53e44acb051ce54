"""Pink noise."""

import numpy as np

from fas_core.features.augment.level import added


def add_noise(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Lays pink noise under (n,) samples, so many dB below them."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum[0] = 0  # no offset
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))  # power falls as 1 / f
    return added(samples, np.fft.irfft(spectrum, len(samples)), snr_db)
