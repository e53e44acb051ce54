"""Where the samples of an uncompressed file lie, as its header says, against what the file holds.

libsndfile goes on with what is there when a file ends before its header says, and leaves out what lies beyond. Nobody is
told. These few headers say enough to notice both.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fas_core.errors import AudioError

EXPORT_AGAIN = "copy or export the file again"
RIFF_BYTE_ORDER = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">", b"FORM": ">"}
SAMPLE_CHUNKS = (b"data", b"SSND", b"BODY")
STREAMED_SIZE = 0x7F00_0000  # sizes from here on are what sox, ffmpeg and arecord write into a pipe: unknown
LARGEST_HEADER = 10_000  # chunks; keeps a forged file from being walked for minutes
SECOND_FILE = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b"riff")
W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
CHUNK_NAME = re.compile(rb"[A-Za-z0-9 _]{4}")
STRAY = 8  # bytes that the last chunk may lack
PADDING = 4096  # bytes of zeros that recorders leave behind the samples


@dataclass(frozen=True)
class Samples:
    """The bytes of samples in a file.

    Attributes:
        start: of the first byte.
        size: bytes as the header says; None where it does not.
        chunks: what follows is made of further chunks: size of their head, and where in it their size stands ("<I" and
            the like with its position); None where nothing may follow.
        zero_at: where a size of 0 stands that cannot be true.
    """

    start: int
    size: int | None
    chunks: tuple[int, int, str] | None = None
    zero_at: int | None = None


def check_samples(file: BinaryIO, source: str) -> int | None:
    """Compares header and file; returns where a size of 0 stands though samples follow, for libsndfile would believe it.

    Raises:
        AudioError: the file ends before its header says, or holds more than that.
    """
    found = next((s for read in READERS if (s := read(file)) is not None), None)
    if found is None:
        return None
    end = file_size(file)
    if found.size is not None and found.start + found.size > end:
        raise AudioError(source, "truncated: the file ends before its header says", EXPORT_AGAIN)
    if found.size is not None and found.zero_at is None and _holds_more(file, found, end):
        raise AudioError(
            source, "holds more than its header says: another file behind it, or a wrong size", EXPORT_AGAIN
        )
    return found.zero_at


def file_size(file: BinaryIO) -> int:
    file.seek(0, 2)
    return file.tell()  # not what seek returns: that is None for some file objects, SpooledTemporaryFile in 3.10


def _holds_more(file: BinaryIO, samples: Samples, end: int) -> bool:
    """Whether what follows the samples is anything but chunks, padding, or a few stray bytes."""
    position = samples.start + samples.size
    for _ in range(LARGEST_HEADER):
        file.seek(position)
        rest = file.read(PADDING)
        if not rest.strip(b"\0"):
            return end - position > len(rest)
        if len(rest) < 8:
            return False
        if samples.chunks is None:
            return True
        head, size_at, form = samples.chunks
        name = rest[:4] if CHUNK_NAME.fullmatch(rest[:4]) else rest[1:5]  # behind a padding byte, or not
        if not CHUNK_NAME.fullmatch(name) or name in SECOND_FILE or len(rest) < head + 1:
            return True
        position += name != rest[:4]
        size = struct.unpack_from(form, rest, size_at + (name != rest[:4]))[0]
        position += size if form == "<Q" else head + size  # in W64 a size has the head in it
        if position >= end:
            return position > end + STRAY  # samples that look like the name of a chunk
    return False


def _riff(file: BinaryIO) -> Samples | None:
    """WAV (RIFF, RIFX, RF64), AIFF, 8SVX."""
    head, end = _head(file, 12), file_size(file)
    order = RIFF_BYTE_ORDER.get(head[:4])
    if order is None or len(head) < 12:
        return None
    declared_end, wide = 8 + struct.unpack(order + "I", head[4:8])[0], None
    for position, name, size in _chunks(file, 12, order):
        if name == b"ds64":
            file.seek(position + 16)
            wide = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if name in SAMPLE_CHUNKS:
            start, chunks = position + 8, (8, 4, order + "I")
            if size == 0:
                streamed = end > start and not start < declared_end < STREAMED_SIZE
                empty = Samples(start, 0, chunks)
                hidden = streamed or _holds_more(file, empty, end)
                return Samples(start, 0, chunks, position + 4) if hidden else empty
            if wide is not None and size == 0xFFFF_FFFF:
                return Samples(start, wide, chunks)
            return Samples(start, None if size >= STREAMED_SIZE else size, chunks)
    return None


def _chunks(file: BinaryIO, position: int, order: str) -> Iterator[tuple[int, bytes, int]]:
    """(position, name, size) of chunks until the file ends."""
    for _ in range(LARGEST_HEADER):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        name, size = struct.unpack(order + "4sI", head)
        yield position, name, size
        position += 8 + size + size % 2


def _au(file: BinaryIO) -> Samples | None:
    head = _head(file, 12)
    order = {b".snd": ">", b"dns.": "<"}.get(head[:4])
    if order is None or len(head) < 12:
        return None
    start, size = struct.unpack(order + "II", head[4:12])
    return Samples(start, None if size == 0xFFFF_FFFF else size)


def _w64(file: BinaryIO) -> Samples | None:
    if _head(file, 16)[:4] != b"riff":
        return None
    position = 40
    for _ in range(LARGEST_HEADER):
        file.seek(position)
        head = file.read(24)
        size = struct.unpack("<Q", head[16:24])[0] if len(head) == 24 else 0
        if size < 24:
            return None
        if head[:4] == b"data" and head[4:16] == W64_GUID:
            padded = 24 + -(-(size - 24) // 8) * 8
            whole = position + padded <= file_size(file)
            return Samples(position + 24, padded - 24 if whole else size - 24, (24, 16, "<Q"))
        position += -(-size // 8) * 8
    return None


def _caf(file: BinaryIO) -> Samples | None:
    if _head(file, 4) != b"caff":
        return None
    for position, name in _caf_chunks(file):
        if name == b"data":
            file.seek(position + 4)
            size = struct.unpack(">q", file.read(8))[0]
            return Samples(position + 12, None if size == -1 else size, (12, 4, ">Q"))
    return None


def declared_frames(file: BinaryIO) -> tuple[int | None, tuple[int, bytes] | None]:
    """How many frames a FLAC or a CAF of packets counts, None where it does not; and of a FLAC where the number stands, with what
    stands there for an unknown one. libsndfile would stop at that number, whatever follows.
    """
    head = _head(file, 26)
    if head.startswith((b"fLaC\x00", b"fLaC\x80")):
        count = int.from_bytes(head[21:26], "big") & ((1 << 36) - 1)
        return count or None, (21, bytes([head[21] & 0xF0, 0, 0, 0, 0])) if len(head) == 26 else None
    if head.startswith(b"caff"):
        for position, name in _caf_chunks(file):
            if name == b"pakt":
                file.seek(position + 12)
                return struct.unpack(">qq", file.read(16).ljust(16, b"\0"))[1], None
    return None, None


def _caf_chunks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    position = 8
    for _ in range(LARGEST_HEADER):
        file.seek(position)
        head = file.read(12)
        if len(head) < 12:
            return
        name, size = struct.unpack(">4sq", head)
        yield position, name
        if size < 0:
            return
        position += 12 + size


def _nist(file: BinaryIO) -> Samples | None:
    """SPHERE: a header in text, of a size that its second line gives."""
    head = _head(file, 1024)
    if not head.startswith(b"NIST_1A\n"):
        return None
    fields = dict(re.findall(rb"^(\w+) -(?:i|s\d+) (\d+)\s*$", head, re.MULTILINE))
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    start = re.match(rb"NIST_1A\n\s*(\d+)\n", head)
    if start is None or b"sample_count" not in fields or b"sample_n_bytes" not in fields:
        return None
    count, channels, width = (int(fields.get(name, 1)) for name in names)
    return Samples(int(start[1]), count * channels * width)


def _voc(file: BinaryIO) -> Samples | None:
    """Creative Voice: blocks of a type and three bytes of size; the first of sound holds all that libsndfile reads."""
    head = _head(file, 26)
    if not head.startswith(b"Creative Voice File\x1a") or len(head) < 26:
        return None
    position = struct.unpack("<H", head[20:22])[0]
    for _ in range(LARGEST_HEADER):
        file.seek(position)
        block = file.read(4)
        if len(block) < 4:
            return None
        kind, size = block[0], int.from_bytes(block[1:4], "little")
        if kind in (1, 9):
            return Samples(position + 4, size)  # behind it the terminator, a zero
        position += 4 + size
    return None


def _avr(file: BinaryIO) -> Samples | None:
    head = _head(file, 128)
    if head[:4] != b"2BIT" or len(head) < 128:
        return None
    channels, width = 2 if head[12:14] != b"\0\0" else 1, struct.unpack(">H", head[14:16])[0] // 8
    return Samples(128, struct.unpack(">I", head[26:30])[0] * channels * width)


def _head(file: BinaryIO, size: int) -> bytes:
    file.seek(0)
    return file.read(size)


READERS: tuple[Callable[[BinaryIO], Samples | None], ...] = (_riff, _au, _w64, _caf, _nist, _voc, _avr)
