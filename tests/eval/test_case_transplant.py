"""Prosody transplants, on harmonic tones instead of voices: what is taken over and what stays."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

pytest.importorskip("pyworld")

from fas_core.errors import AudioError, FASError, MissingDependencyError  # noqa: E402
from fas_core.labels import EMOTIONS  # noqa: E402
from fas_core.synth.kokoro import KokoroReader, voice_names  # noqa: E402
from fas_core.synth.transplant import SAMPLE_RATE, Amount, Neutral, analyse, transplant  # noqa: E402
from fas_eval.case import transplant as command  # noqa: E402
from fas_eval.case.readings import divided  # noqa: E402
from fas_eval.case.tones import Actors, Tone, delivery_of, load_tones  # noqa: E402
from fas_eval.case.transplant_plan import SHARES, load_texts, plan_set  # noqa: E402

NOTHING = Amount(pitch=0, register=0, energy=0, timing=0, quality=0, room=0)


def voice(f0, seconds=1.0, level=0.1, tilt=1.0, loudness=None):
    """(n,) harmonics of a pitch (a number, or (start, end)), the k-th weaker by k to the power of `tilt`."""
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    hertz = np.interp(times, [0, seconds], np.broadcast_to(f0, 2))
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    sound = sum(np.sin(k * phase) / k**tilt for k in range(1, int(7000 / hertz.max())))
    sound = sound * np.interp(times, [0, seconds], loudness or (1, 1))
    return np.pad(level * sound / np.sqrt(np.mean(sound**2)), 1600)


NEUTRAL = Neutral.of([analyse(voice(120))])
READING = voice(200)


def said(f0=120, **how):
    """The reading as somebody whose neutral voice lies at 120 Hz would say it in this manner, analysed."""
    return analyse(transplant(READING, analyse(voice(f0, **how)), NEUTRAL))


def semitones(hertz, base):
    return 12 * np.log2(hertz / base)


class TestPitch:
    def test_the_register_moves_by_as_many_semitones_as_the_actor_s(self):
        assert semitones(said(f0=160).median_f0, 200) == pytest.approx(semitones(160, 120), abs=0.3)
        assert semitones(said(f0=100).median_f0, 200) == pytest.approx(semitones(100, 120), abs=0.3)

    def test_the_contour_is_followed_from_end_to_end(self):
        heard = said(f0=(100, 150))
        voiced = heard.f0[heard.f0 > 0]
        assert semitones(voiced[10], 200) == pytest.approx(semitones(100, 120), abs=1.0)
        assert semitones(voiced[-10], 200) == pytest.approx(semitones(150, 120), abs=1.0)
        assert np.corrcoef(voiced, np.arange(len(voiced)))[0, 1] > 0.95

    def test_less_of_it(self):
        rising = analyse(voice((100, 150)))
        heard = analyse(transplant(READING, rising, NEUTRAL, Amount(pitch=0, register=0)))
        assert np.ptp(semitones(heard.f0[heard.f0 > 0][10:-10], 200)) < 0.5


def test_the_actor_s_own_voice_may_be_lent_too():
    """Register and long-term spectrum go from the reader's to the actor's; the change against neutral stays."""
    higher = analyse(voice(160, tilt=0.5))
    found = [analyse(transplant(READING, higher, NEUTRAL, Amount(voice=amount))) for amount in (0, 0.5, 1)]
    assert semitones(found[2].median_f0, 160) == pytest.approx(0, abs=0.5)
    assert found[0].median_f0 > found[1].median_f0 > found[2].median_f0
    dull = analyse(voice(200, tilt=2))
    lent = [analyse(transplant(voice(200, tilt=2), higher, NEUTRAL, Amount(voice=amount))) for amount in (0, 1)]
    away = [np.abs(each.spectrum - higher.spectrum).mean() for each in (dull, *lent)]
    assert away[2] < 0.5 * away[1] < away[0]


def test_energy_follows_the_clip():
    falling, rising = said(loudness=(1, 0.1)), said(loudness=(0.1, 1))
    half = len(falling.energy) // 2
    assert falling.energy[:half].mean() > falling.energy[half:].mean() + 6
    assert rising.energy[half:].mean() > rising.energy[:half].mean() + 6
    assert said(level=0.2).level - said(level=0.1).level == pytest.approx(6, abs=1)


def test_a_slow_clip_makes_a_long_reading_within_bounds():
    own = analyse(READING).seconds
    assert said(seconds=1.4).seconds / own == pytest.approx(1.4, abs=0.1)
    assert said(seconds=0.7).seconds / own == pytest.approx(0.7, abs=0.1)
    assert said(seconds=4).seconds / own < 1.8


def test_a_bright_voice_brightens_the_reading():
    bright, plain = said(tilt=0.5), said(tilt=1.0)
    assert bright.spectrum[-8:].mean() > plain.spectrum[-8:].mean() + 2
    kept = transplant(READING, analyse(voice(120, tilt=0.5)), NEUTRAL, Amount(quality=0))
    assert analyse(kept).spectrum[-8:].mean() == pytest.approx(plain.spectrum[-8:].mean(), abs=1.5)


def test_the_background_of_the_acted_clip_is_behind_the_reading():
    hiss = np.random.default_rng(0).normal(0, 0.01, SAMPLE_RATE + 3200)
    noisy, neutral = analyse(voice(120) + hiss), Neutral.of([analyse(voice(120) + hiss)])
    pauses = np.pad(READING, (8000, 8000))
    louder = [np.abs(transplant(pauses, noisy, neutral, Amount(room=room))[:800]).mean() for room in (0, 1)]
    assert louder[1] > 5 * louder[0]


def test_nothing_taken_over_is_the_reading():
    again = analyse(transplant(READING, analyse(voice((90, 180), 1.5, tilt=0.3)), NEUTRAL, NOTHING))
    own = analyse(READING)
    assert again.seconds == pytest.approx(own.seconds, abs=0.05)
    assert semitones(again.median_f0, own.median_f0) == pytest.approx(0, abs=0.2)
    assert again.spectrum[:20] == pytest.approx(own.spectrum[:20], abs=4)  # above 6 kHz the reading has nothing


def test_same_input_same_output():
    delivery = analyse(voice((100, 150)))
    assert np.array_equal(*(transplant(READING, delivery, NEUTRAL) for _ in range(2)))


class TestOddClips:
    def test_a_clip_without_voice_leaves_the_reading_its_pitch(self):
        whispered = analyse(np.random.default_rng(0).normal(0, 0.05, SAMPLE_RATE))
        if np.isfinite(whispered.median_f0):  # WORLD hears a pitch here and there
            whispered = replace(whispered, f0=np.zeros_like(whispered.f0))
        heard = analyse(transplant(READING, whispered, NEUTRAL))
        assert semitones(heard.median_f0, 200) == pytest.approx(0, abs=0.5)

    def test_a_reading_without_voice_stays_without(self):
        breath = np.random.default_rng(0).normal(0, 0.05, SAMPLE_RATE)
        assert np.isfinite(transplant(breath, analyse(voice(160)), NEUTRAL)).all()

    @pytest.mark.parametrize("silence", [np.zeros(SAMPLE_RATE), np.zeros(0), np.full(SAMPLE_RATE, 1e-9)])
    def test_silence_is_an_error(self, silence):
        with pytest.raises(AudioError, match="silent"):
            analyse(silence)
        with pytest.raises(AudioError, match="silent"):
            transplant(silence, analyse(voice(160)), NEUTRAL)

    def test_no_neutral_clip_is_an_error(self):
        with pytest.raises(AudioError, match="none with a voice"):
            Neutral.of([])


def test_kokoro_s_voices_are_divided_with_every_gender_and_accent_on_every_side():
    sides = divided(voice_names())
    assert sum(map(len, sides.values())) == len(set().union(*sides.values())) == 28
    assert all({name[:2] for name in names} == {"af", "am", "bf", "bm"} for names in sides.values())


def test_kokoro_says_what_is_missing(tmp_path):
    with pytest.raises(MissingDependencyError, match="onnxruntime|no folder of Kokoro's voices"):
        KokoroReader(tmp_path / "absent")


VOICES = {reader: {s: tuple(f"{reader}-{s}-{i}" for i in range(3)) for s in SHARES} for reader in ("a", "b")}


@pytest.fixture(scope="module")
def tones():
    """Two corpora of nine speakers each; the second has no disgust."""
    return [
        Tone(f"{corpus}/{actor}-{emotion}-{take}", "", emotion, corpus, f"{corpus}-{actor}", split, None)
        for corpus, emotions in (("one", EMOTIONS), ("two", [e for e in EMOTIONS if e != "disgust"]))
        for actor, split in enumerate(["train"] * 5 + ["validation"] * 2 + ["test"] * 2)
        for emotion in emotions
        for take in range(2)
    ]


class TestPlan:
    def test_sides_share_nothing(self, tones):
        plan = plan_set(tones, VOICES, 400)
        assert len(plan) == 400
        for of in (
            lambda t: t.tone.actor,
            lambda t: t.voice,
            lambda t: t.sentence.text.casefold(),
            lambda t: t.reading,
        ):
            side = {}
            assert all(side.setdefault(of(t), t.tone.split) == t.tone.split == t.sentence.split for t in plan)

    def test_tones_words_and_halves_are_in_balance(self, tones):
        test = [t for t in plan_set(tones, VOICES, 1200) if t.tone.split == "test"]
        for of, ratio in (
            (lambda t: t.tone.emotion, 1.1),
            (lambda t: t.sentence.emotion, 1.1),
            (lambda t: t.reader, 1.1),
            (lambda t: t.voice, 1.6),
        ):
            counts = [sum(of(t) == value for t in test) for value in {of(t) for t in test}]
            assert max(counts) <= ratio * min(counts)
        disagree = [t for t in test if t.row()["disagreement"]]
        assert len(disagree) == len(test) // 2
        assert len({(t.tone.emotion, t.sentence.emotion) for t in disagree}) == 42
        assert all(t.row()["conflict"] == (t.sentence.emotion != "neutral") for t in disagree)
        assert not any(t.row()["conflict"] for t in test if t not in disagree)

    def test_the_seed_decides(self, tones):
        first, again, other = (plan_set(tones, VOICES, 60, seed) for seed in (1, 1, 2))
        assert first == again != other

    def test_few_readings_serve_many_tones(self, tones):
        assert len({t.reading for t in plan_set(tones, VOICES, 4000)}) <= 2 * len(load_texts())

    def test_what_cannot_be_planned(self, tones):
        with pytest.raises(FASError, match="at least 10"):
            plan_set(tones, VOICES, 3)
        with pytest.raises(FASError, match="share"):
            plan_set(tones, VOICES, 30, conflict_share=2)
        with pytest.raises(FASError, match="validation: tones of 0 emotions"):
            plan_set([tone for tone in tones if tone.split != "validation"], VOICES, 30)


class Beeps:
    """A reader for tests: every voice and sentence has its own pitch."""

    name = "beeps"
    voices = {split: (f"{split}-1", f"{split}-2") for split in SHARES}

    def __init__(self):
        self.read_so_far = []

    def read(self, text, voice_name):
        self.read_so_far.append((text, voice_name))
        return voice(150 + len(text), 0.3).astype(np.float32), SAMPLE_RATE


@pytest.fixture(scope="module")
def acted(tmp_path_factory):
    """TESS's layout would have two speakers; a table has three, one a side, each neutral and angry."""
    folder = tmp_path_factory.mktemp("acted")
    rows = ["audio,emotion,speaker,split,text"]
    for number, split in enumerate(SHARES):
        for emotion, f0, level in (("neutral", 120, 0.05), ("angry", 180, 0.2)):
            soundfile.write(folder / f"{split}-{emotion}.wav", voice(f0 + 10 * number, 0.4, level), SAMPLE_RATE)
            rows.append(f"{split}-{emotion}.wav,{emotion},s{number},{split},It is four")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return load_tones({"mine": folder})


class TestSet:
    def build(self, acted, folder, **options):
        reader = Beeps()
        manifest = command.build_set(acted, [reader], folder, clips=12, progress=False, **options)
        return manifest, reader

    def test_manifest_and_audio(self, acted, tmp_path):
        manifest, _ = self.build(acted, tmp_path / "set")
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        assert len(rows) == 12 and all(row["synthetic"] for row in rows)
        for row in rows:
            assert soundfile.info(manifest.parent / row["audio"]).samplerate == SAMPLE_RATE
            assert soundfile.info(manifest.parent / row["reading"]).frames
            assert row["emotion"] in row["tone_clip"] and row["actor"].startswith("mine-s")
        angry = next(row for row in rows if row["emotion"] == "angry")
        heard, read = (analyse(soundfile.read(manifest.parent / angry[key])[0]) for key in ("audio", "reading"))
        assert semitones(heard.median_f0, read.median_f0) > 4

    def test_the_same_again_and_a_run_that_was_stopped(self, acted, tmp_path, monkeypatch):
        whole, _ = self.build(acted, tmp_path / "whole")

        def stop(*arguments, made=iter(range(5))):
            if next(made, None) is None:
                raise KeyboardInterrupt
            return transplant(*arguments)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(command, "transplant", stop)
            self.build(acted, tmp_path / "stopped")
        assert not (tmp_path / "stopped" / command.MANIFEST).exists()
        done = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped" / "audio").rglob("*.flac")}
        manifest, _reader = self.build(acted, tmp_path / "stopped")
        assert len(done) == 5 and all(path.stat().st_mtime_ns == when for path, when in done.items())
        assert manifest.read_bytes() == whole.read_bytes()
        for row in map(json.loads, whole.read_text().splitlines()):
            assert (tmp_path / "stopped" / row["audio"]).read_bytes() == (
                tmp_path / "whole" / row["audio"]
            ).read_bytes()
        assert self.build(acted, tmp_path / "stopped")[1].read_so_far == []

    def test_other_settings_and_other_folders_are_refused(self, acted, tmp_path):
        self.build(acted, tmp_path / "set")
        with pytest.raises(FASError, match="another seed"):
            self.build(acted, tmp_path / "set", seed=3)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").touch()
        with pytest.raises(FASError, match="not empty"):
            self.build(acted, tmp_path / "mine")

    def test_a_clip_that_is_silent_is_left_out_and_named(self, acted, tmp_path):
        soundfile.write(tmp_path / "silent.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
        broken = [
            replace(tone, path=str(tmp_path / "silent.wav"))
            if (tone.emotion, tone.split) == ("angry", "test")
            else tone
            for tone in acted
        ]
        manifest, _ = self.build(broken, tmp_path / "set")
        failed = json.loads((tmp_path / "set" / command.SETTINGS).read_text())["failed"]
        assert failed and all("silent" in why for why in failed.values())
        assert len(manifest.read_text().splitlines()) == 12 - len(failed)


def test_tones_keep_their_corpus_s_sides_and_two_speakers_are_divided(tmp_path, acted):
    assert {tone.split for tone in acted} == set(SHARES)
    for name in ("OAF_back_fear", "OAF_back_neutral", "YAF_back_fear", "YAF_back_neutral"):
        soundfile.write(tmp_path / f"{name}.wav", voice(120, 0.3), SAMPLE_RATE)
    two = load_tones({"tess": tmp_path})
    assert {tone.actor: tone.split for tone in two}.keys() == {"tess-OAF", "tess-YAF"}
    assert {tone.split for tone in two} == {"train", "test"}


def test_a_tone_is_held_against_the_same_sentence_where_the_actor_says_it_neutrally(tmp_path):
    def tone(name, emotion, text, seconds):
        soundfile.write(tmp_path / f"{name}.wav", voice(120, seconds), SAMPLE_RATE)
        return Tone(name, str(tmp_path / f"{name}.wav"), emotion, "mine", "mine-a", "train", text)

    short, long = tone("short", "neutral", "Yes", 0.3), tone("long", "neutral", "It is four", 0.9)
    angry = tone("angry", "angry", "It is four", 0.9)
    actors = Actors([short, long, angry])
    assert actors.neutral(angry).seconds == pytest.approx(delivery_of(long.path, long.id).seconds)
    assert actors.neutral(replace(angry, text=None)).seconds < 0.7


def test_the_command_names_what_it_does_not_take(capsys):
    assert command.main(["--tones", "tess=nowhere", "--voices", "siri", "--output", "x"]) == 2
    assert "expected some of kokoro, espeak" in capsys.readouterr().err
    assert command.main(["--tones", "tess=nowhere", "--voices", "kokoro", "--output", "x"]) == 2
    assert "--kokoro-voices" in capsys.readouterr().err
