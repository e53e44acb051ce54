"""Made-up sounds that are no speech: what a microphone, a telephone or a file may hold instead of a voice.

Each maker takes (seconds, generator) and gives (n,) float at 16 kHz.
"""

import numpy as np
from scipy import signal

RATE = 16_000
NOTES = 220.0 * 2 ** (np.array([0, 2, 3, 5, 7, 8, 10, 12]) / 12)  # a minor scale from A3
KEYPAD = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477)]


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def _coloured(seconds: float, rng, exponent: float) -> np.ndarray:
    """Noise whose power falls with frequency to the power of `exponent`."""
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n)) / np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20) ** (exponent / 2)
    noise = np.fft.irfft(spectrum, n)
    return 0.1 * noise / noise.std()


def _phase(frequency: np.ndarray) -> np.ndarray:
    return 2 * np.pi * np.cumsum(frequency) / RATE


def _harmonics(frequency: np.ndarray, count: int = 8, slope: float = 1.0) -> np.ndarray:
    phase = _phase(frequency)
    return sum(np.sin(k * phase) / k**slope for k in range(1, count + 1))


def _events(seconds: float, rng, gap: tuple[float, float], make) -> np.ndarray:
    """Short sounds, one after the other with gaps (s) between their starts."""
    out, at = np.zeros(round(seconds * RATE)), rng.uniform(0, gap[0])
    while at < seconds:
        sound = make(rng)
        start = round(at * RATE)
        out[start : start + len(sound)] += sound[: len(out) - start]
        at += rng.uniform(*gap)
    return out


def _note(rng, instrument: int, seconds: float = 0.5) -> np.ndarray:
    t, f = _time(seconds), rng.choice(NOTES) * rng.choice([0.5, 1, 2])
    partials = _harmonics(np.full(len(t), f), 6, (1.0, 2.0, 0.7)[instrument])
    attack, decay = ((0.005, 3.0), (0.08, 0.5), (0.02, 1.5))[instrument]
    return 0.15 * partials * np.minimum(t / attack, 1) * np.exp(-decay * t) * np.minimum((seconds - t) / 0.02, 1)


def _drum(rng) -> np.ndarray:
    t = _time(0.25)
    kick = np.sin(_phase(50 + 100 * np.exp(-30 * t))) * np.exp(-12 * t)
    snare = rng.standard_normal(len(t)) * np.exp(-20 * t)
    return 0.4 * (kick if rng.random() < 0.5 else 0.6 * snare)


def zeros(seconds, rng):
    return np.zeros(round(seconds * RATE))


def last_bit(seconds, rng):
    return rng.integers(-1, 2, round(seconds * RATE)) / 32768


def offset(seconds, rng):
    return np.full(round(seconds * RATE), rng.uniform(-0.5, 0.5))


def white_noise(seconds, rng):
    return _coloured(seconds, rng, 0)


def pink_noise(seconds, rng):
    return _coloured(seconds, rng, 1)


def brown_noise(seconds, rng):
    return _coloured(seconds, rng, 2)


def wind(seconds, rng):
    swell = np.abs(_coloured(seconds, rng, 2.5)) ** 0.5
    return _coloured(seconds, rng, 1.5) * swell


def rain(seconds, rng):
    return 0.3 * _coloured(seconds, rng, 0.3) + _events(
        seconds, rng, (0.01, 0.06), lambda r: 0.2 * r.standard_normal(80)
    )


def pulsing_noise(seconds, rng):
    return _coloured(seconds, rng, rng.uniform(0, 2)) * np.abs(np.sin(np.pi * rng.uniform(1, 6) * _time(seconds)))


def tone(seconds, rng):
    return rng.uniform(0.02, 0.5) * np.sin(2 * np.pi * rng.uniform(80, 4000) * _time(seconds))


def dial_tone(seconds, rng):
    frequencies = ((425, 425), (350, 440), (400, 450))[rng.integers(3)]
    return sum(0.1 * np.sin(2 * np.pi * f * _time(seconds)) for f in frequencies)


def busy_tone(seconds, rng):
    return dial_tone(seconds, rng) * (_time(seconds) % 1.0 < 0.5)


def dtmf(seconds, rng):
    def key(r):
        return sum(0.2 * np.sin(2 * np.pi * f * _time(0.15)) for f in KEYPAD[r.integers(12)])

    return _events(seconds, rng, (0.25, 0.4), key)


def beeps(seconds, rng):
    f = rng.uniform(500, 3000)
    return _events(seconds, rng, (0.4, 1.2), lambda r: 0.3 * np.sin(2 * np.pi * f * _time(0.2)))


def chirps(seconds, rng):
    t = _time(seconds)
    return 0.3 * signal.chirp(t, rng.uniform(50, 300), seconds, rng.uniform(2000, 7000), "logarithmic")


def siren(seconds, rng):
    t = _time(seconds)
    return 0.2 * _harmonics(900 + 400 * np.sin(2 * np.pi * rng.uniform(0.2, 4) * t), 4)


def buzz(seconds, rng):
    return 0.2 * signal.sawtooth(2 * np.pi * rng.uniform(50, 250) * _time(seconds))


def buzz_with_syllables(seconds, rng):
    """Harmonics of a gliding pitch that swell like syllables, without formants."""
    t = _time(seconds)
    f = rng.uniform(90, 250) + 40 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t)
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(2.5, 5) * t)
    return 0.2 * _harmonics(f, 11) * swell + 0.003 * rng.standard_normal(len(t))


def mains_hum(seconds, rng):
    return 0.1 * _harmonics(np.full(round(seconds * RATE), rng.choice([50.0, 60.0])), 12, 1.5)


def engine(seconds, rng):
    f = 30 + 15 * np.cumsum(_coloured(seconds, rng, 2)) / RATE * 5
    return 0.2 * _harmonics(np.clip(f, 15, 90), 20, 0.7) + 0.5 * _coloured(seconds, rng, 2)


def clicks(seconds, rng):
    return _events(seconds, rng, (0.02, 0.5), lambda r: 0.7 * r.standard_normal(12) * np.exp(-np.arange(12) / 3))


def knocks(seconds, rng):
    t = _time(0.08)
    return _events(seconds, rng, (0.2, 0.7), lambda r: 0.5 * np.sin(_phase(150 + 0 * t)) * np.exp(-50 * t))


def birds(seconds, rng):
    def call(r):
        t = _time(r.uniform(0.05, 0.25))
        f = r.uniform(2000, 5000) + r.uniform(-1500, 1500) * t / t[-1] + 300 * np.sin(2 * np.pi * 30 * t)
        return 0.2 * np.sin(_phase(f)) * np.hanning(len(t))

    return _events(seconds, rng, (0.1, 0.6), call)


def frogs(seconds, rng):
    def croak(r):
        t = _time(r.uniform(0.1, 0.3))
        pulses = signal.square(2 * np.pi * r.uniform(30, 70) * t, 0.2) + 1
        return 0.2 * pulses * np.sin(2 * np.pi * r.uniform(500, 1200) * t) * np.hanning(len(t))

    return _events(seconds, rng, (0.3, 0.9), croak)


def crickets(seconds, rng):
    t = _time(seconds)
    gate = (np.sin(2 * np.pi * 30 * t) > 0) * (np.sin(2 * np.pi * rng.uniform(1, 3) * t) > 0)
    return 0.2 * np.sin(2 * np.pi * rng.uniform(4000, 5500) * t) * gate


def melody(seconds, rng):
    instrument = rng.integers(3)
    return _events(seconds, rng, (0.2, 0.5), lambda r: _note(r, instrument))


def chords(seconds, rng):
    instrument = rng.integers(3)
    return _events(seconds, rng, (0.8, 1.2), lambda r: sum(_note(r, instrument, 1.0) for _ in range(3)))


def drums(seconds, rng):
    return _events(seconds, rng, (0.15, 0.35), _drum)


def band(seconds, rng):
    return melody(seconds, rng) + 0.7 * chords(seconds, rng) + 0.7 * drums(seconds, rng)


SOUNDS = {
    f.__name__.replace("_", " "): f
    for f in (
        zeros, last_bit, offset, white_noise, pink_noise, brown_noise, wind, rain, pulsing_noise, tone, dial_tone,
        busy_tone, dtmf, beeps, chirps, siren, buzz, buzz_with_syllables, mains_hum, engine, clicks, knocks, birds, frogs,
        crickets, melody, chords, drums, band,
    )
}  # fmt: skip
