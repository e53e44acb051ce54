"""Containers and codecs: a binary file becomes blocks of samples at its own rate.

libsndfile (`soundfile`) reads wav, flac, ogg, opus, mp3, aiff and the like. What it does not know goes to FFmpeg, in a
process of its own (`fas_core.containers`). Both see only an open file, never a name or address, so a hostile file cannot
make them open anything else. What a header leaves out is decoded or refused (`fas_core.headers`, `fas_core.joined`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO

import numpy as np
import soundfile

from fas_core.container_layout import container_is_cut_off
from fas_core.decoded import BLOCK_FRAMES, Channel, Decoded, downmix
from fas_core.errors import AudioError
from fas_core.headers import EXPORT_AGAIN, check_samples, declared_frames
from fas_core.joined import ends_inside_ogg_page, holds_second_file, parts
from fas_core.mpeg import counts_mp3_frames, mp3_ends_inside_frame

# libsndfile: format, or encoding inside a known format, not recognised; or a file "._" of the working folder looked at,
# because what is no format might be a Sound Designer II, whose header Macs keep in such a file.
UNKNOWN_FORMAT = (1, 4, *range(148, 155))
UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's frame count of a stream that does not say
# Formats whose length can be checked. libsndfile reads others (IRCAM, PAF, MAT5, ...), whole or cut off alike.
FORMATS = frozenset("WAV WAVEX RF64 W64 AIFF AU CAF SVX NIST VOC AVR HTK FLAC OGG MP3".split())
MP3_STRETCH = 64  # 320 kbit/s, the highest bit rate, is 40 times the lowest
UNKNOWN_SIZE = b"\xff" * 4


@contextmanager
def decode(file: BinaryIO, source: str, channel: Channel = "mix") -> Iterator[Decoded]:
    """Opens a seekable binary file for decoding from its start.

    Args:
        file: at any position; it stays open.
        source: how errors name it.
        channel: as of `downmix`.

    Raises:
        AudioError: not audio, a format that needs PyAV, damaged or truncated, or more than its header says; the last
            three also while the blocks are read.
    """
    with _header_of(source):
        pieces = parts(file, source)
    if len(pieces) == 1:
        with _decode_one(file, source, channel) as decoded:
            yield decoded
        return
    with _decode_one(_Part(file, *pieces[0]), source, channel) as first:
        rest = (_Part(file, *piece) for piece in pieces[1:])
        blocks = _chained(first, rest, source, channel)
        yield Decoded(first.rate, first.channels, None, blocks)
        blocks.close()


def _chained(first: Decoded, rest: Iterator["_Part"], source: str, channel: Channel) -> Iterator[np.ndarray]:
    yield from first.blocks
    for part in rest:
        with _decode_one(part, source, channel) as decoded:
            if (decoded.rate, decoded.channels) != (first.rate, first.channels):
                raise AudioError(source, "its sample rate or channels change midway", EXPORT_AGAIN)
            yield from decoded.blocks


def _decode_one(file: BinaryIO, source: str, channel: Channel) -> AbstractContextManager[Decoded]:
    with _header_of(source):
        zero_at, counted = check_samples(file, source), counts_mp3_frames(file)
        declared, hidden = declared_frames(file)
        if ends_inside_ogg_page(file) or container_is_cut_off(file):
            raise AudioError(source, "truncated: the file ends before its header says", EXPORT_AGAIN)
        if holds_second_file(file):
            raise AudioError(source, "holds more than its header says: another file behind it", EXPORT_AGAIN)
    try:
        sound = _ForwardSoundFile(_Reader(file, hidden if zero_at is None else (zero_at, UNKNOWN_SIZE)))
        guessed = sound.frames == UNKNOWN_LENGTH or (sound.format != "MP3" and sound.subtype.startswith("MPEG"))
        frames = declared or (
            None if guessed else sound.frames
        )  # of an MP3 in a WAV from its bytes, which are counted already
        if sound.format == "MP3" and not counted:
            if mp3_ends_inside_frame(file):
                raise AudioError(source, "truncated: it ends inside a frame", EXPORT_AGAIN)
            sound, frames = _ForwardSoundFile(_Reader(file, stretch=MP3_STRETCH)), None
    except soundfile.LibsndfileError as error:
        if error.code not in UNKNOWN_FORMAT:
            raise AudioError(source, "damaged or truncated header", EXPORT_AGAIN) from None
        from fas_core.containers import decode_container  # most files need none of it

        return decode_container(file, source, channel)
    if sound.format not in FORMATS:
        raise AudioError(
            source, f"format {sound.format}: whether it is whole cannot be told", "expected wav, flac, ogg, mp3, ..."
        )
    return _decode_with_libsndfile(sound, frames, source, channel)


@contextmanager
def _header_of(source: str) -> Iterator[None]:
    """Sizes of a header may lead to places that no file has."""
    try:
        yield
    except AudioError:
        raise
    except (OSError, OverflowError, ValueError):  # a file of the system says ValueError of an offset that is too large
        raise AudioError(source, "cannot be read, or its header leads out of it", EXPORT_AGAIN) from None


class _Part:
    """A stretch of a file, as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, end: int):
        self._file, self._start, self._size, self._at = file, start, end - start, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, self._size)[whence]
        if at < 0:
            raise ValueError("before the start")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._at, 0)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data


class _Reader:
    """What libsndfile may see of a file, from its start: no name, from which it would guess the format.

    Args:
        hidden: position, and what is read there in the place of a number that libsndfile would believe: the 0 bytes of samples
            of a WAV written into a pipe, the frames that a FLAC counts.
        stretch: how many times longer than it is the file seems. libsndfile guesses the length of an MP3 without a frame
            count from its size and first bit rate, and stops there.
    """

    def __init__(self, file: BinaryIO, hidden: tuple[int, bytes] | None = None, stretch: int = 1):
        self._file, self._hidden = file, hidden
        self._stretch, self.tell = stretch, file.tell
        file.seek(0)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            self._file.seek(offset, whence)
        except (OSError, ValueError):  # before the start, as a damaged header has it: stays where it is
            return -1
        if (offset, whence) == (0, 2):  # asks for the size; tags at the end are sought with an offset
            self._file.seek(self._file.tell() * self._stretch)
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        start = self._file.tell()
        data = self._file.read(size)
        if self._hidden is None:
            return data
        at, said = self._hidden
        first, last = max(at - start, 0), max(at + len(said) - start, 0)
        here = data[first:last]
        return data[:first] + said[max(start - at, 0) :][: len(here)] + data[last:]


class _ForwardSoundFile(soundfile.SoundFile):
    """soundfile seeks after every read, which fails at the end of a FLAC of unknown length; we only go on."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _decode_with_libsndfile(
    sound: soundfile.SoundFile, frames: int | None, source: str, channel: Channel
) -> Iterator[Decoded]:
    try:
        with sound:
            blocks = _libsndfile_blocks(sound, frames, source, channel)
            yield Decoded(sound.samplerate, sound.channels, frames, blocks)
    except soundfile.LibsndfileError as error:
        reason = error.error_string or "the decoder gave up"
        raise AudioError(source, f"damaged or truncated: {reason}", EXPORT_AGAIN) from None


def _libsndfile_blocks(
    sound: soundfile.SoundFile, frames: int | None, source: str, channel: Channel
) -> Iterator[np.ndarray]:
    read = 0
    while len(block := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        read += len(block)
        yield downmix(block, source, channel)
    if frames is not None and read < frames:
        raise AudioError(source, f"truncated: {read} of {frames} frames could be decoded", EXPORT_AGAIN)
    if frames is not None and read > frames:
        raise AudioError(source, f"holds more than the {frames} frames of its header", EXPORT_AGAIN)
