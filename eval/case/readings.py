"""Who reads a sentence in a neutral tone: espeak-ng, which always works, or Kokoro-82M, which is natural."""

from collections import defaultdict
from pathlib import Path
from typing import Protocol

import numpy as np

from fas_core.data.splits import SPLITS, assign_speaker_splits
from fas_core.errors import FASError
from fas_core.synth.espeak import Synthesizer
from fas_core.synth.kokoro import VOICES_INSTALL, KokoroReader, voice_names
from fas_core.synth.sentences import VOICES

READERS = ("kokoro", "espeak")
_ESPEAK_RATE = 160  # words a minute: a calm reading


class Reader(Protocol):
    """Something that reads English.

    Attributes:
        name: one of `READERS`. voices: split -> names; no voice is on two sides.
    """

    name: str
    voices: dict[str, tuple[str, ...]]

    def read(self, text: str, voice: str) -> tuple[np.ndarray, int]:
        """Samples (n,) float32 and their rate in Hz."""


class EspeakReader:
    """espeak-ng with its own intonation; the voices are those of the synthetic conflict corpus, on the same sides.

    The library carries a little state from one call to the next: an interrupted run may differ in the last bits from one in a
    single piece.

    Raises:
        MissingDependencyError: no package espeakng_loader.
    """

    name, voices = "espeak", VOICES

    def __init__(self):
        self._synthesizer = Synthesizer()

    def read(self, text: str, voice: str) -> tuple[np.ndarray, int]:
        return self._synthesizer.speak(text, voice, rate=_ESPEAK_RATE)


class NaturalReader:
    """Kokoro's 28 English voices, divided so that each side has both genders and both accents.

    Args:
        folder: of the voices, see `fas_core.synth.kokoro.KokoroReader`.

    Raises:
        MissingDependencyError: as `KokoroReader`.
    """

    name = "kokoro"

    def __init__(self, folder: str | Path):
        self.voices = divided(voice_names())
        self.read = KokoroReader(folder).read


def divided(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Kokoro's voices by split; accent and gender are the first two letters of a name."""
    kinds = defaultdict(list)
    for name in names:
        kinds[name[:2]].append(name)
    side = {name: split for kind in kinds.values() for name, split in assign_speaker_splits(kind).items()}
    return {split: tuple(name for name in names if side[name] == split) for split in SPLITS}


def load_readers(names: list[str], kokoro_voices: str | Path | None) -> list[Reader]:
    """The readers of --voices.

    Raises:
        FASError: an unknown reader, or Kokoro without the folder of its voices. MissingDependencyError: see the readers.
    """
    unknown = set(names) - set(READERS)
    if unknown:
        raise FASError(f"--voices {sorted(unknown)[0]}: expected some of {', '.join(READERS)}")
    if "kokoro" in names and kokoro_voices is None:
        raise FASError(f"--voices kokoro needs the folder of its voices: {VOICES_INSTALL}")
    return [NaturalReader(kokoro_voices) if name == "kokoro" else EspeakReader() for name in dict.fromkeys(names)]
