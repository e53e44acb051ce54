"""What a hostile client does to a server, one try each: for `benchmarks.attacks`, on loopback only."""

import contextlib
import functools
import gzip
import io
import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile

EMOTION = "/v1/emotion"
BOUNDARY = b"x"
ATTACKER = "127.0.0.2"  # an address that is not the honest client's


@dataclass(frozen=True, eq=False)
class Target:
    """A server on this machine.

    Attributes:
        port: on loopback.
        speech: (n,) float32 samples at 16 kHz, from which recordings are made.
        seconds: that one try takes at most; then the attacker hangs up.
    """

    port: int
    speech: np.ndarray
    seconds: float = 2.0

    @contextlib.contextmanager
    def connection(self):
        with socket.create_connection(("127.0.0.1", self.port), self.seconds, (ATTACKER, 0)) as connection:
            yield connection

    def send(self, data: bytes, pieces: int = 2**16, read: bool = True) -> bytes:
        """The answer, or what of it came in time; a server that closes the connection is no error."""
        end, answer = time.monotonic() + self.seconds, b""
        with self.connection() as connection, contextlib.suppress(OSError):
            for start in range(0, len(data), pieces):
                connection.sendall(data[start : start + pieces])
            while read and time.monotonic() < end and (piece := connection.recv(2**16)):
                answer += piece
        return answer

    def hold(self, data: bytes, connections: int = 1, drip: bytes = b"") -> None:
        """Connections that send this, then a drop now and then, and never read."""
        end = time.monotonic() + self.seconds
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(self.connection()) for _ in range(connections)]
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.sendall(data)
            while time.monotonic() < end:
                for connection in opened:
                    with contextlib.suppress(OSError):
                        connection.sendall(drip)
                time.sleep(0.1)


def head(kind: str = "application/json", length: int | None = None, extra: str = "") -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"POST {EMOTION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{size}{extra}\r\n".encode()


def post(body: bytes, kind: str = "application/json", extra: str = "") -> bytes:
    return head(kind, len(body), extra + "Connection: close\r\n") + body


def upload(*files: bytes, **fields: str) -> bytes:
    """A form with files, as bytes of a request."""
    parts = [b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + data for data in files]
    parts += [f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in fields.items()]
    body = b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + BOUNDARY + b"--\r\n"
    return post(body, f"multipart/form-data; boundary={BOUNDARY.decode()}")


@functools.lru_cache(4)
def recording(target: Target, seconds: int = 299) -> bytes:
    """Speech over and over, as FLAC."""
    return encoded(np.resize(target.speech, seconds * 16_000), 16_000, "FLAC")


@functools.cache
def eight_channels() -> bytes:
    """A click at 192 kHz on eight channels: some kB that decode to 6 MB a second."""
    samples = np.zeros((192_000 * 60, 8), np.int16)
    samples[:10] = 999
    return encoded(samples, 192_000, "FLAC")


def encoded(samples: np.ndarray, rate: int, form: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form)
    return buffer.getvalue()


def index_bomb(samples: int = 60_000_000) -> bytes:
    """An MP4 of some hundred bytes whose index claims millions of samples."""
    entry = bytes(6) + struct.pack(">HQHHIII", 1, 0, 2, 16, 0, 44_100 << 16, 0)[:-4]
    tables = [
        full(b"stsd", struct.pack(">I", 1) + box(b"mp4a", entry)),
        full(b"stts", struct.pack(">III", 1, samples, 1024)),
        full(b"stsc", struct.pack(">IIII", 1, 1, samples, 1)),
        full(b"stsz", struct.pack(">II", 1, samples)),
        full(b"stco", struct.pack(">II", 1, 400)),
    ]
    media = [
        full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 44_100, 2**31 - 1, 0x55C4, 0)),
        full(b"hdlr", struct.pack(">I4s12s", 0, b"soun", b"") + b"\0"),
        box(b"minf", full(b"smhd", bytes(4)), box(b"stbl", *tables)),
    ]
    track = full(b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 1000) + bytes(60))
    movie = full(b"mvhd", struct.pack(">IIII", 0, 0, 1000, 1000) + bytes(80))
    return box(b"ftyp", b"M4A \0\0\0\0M4A mp42") + box(b"moov", movie, box(b"trak", track, box(b"mdia", *media))) + box(b"mdat", bytes(4096))  # fmt: skip


def box(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), name) + data


def full(name: bytes, content: bytes) -> bytes:
    return box(name, bytes(4), content)


GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
DEEP = b'{"audio": ' + b"[" * 10**6 + b"]" * 10**6 + b"}"
FIELDS = {f"field{i}": "x" * 1000 for i in range(500)}
ATTACKS: dict[str, Callable[[Target], object]] = {
    "MP4 index bomb": lambda t: t.send(upload(index_bomb())),
    "32 MP4 index bombs": lambda t: t.send(upload(*[index_bomb()] * 32)),
    "32 MP4 index bombs, hung up": lambda t: t.send(upload(*[index_bomb()] * 32), read=False),
    "eight channels at 192 kHz": lambda t: t.send(upload(eight_channels())),
    "32 x 299 s": lambda t: t.send(upload(*[recording(t)] * 32)),
    "32 x 299 s, with words": lambda t: t.send(upload(*[recording(t)] * 32, words="true")),
    "299 s, hung up at once": lambda t: t.send(upload(recording(t)), read=False),
    "timeline that is not read": lambda t: t.hold(upload(recording(t), timeline="true", stream="true")),
    "endless header": lambda t: t.send(GET + b"X: " + b"a" * 2**26),
    "100,000 headers": lambda t: t.send(GET + b"X: a\r\n" * 10**5 + b"\r\n"),
    "20,000 requests in a row": lambda t: t.send((GET + b"\r\n") * 20_000),
    "100 heads that drip": lambda t: t.hold(GET + b"X: ", 100, b"a"),
    "100 bodies that drip": lambda t: t.hold(head(length=10**6) + b"{", 100, b" "),
    "300 idle connections": lambda t: t.hold(b"", 300),
    "40 MB of JSON": lambda t: t.send(post(b'{"audio": "data:;base64,' + b"A" * 40_000_000 + b'"}')),
    "JSON a million deep": lambda t: t.send(post(DEEP)),
    "200 MB upload": lambda t: t.send(upload(bytes(200_000_000))),
    "endless body": lambda t: t.send(head(extra="Transfer-Encoding: chunked\r\n") + b"fffffff\r\n" + bytes(2**27)),
    "chunks of a byte": lambda t: t.send(head(extra="Transfer-Encoding: chunked\r\n") + b"1\r\n \r\n" * 200_000),
    "gzip of 100 MB": lambda t: t.send(post(gzip.compress(bytes(10**8), 1), extra="Content-Encoding: gzip\r\n")),
    "form of 500 fields": lambda t: t.send(upload(b"", **FIELDS)),
    "charset of the client": lambda t: t.send(post(json.dumps({"audio": "x"}).encode(), "application/json; charset=idna")),
}  # fmt: skip
