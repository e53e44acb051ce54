"""How loud samples are, and what is added to them at a ratio."""

import numpy as np


def rms(samples: np.ndarray) -> float:
    """Gives the root of the mean square, in float64."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def added(samples: np.ndarray, other: np.ndarray, snr_db: float) -> np.ndarray:
    """(n,) float32: both, the other so many dB below."""
    scale = rms(samples) / max(rms(other), 1e-12) * 10 ** (-snr_db / 20)
    return (samples + scale * other).astype(np.float32)


def at_level_of(samples: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """(n,) float32: the changed samples, as loud as they were."""
    return (changed * (rms(samples) / max(rms(changed), 1e-12))).astype(np.float32)


def clipless(samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Samples within full scale, and what they were multiplied by."""
    gain = min(1.0, 0.99 / max(float(np.abs(samples).max(initial=0)), 1e-12))
    return samples * np.float32(gain), gain
