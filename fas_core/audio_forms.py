"""The forms in which users of transformers and datasets hold audio, each as a source that `load_audio` takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any, BinaryIO, Protocol

import numpy as np

from fas_core.arrays import is_array
from fas_core.errors import AudioError

FORMS = "a path, bytes, an array with its rate, (array, rate), or a mapping with 'array' and 'sampling_rate'"
ARRAYS = ("array", "raw")  # names of samples in a mapping: datasets' own, and that of transformers' pipelines


class SupportsArray(Protocol):
    """An array or tensor of any library."""

    def __array__(self) -> np.ndarray: ...


AudioSource = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | SupportsArray | Mapping[str, Any]
    | tuple[SupportsArray, int]
)  # fmt: skip


def open_source(source: Any, sampling_rate: int | None = None) -> tuple[Any, int | None]:
    """Gives what `load_audio` takes: a source, and the rate of an array.

    Args:
        source: path, bytes, file, array, `Audio`; (array, rate) or (rate, array); a mapping with "array" or "raw" and
            "sampling_rate", with "bytes" or "path" (datasets' Audio column); a decoder of torchcodec.
        sampling_rate: Hz, of an array that does not say its own.

    Raises:
        AudioError: a mapping that holds none of these.
    """
    if isinstance(source, Mapping):
        return _from_mapping(source, sampling_rate)
    if is_pair(source):
        array, rate = source if not isinstance(source[0], Real) else source[::-1]
        return open_source(array, rate)
    if hasattr(source, "get_all_samples"):  # torchcodec's decoder, (channels, n)
        samples = source.get_all_samples()
        return samples.data.T, samples.sample_rate
    return source, sampling_rate if is_array(source) else None


def is_pair(source: Any) -> bool:
    """Whether this is an array and its rate, in either order."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    return any(is_array(x) and isinstance(rate, Real) for x, rate in (source, source[::-1]))


def is_stream(sources: Any) -> bool:
    """Whether these are many sources that come one after the other: a generator, or a data set of torch; no open file."""
    is_dataset = hasattr(sources, "__getitem__") and hasattr(sources, "__len__") and _is_torch_dataset(sources)
    return is_dataset or (isinstance(sources, Iterator) and not hasattr(sources, "read"))


def _is_torch_dataset(sources: Any) -> bool:
    from torch.utils.data import Dataset  # here, so that whoever reads one file does not wait for torch

    return isinstance(sources, Dataset)


def _from_mapping(source: Mapping[str, Any], sampling_rate: int | None) -> tuple[Any, int | None]:
    for key in ARRAYS:
        if source.get(key) is not None:
            return open_source(source[key], source.get("sampling_rate", sampling_rate))
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key], None
    raise AudioError(
        f"<mapping with {', '.join(map(str, source)) or 'nothing'}>", "holds no audio", f"expected {FORMS}"
    )
