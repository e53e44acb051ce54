"""Arrays of samples: which are taken, by the pipeline and the client alike, and what they become."""

from numbers import Real
from typing import Any

import numpy as np

from fas_core.errors import AudioError

CHANNELS = 64  # at most
RATES = (4_000, 384_000)  # Hz
FULL_SCALE = {"uint8": 2**7, "int16": 2**15, "int32": 2**31}
LARGEST_AMPLITUDE = 1e12  # beyond any integer scale; squares of it still fit float32
NAME = "<array>"


def is_array(source: Any) -> bool:
    """An array or tensor, of any library; NumPy's own strings are texts."""
    return hasattr(source, "__array__") and not isinstance(source, str | bytes)


def checked_array(source: Any, sampling_rate: int | None) -> tuple[np.ndarray, int]:
    """An array as (n,) or (n, channels), of the type that it has; and its rate.

    (channels, n), as torchaudio gives it, is turned: that few samples are no audio, that many channels no recording.

    Raises:
        AudioError: no rate or one that is not whole, another shape, a type that is not samples, or what NumPy cannot read.
    """
    if sampling_rate is None:
        raise AudioError(NAME, "has no sample rate", "pass sampling_rate=..., in Hz")
    if not isinstance(sampling_rate, Real) or sampling_rate % 1 != 0:  # NaN and Inf leave NaN
        raise AudioError(NAME, f"sampling_rate is {sampling_rate!r}", "expected a whole number of Hz")
    try:
        array = np.asarray(source)
    except (RuntimeError, TypeError, ValueError):  # a tensor on a GPU, with gradients, or of bfloat16
        hint = "for a tensor pass tensor.detach().float().cpu()"
        raise AudioError(NAME, "cannot become a NumPy array", hint) from None
    if array.dtype.name not in FULL_SCALE and array.dtype.kind != "f":
        hint = f"expected float with full scale at 1, or {', '.join(FULL_SCALE)} PCM"
        raise AudioError(NAME, f"samples are {array.dtype.name}", hint)
    return _samples_first(array), int(sampling_rate)


def _samples_first(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (1, 2):
        raise AudioError(NAME, f"has shape {array.shape}", "expected (samples,) or (samples, channels)")
    if array.ndim == 1 or array.shape[1] <= CHANNELS:
        return array
    if not 0 < array.shape[0] <= CHANNELS:
        hint = f"expected (samples,), (samples, channels) or (channels, samples) with at most {CHANNELS} channels"
        raise AudioError(NAME, f"has shape {array.shape}", hint)
    return array.T


def as_float(samples: np.ndarray) -> np.ndarray:
    """Samples of a type that `checked_array` takes, as float32, full scale at 1."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is reported by who asked
        floats = samples.astype(np.float32, copy=False)
    kind = samples.dtype.name
    if kind in FULL_SCALE:
        floats = (floats - (128 if kind == "uint8" else 0)) / np.float32(FULL_SCALE[kind])
    return floats


def float_array(source: Any, sampling_rate: int | None) -> tuple[np.ndarray, int]:
    """An array as `load_audio` hears it, at its own rate: (n,) or (n, channels) float32, full scale at 1; and the rate.

    Raises:
        AudioError: as `checked_array`; an empty array, NaN or Inf, a rate that no audio has.
    """
    array, rate = checked_array(source, sampling_rate)
    samples = as_float(array)
    if samples.size == 0:
        raise AudioError(NAME, "empty")
    check_rate(rate, NAME)
    check_finite(samples, 0.0, NAME)
    return samples, rate


def check_rate(rate: int, source: str) -> None:
    """Raises `AudioError` for a rate at which no speech is recorded."""
    low, high = RATES
    if not low <= rate <= high:
        raise AudioError(source, f"sample rate is {rate} Hz", f"expected {low} to {high} Hz")


def check_finite(block: np.ndarray, start: float, source: str) -> None:
    """Raises `AudioError` for samples, `start` seconds into the source, that no recording holds."""
    if not np.abs(block).max(initial=0) < LARGEST_AMPLITUDE:  # false for NaN, too
        hint = "expected finite samples, full scale at 1"
        raise AudioError(source, f"NaN, Inf or absurdly large samples after {start:.1f} s", hint)
