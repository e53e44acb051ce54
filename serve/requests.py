"""From the bytes of a request to JSON, or to clips."""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from fas_serve.audio_parts import AudioReader
from fas_serve.budget import Budget, Budgets, Share
from fas_serve.clips import ClipSource
from fas_serve.errors import APIError, invalid
from fas_serve.schemas import EmotionOptions
from fas_serve.settings import Settings

JSON, FORM = "application/json", "multipart/form-data"
FILE_FIELDS = ("file", "files")
FORM_FIELDS, FORM_TEXT = 64, 4096  # besides the files, and bytes of each
LONGEST_BOUNDARY = 70  # RFC 2046
COPIES = 3  # of a body in memory: its bytes, its text, its audio
SLOWEST = 32 * 1024  # bytes a second, in the long run
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character; alone it is no text, and cannot be sent on


async def read_json(request: Request, settings: Settings, share: Share, memory: Budget) -> Any:
    """The JSON of a request.

    Raises:
        APIError: 415 for another content type, 400 for what is not JSON, 408 for a body that does not come, 413 or 429
            for one that is too big, or too much beside those that are at work.
    """
    if content_type(request) != JSON:
        raise APIError(415, f"expected Content-Type: {JSON}", code="unsupported_media_type")
    body = bytearray()
    async for piece in incoming(request, settings.max_body_bytes, settings.body_timeout):
        share.take(memory, COPIES * len(piece))
        body += piece
    return await asyncio.get_running_loop().run_in_executor(None, _parse, bytes(body))


def content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def incoming(request: Request, largest: int, timeout: float) -> AsyncGenerator[bytes, None]:
    """The pieces of a body. A large one has longer to come, as long as it does not crawl.

    Raises:
        APIError: 413 for more than `largest` bytes, 408.
    """
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > largest:
        raise _too_big(largest)
    received, start, pieces = 0, time.monotonic(), request.stream()
    while True:
        left = start + timeout + received / SLOWEST - time.monotonic()
        try:
            piece = await asyncio.wait_for(anext(pieces, None), max(0, left))
        except asyncio.TimeoutError:
            text = f"the request did not arrive within {timeout:g} s, or came at less than {SLOWEST} bytes a second"
            raise APIError(408, text, code="request_timeout") from None
        if piece is None:
            return
        received += len(piece)
        if received > largest:
            raise _too_big(largest)
        yield piece


def _too_big(largest: int) -> APIError:
    text = (
        f"the request is larger than {largest} bytes (server options --max-body-bytes, and --max-upload-bytes of files)"
    )
    return APIError(413, text, code="body_too_big")


async def read_clips(
    request: Request, reader: AudioReader, settings: Settings, share: Share, budgets: Budgets
) -> tuple[list[ClipSource], EmotionOptions]:
    """The clips of an `/v1/emotion` request, JSON or multipart, and its options.

    Files are in files of this machine without a name, and go with the request.

    Raises:
        APIError: as `read_json`; 400 for fields that are wrong, no clip, or too many of them.
    """
    if content_type(request) == FORM:
        clips, options = await _read_form(request, settings, share, budgets)
    else:
        clips, options = _from_json(await read_json(request, settings, share, budgets.memory), reader)
    if not clips:
        raise invalid("audio: no clip; expected at least one", "audio", "no_audio")
    if len(clips) > settings.max_clips:
        text = f"audio: {len(clips)} clips; expected at most {settings.max_clips} (server option --max-clips)"
        raise invalid(text, "audio", "too_many_audios")
    share.take(budgets.clips, len(clips))
    return clips, options


def _from_json(body: Any, reader: AudioReader) -> tuple[list[ClipSource], EmotionOptions]:
    if not isinstance(body, dict):
        raise invalid("the body is not a JSON object; expected {'audio': [...]}")
    audio = body.pop("audio", None)
    parts = audio if isinstance(audio, list) else [] if audio is None else [audio]

    def source(part: Any, where: str) -> ClipSource:
        load = reader.load_url if isinstance(part, str) else reader.load
        return ClipSource(where, lambda: load(part, where))

    clips = [source(part, f"audio[{i}]") for i, part in enumerate(parts)]
    return clips, _options(body)


class _Parser(MultiPartParser):
    """Starlette's, which holds a megabyte of each file in memory, and decodes text by a codec that the client names."""

    spool_max_size = 16 * 1024

    def __init__(self, request: Request, stream: AsyncGenerator[bytes, None], max_files: int):
        super().__init__(request.headers, stream, max_files=max_files, max_fields=FORM_FIELDS, max_part_size=FORM_TEXT)
        boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
        if not 0 < len(boundary) <= LONGEST_BOUNDARY:
            raise MultiPartException("Missing boundary in multipart.")
        self.headers = Headers(raw=[(b"content-type", FORM.encode() + b'; boundary="' + boundary + b'"')])


async def _read_form(request: Request, settings: Settings, share: Share, budgets: Budgets):
    async def pieces():
        async for piece in incoming(request, settings.max_upload_bytes, settings.body_timeout):
            share.take(budgets.disk, len(piece))
            yield piece

    try:
        form = await _Parser(request, pieces(), settings.max_clips).parse()
    except MultiPartException as error:
        raise invalid(f"the form cannot be read: {error.message}", code="malformed_form") from None
    except OSError:
        text = "the server has no room for the upload now (disk, or open files); try again later"
        raise APIError(503, text, code="no_room", retry_after=60) from None
    clips, fields = [], {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name in FILE_FIELDS:
            share.callback(value.file.close)
            clips.append(_uploaded(value, f"audio[{len(clips)}]"))
        elif isinstance(value, UploadFile) or name in FILE_FIELDS:
            raise invalid(f"{name[:64]}: expected files in fields named file or files, and only there", name[:64])
        else:
            fields[name] = value
    return clips, _options(fields)


def _uploaded(file: UploadFile, where: str) -> ClipSource:
    async def load():
        return file.file

    return ClipSource(where, load, name=(file.filename or "")[:256] or None)


def _options(values: dict) -> EmotionOptions:
    try:
        return EmotionOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:128] or first["type"]
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
