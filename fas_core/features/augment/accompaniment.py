"""What is heard beside a voice: music and other talkers, both from a synthesizer."""

import numpy as np

from fas_core.audio import SAMPLE_RATE
from fas_core.features.augment.level import added, rms
from fas_core.features.augment.vocoder import WINDOW, transform

PROGRESSIONS = (
    (0, 7, 9, 5),
    (0, 9, 5, 7),
    (9, 5, 0, 7),
    (0, 5, 7, 5),
)  # roots of four chords above the key, in semitones
MINOR = (2, 4, 9)  # roots whose third is minor
HARMONICS = np.arange(1, 7)
TALKERS, SYLLABLES = 6, 4.5  # a second
FORMANTS = np.array(
    [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (660, 1720, 2410), (490, 1350, 1690)]
)
WIDTHS = np.array([90.0, 130.0, 200.0])  # Hz; vowels after Peterson and Barney (1952)


def add_music(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Lays chords and a beat under (n,) samples, so many dB below them."""
    return added(samples, music(len(samples), rng), snr_db)


def add_babble(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Lays six talkers without words under (n,) samples, so many dB below them."""
    voices = sum(_unit(talker(len(samples), rng)) for _ in range(TALKERS))
    return added(samples, voices, snr_db)


def music(length: int, rng: np.random.Generator) -> np.ndarray:
    """(length,) chords that change every fourth beat, struck on each, with a drum and a cymbal; 80 to 150 beats a minute."""
    beat = 60 / rng.uniform(80, 150)
    time = np.arange(length) / SAMPLE_RATE + rng.uniform(0, 16 * beat)
    roots = np.array(rng.permutation(PROGRESSIONS)[0])[(time / (4 * beat)).astype(int) % 4]
    since = time % beat
    key = 110 * 2 ** (rng.integers(0, 12) / 12)
    brightness = 1.0 / HARMONICS ** rng.uniform(1, 2)
    chord = np.zeros(length)
    for third in (0, np.where(np.isin(roots, MINOR), 3, 4), 7):
        phase = 2 * np.pi * np.cumsum(key * 2 ** ((roots + third) / 12)) / SAMPLE_RATE
        chord += sum(weight * np.sin(harmonic * phase) for harmonic, weight in zip(HARMONICS, brightness, strict=True))
    drum = np.sin(2 * np.pi * 8 * (1 - np.exp(-since * 12))) * np.exp(-since * 18)
    cymbal = np.diff(rng.standard_normal(length + 1)) * np.exp(-(time % (beat / 2)) * 40)
    return _unit(chord * np.exp(-since * 3)) + rng.uniform(0, 1) * _unit(drum) + rng.uniform(0, 0.4) * _unit(cymbal)


def talker(length: int, rng: np.random.Generator) -> np.ndarray:
    """(length,) one voice without words: pulses or hiss behind three formants that move from vowel to vowel, with pauses."""
    size = max(length, WINDOW)
    knots = int(size / SAMPLE_RATE * SYLLABLES) + 3
    time = np.arange(size) / SAMPLE_RATE * SYLLABLES
    pitch = rng.uniform(90, 240) * 2 ** np.interp(time, np.arange(knots), rng.normal(0, 0.15, knots))
    voiced = np.interp(time, np.arange(knots), rng.random(knots) < 0.75)
    pulses = 2 * (np.cumsum(pitch) / SAMPLE_RATE % 1) - 1
    source = voiced * pulses + 0.3 * (1 - voiced) * rng.standard_normal(size)
    loudness = np.sin(np.pi * (time + rng.random())) ** 2 * (np.interp(time, np.arange(knots), rng.random(knots)) > 0.2)
    vocoder = transform()
    frames = vocoder.stft(source * (0.05 + loudness))  # (F, T)
    at = vocoder.t(size) * SYLLABLES
    vowels = FORMANTS[rng.integers(0, len(FORMANTS), knots)] * rng.uniform(0.9, 1.2)
    gain = sum(
        _resonance(vocoder.f, np.interp(at, np.arange(knots), vowels[:, i]), WIDTHS[i]) / (i + 1) for i in range(3)
    )
    return vocoder.istft(frames * gain, k1=size)[:length]


def _resonance(frequency: np.ndarray, centre: np.ndarray, width: float) -> np.ndarray:
    """(F, T) magnitudes of a resonance whose centre moves."""
    return 1 / np.sqrt(1 + ((frequency[:, None] - centre) / width) ** 2)


def _unit(samples: np.ndarray) -> np.ndarray:
    return samples / max(rms(samples), 1e-12)
