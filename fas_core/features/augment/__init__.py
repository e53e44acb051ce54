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

from fas_core.audio import SAMPLE_RATE
from fas_core.errors import FASError
from fas_core.features.augment.channel import change_channel
from fas_core.features.augment.noise import add_noise
from fas_core.features.augment.vocoder import shift_pitch

VERSION = 1  # raise it whenever the samples of a variant change
RANGES = {
    "speed": (0.5, 2.0),
    "pitch": (-12.0, 12.0),
    "noise": (-10.0, 60.0),
    "level": (-40.0, 40.0),
    "channel": (0.0, 20.0),
}


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
        return shift_pitch(samples, 2 ** (value / 12))
    if name == "level":
        return samples * np.float32(10 ** (value / 20))
    seed = hashlib.sha256(variant_key(digest, variant).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "big"))
    return change_channel(samples, value, rng) if name == "channel" else add_noise(samples, value, rng)
