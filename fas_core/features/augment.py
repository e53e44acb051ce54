"""Waveform augmentations that are the same on every machine and in every run.

A variant is written "name:value". It is applied after the front end, so that its level and noise reach the
encoder, and its seed is the clip's digest and the variant's name.

| variant | what | range |
|---|---|---|
| speed:1.1 | 1.1 times faster, and higher by the same factor (Ko et al., 2015) | 0.5 to 2 |
| pitch:-2 | semitones, at the same duration (phase vocoder, Flanagan and Golden, 1966) | -12 to 12 |
| noise:15 | pink noise at that signal-to-noise ratio in dB | -10 to 60 |
| level:-6 | gain in dB | -40 to 40 |
| channel:5 | another room and microphone: a smooth random curve of that deviation in dB over 7 points of the mel
  scale, now and then without the highs or the lows, now and then with white noise at 10 to 30 dB | 0 to 20 |
"""

from __future__ import annotations

import hashlib

import numpy as np
import soxr
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from fas_core.audio import SAMPLE_RATE
from fas_core.errors import FASError

VERSION = 1  # raise it whenever the samples of a variant change
RANGES = {
    "speed": (0.5, 2.0),
    "pitch": (-12.0, 12.0),
    "noise": (-10.0, 60.0),
    "level": (-40.0, 40.0),
    "channel": (0.0, 20.0),
}
WINDOW, HOP = 1024, 256  # of the phase vocoder: 64 and 16 ms


def parse_variant(variant: str) -> tuple[str, float]:
    """("speed", 0.9) of "speed:0.9".

    Raises:
        FASError: an unknown name, or a value that is no number or out of range.
    """
    name, _, text = variant.partition(":")
    if name not in RANGES:
        known = ", ".join(RANGES)
        raise FASError(f"augmentation {variant!r}: expected 'name:value' with a name of {known}")
    low, high = RANGES[name]
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high:
        raise FASError(f"augmentation {variant!r}: {name} takes a number from {low:g} to {high:g}")
    return name, value


def variant_key(digest: str, variant: str | None) -> str:
    """The name of a clip's features in a cache: its digest, and the variant if there is one."""
    if variant is None:
        return digest
    name, value = parse_variant(variant)
    return f"{digest}@v{VERSION}:{name}:{value:g}"


def augment(samples: np.ndarray, variant: str, digest: str) -> np.ndarray:
    """The variant of a clip.

    Args:
        samples: (n,) float32 at 16 kHz, after the front end.
        variant: see the table above.
        digest: of the clip; seeds what is random.

    Returns:
        (m,) float32; m differs from n for "speed" only.
    """
    name, value = parse_variant(variant)
    if name == "speed":
        return soxr.resample(samples, SAMPLE_RATE * value, SAMPLE_RATE).astype(np.float32)
    if name == "pitch":
        return _shift_pitch(samples, 2 ** (value / 12))
    if name == "level":
        return samples * np.float32(10 ** (value / 20))
    seed = hashlib.sha256(variant_key(digest, variant).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "big"))
    return _change_channel(samples, value, rng) if name == "channel" else _add_noise(samples, value, rng)


def _change_channel(samples: np.ndarray, deviation_db: float, rng: np.random.Generator) -> np.ndarray:
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
        changed = changed + noise * _rms(changed) * 10 ** (-snr_db / 20)
    return (changed * _rms(samples) / max(_rms(changed), 1e-12)).astype(np.float32)


def _add_noise(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum[0] = 0  # no offset
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))  # power falls as 1 / f
    noise = np.fft.irfft(spectrum, len(samples))
    scale = _rms(samples) / max(_rms(noise), 1e-12) * 10 ** (-snr_db / 20)
    return (samples + scale * noise).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _shift_pitch(samples: np.ndarray, factor: float) -> np.ndarray:
    """Stretched in time by the factor, then resampled to the old duration; the level is kept."""
    if len(samples) < WINDOW:  # too short to have a pitch that the vocoder could follow
        return samples
    stretched = _stretch(samples, factor)
    shifted = soxr.resample(stretched, SAMPLE_RATE * factor, SAMPLE_RATE)[: len(samples)]
    shifted *= _rms(samples) / max(_rms(shifted), 1e-12)  # what the vocoder smears it also weakens
    return np.pad(shifted, (0, len(samples) - len(shifted))).astype(np.float32)


def _stretch(samples: np.ndarray, factor: float) -> np.ndarray:
    """Phase vocoder: magnitudes are interpolated in time, phases advance as fast as they did."""
    transform = ShortTimeFFT(hann(WINDOW, sym=False), HOP, SAMPLE_RATE)
    frames = transform.stft(samples)  # (F, T)
    expected = 2 * np.pi * HOP * np.arange(len(frames))[:, None] / WINDOW
    advance = np.diff(np.angle(frames), axis=1) - expected
    advance = expected + advance - 2 * np.pi * np.round(advance / (2 * np.pi))
    times = np.arange(0, frames.shape[1] - 1, 1 / factor)
    left, share = times.astype(int), times % 1
    magnitude = (1 - share) * np.abs(frames[:, left]) + share * np.abs(frames[:, left + 1])
    phase = np.angle(frames[:, :1]) + np.cumsum(np.pad(advance[:, left], ((0, 0), (1, 0)))[:, :-1], axis=1)
    length = min(round(len(samples) * factor), int(magnitude.shape[1] * HOP - WINDOW))
    return transform.istft(magnitude * np.exp(1j * phase), k1=length)
