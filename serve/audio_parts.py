"""The audio of a request: base64, data: URL, listed address or upload becomes 16 kHz mono, or one error that names the part."""

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from fas_core.audio import Audio, AudioLimits, load_audio, stream_audio
from fas_core.errors import AudioError
from fas_core.windows import cut
from fas_serve.errors import APIError, invalid
from fas_serve.gate import Gate
from fas_serve.remote import fetch
from fas_serve.settings import Settings

KINDS = ("input_audio", "audio_url")
EXPECTED = (
    'expected {"type": "input_audio", "input_audio": {"data": base64, "format": "wav"}} or '
    '{"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,..."}}'
)
THREADS = 8  # most wait for a decoder in a process of its own, which may use some hundred MB
BLOCK = 30.0  # seconds that are decoded at a time

Window = tuple[float, float, Audio]  # start and end in seconds, and what is between


class AudioReader:
    """Reads audio parts under the gateway's limits; the work is done in threads of its own, which addresses share."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="audio")
        self._gate = Gate(THREADS, queue=0)
        self._left: set[asyncio.Task] = set()  # work that nobody waits for any more, but that has to end

    async def read(self, part: object, where: str, address: str = "") -> Audio:
        """The audio of one part of a message, which holds a sound.

        Raises:
            APIError: 400 naming the part: what `load` refuses, whatever `load_audio` refuses, and digital silence.
        """
        file = await self.load(part, where)
        return await asyncio.shield(self._started(self._in_turn(address, self._decode, file, where)))

    async def load(self, part: object, where: str) -> bytes:
        """The file that a part holds.

        Raises:
            APIError: 400 naming the part: of another shape, not base64, an address that is not allowed, too big.
        """
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get(kind) if kind in KINDS else None
        if not isinstance(value, dict):
            raise invalid(f"{where}: not an audio part; {EXPECTED}", where)
        if kind == "audio_url":
            return await self.load_url(value.get("url"), where)
        if not isinstance(value.get("format", "wav"), str):
            raise invalid(f"{where}: input_audio.format is not a string; {EXPECTED}", where)
        return await self._run(self._from_base64, value.get("data"), where)

    async def load_url(self, url: object, where: str) -> bytes:
        """The file in a data: URL, or at an address on a listed host."""
        if not isinstance(url, str):
            raise invalid(f"{where}: audio_url.url is not a string; {EXPECTED}", where)
        if url[:5].lower() == "data:":
            head, comma, data = url[5:].partition(",")
            if not comma or not head.endswith(";base64"):
                raise invalid(f"{where}: not a data URL with base64; {EXPECTED}", where)
            return await self._run(self._from_base64, data, where)
        return await fetch(url, where, self.settings.media_hosts, self.settings.audio.max_bytes)

    async def windows(
        self,
        file: bytes | BinaryIO,
        where: str,
        limits: AudioLimits,
        window: float,
        hop: float,
        channel: int | str = "mix",
        address: str = "",
    ) -> AsyncGenerator[Window, None]:
        """Windows of a file, as they are decoded; it is never held whole, and decoding ends with the iteration.

        Args:
            address: who asked; one has only some of the threads.

        Raises:
            APIError: 400 naming the part: whatever `stream_audio` refuses, also midway.
        """
        windows = cut(stream_audio(file, block_seconds=BLOCK, limits=limits, channel=channel), window, hop)
        step: asyncio.Task | None = None
        try:
            while True:
                step = self._started(self._in_turn(address, next, windows, None))
                if (item := await asyncio.shield(step)) is None:
                    return
                yield item
        except AudioError as error:
            raise _refused(error, where) from None
        finally:
            self._started(self._closed(windows, step))

    def _started(self, work: Coroutine) -> asyncio.Task:
        task = asyncio.ensure_future(work)
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        return task

    async def _in_turn(self, address: str, work: Callable, *arguments):
        """In a thread; the place is given back when that has done, whoever has gone before."""
        async with self._gate.slot(address):
            return await self._run(work, *arguments)

    async def _closed(self, windows: Iterator[Window], step: asyncio.Task | None) -> None:
        """Ends a decoder, once the thread that is in it has left it."""
        if step is not None:
            await asyncio.wait([step])
            step.cancelled() or step.exception()  # it has been told, or nobody wants to know
        with contextlib.suppress(RuntimeError):  # the threads are gone: the server stops
            await self._run(windows.close)

    async def _run(self, work: Callable, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _from_base64(self, data: object, where: str) -> bytes:
        if not isinstance(data, str):
            raise invalid(f"{where}: input_audio.data is not a string; {EXPECTED}", where)
        largest = self.settings.audio.max_bytes
        if len(data) * 3 // 4 > largest + 3:
            raise invalid(f"{where}: too big: more than {largest} bytes of audio", where, "audio_too_big")
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise invalid(f"{where}: the audio is not base64; {EXPECTED}", where, "invalid_base64") from None

    def _decode(self, data: bytes, where: str) -> Audio:
        try:
            audio = load_audio(data, limits=self.settings.audio)
        except AudioError as error:
            raise _refused(error, where) from None
        if audio.is_silent:
            raise invalid(f"{where}: digital silence; expected audio with a voice", where, "silent_audio")
        return audio

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _refused(error: AudioError, where: str) -> APIError:
    hint = error.hint.partition(";")[0]  # what follows tells the options of the server, not of a request
    return invalid(f"{where}: {error.problem}" + (f" ({hint})" if hint else ""), where, "invalid_audio")
