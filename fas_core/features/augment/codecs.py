"""Codecs and the telephone: encoded and decoded again by libsndfile, which reads the project's audio too."""

import io

import numpy as np
import soundfile
import soxr

from fas_core.audio import SAMPLE_RATE
from fas_core.errors import FASError
from fas_core.features.augment.level import clipless

NARROW = {"gsm": ("WAV", "GSM610"), "mulaw": ("WAV", "ULAW"), "alaw": ("WAV", "ALAW"), "adpcm": ("WAV", "G721_32")}
WIDE = {"opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III")}
MPEG2_RATES = (16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
RATES = {"opus": range(6, 129), "mp3": MPEG2_RATES}  # kbit/s
NARROW_RATE = 8000  # Hz
MP3_DELAY = 1105  # samples: 576 of LAME and 529 of any decoder, there unless the file says how many (ISO 11172-3)
BAND = (300.0, 3400.0)  # Hz, of a telephone line (ITU-T G.712)


def through_codec(samples: np.ndarray, codec: str) -> np.ndarray:
    """What is left of (n,) samples at 16 kHz behind a codec such as "gsm" or "opus-12": (n,) float32 at 16 kHz.

    Raises:
        FASError: this machine's libsndfile cannot write it.
    """
    name, _, rate = codec.partition("-")
    if name in WIDE:
        return _coded(samples, SAMPLE_RATE, *WIDE[name], codec, _compression(name, int(rate)))
    return _widened(_coded(_narrowed(samples), NARROW_RATE, *NARROW[name], codec), len(samples))


def through_telephone(samples: np.ndarray, codec: str) -> np.ndarray:
    """The same behind a line of 300 to 3400 Hz: Butterworth's curves, 24 and 48 dB an octave, without delay."""
    frequency = np.maximum(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE), 1e-3)
    gain = 1 / np.sqrt((1 + (BAND[0] / frequency) ** 8) * (1 + (frequency / BAND[1]) ** 16))
    return through_codec(np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)).astype(np.float32), codec)


def _compression(name: str, kbits: int) -> dict:
    """How libsndfile is told a bit rate: as a share of its range (its `ogg_opus.c` and `mpeg_l3_encode.c`), one channel at 16 kHz."""
    if name == "opus":
        return dict(compression_level=1 - (kbits - 6) / 250)
    return dict(compression_level=(160 - kbits) / 152, bitrate_mode="CONSTANT")


def _coded(
    samples: np.ndarray, rate: int, form: str, subtype: str, codec: str, settings: dict | None = None
) -> np.ndarray:
    if form not in soundfile.available_formats() or subtype not in soundfile.available_subtypes(form):
        raise FASError(
            f"augmentation: codec {codec!r}: libsndfile {soundfile.__libsndfile_version__} of this machine cannot write it: "
            "install the wheel of soundfile, which has its own, or leave this codec out"
        )
    quiet, gain = clipless(samples)
    file = io.BytesIO()
    soundfile.write(file, quiet, rate, format=form, subtype=subtype, **(settings or {}))
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    late = MP3_DELAY if form == "MP3" and len(decoded) > len(samples) else 0
    return _fitted(decoded[late:] / gain, len(samples))  # what pads the last block is dropped


def _narrowed(samples: np.ndarray) -> np.ndarray:
    return soxr.resample(samples, SAMPLE_RATE, NARROW_RATE).astype(np.float32)


def _widened(samples: np.ndarray, length: int) -> np.ndarray:
    return _fitted(soxr.resample(samples, NARROW_RATE, SAMPLE_RATE), length)


def _fitted(samples: np.ndarray, length: int) -> np.ndarray:
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)
