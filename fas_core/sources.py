"""What audio may come from: a path, bytes, a binary file object, or an array with its rate; and what tells two sources apart.

Nothing is decoded here (`fas_core.audio`).
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fas_core.arrays import checked_array, is_array
from fas_core.errors import AudioError
from fas_core.paths import exists, is_dir
from fas_core.segments import file_of, split_segment
from fas_core.walk import walk_files

SOURCES = "a path, bytes, a binary file object, or an array with sampling_rate"
AUDIO_SUFFIXES = frozenset(
    ".wav .wave .w64 .rf64 .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .sph "
    ".m4a .m4b .mp4 .mov .webm .mka .mkv .aac .amr .3gp .wma .ac3 .wv".split()
)


def audio_digest(source: Any, *, sampling_rate: int | None = None) -> str:
    """sha256, in hexadecimal, of a file's bytes, or of an array's samples, type, shape and rate; of a segment
    (`fas_core.segments`) that of the file's and the segment's limits.

    Raises:
        AudioError: a source that cannot be read, an array without its rate.
    """
    if is_array(source):
        array = np.ascontiguousarray(checked_array(source, sampling_rate)[0])
        digest = hashlib.sha256(f"{sampling_rate:g} Hz {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
        return digest.hexdigest()
    file, segment = split_segment(source)
    if segment is not None:
        return hashlib.sha256(f"{_file_digest(file, *_stamp(file))}{segment}".encode()).hexdigest()
    return _digest(source)


@lru_cache(maxsize=1024)
def _file_digest(file: str, *stamp: int) -> str:
    """Of a file that has many segments, read once."""
    return _digest(file)


def _stamp(file: str) -> tuple[int, ...]:
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _digest(source: Any) -> str:
    digest = hashlib.sha256()
    with binary_file(source) as (_, file):
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def find_audio_files(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    """Files as given, whatever their names, and the audio files of folders: recursive, sorted, none hidden, through linked
    folders too (`fas_core.walk`).

    Raises:
        AudioError: a path that does not exist.
    """
    found = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = Path(path)
        if is_dir(path):
            found += [file for file in walk_files(path) if file.suffix.lower() in AUDIO_SUFFIXES]
        elif exists(file_of(path)):
            found.append(path)
        else:
            raise AudioError(str(path), "no such file or folder")
    return found


@contextmanager
def binary_file(source: Any, max_bytes: float = math.inf) -> Iterator[tuple[str, BinaryIO]]:
    """(name, file at its start) of a source that is no array; a file object stays open, what cannot seek is copied.

    Args:
        max_bytes: of what cannot seek, hardly more is copied.

    Raises:
        AudioError: not a source, missing, not a regular file, unreadable.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        yield "<bytes>", BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with _opened_path(os.fsdecode(source)) as file:
            yield os.fsdecode(source), file
    elif hasattr(source, "read"):
        with tempfile.TemporaryFile() as spool:
            yield "<file>", _rewound(source, spool, max_bytes)
    else:
        raise AudioError(f"<{type(source).__name__}>", "not a source of audio", f"expected {SOURCES}")


def _opened_path(name: str) -> BinaryIO:
    try:
        path = Path(name)
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise AudioError(name, "a folder that may not be listed", "expected permission to read it")
            raise AudioError(name, "is a folder", "expected a file; find_audio_files lists those of a folder")
        if not path.exists():
            if path.is_symlink():
                raise AudioError(name, "a link to a file that is not there")
            raise AudioError(name, "no such file", "expected a local path; addresses are not opened")
        if not path.is_file():
            raise AudioError(name, "not a regular file", "for a pipe or device pass an open file object")
        return path.open("rb")
    except OSError as error:
        raise AudioError(name, f"cannot be read: {error.strerror or error}") from None


def _rewound(file: Any, spool: BinaryIO, max_bytes: float) -> BinaryIO:
    """The file object at its start; one that cannot seek is copied to `spool`, hardly more than allowed."""
    try:
        if not isinstance(file.read(0), bytes):
            raise AudioError("<file>", "opened as text", "expected a file object opened in binary mode, 'rb'")
        if file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek"):
            file.seek(0)
            return file
        while spool.tell() <= max_bytes and (piece := file.read(1 << 20)):
            spool.write(piece)
    except (OSError, ValueError) as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError("<file>", f"cannot be read: {error}", "expected an open binary file") from None
    spool.seek(0)
    return spool
