"""Audio in: any file, bytes, file object or array becomes mono float32 at 16 kHz, or one clear error.

Down-mix is the mean over channels, unless one channel is asked for; resampling is soxr's high-quality filter. Everything
is decoded, mixed and resampled in blocks, so memory follows the result and not the file, and limits hold for what is
decoded, not only for what a header claims.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import soxr

from fas_core.arrays import CHANNELS, check_finite, check_rate, checked_array, is_array
from fas_core.decoded import BLOCK_FRAMES, Channel, Decoded, check_channel, downmix
from fas_core.errors import AudioError
from fas_core.headers import file_size
from fas_core.media import decode
from fas_core.segments import cut, split_segment
from fas_core.sources import binary_file

SAMPLE_RATE = 16_000
SILENCE = 10 ** (-90 / 20)  # -90 dBFS: the last bit of a 16-bit file, switching


@dataclass(frozen=True)
class AudioLimits:
    """What is accepted: bytes of the source, seconds of the decoded audio (both ends included), and bytes that it
    decodes to.

    Attributes:
        max_decoded_bytes: of float32 samples, all channels, before down-mixing and resampling. Seconds alone leave a
            small file of eight channels at 384 kHz room for a minute of work.

    Raises:
        AudioError: a limit that is not positive, or no room between the two durations.
    """

    max_bytes: int = 2 * 1024**3
    min_seconds: float = 0.025
    max_seconds: float = 2 * 3600.0
    max_decoded_bytes: float = math.inf

    def __post_init__(self) -> None:
        for field in ("max_bytes", "max_decoded_bytes"):
            if not getattr(self, field) > 0:
                raise AudioError("AudioLimits", f"{field} is {getattr(self, field)}", "expected more than 0")
        if not 0 < self.min_seconds <= self.max_seconds:
            problem = f"min_seconds is {self.min_seconds} and max_seconds {self.max_seconds}"
            raise AudioError("AudioLimits", problem, "expected 0 < min_seconds <= max_seconds")


@dataclass
class Audio:
    """Decoded audio.

    Attributes:
        samples: (n,) float32, mono, 16 kHz, full scale at 1 (not clipped there).
        source: file name as given, "<bytes>", "<file>" or "<array>".
        original_rate: Hz, before resampling.
        original_channels: before down-mixing.
        duration: seconds of `samples`.
        is_silent: digital silence, nothing above -90 dBFS.
        channel: of several, the one that was taken, from 1, or "mix"; None where there is one.
    """

    samples: np.ndarray
    source: str
    original_rate: int
    original_channels: int
    duration: float
    is_silent: bool
    channel: int | str | None = None


def load_audio(
    source: Any, *, sampling_rate: int | None = None, limits: AudioLimits = AudioLimits(), channel: int | str = "mix"
) -> Audio:
    """Reads all of a source as mono float32 at 16 kHz.

    Args:
        source: path, or a segment of one such as "call.wav#t=1.5,4" (`fas_core.segments`); bytes; binary file object (read
            from its start if it can seek, and left open); array or tensor, (n,), (n, channels) or (channels, n), float or
            uint8/int16/int32 PCM.
        sampling_rate: Hz; for arrays, and only for them.
        limits: of size and duration.
        channel: "mix", the mean over channels, or the number of one, from 1: the two people of a call are often
            recorded on a channel each.

    Raises:
        AudioError: missing, not audio, truncated, empty, shorter or longer than the limits, NaN or Inf, without that
            channel.
            Digital silence is no error: see `Audio.is_silent`.

    Examples:
        >>> audio = load_audio(np.zeros((44100, 2), np.float32), sampling_rate=44100)
        >>> audio.samples.shape, audio.duration, audio.is_silent
        ((16000,), 1.0, True)
    """
    buffer = bytearray()  # grows in place: an array per block, concatenated, would need the memory twice
    channel = _one_channel(channel)
    with _open(source, sampling_rate, limits, channel) as (name, decoded):
        for block in _resampled(decoded, name, limits, channel):
            buffer += block.data
    return _audio(np.frombuffer(buffer, np.float32), name, decoded, channel)


def load_channels(source: Any, *, sampling_rate: int | None = None, limits: AudioLimits = AudioLimits()) -> list[Audio]:
    """Reads every channel of a source as an `Audio` of its own; decoded once. Arguments and errors are those of `load_audio`."""
    buffer = bytearray()
    with _open(source, sampling_rate, limits, "each") as (name, decoded):
        for block in _resampled(decoded, name, limits, "each"):
            buffer += block.data
    samples = np.frombuffer(buffer, np.float32).reshape(-1, decoded.channels)
    return [_audio(np.ascontiguousarray(column), name, decoded, number) for number, column in enumerate(samples.T, 1)]


def stream_audio(
    source: Any,
    *,
    block_seconds: float = 30.0,
    sampling_rate: int | None = None,
    limits: AudioLimits = AudioLimits(),
    channel: int | str = "mix",
) -> Iterator[Audio]:
    """Reads a long source in blocks; together they are the samples that `load_audio` gives.

    Every block lasts `block_seconds`, but for the last, which is what is left: at least `limits.min_seconds`,
    so that it can be used alone, and less than the two together. Arguments are those of `load_audio`;
    `duration` and `is_silent` are the block's own.

    Raises:
        AudioError: as `load_audio`, when iterated; damage that shows midway, after the blocks before it.
    """
    if not limits.min_seconds <= block_seconds < math.inf:
        hint = f"expected at least AudioLimits.min_seconds, {limits.min_seconds}"
        raise AudioError("stream_audio", f"block_seconds is {block_seconds}", hint)
    size = round(block_seconds * SAMPLE_RATE) * np.float32().nbytes
    shortest = math.ceil(limits.min_seconds * SAMPLE_RATE) * np.float32().nbytes
    buffer = bytearray()
    channel = _one_channel(channel)
    with _open(source, sampling_rate, limits, channel) as (name, decoded):
        for block in _resampled(decoded, name, limits, channel):
            buffer += block.data
            while len(buffer) >= size + shortest:
                yield _audio(np.frombuffer(buffer[:size], np.float32), name, decoded, channel)
                del buffer[:size]
    yield _audio(np.frombuffer(buffer, np.float32), name, decoded, channel)


def claimed_seconds(source: Any) -> float | None:
    """How long a file says that it lasts, for a progress bar; None where it does not say, or cannot be read."""
    try:
        with _open(source, None, AudioLimits(), "mix") as (_, decoded):
            return decoded.frames / decoded.rate if decoded.frames else None
    except AudioError:
        return None


def lasts_longer(source: Any, seconds: float, limits: AudioLimits = AudioLimits()) -> bool:
    """Whether a source of `load_audio` lasts longer than so many seconds.

    Its header answers where it says how long the audio is, and `load_audio` refuses audio that is not as long; else so
    much of it is decoded as it takes.

    Raises:
        AudioError: as `load_audio`, for what has been read.
    """
    with _open(source, None, limits, "mix") as (_, decoded):
        if decoded.frames is not None:
            return decoded.frames > seconds * decoded.rate
        frames = 0
        return any((frames := frames + len(block)) > seconds * decoded.rate for block in decoded.blocks)


def is_silent(samples: np.ndarray) -> bool:
    """Digital silence: no sample above -90 dBFS."""
    return bool(max(samples.max(), -samples.min()) <= SILENCE)


def _one_channel(channel: int | str) -> Channel:
    """A number, which text may spell, or "mix"; for "each" there is `load_channels`."""
    if isinstance(channel, str) and channel.isdecimal():
        channel = int(channel)
    if channel != "mix" and (isinstance(channel, bool) or not isinstance(channel, Integral)):
        raise AudioError("channel", f"is {channel!r}", "expected mix, or the number of a channel, from 1")
    return "mix" if isinstance(channel, str) else channel


def _audio(samples: np.ndarray, name: str, decoded: Decoded, channel: Channel) -> Audio:
    duration, taken = len(samples) / SAMPLE_RATE, None if decoded.channels == 1 else channel
    return Audio(samples, name, decoded.rate, decoded.channels, duration, is_silent(samples), taken)


@contextmanager
def _open(
    source: Any, sampling_rate: int | None, limits: AudioLimits, channel: Channel
) -> Iterator[tuple[str, Decoded]]:
    if is_array(source):
        array, rate = checked_array(source, sampling_rate)
        _check_bytes(array.nbytes, "<array>", limits)
        yield "<array>", _decoded_array(array, rate, channel)
        return
    whole, segment = split_segment(source)
    with binary_file(whole, limits.max_bytes) as (name, file):
        if sampling_rate is not None:
            raise AudioError(name, "sampling_rate was given", "it is for arrays; a file says its own rate")
        _check_bytes(file_size(file), name, limits)
        with decode(file, name, channel) as decoded:
            if segment is not None:
                name = segment.of(name)
                decoded = cut(decoded, segment, name)
            yield name, decoded


def _check_bytes(size: int, name: str, limits: AudioLimits) -> None:
    if size == 0:
        raise AudioError(name, "empty")
    if size > limits.max_bytes:
        hint = f"at most {limits.max_bytes}; AudioLimits(max_bytes=...) or --max-bytes changes it"
        raise AudioError(name, f"too big: {size} bytes", hint)


def _decoded_array(array: np.ndarray, rate: int, channel: Channel) -> Decoded:
    starts = range(0, len(array), BLOCK_FRAMES)
    blocks = (downmix(array[start : start + BLOCK_FRAMES], "<array>", channel) for start in starts)
    return Decoded(rate, 1 if array.ndim == 1 else array.shape[1], len(array), blocks)


def _resampled(decoded: Decoded, name: str, limits: AudioLimits, channel: Channel) -> Iterator[np.ndarray]:
    """Blocks at 16 kHz; limits are checked against what the header says and, again, against what comes."""
    _check_header(decoded, name, limits)
    check_channel(channel, decoded.channels, name)
    shape = (decoded.channels,) if channel == "each" and decoded.channels > 1 else ()
    stream = soxr.ResampleStream(decoded.rate, SAMPLE_RATE, *(shape or (1,)), dtype="float32", quality="HQ")
    frames = 0
    for block in decoded.blocks:
        frames += len(block)
        _check_size(frames, decoded, name, limits)
        check_finite(block, (frames - len(block)) / decoded.rate, name)
        yield block if decoded.rate == SAMPLE_RATE else stream.resample_chunk(block)
    if frames == 0:
        raise AudioError(name, "empty: holds no samples")
    if frames < limits.min_seconds * decoded.rate:
        hint = f"at least {limits.min_seconds} s; AudioLimits(min_seconds=...) changes it"
        raise AudioError(name, f"too short: {frames / decoded.rate:.4f} s", hint)
    if decoded.rate != SAMPLE_RATE:
        yield stream.resample_chunk(np.zeros((0, *shape), np.float32), last=True)


def _check_header(decoded: Decoded, name: str, limits: AudioLimits) -> None:
    check_rate(decoded.rate, name)
    if not 1 <= decoded.channels <= CHANNELS:
        raise AudioError(name, f"has {decoded.channels} channels", f"expected 1 to {CHANNELS}")
    if decoded.frames is not None:
        _check_size(decoded.frames, decoded, name, limits)


def _check_size(frames: int, decoded: Decoded, name: str, limits: AudioLimits) -> None:
    if frames > limits.max_seconds * decoded.rate:
        hint = f"at most {limits.max_seconds} s; AudioLimits(max_seconds=...) or --max-seconds changes it"
        raise AudioError(name, f"too long: {frames / decoded.rate:.1f} s or more", hint)
    size = frames * decoded.channels * np.float32().nbytes
    if size > limits.max_decoded_bytes:
        hint = f"at most {limits.max_decoded_bytes}; AudioLimits(max_decoded_bytes=...) changes it"
        raise AudioError(name, f"too big: decodes to {size} bytes or more", hint)
