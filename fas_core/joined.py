"""Files that are several, one behind the other: chained Ogg, joined MP3; and second files that a decoder would not see.

A chained Ogg is one by its specification (RFC 3533, section 4), and people join MP3s with `cat`. Decoders read the first
part and stop there, or count by its header.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from fas_core.container_layout import FLV, MATROSKA, mp4_begins_anew, segment_end
from fas_core.errors import AudioError
from fas_core.headers import EXPORT_AGAIN, PADDING, file_size
from fas_core.mpeg import Forged, mp3_frame, mp3_parts

OGG, FIRST_PAGE = b"OggS", 2
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


def parts(file: BinaryIO, source: str) -> list[tuple[int, int]]:
    """(start, end) of the files that a file is made of, where each can be decoded by itself; mostly one.

    Raises:
        AudioError: too many of them to be a recording.
    """
    try:
        found = _parts(file)
    except Forged:
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
    elif head.startswith(b"ID3") or mp3_frame(head[:4]):
        starts = mp3_parts(file, end)
    else:
        starts = [0]
    return list(zip(starts, [*starts[1:], end], strict=True))


def holds_second_file(file: BinaryIO) -> bool:
    """Whether a file of a kind that is decoded up to its first end begins anew somewhere."""
    file.seek(0)
    head = file.read(12)
    if head[4:8] == b"ftyp":
        return mp4_begins_anew(file)
    if head.startswith(OGG):
        return _strays_from_ogg(file)
    if head.startswith(MATROSKA) and _holds_bytes(file, segment_end(file)):
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


def _holds_bytes(file: BinaryIO, position: int) -> bool:
    """Whether anything but a few zeros follows a place that is not 0."""
    file.seek(position)
    return position > 0 and bool(file.read(PADDING + 1).strip(b"\0"))


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
