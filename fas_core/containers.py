"""Containers that libsndfile does not read (m4a, webm, mp4, ...): decoded by FFmpeg in a process with limits of its own.

A few kilobytes can claim an index of gigabytes, and a demuxer is a large target. So no such file is parsed here: a worker
(`fas_core.container_worker`) gets it as an open descriptor and sends samples back. It may use so much memory, and compute so
long without giving any; it is killed when it does not keep to that, or when whoever asked stops reading. Workers stay
warm: one is ready for the next file.
"""

import atexit
import contextlib
import importlib.util
import io
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fas_core.decoded import BLOCK_FRAMES, Channel, Decoded, downmix
from fas_core.errors import AudioError
from fas_core.headers import EXPORT_AGAIN

INSTALL_PYAV = "for m4a, webm, mp4 and the like: pip install 'fas-alm[media]'"
MEMORY = "FAS_DECODER_MEGABYTES"
MEGABYTES = 384  # of one worker; an index of an hour has a few
SECONDS = 3.0  # of computing, beyond what decoding takes
PATIENCE = 60.0  # seconds of waiting for the same: other work may hold the processor
GIVING_UP = 0.5  # seconds that a worker has to stop
WARM = 2  # workers that wait for the next file
LARGEST_MESSAGE = 64 + 65_536 * 64 * 8  # bytes: a block of 64 channels
SCRIPT = Path(__file__).with_name("container_worker.py")
HEADER, SAMPLES, ERROR, DONE = b"HSED"


@contextlib.contextmanager
def decode_container(file: BinaryIO, source: str, channel: Channel) -> Iterator[Decoded]:
    """As `fas_core.media.decode`.

    Raises:
        AudioError: not audio, PyAV is not installed, damaged or truncated, or a worker that needs more than it may have.
    """
    if importlib.util.find_spec("av") is None:
        raise AudioError(source, "not audio of a known format", INSTALL_PYAV)
    if not hasattr(socket, "send_fds"):
        raise AudioError(source, "containers cannot be decoded on this system", "expected wav, flac, ogg or mp3")
    with _descriptor(file) as descriptor, _worker(source) as worker:
        worker.ask(descriptor)
        kind, data = worker.receive()
        if kind != HEADER:
            raise worker.problem(kind, data)
        head = json.loads(data)
        yield Decoded(head["rate"], head["channels"], None, _blocks(worker, source, channel))


def _blocks(worker: "_Worker", source: str, channel: Channel) -> Iterator[np.ndarray]:
    pending, waiting = [], 0
    while (message := worker.receive())[0] == SAMPLES:
        block = downmix(_samples(message[1]), source, channel)
        pending.append(block)
        waiting += len(block)
        if waiting >= BLOCK_FRAMES:  # a frame alone is some 20 ms: too little to be handled one by one
            yield np.concatenate(pending)
            pending, waiting = [], 0
    if pending:
        yield np.concatenate(pending)
    if message[0] != DONE:
        raise worker.problem(*message)


def _samples(data: bytes) -> np.ndarray:
    head = json.loads(data[:64])
    return np.frombuffer(data, np.dtype(head["dtype"]), offset=64).reshape(-1, head["channels"])


@contextlib.contextmanager
def _descriptor(file: BinaryIO) -> Iterator[int]:
    """Of the file itself where it is one of the system's, else of a copy that has no name.

    Only Python's own reader of a file is one: that of a gzip has a descriptor, too, but other bytes behind it.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
            descriptor = file.fileno()
        else:
            copy = stack.enter_context(tempfile.TemporaryFile())
            file.seek(0)
            shutil.copyfileobj(file, copy)
            copy.flush()
            descriptor = copy.fileno()
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor


@dataclass
class _Worker:
    """A process that decodes one file at a time."""

    process: subprocess.Popen
    socket: socket.socket
    source: str = ""
    idle: bool = True
    between: bool = True  # no message has been read in part

    @classmethod
    def start(cls, megabytes: int) -> "_Worker":
        ours, theirs = socket.socketpair()
        with theirs:
            limits = json.dumps({"memory": megabytes * 2**20, "seconds": SECONDS})
            places = [path for path in sys.path if os.path.isabs(path)]
            command = [sys.executable, "-I", str(SCRIPT), str(theirs.fileno()), limits, *places]
            environment = {k: os.environ[k] for k in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if k in os.environ}
            process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), env=environment | {"OPENBLAS_NUM_THREADS": "1"}, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        return cls(process, ours)

    def ask(self, descriptor: int) -> None:
        self.idle = False
        try:
            socket.send_fds(self.socket, [b"?"], [descriptor])
        except OSError:
            raise self._gone() from None

    def receive(self) -> tuple[int, bytes]:
        """Kind and content of the next message."""
        self.between = False
        kind, size = struct.unpack(">BI", self._exactly(5))
        if size > LARGEST_MESSAGE:
            raise self._gone()
        data = self._exactly(size)
        self.idle, self.between = kind in (ERROR, DONE) and data != b"memory", True
        return kind, data

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            if not select.select([self.socket], [], [], self.socket.gettimeout() or PATIENCE)[0]:
                raise AudioError(self.source, f"nothing was decoded for {PATIENCE:g} s", EXPORT_AGAIN)
            try:
                count = self.socket.recv_into(view)
            except OSError:
                count = 0
            if not count:
                raise self._gone()
            view = view[count:]
        return data

    def give_up(self) -> None:
        """Tells it that no more is wanted; it stays busy, and so is killed, where it does not hear that soon."""
        try:
            self.socket.send(b"!")
            self.socket.settimeout(GIVING_UP)
            while not self.idle:
                self.receive()
            self.socket.settimeout(None)
        except (OSError, AudioError):
            self.idle = False

    def problem(self, kind: int, data: bytes) -> AudioError:
        """What the worker said of the file."""
        if kind != ERROR:
            return self._gone()
        if data == b"memory":
            hint = f"an index that claims too much, or a very long file: {MEMORY} in the environment changes it"
            return AudioError(self.source, f"damaged, or decoding it needs more than {_megabytes()} MB", hint)
        hint = "expected a file with sound" if b"no audio track" in data else EXPORT_AGAIN
        return AudioError(self.source, data.decode(errors="replace"), hint)

    def _gone(self) -> AudioError:
        hint = f"at most {SECONDS:g} s of computing without audio, and {_megabytes()} MB ({MEMORY} in the environment)"
        return AudioError(self.source, "damaged, or made to keep a decoder busy: it was stopped", hint)

    def stop(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()


_lock = threading.Lock()
_warm: list[_Worker] = []


@contextlib.contextmanager
def _worker(source: str) -> Iterator[_Worker]:
    """A warm worker or a new one; back among the warm ones if it ended its work, else killed."""
    worker = _take()
    worker.source = source
    try:
        yield worker
    finally:
        if not worker.idle and worker.between:
            worker.give_up()
        with _lock:
            keep = worker.idle and worker.process.poll() is None and len(_warm) < WARM
            if keep:
                _warm.append(worker)
        if not keep:
            worker.stop()


def _take() -> _Worker:
    with _lock:
        while _warm:
            worker = _warm.pop()
            if worker.process.poll() is None:
                return worker
            worker.stop()
    return _Worker.start(_megabytes())


def _megabytes() -> int:
    told = os.environ.get(MEMORY, str(MEGABYTES))
    if not told.isdecimal() or int(told) < 64:
        raise AudioError(MEMORY, f"is {told!r}", "expected a whole number of megabytes, at least 64")
    return int(told)


@atexit.register
def _stop_all() -> None:
    while _warm:
        _warm.pop().stop()


def _forget_all() -> None:
    """In a fork, which has copies of its parent's workers and of a lock that another thread may hold."""
    global _lock
    _lock = threading.Lock()
    while _warm:
        _warm.pop().socket.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
