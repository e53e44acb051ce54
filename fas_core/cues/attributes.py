"""Pitch, loudness and speaking rate of a clip, by libraries: WORLD or Praat, pyloudnorm, espeak-ng's phonemes.

The pitch is the mean of f0 over voiced frames (Hz), the loudness that of ITU-R BS.1770 (LUFS), the rate the phonemes of what is
said over the duration without silence at both ends (1/s), as in C2SER (Zhao et al. 2025), which takes the pitch from PENN.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from fas_core.atomic import locked, write_json
from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.errors import FASError, MissingDependencyError
from fas_core.frontend import FrontEnd, FrontEndConfig
from fas_core.sources import audio_digest

ATTRIBUTES = ("rate", "pitch", "loudness")
CODE_VERSION = 1  # raise it whenever a value changes
F0_RANGE = (60.0, 800.0)  # Hz: from low voices to shouts
FRAME_MS = 10.0
SHORTEST_LOUDNESS = 0.4  # seconds: the block over which BS.1770 measures
FEWEST_VOICED = 5  # frames of a clip whose pitch is told
VOICES = {"en": "en-us", "zh": "cmn", "pt": "pt-br"}  # of espeak-ng, where the code of the language is not its name
SAVE_EVERY = 200
PITCHES = ("world", "praat")
INSTALL = "pip install 'fas-alm[attributes]'"


class AttributeReader:
    """Attributes of files, kept by the content of their audio.

    Args:
        folder: where they are kept. pitch: "world" (pyworld) or "praat" (praat-parselmouth).

    Raises:
        MissingDependencyError: a package is not installed; the message names the extra.
    """

    def __init__(self, folder: Path, pitch: str = "world"):
        self.pitch, self.loudness = _pitch_reader(pitch), _loudness_reader()
        self.file = folder / f"attributes-{pitch}-{CODE_VERSION}.json"
        self.held: dict[str, dict] = self._stored()
        self.new = 0

    def __call__(self, rows: Iterable[Mapping]) -> list[dict[str, float | None]]:
        """Attributes of clips, rows of a corpus (`fas_core.data`) with audio, text and language; None where one cannot be measured:
        no voice, less than 0.4 s, words that are not known or of a language that espeak-ng does not know.

        Raises:
            AudioError: a file that cannot be read.
        """
        try:
            found = [self._of(row) for row in rows]
        finally:
            self.save()
        return found

    def _of(self, row: Mapping) -> dict[str, float | None]:
        digest = audio_digest(row["audio"])
        if digest not in self.held:
            self.held[digest] = self.measure(load_audio(row["audio"]).samples)
            self.new += 1
            if self.new == SAVE_EVERY:
                self.save()
        kept = self.held[digest]
        said = count_phonemes(row.get("text") or "", row.get("language"))
        rate = round(said / kept["seconds"], 4) if said else None
        return {"rate": rate, "pitch": kept["pitch"], "loudness": kept["loudness"]}

    def measure(self, samples: np.ndarray) -> dict[str, float | None]:
        """(n,) samples at 16 kHz -> pitch in Hz, loudness in LUFS, seconds without silence at both ends."""
        spoken = FrontEnd(FrontEndConfig(level=False))(samples).samples
        values = {"pitch": self.pitch(spoken), "loudness": self.loudness(spoken), "seconds": len(spoken) / SAMPLE_RATE}
        return {name: None if value is None else round(float(value), 4) for name, value in values.items()}

    def save(self) -> None:
        """Keep what is new, with what other processes have measured meanwhile."""
        if not self.new:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.file):
            self.held = self._stored() | self.held
            write_json(self.file, self.held)
        self.new = 0

    def _stored(self) -> dict[str, dict]:
        return json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else {}


@cache
def count_phonemes(text: str, language: str | None) -> int | None:
    """Phonemes of a text as espeak-ng reads it; stress, length and pauses are none. None without text, or a language without a voice.

    Raises:
        MissingDependencyError: the package espeakng_loader is not installed.
    """
    from fas_core.synth.espeak import phonemes

    if not text.strip() or not language:
        return None
    try:
        found = phonemes(text, VOICES.get(language, language))
    except MissingDependencyError:
        raise
    except FASError:  # no voice of that language
        return None
    return sum(unicodedata.category(sign) in ("Ll", "Lu", "Lo") for sign in found) or None


def _pitch_reader(name: str) -> Callable[[np.ndarray], float | None]:
    try:
        reader = {"world": _world, "praat": _praat}[name]()
    except KeyError:
        raise FASError(f"pitch by {name!r}: expected one of {', '.join(PITCHES)}") from None
    except ImportError:
        package = {"world": "pyworld", "praat": "praat-parselmouth"}[name]
        raise MissingDependencyError(f"pitch by {name} needs {package}: {INSTALL}") from None

    def read(samples: np.ndarray) -> float | None:
        f0 = reader(samples.astype(np.float64))
        voiced = f0[f0 > 0]
        return float(voiced.mean()) if len(voiced) >= FEWEST_VOICED else None

    return read


def _world() -> Callable[[np.ndarray], np.ndarray]:
    import pyworld

    def f0(samples: np.ndarray) -> np.ndarray:
        rough, times = pyworld.dio(
            samples, SAMPLE_RATE, f0_floor=F0_RANGE[0], f0_ceil=F0_RANGE[1], frame_period=FRAME_MS
        )
        return pyworld.stonemask(samples, rough, times, SAMPLE_RATE)

    return f0


def _praat() -> Callable[[np.ndarray], np.ndarray]:
    import parselmouth

    def f0(samples: np.ndarray) -> np.ndarray:
        if len(samples) < 3 * SAMPLE_RATE / F0_RANGE[0]:  # Praat takes three periods
            return np.zeros(0)
        sound = parselmouth.Sound(samples, SAMPLE_RATE)
        return sound.to_pitch(FRAME_MS / 1000, *F0_RANGE).selected_array["frequency"]

    return f0


def _loudness_reader() -> Callable[[np.ndarray], float | None]:
    try:
        import pyloudnorm
    except ImportError:
        raise MissingDependencyError(f"loudness needs pyloudnorm: {INSTALL}") from None
    meter = pyloudnorm.Meter(SAMPLE_RATE)

    def read(samples: np.ndarray) -> float | None:
        if len(samples) < SHORTEST_LOUDNESS * SAMPLE_RATE:
            return None
        value = meter.integrated_loudness(samples.astype(np.float64))
        return value if np.isfinite(value) else None

    return read
