"""Audio in: what is read, what is said of it, all the ways of being unusable. All audio here is synthetic."""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import ROOT

from fas_core.audio import AudioLimits, load_audio, stream_audio
from fas_core.errors import AudioError
from fas_core.sources import audio_digest, find_audio_files

LOSSLESS = [
    ("WAV", "PCM_U8", 8000, 1),
    ("WAV", "PCM_16", 11025, 2),
    ("WAV", "PCM_16", 16000, 1),
    ("WAV", "PCM_24", 22050, 1),
    ("WAV", "PCM_32", 44100, 2),
    ("WAV", "FLOAT", 48000, 2),
    ("WAV", "DOUBLE", 96000, 1),
    ("WAVEX", "PCM_16", 48000, 8),
    ("RF64", "PCM_16", 16000, 2),
    ("FLAC", "PCM_16", 44100, 2),
    ("FLAC", "PCM_24", 96000, 1),
    ("AIFF", "PCM_16", 44100, 2),
    ("AIFF", "PCM_24", 32000, 1),
    ("AU", "PCM_16", 16000, 1),
    ("CAF", "PCM_16", 16000, 1),
]
LOSSY = [
    ("OGG", "VORBIS", 44100, 2),
    ("OGG", "VORBIS", 8000, 1),
    ("OGG", "OPUS", 48000, 2),
    ("OGG", "OPUS", 16000, 1),
    ("MP3", "MPEG_LAYER_III", 44100, 2),
    ("MP3", "MPEG_LAYER_III", 16000, 1),
]


def tone(rate: int, channels: int = 1, seconds: float = 1.0) -> np.ndarray:
    """A voice-like glide, (n, channels) float64; each channel a little softer than the one before."""
    time = np.arange(round(rate * seconds)) / rate
    phase = 2 * np.pi * (180 * time + 40 * time**2)
    voice = sum(np.sin(k * phase) / k for k in (1, 2, 3)) * np.sin(np.pi * time / seconds) * 0.3
    return voice[:, None] * (1 - 0.5 * np.arange(channels) / channels)


def encoded(container: str, subtype: str, rate: int, channels: int = 1, seconds: float = 1.0, **options) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, subtype, format=container, **options) as sound:
        sound.write(tone(rate, channels, seconds))
    return file.getvalue()


def encoded_by_ffmpeg(container: str, codec: str, rate: int, channels: int = 1, seconds: float = 1.0) -> bytes:
    av = pytest.importorskip("av")
    file, layout = io.BytesIO(), {1: "mono", 2: "stereo"}[channels]
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        samples = tone(rate, channels, seconds).T.astype(np.float32).copy()
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate = rate
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


def with_bytes(data: bytes, position: int, new: bytes) -> bytes:
    return data[:position] + new + data[position + len(new) :]


class OneWay(io.RawIOBase):
    """A pipe: can be read, cannot seek."""

    def __init__(self, data: bytes):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(buffer)


# What comes out


@pytest.mark.parametrize(("container", "subtype", "rate", "channels"), LOSSLESS)
def test_lossless_file_is_the_resampled_mean_of_its_channels(container, subtype, rate, channels):
    audio = load_audio(encoded(container, subtype, rate, channels))
    expected = soxr.resample(tone(rate, channels).mean(axis=1), rate, 16000)
    assert audio.samples.dtype == np.float32 and audio.samples.shape == (16000,)
    assert np.abs(audio.samples - expected).max() < (0.02 if subtype == "PCM_U8" else 1e-4)
    assert (audio.original_rate, audio.original_channels, audio.duration) == (rate, channels, 1.0)
    assert not audio.is_silent


@pytest.mark.parametrize(("container", "subtype", "rate", "channels"), LOSSY)
def test_lossy_file_keeps_the_waveform(container, subtype, rate, channels):
    audio = load_audio(encoded(container, subtype, rate, channels))
    expected = soxr.resample(tone(rate, channels).mean(axis=1), rate, 16000)
    assert abs(len(audio.samples) - 16000) <= 1
    n = min(len(audio.samples), 16000)
    assert np.corrcoef(audio.samples[:n], expected[:n])[0, 1] > 0.98


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels"),
    [
        ("ipod", "aac", 44100, 2),
        ("mp4", "aac", 16000, 1),
        ("webm", "libopus", 48000, 1),
        ("adts", "aac", 44100, 1),
    ],
)
def test_formats_of_pyav(container, codec, rate, channels):
    audio = load_audio(encoded_by_ffmpeg(container, codec, rate, channels))
    assert (audio.original_rate, audio.original_channels) == (rate, channels)
    assert 1.0 <= audio.duration < 1.2  # AAC adds its delay
    expected = soxr.resample(tone(rate, channels).mean(axis=1), rate, 16000)
    assert np.correlate(audio.samples, expected, "full").max() > 0.95 * np.sum(expected**2)


def test_every_kind_of_source_gives_the_same(tmp_path):
    data = encoded("WAV", "PCM_16", 22050, 2)
    path = tmp_path / "clip.raw"  # the name must not choose the format
    path.write_bytes(data)
    at_its_end = io.BytesIO(data)
    at_its_end.read()
    with path.open("rb") as file, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(data)
        sources = [path, str(path), data, bytearray(data), at_its_end, OneWay(data), file, spooled]
        loaded = [load_audio(source) for source in sources]
        assert not file.closed
    array, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    loaded.append(load_audio(array, sampling_rate=rate))
    loaded.append(load_audio(array.astype(np.float64) / 2**15, sampling_rate=np.int64(rate)))
    for audio in loaded:
        np.testing.assert_allclose(audio.samples, loaded[0].samples, atol=1e-6)
    names = [audio.source for audio in loaded]
    assert names == [str(path)] * 2 + ["<bytes>"] * 2 + ["<file>"] * 4 + ["<array>"] * 2


def test_tensor_is_an_array():
    torch = pytest.importorskip("torch")
    samples = torch.from_numpy(tone(16000, 2))
    np.testing.assert_allclose(load_audio(samples, sampling_rate=16000).samples, samples.mean(1).numpy(), atol=1e-6)
    with pytest.raises(AudioError, match="detach"):
        load_audio(samples.requires_grad_(), sampling_rate=16000)


@pytest.mark.parametrize(
    ("dtype", "zero", "one"), [("uint8", 128, 192), ("int16", 0, 2**14), ("int32", 0, 2**30), (">i2", 0, 2**14)]
)
def test_integers_have_full_scale_at_one(dtype, zero, one):
    samples = load_audio(np.repeat([zero, one], 400).astype(dtype), sampling_rate=16000).samples
    assert np.unique(samples).tolist() == [0.0, 0.5]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rate=st.integers(4000, 192000),
    channels=st.integers(1, 6),
    seconds=st.floats(0.03, 1.5),
    block_seconds=st.floats(0.025, 2.0),
)
def test_blocks_are_the_whole_at_any_rate_and_length(rate, channels, seconds, block_seconds):
    frames = round(rate * seconds)
    array = np.random.default_rng(0).standard_normal((frames, channels)).astype(np.float32) * 0.1
    whole = load_audio(array, sampling_rate=rate)
    blocks = list(stream_audio(array, sampling_rate=rate, block_seconds=block_seconds))
    assert abs(len(whole.samples) - frames * 16000 / rate) <= 1
    np.testing.assert_allclose(whole.samples, soxr.resample(array.mean(axis=1), rate, 16000), atol=1e-5)
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), whole.samples)
    assert {len(block.samples) for block in blocks[:-1]} <= {round(block_seconds * 16000)}
    assert all(block.duration >= 0.025 for block in blocks)


@pytest.mark.parametrize(("container", "subtype", "rate", "channels"), [LOSSLESS[4], LOSSLESS[9], *LOSSY])
def test_blocks_of_a_file_are_the_whole(container, subtype, rate, channels):
    data = encoded(container, subtype, rate, channels, seconds=3.3)
    whole, blocks = load_audio(data), list(stream_audio(data, block_seconds=1.0))
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), whole.samples)
    assert [block.duration for block in blocks[:3]] == [1.0] * 3 and len(blocks) == 4


def test_samples_can_be_written_to():
    load_audio(encoded("WAV", "PCM_16", 16000)).samples[0] = 1.0
    next(stream_audio(encoded("WAV", "PCM_16", 16000))).samples[0] = 1.0


def test_audio_does_not_import_torch_or_pyav():
    code = "import sys, fas_core.audio, fas_core.frontend; print({'torch', 'av'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "set()\n"


# Headers that do not say how long the file is


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("riff_size", [0, 36, None])
def test_wav_written_into_a_pipe(size, riff_size):
    data = encoded("WAV", "PCM_16", 16000)
    riff = (size if riff_size is None else riff_size).to_bytes(4, "little")
    streamed = with_bytes(with_bytes(data, 40, size.to_bytes(4, "little")), 4, riff)
    np.testing.assert_array_equal(load_audio(streamed).samples, load_audio(data).samples)


def test_flac_written_into_a_pipe():
    data = encoded("FLAC", "PCM_16", 44100)
    streamed = with_bytes(data, 21, bytes([data[21] & 0xF0, 0, 0, 0, 0]))  # STREAMINFO: total samples
    np.testing.assert_array_equal(load_audio(streamed).samples, load_audio(data).samples)


@pytest.mark.parametrize("loud_end", [slice(None, 20_000), slice(-20_000, None)])
def test_mp3_of_variable_bit_rate_without_a_frame_count(loud_end):
    samples = np.random.default_rng(0).standard_normal(4 * 44100) * 1e-4
    samples[loud_end] *= 2000
    file = io.BytesIO()
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.9}
    with soundfile.SoundFile(file, "w", 44100, 1, format="MP3", **options) as sound:
        sound.write(samples)
    data = file.getvalue()
    assert load_audio(data).duration == 4.0
    bare = data[data.index(data[:2], 10) :]  # without the first frame, which counts the others
    assert 4.0 <= load_audio(bare).duration < 4.1


def test_mp3_behind_a_large_tag():
    picture = b"ID3\x03\0\0" + bytes([0, 15, 0, 0]) + bytes(15 << 14)
    assert load_audio(picture + encoded("MP3", "MPEG_LAYER_III", 44100)).duration == 1.0


# What is refused


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("RF64", "PCM_16"), ("AIFF", "PCM_16")]
    + [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
)
@pytest.mark.parametrize("kept", [0.3, 0.8, 0.98])
def test_truncated(container, subtype, kept):
    data = encoded(container, subtype, 16000)
    assert load_audio(data).duration == pytest.approx(1, abs=0.1)
    with pytest.raises(AudioError, match="truncated"):
        load_audio(data[: int(len(data) * kept)])


@pytest.mark.parametrize(("container", "codec"), [("ipod", "aac"), ("webm", "libopus"), ("adts", "aac")])
def test_truncated_for_pyav(container, codec):
    data = encoded_by_ffmpeg(container, codec, 48000, seconds=3)
    with pytest.raises(AudioError, match="truncated"):
        load_audio(data[: len(data) // 2])


def test_stream_gives_what_came_before_the_damage():
    data = encoded("FLAC", "PCM_16", 16000, seconds=20)
    blocks = stream_audio(data[: len(data) * 3 // 4], block_seconds=2)
    assert next(blocks).duration == 2
    with pytest.raises(AudioError, match="truncated"):
        list(blocks)


@pytest.mark.parametrize(
    "data",
    [
        b"plain text\n" * 500,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40,
        b"%PDF-1.7\n" + bytes(range(256)) * 40,
        b"PK\x03\x04" + bytes(range(256)) * 40,
        bytes(5000),
        b"RIFF",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"OggS",
        b"fLaC",
        b"\xff",
    ],
)
@pytest.mark.parametrize("has_pyav", [True, False])
def test_not_audio(data, has_pyav, monkeypatch):
    if not has_pyav:
        monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match="not audio|damaged|truncated") as caught:
        load_audio(data)
    assert caught.value.source == "<bytes>" and caught.value.hint


def test_without_pyav_the_error_says_what_to_install(monkeypatch):
    data = encoded_by_ffmpeg("ipod", "aac", 44100)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"pip install 'fas-alm\[media\]'"):
        load_audio(data)


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile 'other.wav'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n",
    ],
)
def test_playlist_opens_nothing(playlist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("other.wav").write_bytes(encoded("WAV", "PCM_16", 16000))
    Path("list.m3u8").write_text(playlist)
    for source in ("list.m3u8", playlist.encode()):
        with pytest.raises(AudioError, match="not audio"):
            load_audio(source)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16")])
def test_empty(container, subtype, tmp_path):
    with pytest.raises(AudioError, match="empty"):
        load_audio(encoded(container, subtype, 16000, seconds=0))


def test_empty_sources(tmp_path):
    (tmp_path / "empty.wav").touch()
    for source in (b"", io.BytesIO(), OneWay(b""), tmp_path / "empty.wav"):
        with pytest.raises(AudioError, match="empty"):
            load_audio(source)
    for array in (np.zeros(0), np.zeros((0, 2)), np.zeros((16000, 0))):
        with pytest.raises(AudioError, match="empty"):
            load_audio(array, sampling_rate=16000)


def test_wav_without_samples_before_other_chunks_is_empty():
    data = encoded("WAV", "PCM_16", 16000, seconds=0) + b"LIST" + (2000).to_bytes(4, "little") + bytes(2000)
    with pytest.raises(AudioError, match="empty"):
        load_audio(with_bytes(data, 4, (len(data) - 8).to_bytes(4, "little")))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_shortest(rate):
    frames = round(0.025 * rate)
    assert load_audio(np.ones(frames + 1), sampling_rate=rate).duration >= 0.025
    with pytest.raises(AudioError, match=r"too short.*min_seconds"):
        load_audio(np.ones(frames - 1), sampling_rate=rate)
    with pytest.raises(AudioError, match="too short"):
        list(stream_audio(np.ones(frames - 1), sampling_rate=rate))
    assert load_audio(np.ones(10), sampling_rate=rate, limits=AudioLimits(min_seconds=1e-4)).samples.size


def test_longest():
    data = encoded("WAV", "PCM_16", 16000, seconds=2)
    assert load_audio(data, limits=AudioLimits(max_seconds=2)).duration == 2
    with pytest.raises(AudioError, match=r"too long.*AudioLimits\(max_seconds=...\) or --max-seconds"):
        load_audio(data, limits=AudioLimits(max_seconds=1.99))
    with pytest.raises(AudioError, match="too long"):
        load_audio(np.zeros(16001), sampling_rate=16000, limits=AudioLimits(max_seconds=1))


def test_longest_holds_for_what_is_decoded_not_for_what_the_header_says():
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(16000 * 600, np.int16), 16000, format="FLAC")
    data = silence.getvalue()
    assert len(data) < 100_000  # a bomb: 10 minutes
    silent_about_it = with_bytes(data, 21, bytes([data[21] & 0xF0, 0, 0, 0, 0]))
    blocks = stream_audio(silent_about_it, block_seconds=1, limits=AudioLimits(max_seconds=10))
    given = 0
    with pytest.raises(AudioError, match="too long"):
        for block in blocks:
            given += block.duration
    assert given <= 10


def test_most_bytes(tmp_path):
    data = encoded("WAV", "PCM_16", 16000)
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    assert load_audio(path, limits=AudioLimits(max_bytes=len(data))).duration == 1
    endless = OneWay(data + bytes(10_000_000))
    for source in (path, data, io.BytesIO(data), endless):
        with pytest.raises(AudioError, match=r"too big.*AudioLimits\(max_bytes=...\) or --max-bytes"):
            load_audio(source, limits=AudioLimits(max_bytes=len(data) - 1))
    assert endless._file.tell() < 3_000_000  # not read to its end
    with pytest.raises(AudioError, match="too big"):
        load_audio(np.zeros(1000), sampling_rate=16000, limits=AudioLimits(max_bytes=1000))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("container", ["WAV", "AIFF", None])
def test_not_finite(bad, container):
    samples = np.zeros((32000, 2), np.float32)
    samples[20_000, 1] = bad
    if container is None:
        source, rate = samples, 16000
    else:
        file = io.BytesIO()
        soundfile.write(file, samples, 16000, format=container, subtype="FLOAT")
        source, rate = file.getvalue(), None
    with pytest.raises(AudioError, match="NaN, Inf"):
        load_audio(source, sampling_rate=rate)


@pytest.mark.parametrize(
    ("position", "value", "problem"), [(24, 100, "rate"), (24, 1_000_000, "rate"), (22, 200, "channels")]
)
def test_header_out_of_bounds(position, value, problem):
    data = encoded("WAV", "PCM_16", 16000)
    size = 4 if position == 24 else 2
    forged = with_bytes(data, position, value.to_bytes(size, "little"))
    if problem == "channels":
        forged = with_bytes(forged, 32, (2 * value).to_bytes(2, "little"))
    with pytest.raises(AudioError, match=problem):
        load_audio(forged)


def test_digital_silence_is_flagged():
    quiet = tone(16000)[:, 0]
    assert load_audio(np.zeros(16000), sampling_rate=44100).is_silent
    assert load_audio(quiet * 10 ** (-95 / 20) / np.abs(quiet).max(), sampling_rate=16000).is_silent
    assert not load_audio(quiet * 10 ** (-85 / 20) / np.abs(quiet).max(), sampling_rate=16000).is_silent
    half = np.concatenate([np.zeros(16000), quiet])
    flags = [block.is_silent for block in stream_audio(half, sampling_rate=16000, block_seconds=1)]
    assert flags == [True, False] and not load_audio(half, sampling_rate=16000).is_silent


def test_unusable_sources(tmp_path):
    closed = io.BytesIO(b"x")
    closed.close()
    os.mkfifo(tmp_path / "pipe")
    for source, problem in [
        (tmp_path / "missing.wav", "no such file"),
        ("https://example.org/clip.wav", "addresses are not opened"),
        ("nul\0byte.wav", "no such file"),
        ("x" * 5000, "cannot be read"),
        (tmp_path, "folder"),
        (tmp_path / "pipe", "not a regular file"),
        (closed, "cannot be read"),
        (io.StringIO("text"), "binary mode"),
        (None, "not a source"),
        ([0.0] * 16000, "not a source"),
    ]:
        with pytest.raises(AudioError, match=problem):
            load_audio(source)


@pytest.mark.parametrize(
    ("array", "rate", "problem"),
    [
        (np.zeros(16000), None, "pass sampling_rate"),
        (np.zeros(16000), 0, "sample rate is 0"),
        (np.zeros(16000), 44100.5, "whole number"),
        (np.zeros(16000), float("nan"), "whole number"),
        (np.zeros(16000), "16000", "whole number"),
        (np.zeros((65, 16000)), 16000, "channels, samples"),
        (np.float32(0), 16000, "shape"),
        (np.zeros(16000, np.int8), 16000, "int8"),
        (np.zeros(16000, np.uint16), 16000, "uint16"),
        (np.zeros(16000, bool), 16000, "bool"),
        (np.zeros(16000, object), 16000, "object"),
        (np.zeros((1, 2, 3)), 16000, "shape"),
        (np.zeros(16000, complex), 16000, "complex128"),
        (np.zeros(16000, np.int64), 16000, "int64"),
        (np.array(["a"] * 16000), 16000, "expected float"),
    ],
)
def test_unusable_arrays(array, rate, problem):
    with pytest.raises(AudioError, match=problem):
        load_audio(array, sampling_rate=rate)


def test_rate_is_for_arrays_only():
    with pytest.raises(AudioError, match="for arrays"):
        load_audio(encoded("WAV", "PCM_16", 16000), sampling_rate=8000)


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"min_seconds": 0}, {"min_seconds": 3, "max_seconds": 2}])
def test_limits_that_admit_nothing(limits):
    with pytest.raises(AudioError, match="AudioLimits"):
        AudioLimits(**limits)


@pytest.mark.parametrize("block_seconds", [0, -1, 0.01, float("nan"), float("inf")])
def test_block_length(block_seconds):
    with pytest.raises(AudioError, match="block_seconds"):
        list(stream_audio(np.zeros(16000), sampling_rate=16000, block_seconds=block_seconds))


# Digests and folders


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    data = encoded("WAV", "PCM_16", 16000)
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    assert len({audio_digest(source) for source in (path, str(path), data, io.BytesIO(data), OneWay(data))}) == 1
    assert audio_digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert audio_digest(data) != audio_digest(with_bytes(data, 1000, b"x"))


def test_digest_of_an_array_is_of_samples_and_rate():
    array = tone(16000, 2)
    digests = [
        audio_digest(array, sampling_rate=16000),
        audio_digest(array, sampling_rate=8000),
        audio_digest(array.astype(np.float32), sampling_rate=16000),
        audio_digest(array.reshape(-1), sampling_rate=16000),
        audio_digest(array + 1e-9, sampling_rate=16000),
    ]
    assert len(set(digests)) == 5
    assert audio_digest(np.asfortranarray(array), sampling_rate=16000.0) == digests[0]
    with pytest.raises(AudioError, match="pass sampling_rate"):
        audio_digest(array)


def test_find_audio_files(tmp_path):
    names = [
        "b.wav",
        "a.FLAC",
        "sub/c.mp3",
        "sub/deep/d.m4a",
        "notes.txt",
        ".hidden.wav",
        ".git/e.wav",
        "sub/._f.wav",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folder = [tmp_path / name for name in ("a.FLAC", "b.wav", "sub/c.mp3", "sub/deep/d.m4a")]
    assert find_audio_files([tmp_path]) == find_audio_files(str(tmp_path)) == folder
    assert find_audio_files([tmp_path / "notes.txt", tmp_path / "sub"]) == [
        tmp_path / "notes.txt",
        *folder[2:],
    ]
    assert find_audio_files([]) == []
    with pytest.raises(AudioError, match="no such file or folder"):
        find_audio_files([tmp_path / "missing"])


# Memory


LOAD_HOUR = """
import sys
from fas_core.audio import load_audio, stream_audio
if sys.argv[1] == "load":
    seconds = load_audio(sys.argv[2]).duration
else:
    seconds = sum(block.duration for block in stream_audio(sys.argv[2]))
status = dict(line.split(":") for line in open("/proc/self/status"))
print(seconds, status["VmHWM"].split()[0])  # not ru_maxrss: that begins with the memory of the parent process
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured through /proc")
@pytest.mark.parametrize(("how", "megabytes"), [("load", 600), ("stream", 150)])
def test_memory_for_an_hour_of_wav(how, megabytes, tmp_path):
    path = tmp_path / "hour.wav"
    minute = np.tile((tone(44100, 2) * 2**15).astype(np.int16), (60, 1))
    with soundfile.SoundFile(path, "w", 44100, 2) as sound:
        for _ in range(60):
            sound.write(minute)
    command = [sys.executable, "-c", LOAD_HOUR, how, str(path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, run.stdout.split())
    path.unlink()
    assert seconds == pytest.approx(3600)
    assert kilobytes / 1024 < megabytes
