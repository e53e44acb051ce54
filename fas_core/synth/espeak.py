"""Speech from espeak-ng, by way of the shared library and voices of the package `espeakng_loader` (GPL-3).

The library keeps state (phase of the voice, flutter, noise) in static variables that no other voice and no
`espeak_Terminate` resets: what it says depends a little on what it said before, and on the clock. Hence each
`Synthesizer` loads and seeds a copy of its own: the same calls on a new one give the same samples.
"""

import ctypes
import functools
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np

from fas_core.errors import FASError, MissingDependencyError

# espeak-ng's speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS, _DONT_EXIT, _CHARS_UTF8, _IPA = 2, 0x8000, 1, 2
_PARAMETERS = {  # name: (number, lowest, highest)
    "rate": (1, 80, 450),
    "volume": (2, 0, 200),
    "pitch": (3, 0, 100),
    "pitch_range": (4, 0, 100),
    "word_gap": (7, 0, 100),
}
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Synthesizer:
    """One espeak-ng with its own state; make few, since a library is never unloaded.

    Calls of `speak` are serialised: the library is not thread-safe.

    Raises:
        MissingDependencyError: the package `espeakng_loader` is not installed, or not for this platform.
    """

    def __init__(self):
        try:
            import espeakng_loader
        except ImportError:
            raise MissingDependencyError(
                "speech synthesis needs the package espeakng_loader: pip install 'fas-alm[offline]'"
            ) from None
        self._data = Path(espeakng_loader.get_data_path())
        self._lock = threading.Lock()
        self._blocks: list[bytes] = []
        self._library = _load_copy(Path(espeakng_loader.get_library_path()))
        self._callback = _CALLBACK(self._collect)  # kept: the library holds only a pointer to it
        self.rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(self._data).encode(), _DONT_EXIT)
        if self.rate <= 0:
            raise MissingDependencyError(f"{self._data}: espeak-ng cannot read its voices; reinstall espeakng_loader")
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(1)  # espeak_Initialize seeds the noise of breathy voices by the clock

    def _collect(self, samples: int | None, count: int, events: int) -> int:
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    def speak(
        self,
        text: str,
        voice: str,
        *,
        rate: int = 175,
        pitch: int = 50,
        pitch_range: int = 50,
        volume: int = 100,
        word_gap: int = 0,
    ) -> tuple[np.ndarray, int]:
        """Speak `text`.

        Args:
            text: what to say; its punctuation shapes the intonation.
            voice: language and, after a plus, variant: "en-us", "en-us+f3".
            rate: words per minute, 80 to 450.
            pitch: 0 to 100, relative to the voice's own.
            pitch_range: 0 to 100; 0 is monotone, 50 the voice's own.
            volume: 0 to 200; 100 is the voice's own, above it the voice may clip.
            word_gap: pause between words, in units of 10 ms at 175 words per minute, 0 to 100.

        Returns:
            Samples (n,) float32 in [-1, 1], and their rate in Hz (22,050).

        Raises:
            FASError: an unknown voice, no text, or a value out of range.
        """
        if not text.strip() or "\0" in text:
            raise FASError(f"text {text!r}: nothing to speak; expected words without NUL characters")
        values = {
            "rate": rate,
            "volume": volume,
            "pitch": pitch,
            "pitch_range": pitch_range,
            "word_gap": word_gap,
        }
        with self._lock:
            self._set_voice(voice)
            for name, value in values.items():
                self._set_parameter(name, value)
            self._blocks.clear()
            encoded = text.encode("utf-8") + b"\0"
            if self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _CHARS_UTF8, None, None):
                raise FASError(f"espeak-ng could not speak {text!r} with the voice {voice!r}")
            samples = np.frombuffer(b"".join(self._blocks), "<i2")
        return samples.astype(np.float32) / 32768.0, self.rate

    def phonemes(self, text: str, voice: str) -> str:
        """The phonemes of `text` in IPA; clauses are separated by spaces, punctuation is lost.

        Raises:
            FASError: an unknown voice, or no text.
        """
        if not text.strip() or "\0" in text:
            raise FASError(f"text {text!r}: nothing to speak; expected words without NUL characters")
        encoded = ctypes.create_string_buffer(text.encode("utf-8"))
        place = ctypes.c_void_p(ctypes.addressof(encoded))
        clauses = []
        with self._lock:
            self._set_voice(voice)
            while place.value:  # the library moves it behind each clause, and to NULL at the end
                clauses.append(self._library.espeak_TextToPhonemes(ctypes.byref(place), _CHARS_UTF8, _IPA) or b"")
        return " ".join(clause.decode("utf-8").strip() for clause in clauses).strip()

    def _set_voice(self, voice: str) -> None:
        _language, _, variant = voice.partition("+")
        # espeak-ng takes an unknown variant for the plain voice, which would silently merge speakers.
        known = not variant or variant in {path.name for path in (self._data / "voices" / "!v").iterdir()}
        if not known or self._library.espeak_SetVoiceByName(voice.encode()):
            raise FASError(
                f"voice {voice!r} is unknown to espeak-ng; expected a language such as 'en-us', "
                "and after a plus a variant such as 'm3' or 'f2'"
            )

    def _set_parameter(self, name: str, value: int) -> None:
        number, lowest, highest = _PARAMETERS[name]
        if not lowest <= value <= highest:
            raise FASError(f"{name}={value!r} is out of range; expected {lowest} to {highest}")
        self._library.espeak_SetParameter(number, round(value), 0)


def _load_copy(path: Path) -> ctypes.CDLL:
    """Load a copy of the library under a name of its own: the loader shares static variables by file."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps a loaded file
        try:
            library = ctypes.CDLL(shutil.copy(path, folder))
        except OSError as error:
            raise MissingDependencyError(f"{path}: cannot be loaded on this machine ({error})") from None
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_SetSynthCallback.argtypes = [_CALLBACK]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    return library


@functools.lru_cache(maxsize=1)
def _shared() -> Synthesizer:
    return Synthesizer()


def speak(text: str, voice: str, **prosody: int) -> tuple[np.ndarray, int]:
    """Speak with the shared synthesizer of this process; arguments as for `Synthesizer.speak`."""
    return _shared().speak(text, voice, **prosody)


def phonemes(text: str, voice: str) -> str:
    """The phonemes of a text, by the shared synthesizer of this process; as `Synthesizer.phonemes`."""
    return _shared().phonemes(text, voice)
