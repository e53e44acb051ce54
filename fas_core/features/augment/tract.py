"""Another vocal tract: all frequencies warped, or the envelope alone."""

import numpy as np

from fas_core.audio import SAMPLE_RATE
from fas_core.features.augment.level import at_level_of
from fas_core.features.augment.vocoder import HOP, WINDOW, advances, transform

HIGHEST = 4800.0  # Hz: up to here frequencies are multiplied (Jaitly and Hinton, 2013)
QUEFRENCY = 0.002  # seconds of the cepstrum that are the envelope: below the period of voices up to 500 Hz
FLOOR = 1e-4  # of the largest magnitude: between harmonics and in silence there is nothing to shift


def warp_tract(samples: np.ndarray, factor: float) -> np.ndarray:
    """Magnitudes move along a curve of two straight pieces, and phases advance as fast as where they came to."""
    if len(samples) < WINDOW:
        return samples
    vocoder = transform()
    frames = vocoder.stft(samples)  # (F, T)
    bins, knots = np.arange(len(frames)), _knots(factor)
    source = np.interp(bins, knots[1], knots[0])  # where a bin comes from
    magnitude = _between(np.abs(frames), source)
    nearest, radians = np.round(source).astype(int), 2 * np.pi * HOP / WINDOW  # radians that a bin goes on a frame
    advance = radians * np.interp(advances(frames)[nearest] / radians, *knots)
    phase = np.cumsum(np.concatenate([np.angle(frames[nearest, :1]), advance], axis=1), axis=1)
    return at_level_of(samples, vocoder.istft(magnitude * np.exp(1j * phase), k1=len(samples)))


def _knots(factor: float) -> tuple[list[float], list[float]]:
    """Frequencies in bins between which the curve is straight, and what they become."""
    highest, last = HIGHEST * min(factor, 1) * WINDOW / SAMPLE_RATE, WINDOW / 2
    return [0, highest / factor, last], [0, highest, last]


def shift_formants(samples: np.ndarray, factor: float) -> np.ndarray:
    """Each frame is divided by its envelope and multiplied by the envelope as it is at frequencies of a factor below."""
    if len(samples) < WINDOW:
        return samples
    vocoder = transform()
    frames = vocoder.stft(samples)  # (F, T)
    magnitude = np.abs(frames)
    envelope = _log_envelope(np.log(np.maximum(magnitude, FLOOR * magnitude.max() + 1e-12)))
    shifted = _between(envelope, np.minimum(np.arange(len(frames)) / factor, len(frames) - 1))
    return at_level_of(samples, vocoder.istft(frames * np.exp(shifted - envelope), k1=len(samples)))


def _log_envelope(magnitude: np.ndarray) -> np.ndarray:
    """(F, T) logarithms without what changes faster along frequency than an envelope does."""
    cepstrum = np.fft.irfft(magnitude, axis=0)
    keep = round(QUEFRENCY * SAMPLE_RATE)
    cepstrum[keep : len(cepstrum) - keep + 1] = 0
    return np.fft.rfft(cepstrum, axis=0).real


def _between(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(F, T) rows at places between them."""
    left = np.minimum(at.astype(int), len(rows) - 2)
    share = (at - left)[:, None]
    return (1 - share) * rows[left] + share * rows[left + 1]
