"""A part of an audio file by name: `call.wav#t=1.5,4`, from 1.5 s to 4 s, as W3C's Media Fragments write it.

A segment is named wherever a file is: whatever reads audio (`fas_core.audio`, `fas_core.sources`) reads the segment alone.
A file whose own name ends like that stays a file.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fas_core.errors import AudioError

if TYPE_CHECKING:
    from fas_core.decoded import Decoded

_FRAGMENT = re.compile(r"(.+)#t=(\d+(?:\.\d+)?)?(?:,(\d+(?:\.\d+)?)?)?", re.DOTALL)
TOLERANCE = 0.1  # s that a segment may end after its file: tables round


@dataclass(frozen=True)
class Segment:
    """From `start` to `end` in seconds; None: to the end of the file."""

    start: float
    end: float | None

    def of(self, path: str | os.PathLike) -> str:
        """The segment's name; a segment that is the whole file is called as the file.

        Examples:
            >>> Segment(1.5, 4.0).of("call.wav"), Segment(0.0, None).of("call.wav")
            ('call.wav#t=1.5,4', 'call.wav')
        """
        return os.fspath(path) + str(self)

    def __str__(self) -> str:
        if self.start == 0 and self.end is None:
            return ""
        return f"#t={_seconds(self.start)}" + ("" if self.end is None else f",{_seconds(self.end)}")


def split_segment(source: Any) -> tuple[Any, Segment | None]:
    """A source of audio without its segment, and the segment; None for a whole file, bytes, arrays and the like.

    Examples:
        >>> split_segment("call.wav#t=1.5,4")
        ('call.wav', Segment(start=1.5, end=4.0))
    """
    if not isinstance(source, str | os.PathLike):
        return source, None
    name = os.fsdecode(source)
    match = _FRAGMENT.fullmatch(name) if "#t=" in name else None
    if match is None or os.path.exists(name):
        return source, None
    start, end = float(match[2] or 0), None if match[3] is None else float(match[3])
    if end is not None and end <= start:
        raise AudioError(name, "ends before it starts", "expected #t=START,END in seconds")
    return match[1], Segment(start, end)


def file_of(source: str | os.PathLike) -> str:
    """The file that a segment is of, or the file itself."""
    return os.fsdecode(split_segment(source)[0])


def cut(decoded: "Decoded", segment: Segment, name: str) -> "Decoded":
    """The segment of a decoded file; nothing after it is decoded.

    Raises:
        AudioError: while the blocks are read, of a segment that begins or ends (by more than `TOLERANCE`) after its file.
    """
    first = round(segment.start * decoded.rate)
    last = math.inf if segment.end is None else round(segment.end * decoded.rate)
    whole = min(last, math.inf if decoded.frames is None else decoded.frames)
    frames = None if whole == math.inf else max(0, int(whole) - first)
    return replace(decoded, frames=frames, blocks=_cut(decoded.blocks, first, last, decoded.rate, name))


def _cut(blocks: Iterator[np.ndarray], first: int, last: float, rate: int, name: str) -> Iterator[np.ndarray]:
    position = 0
    for block in blocks:
        begin, position = position, position + len(block)
        if position > first:
            yield block[max(0, first - begin) : len(block) if position <= last else int(last) - begin]
        if position >= last:
            return
    if position <= first or (last - position > TOLERANCE * rate and last < math.inf):
        hint = "expected a segment within it; see the columns start and end"
        raise AudioError(name, f"the file ends at {position / rate:.3f} s", hint)


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
