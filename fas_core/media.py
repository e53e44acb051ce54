"""Containers and codecs: a binary file becomes blocks of mono samples at its own rate.

libsndfile (`soundfile`) reads wav, flac, ogg, opus, mp3, aiff and the like. What it does not know goes to
FFmpeg through PyAV when that is installed (m4a, webm, mp4). Both see only an open file object, never a name
or address, so a hostile file cannot make them open anything else.
"""

import struct
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import soundfile

from fas_core.arrays import as_float
from fas_core.errors import AudioError

BLOCK_FRAMES = 65_536
Channel = int | Literal["mix", "each"]
UNKNOWN_FORMAT = (1, 4)  # libsndfile: format, or encoding inside a known format, not recognised
UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's frame count of a stream that does not say
# Plain containers only: playlists (hls, concat, dash) would make FFmpeg open other files and addresses.
FFMPEG_FORMATS = "aac,ac3,aiff,amr,asf,avi,caf,flac,flv,matroska,mov,mp3,mpegts,ogg,wav,wv"
INSTALL_PYAV = "for m4a, webm, mp4 and the like: pip install 'fas-alm[media]'"
MP3_STRETCH = 64  # 320 kbit/s, the highest bit rate, is 40 times the lowest
EXPORT_AGAIN = "copy or export the file again"

RIFF_BYTE_ORDER = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">", b"FORM": ">"}
STREAMED_SIZE = 0x7F00_0000  # sizes from here on are what sox, ffmpeg and arecord write into a pipe: unknown
LARGEST_HEADER = 10_000  # chunks; keeps a forged file from being walked for minutes
LARGEST_OGG_PAGE = 65_307  # RFC 3533, section 6


@dataclass
class Decoded:
    """An opened source: `blocks` gives float32 samples at `rate` Hz, (n,), or (n, channels) of each channel."""

    rate: int
    channels: int
    frames: int | None  # as the header says, None when it does not
    blocks: Iterator[np.ndarray]


def decode(file: BinaryIO, source: str, channel: Channel = "mix") -> AbstractContextManager[Decoded]:
    """Opens a seekable binary file for decoding from its start.

    Args:
        file: at any position; it stays open.
        source: how errors name it.
        channel: as of `downmix`.

    Raises:
        AudioError: not audio, a format that needs PyAV, damaged or truncated; the last two also while the
            blocks are read.
    """
    data_size_at, missing = _sample_chunk(file)
    if missing or _ends_inside_ogg_page(file):
        raise AudioError(source, "truncated: the file ends before its header says", EXPORT_AGAIN)
    counted = _counts_mp3_frames(file)
    try:
        sound = _ForwardSoundFile(_Reader(file, data_size_at))
        frames = None if sound.frames == UNKNOWN_LENGTH else sound.frames
        if sound.format == "MP3" and not counted:
            sound, frames = _ForwardSoundFile(_Reader(file, stretch=MP3_STRETCH)), None
    except soundfile.LibsndfileError as error:
        if error.code not in UNKNOWN_FORMAT:
            raise AudioError(source, "damaged or truncated header", EXPORT_AGAIN) from None
        return _decode_with_pyav(_Reader(file), source, channel)
    return _decode_with_libsndfile(sound, frames, source, channel)


def downmix(samples: np.ndarray, source: str, channel: Channel = "mix") -> np.ndarray:
    """(n,) or (n, channels), float or integer PCM, to (n,) float32, full scale at 1.

    Args:
        channel: "mix", the mean over channels; the number of one, from 1; or "each", which gives (n, channels).

    Raises:
        AudioError: no such channel.
    """
    floats = as_float(samples)
    return _chosen(floats, source, channel) if floats.ndim == 2 else floats


def _chosen(samples: np.ndarray, source: str, channel: Channel) -> np.ndarray:
    check_channel(channel, samples.shape[1], source)
    if channel == "each":
        return samples if samples.shape[1] > 1 else samples[:, 0]
    return samples.mean(axis=1) if channel == "mix" else np.ascontiguousarray(samples[:, channel - 1])


def check_channel(channel: Channel, channels: int, source: str) -> None:
    """Raises `AudioError` where a source has no such channel."""
    if channel not in ("mix", "each") and not 1 <= channel <= channels:
        raise AudioError(source, f"has no channel {channel}", f"expected mix, each, or a number from 1 to {channels}")


def file_size(file: BinaryIO) -> int:
    file.seek(0, 2)
    return file.tell()  # not what seek returns: that is None for some file objects, SpooledTemporaryFile in 3.10


class _Reader:
    """What a decoder may see of a file, from its start: no name, from which it would guess the format.

    Args:
        data_size_at: where a WAV written into a pipe says that it holds 0 bytes of samples. libsndfile would
            believe it; here it reads "unknown".
        stretch: how many times longer than it is the file seems. libsndfile guesses the length of an MP3
            without a frame count from its size and first bit rate, and stops there.
    """

    def __init__(self, file: BinaryIO, data_size_at: int | None = None, stretch: int = 1):
        self._file, self._data_size_at = file, data_size_at
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
        if self._data_size_at is None:
            return data
        hidden = slice(max(self._data_size_at - start, 0), max(self._data_size_at + 4 - start, 0))
        return data[: hidden.start] + b"\xff" * len(data[hidden]) + data[hidden.stop :]


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


@contextmanager
def _decode_with_pyav(reader: _Reader, source: str, channel: Channel) -> Iterator[Decoded]:
    try:
        import av
    except ImportError:
        raise AudioError(source, "not audio of a known format", INSTALL_PYAV) from None
    options = {"format_whitelist": FFMPEG_FORMATS}
    try:
        with av.open(reader, options=options, metadata_errors="ignore", io_open=_refuse) as container:
            if not container.streams.audio:
                raise AudioError(source, "has no audio track", "expected a file with sound")
            frames = container.decode(container.streams.audio[0])
            if (first := next(frames, None)) is None:
                raise AudioError(source, "empty: its audio track holds no samples", EXPORT_AGAIN)
            blocks = _pyav_blocks(first, frames, _declared_seconds(container), source, channel)
            yield Decoded(first.sample_rate, first.layout.nb_channels, None, blocks)
    except AudioError:
        raise
    except (av.FFmpegError, PermissionError, ValueError):
        raise AudioError(source, "not audio, or damaged or truncated", EXPORT_AGAIN) from None


def _refuse(url: str, flags: int, options: dict):
    raise PermissionError("a media file must not open another")


def _declared_seconds(container) -> float:
    """Length of the audio track as its container says; 0 where that is an estimate or of another track."""
    stream = container.streams.audio[0]
    if "mov" in container.format.name and stream.duration:
        return float(stream.duration * stream.time_base)
    if "matroska" in container.format.name and len(container.streams) == 1 and container.duration:
        return container.duration / 1e6
    return 0.0


def _pyav_blocks(first, frames: Iterable, declared: float, source: str, channel: Channel) -> Iterator[np.ndarray]:
    pending, waiting, read = [], 0, 0
    for frame in _chain(first, frames):
        if frame.sample_rate != first.sample_rate:
            raise AudioError(source, "its sample rate changes midway", EXPORT_AGAIN)
        pending.append(_frame_samples(frame, source, channel))
        waiting += frame.samples
        read += frame.samples
        if waiting >= BLOCK_FRAMES:  # a frame alone is some 20 ms: too little to be handled one by one
            yield np.concatenate(pending)
            pending, waiting = [], 0
    if pending:
        yield np.concatenate(pending)
    seconds = read / first.sample_rate
    if seconds < declared - max(0.25, 0.01 * declared):  # codec delay and padding are not truncation
        problem = f"truncated: {seconds:.2f} of {declared:.2f} s could be decoded"
        raise AudioError(source, problem, EXPORT_AGAIN)


def _chain(first, frames: Iterable) -> Iterator:
    yield first
    yield from frames


def _frame_samples(frame, source: str, channel: Channel) -> np.ndarray:
    samples = frame.to_ndarray()  # planar: (channels, n); packed: (1, n * channels)
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    return downmix(samples, source, channel)


def _sample_chunk(file: BinaryIO) -> tuple[int | None, int]:
    """Looks up the chunk of samples in a WAV (RIFF, RF64) or AIFF header, which libsndfile silently shortens.

    Returns:
        Where its size stands if that is 0 though samples follow, else None; how many bytes the file lacks.
    """
    end = file_size(file)
    file.seek(0)
    head = file.read(12)
    order = RIFF_BYTE_ORDER.get(head[:4])
    if order is None or len(head) < 12:
        return None, 0
    declared_end = 8 + struct.unpack(order + "I", head[4:8])[0]
    position, wide_size = 12, None
    for _ in range(LARGEST_HEADER):
        file.seek(position)
        chunk = file.read(24)
        if len(chunk) < 8:
            break
        name, size = struct.unpack(order + "4sI", chunk[:8])
        if name == b"ds64" and len(chunk) == 24:
            wide_size = struct.unpack("<Q", chunk[16:24])[0]
        if name in (b"data", b"SSND"):
            start = position + 8
            if size == 0:
                streamed = end > start and not start < declared_end < STREAMED_SIZE
                return (position + 4 if streamed else None), 0
            if wide_size is not None and size == 0xFFFF_FFFF:
                size = wide_size
            elif size >= STREAMED_SIZE:
                return None, 0
            return None, max(0, start + size - end)
        position += 8 + size + size % 2
    return None, 0


def _ends_inside_ogg_page(file: BinaryIO) -> bool:
    """Whether an Ogg file stops within its last page; libsndfile takes the pages before it for the whole."""
    end = file_size(file)
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    file.seek(max(0, end - LARGEST_OGG_PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS\0") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) < 27 or len(segments) < page[26] or len(page) < 27 + len(segments) + sum(segments)


def _counts_mp3_frames(file: BinaryIO) -> bool:
    """Whether an MP3 begins with a frame that counts the others."""
    file.seek(0)
    head = file.read(10)
    tag = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))  # ID3v2 size
    file.seek(tag if head.startswith(b"ID3") else 0)
    first_frames = file.read(1024)
    return any(name in first_frames for name in (b"Xing", b"Info", b"VBRI"))
