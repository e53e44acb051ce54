"""The front end against the definition it came from, and at the edges of it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import SPEECH

from fas_core.audio import load_audio
from fas_core.errors import AudioError
from fas_core.frontend import FrontEnd, FrontEndConfig


def prototype(samples: np.ndarray, trim_db: float = 40.0, level_dbfs: float = -26.0) -> np.ndarray:
    """The front end with which the first measurements were made; it drops the last partial frame."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320).astype(np.float64)
    energy = np.sqrt((frames**2).mean(axis=1) + 1e-12)
    active = np.where(energy > energy.max() * 10 ** (-trim_db / 20))[0]
    kept = samples[active[0] * 320 : (active[-1] + 1) * 320]
    return kept * 10 ** (level_dbfs / 20) / np.sqrt((energy[active] ** 2).mean())


def clip(seconds: float = 2.0, lead: float = 0.3, tail: float = 0.4, level: float = 0.1, seed: int = 0) -> np.ndarray:
    """Noise at `level` RMS with a pause inside, between silences with a soft floor."""
    random = np.random.default_rng(seed)
    samples = random.standard_normal(round(16000 * seconds)).astype(np.float32) * level
    pause = len(samples) // 3
    samples[pause : pause + 3200] *= 1e-4
    floor = [random.standard_normal(round(16000 * part)).astype(np.float32) * level * 1e-4 for part in (lead, tail)]
    return np.concatenate([floor[0], samples, floor[1]])


def active_rms_dbfs(samples: np.ndarray) -> float:
    energy = np.square(samples[: len(samples) // 320 * 320].reshape(-1, 320)).mean(axis=1)
    return 10 * np.log10(energy[energy > energy.max() * 1e-4].mean())


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    lead=st.floats(0, 1),
    tail=st.floats(0, 1),
    level=st.floats(1e-2, 3),
    trim_db=st.floats(20, 60),
    level_dbfs=st.floats(-40, 0),
    seed=st.integers(0, 9),
)
def test_equals_its_definition(lead, tail, level, trim_db, level_dbfs, seed):
    samples = clip(1.0, lead, tail, level, seed)
    result = FrontEnd(FrontEndConfig(trim_db=trim_db, level_dbfs=level_dbfs))(samples)
    expected = prototype(samples, trim_db, level_dbfs)
    np.testing.assert_allclose(result.samples[: len(expected)], expected, rtol=1e-4, atol=1e-7)
    assert 0 <= len(result.samples) - len(expected) < 320
    assert len(result.samples) == len(expected) or result.end == len(samples)
    gain = 10 ** (result.gain_db / 20)
    np.testing.assert_allclose(result.samples, samples[result.start : result.end] * gain, rtol=1e-5, atol=1e-7)


def test_cuts_both_ends_but_not_the_pause():
    result = FrontEnd(FrontEndConfig())(clip(2.0, lead=0.3, tail=0.4))
    assert (result.start, result.end) == (round(0.3 * 16000), round(2.3 * 16000))
    assert len(result.samples) == 2 * 16000


@pytest.mark.parametrize("rest", [0, 1, 319])
def test_partial_last_frame_belongs_to_what_it_follows(rest):
    loud = np.full(3200 + rest, 0.1, np.float32)
    assert FrontEnd()(loud).end == 3200 + rest
    quiet_end = np.concatenate([np.full(3200, 0.1, np.float32), np.zeros(640 + rest, np.float32)])
    assert FrontEnd()(quiet_end).end == 3200


@pytest.mark.parametrize("loudness", [1e-3, 1e-2, 1.0, 30.0, 1e6])
def test_loudness_of_the_recording_disappears(loudness):
    quiet, loud = FrontEnd()(clip()), FrontEnd()(clip() * np.float32(loudness))
    np.testing.assert_allclose(quiet.samples, loud.samples, rtol=1e-4, atol=1e-6)
    assert (quiet.start, quiet.end) == (loud.start, loud.end)
    assert active_rms_dbfs(loud.samples) == pytest.approx(-26, abs=0.01)
    assert quiet.gain_db - loud.gain_db == pytest.approx(20 * np.log10(loudness), abs=0.01)


def test_applied_twice_changes_nothing_more():
    once = FrontEnd()(clip())
    again = FrontEnd()(once.samples)
    assert (again.start, again.end) == (0, len(once.samples))
    np.testing.assert_allclose(again.samples, once.samples, rtol=1e-5)


def test_peaks_are_not_clipped():
    click = np.full(16000, 0.01, np.float32)
    click[8000] = 0.9
    result = FrontEnd(FrontEndConfig(level_dbfs=-6))(click)
    assert result.samples.max() > 1
    assert result.samples.max() / result.samples[0] == pytest.approx(90, rel=1e-3)


@pytest.mark.parametrize("samples", [np.zeros(16000), np.full(16000, 3e-5), np.zeros(1)])
def test_silence_passes_unchanged(samples):
    samples = samples.astype(np.float32)
    result = FrontEnd()(samples)
    np.testing.assert_array_equal(result.samples, samples)
    assert (result.start, result.end, result.gain_db) == (0, len(samples), 0.0)


def test_noise_floor_does_not_become_a_voice():
    floor = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 1.2e-5  # peaks above -90 dBFS
    result = FrontEnd()(floor)
    assert result.gain_db == 60
    assert np.abs(result.samples).max() < 0.1


@pytest.mark.parametrize("n", [1, 2, 319, 320, 321])
def test_clip_as_short_as_a_frame(n):
    result = FrontEnd()(np.full(n, 0.1, np.float32))
    assert (result.start, result.end) == (0, n)
    np.testing.assert_allclose(result.samples, 10 ** (-26 / 20), rtol=1e-5)


def test_each_step_can_be_left_out():
    samples = clip()
    neither = FrontEnd(FrontEndConfig(trim=False, level=False))(samples)
    np.testing.assert_array_equal(neither.samples, samples)
    trimmed = FrontEnd(FrontEndConfig(level=False))(samples)
    np.testing.assert_array_equal(trimmed.samples, samples[trimmed.start : trimmed.end])
    assert trimmed.gain_db == 0 and len(trimmed.samples) < len(samples)
    levelled = FrontEnd(FrontEndConfig(trim=False))(samples)
    assert len(levelled.samples) == len(samples)
    assert levelled.gain_db == pytest.approx(FrontEnd()(samples).gain_db)


def test_input_is_left_alone_and_output_is_float32():
    samples = clip()
    before = samples.copy()
    for dtype in (np.float32, np.float64):
        assert FrontEnd()(samples.astype(dtype)).samples.dtype == np.float32
    samples.flags.writeable = False
    FrontEnd()(samples)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (np.zeros(0, np.float32), "shape"),
        (np.zeros((100, 2), np.float32), "shape"),
        (np.zeros(100, np.int16), "int16"),
        (np.array([0.1] * 500 + [np.nan], np.float32), "NaN"),
        (np.array([0.1] * 500 + [-np.inf], np.float32), "Inf"),
    ],
)
def test_unusable_samples(samples, problem):
    with pytest.raises(AudioError, match=problem):
        FrontEnd()(samples)


def test_identity_names_everything_that_the_output_depends_on():
    identities = [
        json.dumps(FrontEnd(config).identity(), sort_keys=True)
        for config in [
            FrontEndConfig(),
            FrontEndConfig(trim=False),
            FrontEndConfig(trim_db=30),
            FrontEndConfig(level=False),
            FrontEndConfig(level_dbfs=-20),
        ]
    ]
    assert len(set(identities)) == 5
    assert isinstance(FrontEnd().identity()["version"], int)
    assert identities[2] == json.dumps(FrontEnd(FrontEndConfig(trim_db=30.0)).identity(), sort_keys=True)


def test_configuration_survives_json():
    config = FrontEndConfig(trim=False, trim_db=30, level_dbfs=-20)
    assert FrontEndConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert FrontEndConfig.from_dict({}) == FrontEndConfig()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"trim_dB": 30}, "unknown field 'trim_dB'.*trim_db"),
        ({"trim_db": 0}, "trim_db is 0"),
        ({"trim_db": float("nan")}, "trim_db is nan"),
        ({"trim_db": "40"}, "trim_db is '40'"),
        ({"level_dbfs": 3}, "level_dbfs is 3"),
        ({"level_dbfs": None}, "level_dbfs is None"),
        ({"trim": "no"}, "trim is 'no'"),
    ],
)
def test_configuration_that_cannot_be(values, problem):
    with pytest.raises(AudioError, match=problem):
        FrontEndConfig.from_dict(values)


@pytest.mark.real_speech
@pytest.mark.parametrize("corpus", ["emodb", "ravdess", "tess", "urdu"])
def test_real_speech_is_brought_to_one_level(corpus):
    files = sorted((SPEECH / corpus).rglob("*.*"))[::200]
    files = [file for file in files if file.suffix in (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")]
    if not files:
        pytest.skip(f"no {corpus} in FAS_SPEECH_DATA")
    for file in files:
        samples = load_audio(file).samples
        result, expected = FrontEnd()(samples), prototype(samples)
        np.testing.assert_allclose(result.samples[: len(expected)], expected, rtol=1e-4, atol=1e-6)
        assert active_rms_dbfs(result.samples) == pytest.approx(-26, abs=0.1)
        assert result.gain_db < 60
