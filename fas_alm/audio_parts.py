"""The audio that messages and calls hold, in every form that users of transformers and datasets give it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fas_core.arrays import is_array
from fas_core.audio import Audio
from fas_core.audio_forms import is_pair
from fas_core.errors import AudioError, FASError

AUDIO_PARTS = ("audio", "input_audio", "audio_url")


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


def _source(part: Mapping) -> Any:
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


def _with_rate(source: Any, rate: int) -> tuple[Any, int]:
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


def _from_url(url: str) -> bytes | Path:
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
