"""Phase vocoder (Flanagan and Golden, 1966): another pitch at the same duration."""

import numpy as np
import soxr
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from fas_core.audio import SAMPLE_RATE
from fas_core.features.augment.level import rms

WINDOW, HOP = 1024, 256  # 64 and 16 ms


def transform() -> ShortTimeFFT:
    """Gives the short-time Fourier transform of all variants."""
    return ShortTimeFFT(hann(WINDOW, sym=False), HOP, SAMPLE_RATE)


def advances(frames: np.ndarray) -> np.ndarray:
    """Radians that the phase of each bin's frequency goes on from frame to frame, of (F, T) frames: (F, T - 1)."""
    expected = 2 * np.pi * HOP * np.arange(len(frames))[:, None] / WINDOW
    advance = np.diff(np.angle(frames), axis=1) - expected
    return expected + advance - 2 * np.pi * np.round(advance / (2 * np.pi))


def shift_pitch(samples: np.ndarray, factor: float) -> np.ndarray:
    """Stretched in time by the factor, then resampled to the old duration; the level is kept."""
    if len(samples) < WINDOW:  # too short to have a pitch that the vocoder could follow
        return samples
    stretched = _stretch(samples, factor)
    shifted = soxr.resample(stretched, SAMPLE_RATE * factor, SAMPLE_RATE)[: len(samples)]
    shifted *= rms(samples) / max(rms(shifted), 1e-12)  # what the vocoder smears it also weakens
    return np.pad(shifted, (0, len(samples) - len(shifted))).astype(np.float32)


def _stretch(samples: np.ndarray, factor: float) -> np.ndarray:
    """Phase vocoder: magnitudes are interpolated in time, phases advance as fast as they did."""
    vocoder = transform()
    frames = vocoder.stft(samples)  # (F, T)
    advance = advances(frames)
    times = np.arange(0, frames.shape[1] - 1, 1 / factor)
    left, share = times.astype(int), times % 1
    magnitude = (1 - share) * np.abs(frames[:, left]) + share * np.abs(frames[:, left + 1])
    phase = np.angle(frames[:, :1]) + np.cumsum(np.pad(advance[:, left], ((0, 0), (1, 0)))[:, :-1], axis=1)
    length = min(round(len(samples) * factor), int(magnitude.shape[1] * HOP - WINDOW))
    return vocoder.istft(magnitude * np.exp(1j * phase), k1=length)
