"""Files that are several, one behind the other: chained Ogg, joined MP3; and second files that a decoder would not see.

A chained Ogg is one by its specification (RFC 3533, section 4), and people join MP3s with `cat`. Decoders read the first
part and stop there, or count by its header.
"""

import math
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from fas_core.errors import AudioError
from fas_core.headers import EXPORT_AGAIN, PADDING, file_size

OGG, FIRST_PAGE = b"OggS", 2
FLV = b"FLV\x01"
MATROSKA = b"\x1aE\xdf\xa3"
LARGEST_OGG_PAGE = 65_307  # RFC 3533, section 6
PIECE = 1 << 20  # bytes read at once in a search
# By their first bytes, files that FFmpeg or libsndfile reads to the end of the first one only.
SECOND_FILES = {
    b"fLaC": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL),
    MATROSKA: re.compile(rb"\x1aE\xdf\xa3.{1,48}?\x42\x82.(?:webm|matroska)", re.DOTALL),
    bytes.fromhex("3026b2758e66cf11"): re.compile(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))),
    FLV: re.compile(rb"FLV\x01.\x00\x00\x00\x09", re.DOTALL),
    b"#!AMR": re.compile(rb"#!AMR(?:-WB)?\n"),
    b"RIFF": re.compile(rb"RIFF....AVI LIST", re.DOTALL),
}
LONGEST_SIGNATURE = 64
MOST_PARTS = 1000  # a radio's recording of days has a link a song
MOST_TRIES = 20_000  # places in an MP3 that look like a frame and are none, or tags: a forged file would be searched for minutes
MOST_BOXES = 100_000  # of an MP4: fragments of a second are 3,600 an hour
MOST_TAGS = 1_000_000  # of an FLV: hours have 200,000 each

MP3_RATES = ((11_025, 12_000, 8_000), None, (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))  # by version
MP3_KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # (MPEG 1, layer) -> by index
COUNTS_AT = re.compile(rb".{4}\0{9}(?:\0{0}|\0{8}|\0{23})(?:Xing|Info|VBRI)", re.DOTALL)  # behind a header and no side information


class _Forged(Exception):
    """More false beginnings than any real file has."""


def parts(file: BinaryIO, source: str) -> list[tuple[int, int]]:
    """(start, end) of the files that a file is made of, where each can be decoded by itself; mostly one.

    Raises:
        AudioError: too many of them to be a recording.
    """
    try:
        found = _parts(file)
    except _Forged:
        raise AudioError(source, "not audio, or damaged: hardly a frame of it is one", EXPORT_AGAIN) from None
    if len(found) > MOST_PARTS:
        raise AudioError(source, f"made of {len(found)} files joined", f"expected at most {MOST_PARTS}")
    return found


def _parts(file: BinaryIO) -> list[tuple[int, int]]:
    end = file_size(file)
    file.seek(0)
    head = file.read(10)
    if head.startswith(OGG):
        starts = _ogg_links(file, end)
    elif head.startswith(b"ID3") or _mp3_frame(head[:4]):
        starts = _mp3_parts(file, end)
    else:
        starts = [0]
    return list(zip(starts, [*starts[1:], end], strict=True))


def holds_second_file(file: BinaryIO) -> bool:
    """Whether a file of a kind that is decoded up to its first end begins anew somewhere."""
    file.seek(0)
    head = file.read(12)
    if head[4:8] == b"ftyp":
        return _mp4_begins_anew(file)
    if head.startswith(OGG):
        return _strays_from_ogg(file)
    if head.startswith(MATROSKA) and _holds_bytes(file, _segment_end(file)):
        return True
    signature = next((found for start, found in SECOND_FILES.items() if head.startswith(start)), None)
    if signature is None:
        return False
    file.seek(0)
    kept, position = b"", 0
    while piece := file.read(PIECE):
        window = kept + piece
        if any(position - len(kept) + match.start() > 0 for match in signature.finditer(window)):
            return True
        kept, position = window[-LONGEST_SIGNATURE:], position + len(piece)
    return False


def ends_inside_ogg_page(file: BinaryIO) -> bool:
    """Whether an Ogg file stops within its last page; libsndfile takes the pages before it for the whole."""
    end = file_size(file)
    file.seek(0)
    if file.read(4) != OGG:
        return False
    file.seek(max(0, end - LARGEST_OGG_PAGE))
    tail = file.read()
    page = tail[tail.rfind(OGG + b"\0") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) < 27 or len(segments) < page[26] or len(page) < 27 + len(segments) + sum(segments)


def mp3_ends_inside_frame(file: BinaryIO) -> bool:
    """Whether the last frame of an MP3 is cut off."""
    end = file_size(file)
    return any(position + size > end for position, size, _ in _mp3_frames(file, 0, end))


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
        return _segment_end(file) > end
    if head.startswith(FLV):
        return _flv_breaks_off(file, end)
    packets = len(head) > 376 and {head[0], head[188], head[376]} == {0x47}
    return packets and end % 188 != 0


def _holds_bytes(file: BinaryIO, position: int) -> bool:
    """Whether anything but a few zeros follows a place that is not 0."""
    file.seek(position)
    return position > 0 and bool(file.read(PADDING + 1).strip(b"\0"))


def _segment_end(file: BinaryIO) -> int:
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


def counts_mp3_frames(file: BinaryIO) -> bool:
    """Whether an MP3 begins with a frame that says how many others there are; else libsndfile guesses."""
    count = _mp3_count(file, _after_id3(file, 0))
    return count is not None and count != math.inf


def _ogg_links(file: BinaryIO, end: int) -> list[int]:
    """Where the links of a chained Ogg begin: at first pages that come after others."""
    starts, began = [0], True
    for position, first in _ogg_pages(file):
        if first and not began:
            starts.append(position)
        began = first
    return starts


def _ogg_pages(file: BinaryIO) -> Iterator[tuple[int, bool]]:
    """(position, whether a stream begins there) of the pages, until something else follows."""
    position, end = 0, file_size(file)
    while position + 27 <= end:
        file.seek(position)
        head = file.read(27)
        if not head.startswith(OGG):
            return
        yield position, bool(head[5] & FIRST_PAGE)
        position += 27 + head[26] + sum(file.read(head[26]))


def _strays_from_ogg(file: BinaryIO) -> bool:
    """Whether pages of an Ogg are followed by what is none; libsndfile looks for the next page, and drops what it cannot use."""
    last = 0
    for position, _ in _ogg_pages(file):
        last = position
    file.seek(last + 26)
    segments = file.read(1)
    size = sum(file.read(segments[0])) if segments else 0
    return _holds_bytes(file, last + 27 + (segments[0] if segments else 0) + size)


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


def _mp4_begins_anew(file: BinaryIO) -> bool:
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


def _mp3_parts(file: BinaryIO, end: int) -> list[int]:
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
        frame = _mp3_frame(head)
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
            frame = _mp3_frame(piece[match.start() : match.start() + 4])
            if frame is not None:
                tries[0] -= 1
                if tries[0] < 0:
                    raise _Forged
                file.seek(position + match.start() + frame[0])
                following = _mp3_frame(file.read(4))
                if following is not None and following[1] == frame[1]:
                    return position + match.start()
        if len(piece) < 65_536:
            return None
        position += len(piece) - 4
    return None


def _mp3_frame(head: bytes) -> tuple[int, tuple] | None:
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
    for _ in range(MOST_PARTS):
        file.seek(position)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            return position
        footer = 10 if head[5] & 0x10 else 0
        position += 10 + footer + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    raise _Forged
