"""MPEG audio (MP3) as bytes: frames, the frame that counts the others, tags, and where one file follows another."""

import math
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from fas_core.headers import file_size

MOST_TAGS = 1000  # at one place
MOST_TRIES = 20_000  # places in an MP3 that look like a frame and are none: a forged file would be searched for minutes
MP3_RATES = ((11_025, 12_000, 8_000), None, (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))  # by version
MP3_KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # (MPEG 1, layer) -> by index
COUNTS_AT = re.compile(
    rb".{4}\0{9}(?:\0{0}|\0{8}|\0{23})(?:Xing|Info|VBRI)", re.DOTALL
)  # behind a header and no side information


class Forged(Exception):
    """More false beginnings than any real file has."""


def mp3_ends_inside_frame(file: BinaryIO) -> bool:
    """Whether the last frame of an MP3 is cut off."""
    end = file_size(file)
    return any(position + size > end for position, size, _ in _mp3_frames(file, 0, end))


def counts_mp3_frames(file: BinaryIO) -> bool:
    """Whether an MP3 begins with a frame that says how many others there are; else libsndfile guesses."""
    count = _mp3_count(file, _after_id3(file, 0))
    return count is not None and count != math.inf


def mp3_parts(file: BinaryIO, end: int) -> list[int]:
    """Where the parts of an MP3 begin: at tags, at frames that count others, and where rate or channels change."""
    starts, kind, expected, left = [0], None, _after_id3(file, 0), math.inf
    for position, size, frame in _mp3_frames(file, expected, end):
        count = _mp3_count(file, position)
        anew = count is not None or frame != kind or left == 0 or _has_id3(file, expected, position)
        if kind is not None and anew:
            starts.append(expected)
        if anew:
            left = math.inf if count is None else count + 1  # the frame that counts does not count itself
        kind, expected, left = frame, position + size, left - 1
    return starts


def _mp3_count(file: BinaryIO, position: int) -> float | None:
    """How many frames a frame counts, infinite where it does not say; None for any other frame."""
    file.seek(position)
    head = file.read(64)
    found = COUNTS_AT.match(head)
    if found is None:
        return None
    tag = found.end()
    if head[tag - 4 : tag] == b"VBRI":
        return struct.unpack(">I", head[tag + 10 : tag + 14])[0]
    flags, frames = struct.unpack(">II", head[tag : tag + 8])
    return frames if flags & 1 and frames else math.inf


def _has_id3(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    return end > start and file.read(3) == b"ID3"


def _mp3_frames(file: BinaryIO, position: int, end: int) -> Iterator[tuple[int, int, tuple]]:
    """(position, size, (rate, mono or not, layer)) of MPEG audio frames, the last perhaps cut off."""
    position, tries = _after_id3(file, position), [MOST_TRIES]
    while position + 4 <= end:
        file.seek(position)
        head = file.read(4)
        frame = mp3_frame(head)
        if frame is None:
            if (position := _next_frame(file, position, end, tries)) is None:
                return
            continue
        yield position, *frame
        position += frame[0]


def _next_frame(file: BinaryIO, position: int, end: int, tries: list[int]) -> int | None:
    """The next place where two frames of a kind follow each other; tags before it are skipped. `tries` are left for the file."""
    if (after := _after_id3(file, position)) > position:
        return after
    while position < end:
        file.seek(position)
        piece = file.read(65_536)
        for match in re.finditer(rb"\xff[\xe2-\xff]", piece):
            frame = mp3_frame(piece[match.start() : match.start() + 4])
            if frame is not None:
                tries[0] -= 1
                if tries[0] < 0:
                    raise Forged
                file.seek(position + match.start() + frame[0])
                following = mp3_frame(file.read(4))
                if following is not None and following[1] == frame[1]:
                    return position + match.start()
        if len(piece) < 65_536:
            return None
        position += len(piece) - 4
    return None


def mp3_frame(head: bytes) -> tuple[int, tuple] | None:
    """Size in bytes and kind of the frame that a header begins; None for anything else, and for free formats."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or index in (0, 15) or rate_index == 3:
        return None
    rate = MP3_RATES[version][rate_index]
    bits = MP3_KBITS[version == 3, layer][index] * 1000
    if layer == 1:
        size = (12 * bits // rate + padding) * 4
    else:
        size = (72 if layer == 3 and version != 3 else 144) * bits // rate + padding
    return size, (rate, head[3] >> 6 == 3, layer)


def _after_id3(file: BinaryIO, position: int) -> int:
    """Behind the ID3v2 tags that stand at a position."""
    for _ in range(MOST_TAGS):
        file.seek(position)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            return position
        footer = 10 if head[5] & 0x10 else 0
        position += (
            10 + footer + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        )
    raise Forged
