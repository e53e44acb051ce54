"""Arrays of samples: what the client sends is what the pipeline hears."""

import base64

import numpy as np
import pytest

from fas_core.arrays import float_array
from fas_core.audio import load_audio
from fas_core.errors import AudioError
from fas_serve.client import audio_part

RATE = 16_000
WAVE = np.sin(np.arange(RATE) / 20) * 0.3


def pcm(dtype: str) -> np.ndarray:
    scale, middle = {"u1": (2**7, 128), "i2": (2**15, 0), "i4": (2**31, 0)}[dtype.strip("<>")]
    return (WAVE * scale + middle).astype(dtype)


ARRAYS = {
    **{dtype: pcm(dtype) for dtype in ("u1", "i2", "i4", ">i2", ">i4")},
    **{dtype: WAVE.astype(dtype) for dtype in ("f2", "f4", "f8", ">f4")},
    "(n, 1)": WAVE[:, None],
    "(n, 2)": np.stack([WAVE, WAVE / 2], axis=1),
    "(1, n)": WAVE[None],
    "(2, n)": np.stack([pcm("i2"), pcm("i2") // 2]),
    "every other": np.repeat(WAVE, 2)[::2],
    "loud": WAVE * 40_000,
}


def sent(array, rate):
    return load_audio(base64.b64decode(audio_part(array, rate)["input_audio"]["data"]))


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("rate", [16_000, 16_000.0, np.int64(22_050), np.float32(8000)])
def test_client_and_pipeline_hear_the_same(name, rate):
    here, there = load_audio(ARRAYS[name], sampling_rate=rate), sent(ARRAYS[name], rate)
    np.testing.assert_array_equal(here.samples, there.samples)
    assert (here.original_rate, here.original_channels) == (there.original_rate, there.original_channels)
    assert abs(here.samples.mean()) < 0.05 * np.abs(here.samples).max()  # no type is taken for another


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_may_come_first(channels):
    array = np.random.default_rng(0).standard_normal((RATE, channels)).astype(np.float32) * 0.1
    for turned in (array.T, np.ascontiguousarray(array.T)):
        heard = load_audio(turned, sampling_rate=RATE)
        np.testing.assert_array_equal(heard.samples, load_audio(array, sampling_rate=RATE).samples)
        assert heard.original_channels == channels


def test_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    for tensor in (torch.from_numpy(WAVE), torch.from_numpy(pcm("i2")), torch.from_numpy(WAVE)[None]):
        np.testing.assert_array_equal(load_audio(tensor, sampling_rate=RATE).samples, sent(tensor, RATE).samples)


REFUSED = {
    **{
        f"{kind} samples": (np.zeros(RATE, kind), RATE)
        for kind in ("i1", "u2", "u4", "i8", "?", "c8", "O", "M8[s]", "U1")
    },
    "no dimension": (np.array(0.0), RATE),
    "three dimensions": (np.zeros((1, 2, RATE)), RATE),
    "too many channels": (np.zeros((100, 200)), RATE),
    "empty": (np.zeros(0), RATE),
    "empty in two": (np.zeros((0, 2)), RATE),
    "no channels": (np.zeros((RATE, 0)), RATE),
    "NaN": (np.array([0.0, np.nan] * RATE), RATE),
    "Inf": (np.array([0.0, np.inf] * RATE), RATE),
    "list": ([0.0] * RATE, RATE),
    **{
        f"rate {rate!r}": (WAVE, rate)
        for rate in (None, 0, -1, 16_000.5, float("nan"), float("inf"), "16000", True, 1e9)
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_client_and_pipeline_refuse_the_same(name):
    array, rate = REFUSED[name]
    with pytest.raises(AudioError) as here:
        load_audio(array, sampling_rate=rate)
    with pytest.raises(AudioError) as there:
        audio_part(array, rate)
    assert here.value.problem == there.value.problem


def test_text_of_numpy_is_a_path(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        load_audio(np.array(["missing.wav"])[0])


def test_array_at_its_own_rate():
    samples, rate = float_array(ARRAYS["(2, n)"], 8000.0)
    assert samples.shape == (RATE, 2) and samples.dtype == np.float32 and rate == 8000 and type(rate) is int
