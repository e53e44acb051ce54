"""How each emotion sounds: rules from the literature, put into values that a formant synthesizer takes.

The directions (higher, wider, faster, louder, brighter) are those of the reviews and experiments below; the
sizes are ours, chosen so that the emotions overlap and none is given away by one cue.

* Scherer (2003), Vocal communication of emotion: a review of research paradigms. Speech Communication 40:
  level and range of F0, intensity, energy of the high frequencies and rate, for anger, fear, sadness and joy.
* Juslin & Laukka (2003), Communication of emotions in vocal expression and music performance. Psychological
  Bulletin 129: the same cues over 104 studies of vocal expression; fear with little variability of F0 and
  little high-frequency energy.
* Murray & Arnott (1993), Toward the simulation of emotion in synthetic speech. JASA 93: anger, happiness,
  sadness, fear and disgust (very much slower, very much lower, slightly wider).
* Burkhardt & Sendlmeier (2000), Verification of acoustical correlates of emotional speech using
  formant-synthesis. ISCA Workshop on Speech and Emotion: joy with a higher and much wider F0 and a faster
  tempo, fear with a very high F0 and a faster tempo, sadness slow and narrow.
* Cahn (1990), The generation of affect in synthesized speech. J. of the American Voice I/O Society 8:
  surprise, which the others leave out: a much wider F0 and a steeply rising contour.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

NEUTRAL_RATE = 165  # words per minute


@dataclass(frozen=True)
class Prosody:
    """What an emotion changes against neutral speech of the same voice.

    Attributes:
        pitch: level of F0, semitones.
        pitch_range: excursions of F0, a factor (at most 2: the synthesizer's limit).
        rate: tempo, a factor.
        gain: loudness, dB.
        brightness: -1 to 1, high-frequency energy: below 0 a one-pole low-pass, above 0 its inverse.
        pause: extra pause between words, in units of 10 ms.
        ending: punctuation that shapes the final contour.
    """

    pitch: float = 0.0
    pitch_range: float = 1.0
    rate: float = 1.0
    gain: float = 0.0
    brightness: float = 0.0
    pause: float = 0.0
    ending: str = "."


PROSODY = {
    "angry": Prosody(pitch=1.5, pitch_range=1.5, rate=1.25, gain=6, brightness=0.5, ending="!"),
    "disgust": Prosody(pitch=-4, pitch_range=1.25, rate=0.78, gain=-1, brightness=0.1, pause=1),
    "fear": Prosody(pitch=5, pitch_range=0.55, rate=1.3, gain=-1, brightness=-0.3, pause=0.5),
    "happy": Prosody(pitch=3, pitch_range=1.8, rate=1.12, gain=3, brightness=0.2, ending="!"),
    "neutral": Prosody(),
    "sad": Prosody(pitch=-2.5, pitch_range=0.4, rate=0.75, gain=-6, brightness=-0.5, pause=2),
    "surprise": Prosody(pitch=4.5, pitch_range=2, rate=0.95, gain=2, brightness=0.1, ending="?"),
}
EMOTIONS = tuple(PROSODY)


def sample_prosody(emotion: str, rng: np.random.Generator) -> Prosody:
    """The prosody of `emotion` as one speaker on one occasion has it.

    How strongly it is expressed varies by a common factor of 0.7 to 1.2; each cue varies by itself as well,
    so that neighbouring emotions overlap.
    """
    target, strength = PROSODY[emotion], rng.uniform(0.7, 1.2)
    noise = rng.standard_normal(6)
    return Prosody(
        pitch=strength * target.pitch + 0.8 * noise[0],
        pitch_range=float(np.clip(target.pitch_range**strength * np.exp(0.12 * noise[1]), 0, 2)),
        rate=float(target.rate**strength * np.exp(0.05 * noise[2])),
        gain=strength * target.gain + 1.5 * noise[3],
        brightness=float(np.clip(strength * target.brightness + 0.1 * noise[4], -0.9, 0.9)),
        pause=max(0.0, strength * target.pause + 0.3 * noise[5]),
        ending=target.ending,
    )


def espeak_parameters(prosody: Prosody) -> dict[str, int]:
    """The arguments of `espeak.speak`; what it lacks (gain, brightness) is left to `apply_timbre`.

    espeak-ng's pitch of 0 to 100 spans about -6.5 to +9 semitones around 50 (measured on its m3 and f4).
    """
    per_semitone = 5.6 if prosody.pitch > 0 else 7.7
    return {
        "rate": int(np.clip(round(NEUTRAL_RATE * prosody.rate), 80, 450)),
        "pitch": int(np.clip(round(50 + per_semitone * prosody.pitch), 0, 100)),
        "pitch_range": int(np.clip(round(50 * prosody.pitch_range), 0, 100)),
        "word_gap": round(prosody.pause),
    }


def apply_timbre(samples: np.ndarray, prosody: Prosody) -> np.ndarray:
    """Tilt the spectrum of (n,) samples at unchanged level, then set the gain."""
    b = abs(prosody.brightness) * 0.6
    tilted = lfilter([1.0, -b], [1.0], samples) if prosody.brightness > 0 else lfilter([1.0], [1.0, -b], samples)
    level, new_level = (np.sqrt(np.mean(np.square(x)) + 1e-12) for x in (samples, tilted))
    return tilted * (level / new_level) * 10 ** (prosody.gain / 20)
