"""The audio that messages and calls hold, in every form that users of transformers and datasets give it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fas_core.arrays import is_array
from fas_core.audio import Audio
from fas_core.errors import AudioError, FASError

AUDIO_PARTS = ("audio", "input_audio", "audio_url")
FORMS = "a path, bytes, an array with its rate, (array, rate), or a mapping with 'array' and 'sampling_rate'"


def message_parts(message: Mapping) -> Sequence[Mapping]:
    """The content of a message as a list of parts."""
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def message_audios(messages: Sequence[Mapping]) -> list:
    """What the audio parts of a conversation hold, in order, each a source that `open_source` reads.

    A part is {"type": "audio"} with one of "audio" (array, bytes, path, `Audio`, (array, rate), a row of datasets' Audio
    column), "path" or "url", and "sampling_rate" for an array; or OpenAI's "input_audio" (base64) or "audio_url".

    Raises:
        FASError: a part without audio, or with two; base64 that is none; a URL of the network, which is not fetched here.
    """
    return [
        _source(part) for message in messages for part in message_parts(message) if part.get("type") in AUDIO_PARTS
    ]  # fmt: skip


def open_source(source: Any, sampling_rate: int | None = None) -> tuple[Any, int | None]:
    """What `load_audio` takes: a source, and the rate of an array.

    Args:
        source: path, bytes, file, array, `Audio`; (array, rate) or (rate, array); a mapping with "array" and
            "sampling_rate", "bytes" or "path" (datasets' Audio column); a decoder of torchcodec.
        sampling_rate: Hz, of an array that does not say its own.

    Raises:
        AudioError: none of these.
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
    """An array and its rate, in either order."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    return any(is_array(x) and isinstance(rate, Real) for x, rate in (source, source[::-1]))


def _from_mapping(source: Mapping, sampling_rate: int | None) -> tuple[Any, int | None]:
    if source.get("array") is not None:
        return open_source(source["array"], source.get("sampling_rate", sampling_rate))
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key], None
    raise AudioError(
        f"<mapping with {', '.join(map(str, source)) or 'nothing'}>", "holds no audio", f"expected {FORMS}"
    )


def _source(part: Mapping):
    if part["type"] == "input_audio":
        return _decoded(_field(part, "input_audio", "data"))
    if part["type"] == "audio_url":
        return _from_url(_field(part, "audio_url", "url"))
    given = [key for key in ("audio", "path", "url") if part.get(key) is not None]
    if len(given) != 1:
        problem = f"an audio part with {' and '.join(given)}" if given else "an audio part without audio"
        raise FASError(f"{problem}: expected one of 'audio', 'path', 'url'")
    source = part[given[0]]
    if given == ["url"]:
        return _from_url(source)
    rate = part.get("sampling_rate")
    return (
        source if rate is None or isinstance(source, Audio | Mapping) or is_pair(source) else _with_rate(source, rate)
    )


def _with_rate(source, rate):
    if not is_array(source):
        raise FASError("an audio part with sampling_rate: it is for arrays; a file says its own rate")
    return (source, rate)


def _field(part: Mapping, kind: str, name: str) -> str:
    value = part.get(kind)
    value = value.get(name) if isinstance(value, Mapping) else value
    if not isinstance(value, str) or not value:
        raise FASError(
            f"a part of type {kind} without audio: expected {{'type': '{kind}', '{kind}': {{'{name}': ...}}}}"
        )
    return value


def _from_url(url: str):
    split = urlsplit(str(url))
    if split.scheme == "data":
        return _decoded(split.path.partition(",")[2])
    if split.scheme in ("", "file"):
        return Path(unquote(split.path))
    raise AudioError(
        f"audio url of scheme {split.scheme!r}", "is not fetched here", "expected a path, a file: or a data: URL"
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AudioError("<base64>", "damaged", "expected the base64 of an audio file") from None
