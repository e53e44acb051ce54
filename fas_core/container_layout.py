"""Containers as bytes: where MP4, Matroska, AVI, FLV and MPEG-TS say that they end. Nothing is decoded here."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from fas_core.headers import file_size

FLV = b"FLV\x01"
MATROSKA = b"\x1aE\xdf\xa3"
MOST_BOXES = 100_000  # of an MP4: fragments of a second are 3,600 an hour
MOST_TAGS = 1_000_000  # of an FLV: hours have 200,000 each


def container_is_cut_off(file: BinaryIO) -> bool:
    """Whether a container that says its size (MP4, AVI, Matroska, FLV), or has packets of one size (MPEG-TS), ends before it."""
    end = file_size(file)
    file.seek(0)
    head = file.read(4096)
    if head[4:8] == b"ftyp":
        return any(stop > end for _, stop in _mp4_boxes(file))
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return 8 + struct.unpack("<I", head[4:8])[0] > end
    if head.startswith(MATROSKA):
        return segment_end(file) > end
    if head.startswith(FLV):
        return _flv_breaks_off(file, end)
    packets = len(head) > 376 and {head[0], head[188], head[376]} == {0x47}
    return packets and end % 188 != 0


def segment_end(file: BinaryIO) -> int:
    """Where the segment of a Matroska file ends; 0 where it does not say, as in what is streamed."""
    file.seek(0)
    head = file.read(4096)
    size, width = _ebml_size(head, 4)
    position = 4 + width + size
    if head[position : position + 4] != b"\x18S\x80g":
        return 0
    size, width = _ebml_size(head, position + 4)
    unknown = (1 << 7 * width) - 1
    return 0 if size == unknown else position + 4 + width + size


def _ebml_size(data: bytes, position: int) -> tuple[int, int]:
    """An EBML number of variable width (RFC 8794, section 4), and its width in bytes."""
    first = data[position] if position < len(data) else 0x80
    width = 9 - first.bit_length() if first else 1
    value = int.from_bytes(data[position : position + width], "big")
    return value & ((1 << 7 * width) - 1), width


def _flv_breaks_off(file: BinaryIO, end: int) -> bool:
    """Whether the last tag of an FLV is cut off, or what follows a tag is none."""
    position = 13
    for _ in range(MOST_TAGS):
        if position >= end:
            return position > end
        file.seek(position)
        size = 11 + int.from_bytes(file.read(11)[1:4], "big")
        file.seek(position + size)
        if int.from_bytes(file.read(4), "big") not in (0, size):
            return True
        position += size + 4
    return False


def mp4_begins_anew(file: BinaryIO) -> bool:
    """Whether an MP4 has a second index or a second beginning."""
    names = [name for name, _ in _mp4_boxes(file)]
    return names.count(b"ftyp") > 1 or names.count(b"moov") > 1


def _mp4_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(name, end) of the outermost boxes of an MP4."""
    end, position = file_size(file), 0
    for _ in range(MOST_BOXES):
        if position >= end:
            return
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack(">I4s", head[:8])
        size = struct.unpack(">Q", head[8:].ljust(8, b"\0"))[0] if size == 1 else size or end - position
        if size < 8:
            return
        position += size
        yield name, position
