"""Augmentations that change the voice's tract, its room, its line and its company: each does to sound what it says."""

import numpy as np
import pytest
import soundfile

from fas_core.errors import FASError
from fas_core.features.augment import augment, parse_variant
from fas_core.features.augment.accompaniment import music, talker
from fas_core.features.augment.codecs import through_codec
from fas_core.features.augment.level import rms
from fas_core.features.augment.room import room_response

RATE = 16_000
TIME = np.arange(RATE) / RATE


def tone(hz: float) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hz * TIME)).astype(np.float32)


def vowel(pitch: float, formant: float) -> np.ndarray:
    """Harmonics of one resonance."""
    harmonics = pitch * np.arange(1, int(7000 / pitch))
    weights = 1 / (1 + ((harmonics - formant) / 150) ** 2)
    return (0.05 * weights @ np.sin(2 * np.pi * harmonics[:, None] * TIME)).astype(np.float32)


def powers(samples) -> np.ndarray:
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2  # one value a Hz for a second


def share(samples, low: int, high: int) -> float:
    found = powers(samples)
    return found[low:high].sum() / found.sum()


@pytest.mark.parametrize(
    ("factor", "hz", "expected"), [(1.1, 1000, 1100), (0.9, 1000, 900), (1.1, 7000, 7120), (1.2, 300, 360)]
)
def test_vocal_tract_length_moves_frequencies_along_two_straight_pieces(factor, hz, expected):
    changed = augment(tone(hz), f"vtlp:{factor}", "")
    assert powers(changed).argmax() == pytest.approx(expected, abs=8)
    assert len(changed) == RATE and rms(changed) == pytest.approx(rms(tone(hz)), rel=1e-3)


@pytest.mark.parametrize("factor", [0.85, 1.2])
def test_formants_move_and_the_pitch_stays(factor):
    changed = augment(vowel(120, 1200), f"formant:{factor}", "")
    peaks = powers(changed)[: (3 * 1200)]
    centre = (np.arange(len(peaks)) * peaks).sum() / peaks.sum()
    assert centre == pytest.approx(1200 * factor, rel=0.05)
    harmonics = peaks.reshape(-1, 120).sum(0)  # what lies at multiples of 120 Hz, folded
    assert (harmonics[:4].sum() + harmonics[-3:].sum()) / harmonics.sum() > 0.98


@pytest.mark.parametrize("seconds", [0.2, 0.8])
def test_a_room_rings_as_long_as_it_says(seconds):
    response = room_response(seconds, np.random.default_rng(0))
    assert response[0] == 1 and not response[1:30].any()
    left = 10 * np.log10(
        np.cumsum(response[:0:-1] ** 2)[::-1]
    )  # Schroeder's integral, of what follows the direct sound
    tail = left[np.flatnonzero(response)[1] :]
    at = [np.argmax(tail < tail[0] - fall) / RATE for fall in (5, 25)]
    assert 3 * (at[1] - at[0]) == pytest.approx(seconds, rel=0.1)


def test_a_room_smears_the_end_of_a_sound():
    burst = np.where(TIME < 0.3, tone(500), 0).astype(np.float32)
    assert rms(augment(burst, "room:0.6", "a")[6000:9000]) > 0.03 * rms(burst)
    assert rms(augment(burst, "room:0.05", "a")[6500:]) < 1e-3 * rms(burst)


@pytest.mark.parametrize(
    "codec", ["opus-6", "opus-24", "opus-128", "mp3-16", "mp3-32", "mp3-64", "mp3-160", "gsm", "mulaw", "alaw", "adpcm"]
)
def test_a_codec_gives_the_voice_back_in_its_place(codec):
    clip = vowel(120, 700)
    changed = through_codec(clip, codec)
    assert len(changed) == len(clip) and np.corrcoef(clip[1000:-1000], changed[1000:-1000])[0, 1] > 0.7
    assert np.abs(changed - clip).max() > 1e-5


def test_less_bits_more_loss():
    clip = vowel(120, 700) + 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    lost = {codec: rms(through_codec(clip, codec) - clip) for codec in ("opus-6", "opus-96", "mp3-16", "mp3-160")}
    assert lost["opus-6"] > 2 * lost["opus-96"] and lost["mp3-16"] > 2 * lost["mp3-160"]


def test_loud_samples_are_not_clipped():
    loud = 30 * tone(300)
    assert rms(through_codec(loud, "mulaw")) == pytest.approx(rms(loud), rel=0.02)


def test_a_telephone_is_deaf_below_300_and_above_3400():
    hiss = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    line, narrow = augment(hiss, "telephone:mulaw", ""), augment(hiss, "codec:mulaw", "")
    assert share(line, 0, 150) < 0.1 * share(narrow, 0, 150) and share(line, 4100, 8001) < 1e-3
    assert share(line, 500, 3000) > 0.75


@pytest.mark.parametrize("kind", ["music", "babble"])
def test_company_has_its_ratio_and_belongs_to_the_clip(kind):
    clip = vowel(120, 700)
    one, two = (augment(clip, f"{kind}:10", digest) - clip for digest in "ab")
    assert 20 * np.log10(rms(clip) / rms(one)) == pytest.approx(10, abs=0.1)
    assert np.corrcoef(one, two)[0, 1] < 0.5


def test_music_has_notes_and_talkers_have_syllables():
    found = np.sort(powers(music(RATE, np.random.default_rng(1))))[::-1]
    assert found[:100].sum() > 0.7 * found.sum()  # of 8,001
    voice = talker(4 * RATE, np.random.default_rng(1))
    loudness = np.array([rms(part) for part in np.split(voice, 80)])  # 50 ms each
    assert np.percentile(loudness, 10) < 0.2 * np.percentile(loudness, 90)
    assert share(voice[:RATE], 0, 4000) > 0.9


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("codec:speex", "codec takes gsm, mulaw, alaw, adpcm, opus-KBITS, mp3-KBITS"),
        ("codec:opus", "opus takes kbit/s of a whole number from 6 to 128, as in codec:opus-6"),
        ("codec:opus-12.5", "whole number from 6"),
        ("codec:mp3-33", "16, 24, 32"),
        ("codec:gsm-13", "gsm has one rate, expected codec:gsm"),
        ("telephone:opus-12", "telephone takes gsm, mulaw, alaw, adpcm"),
        ("telephone:", "telephone takes"),
        ("vtlp:1.5", "vtlp takes a number from 0.7 to 1.4"),
        ("reverb:1", "room, codec, telephone"),
    ],
)
def test_errors_say_what_is_expected(variant, expected):
    with pytest.raises(FASError, match=f"--augmentation '{variant}'.*{expected}"):
        parse_variant(variant)


def test_a_codec_that_this_libsndfile_lacks(monkeypatch):
    monkeypatch.setattr(soundfile, "available_subtypes", lambda form: {"PCM_16": ""})
    with pytest.raises(FASError, match="codec 'gsm': libsndfile .* cannot write it"):
        augment(tone(300), "telephone:gsm", "")
