"""From the bytes of a request to JSON, or to clips."""

import asyncio
import json
import math
import re
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from serve.audio_parts import AudioReader
from serve.emotion import ClipSource
from serve.errors import APIError, invalid
from serve.schemas import EmotionOptions
from serve.settings import Settings

JSON, FORM = "application/json", "multipart/form-data"
FILE_FIELDS = ("file", "files")
FORM_FIELDS = 64  # besides the files
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character; alone it is no text, and cannot be sent on


async def read_json(request: Request, timeout: float) -> Any:
    """The JSON of a request.

    Raises:
        APIError: 415 for another content type, 400 for what is not JSON, 408 for a body that does not come.
    """
    if content_type(request) != JSON:
        raise APIError(415, f"expected Content-Type: {JSON}", code="unsupported_media_type")
    body = await _in_time(request.body(), timeout)
    return await asyncio.get_running_loop().run_in_executor(None, _parse, body)


def content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_clips(
    request: Request, reader: AudioReader, settings: Settings
) -> tuple[list[ClipSource], EmotionOptions]:
    """The clips of an `/v1/emotion` request, JSON or multipart, and its options.

    Raises:
        APIError: as `read_json`; 400 for fields that are wrong, no clip, or too many of them.
    """
    if content_type(request) == FORM:
        clips, options = await _read_form(request, reader, settings)
    else:
        clips, options = _from_json(await read_json(request, settings.body_timeout), reader)
    if not clips:
        raise invalid("audio: no clip; expected at least one", "audio", "no_audio")
    if len(clips) > settings.max_clips:
        text = f"audio: {len(clips)} clips; expected at most {settings.max_clips} (server option --max-clips)"
        raise invalid(text, "audio", "too_many_audios")
    return clips, options


def _from_json(body: Any, reader: AudioReader) -> tuple[list[ClipSource], EmotionOptions]:
    if not isinstance(body, dict):
        raise invalid("the body is not a JSON object; expected {'audio': [...]}")
    audio = body.pop("audio", None)
    parts = audio if isinstance(audio, list) else [] if audio is None else [audio]

    def source(part: Any, where: str) -> ClipSource:
        read = reader.read_url if isinstance(part, str) else reader.read
        return ClipSource(where, lambda: read(part, where))

    clips = [source(part, f"audio[{i}]") for i, part in enumerate(parts)]
    return clips, _options(body)


async def _read_form(request: Request, reader: AudioReader, settings: Settings):
    options = {"max_files": settings.max_clips, "max_fields": FORM_FIELDS}
    form = await _in_time(request.form(**options), settings.body_timeout)
    clips, fields = [], {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name in FILE_FIELDS:
            clips.append(_uploaded(value, f"audio[{len(clips)}]", reader))
        elif isinstance(value, UploadFile) or name in FILE_FIELDS:
            raise invalid(f"{name[:64]}: expected files in fields named file or files, and only there", name[:64])
        else:
            fields[name] = value
    return clips, _options(fields)


def _uploaded(file: UploadFile, where: str, reader: AudioReader) -> ClipSource:
    async def read():
        return await reader.decode(await file.read(), where)

    return ClipSource(where, read, name=(file.filename or "")[:256] or None)


def _options(values: dict) -> EmotionOptions:
    try:
        return EmotionOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:128] or "body"
        raise invalid(
            f"{where}: {first['msg']}; fields: audio, {', '.join(EmotionOptions.model_fields)}", where
        ) from None


def _parse(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")  # json.loads would let halves of characters pass
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError):
        raise invalid("the body is not JSON in UTF-8", code="malformed_json") from None


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)  # 1e999


def _no_number(name: str):
    raise ValueError(name)  # NaN and Infinity are no JSON


async def _in_time(work, timeout: float):
    try:
        return await asyncio.wait_for(work, timeout)
    except asyncio.TimeoutError:
        raise APIError(408, f"the request did not arrive within {timeout:g} s", code="request_timeout") from None
