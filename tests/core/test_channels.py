"""Channels of a recording: mixed, one, or each, whatever the source."""

import io

import numpy as np
import pytest
import soundfile as sf

from fas_core.audio import load_audio, load_channels, stream_audio
from fas_core.errors import AudioError

RATE, SECONDS = 22_050, 1.5


def sounds(channels: int) -> np.ndarray:
    """(n, channels), another tone on each."""
    time = np.arange(int(RATE * SECONDS)) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * 200 * (k + 1) * time) for k in range(channels)], axis=1).astype(
        np.float32
    )


@pytest.fixture(params=["array", "wav", "flac", "file", "m4a"])
def stereo(request, tmp_path):
    """(source, arguments) of one recording with two channels."""
    samples = sounds(2)
    if request.param == "array":
        return samples, {"sampling_rate": RATE}
    if request.param == "m4a":
        return m4a(samples, tmp_path / "a.m4a"), {}
    form = "wav" if request.param == "file" else request.param
    sf.write(tmp_path / f"a.{form}", samples, RATE, subtype="PCM_16")
    path = tmp_path / f"a.{form}"
    return (io.BytesIO(path.read_bytes()) if request.param == "file" else path), {}


def pitch(samples: np.ndarray) -> float:
    """Hz of the strongest partial of 16 kHz samples."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples))


def m4a(samples, path):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def test_each_channel_is_what_one_alone_gives(stereo):
    source, arguments = stereo
    each = load_channels(source, **arguments)
    assert [audio.channel for audio in each] == [1, 2]
    mixed = load_audio(source, **arguments)
    assert (mixed.channel, mixed.original_channels) == ("mix", 2)
    for number, audio in enumerate(each, 1):
        alone = load_audio(source, channel=number, **arguments)
        assert alone.channel == number == load_audio(source, channel=str(number), **arguments).channel
        np.testing.assert_allclose(alone.samples, audio.samples, atol=1e-6)
        assert pitch(alone.samples) == pytest.approx(200 * number, abs=2)
    np.testing.assert_allclose(mixed.samples, (each[0].samples + each[1].samples) / 2, atol=1e-6)


def test_blocks_of_a_channel_are_the_whole(stereo):
    source, arguments = stereo
    blocks = list(stream_audio(source, block_seconds=0.4, channel=2, **arguments))
    assert {block.channel for block in blocks} == {2}
    whole = load_audio(source, channel=2, **arguments)
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), whole.samples)


@pytest.mark.parametrize("channel", [3, "3", 0, -1])
def test_a_channel_that_is_not_there_is_an_error_that_says_how_many_are(stereo, channel):
    source, arguments = stereo
    with pytest.raises(AudioError, match="has no channel|expected mix, or the number"):
        load_audio(source, channel=channel, **arguments)
    with pytest.raises(AudioError, match="a number from 1 to 2"):
        load_audio(source, channel=7, **arguments)


@pytest.mark.parametrize("channel", ["left", "each", 1.0, True, None])
def test_what_is_no_channel_is_refused(channel):
    with pytest.raises(AudioError, match="expected mix, or the number of a channel"):
        load_audio(sounds(2), sampling_rate=RATE, channel=channel)


@pytest.mark.parametrize("samples", [sounds(1), sounds(1)[:, 0]])
def test_one_channel_is_not_mixed(samples):
    audio = load_audio(samples, sampling_rate=RATE)
    assert audio.channel is None
    (only,) = load_channels(samples, sampling_rate=RATE)
    np.testing.assert_array_equal(only.samples, audio.samples)
    np.testing.assert_array_equal(load_audio(samples, sampling_rate=RATE, channel=1).samples, audio.samples)
    with pytest.raises(AudioError, match="no channel 2"):
        load_audio(samples, sampling_rate=RATE, channel=2)


def test_six_channels():
    each = load_channels(sounds(6), sampling_rate=RATE)
    assert len(each) == 6 and len({audio.samples.tobytes() for audio in each}) == 6
