"""Levels by the statistics of a corpus, the six cues, cues that are changed, and attributes of a voice."""

import json
import sys

import fake_opensmile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import write_clips
from typer.testing import CliRunner

from fas_core.cli.app import runner
from fas_core.cues import attributes
from fas_core.cues.__main__ import app
from fas_core.cues.acoustic import COLUMNS, CUES, CueReader, arousal, cue_levels, fit_statistics
from fas_core.cues.levels import LEVELS, Statistics, opposite
from fas_core.cues.perturbing import CHANGED, INVALID, MODES, Perturbation
from fas_core.errors import FASError, MissingDependencyError

OWN = ("high", "low", "medium", "high", "low", "medium")


class TestLevels:
    def test_a_level_is_where_the_deviation_ends(self):
        statistics = Statistics.fit([{"pitch": 100.0}, {"pitch": 200.0}, {"pitch": 300.0}])
        mean, deviation = statistics.corpus["pitch"]
        assert mean == 200
        assert deviation == pytest.approx(81.65, abs=0.01)
        found = [statistics.levels({"pitch": value})["pitch"] for value in (118.0, 119.0, 281.0, 282.0)]
        assert found == ["low", "medium", "medium", "high"]

    def test_a_speaker_is_measured_by_herself_where_there_are_enough_clips(self):
        values = (
            [{"pitch": 200.0 + i} for i in range(5)] + [{"pitch": 100.0 + i} for i in range(5)] + [{"pitch": 150.0}]
        )
        statistics = Statistics.fit(values, ["a"] * 5 + ["b"] * 5 + ["c"], by="speaker")
        assert set(statistics.speakers) == {"a", "b"}
        assert statistics.levels({"pitch": 104.0}, "b") == {"pitch": "high"}
        assert statistics.levels({"pitch": 130.0}, "c") == {"pitch": "medium"}
        assert statistics.levels({"pitch": 130.0}) == {"pitch": "medium"}

    def test_what_was_not_measured_has_no_level(self):
        statistics = Statistics.fit([{"pitch": 100.0, "rate": None}, {"pitch": float("nan"), "rate": None}])
        assert statistics.corpus == {"pitch": (100.0, 0.0)}
        assert statistics.levels({"pitch": None, "rate": 3.0}) == {}
        assert statistics.levels({"pitch": 500.0}) == {"pitch": "medium"}  # nothing differs there

    def test_a_file_gives_the_same_levels(self, tmp_path):
        statistics = Statistics.fit([{"pitch": 100.0}, {"pitch": 130.0}] * 5, ["a", "b"] * 5, by="speaker", width=0.5)
        assert Statistics.load(statistics.save(tmp_path / "s.json")) == statistics

    @pytest.mark.parametrize(
        ("content", "said"),
        [({}, "corpus"), ({"corpus": {"pitch": [1]}}, "s.json"), ({"corpus": {"pitch": [1, -1]}}, "-1"),
         ({"corpus": {}, "width": 0}, "width")],
    )  # fmt: skip
    def test_a_file_of_another_form_is_named(self, tmp_path, content, said):
        (tmp_path / "s.json").write_text(json.dumps(content))
        with pytest.raises(FASError, match=said):
            Statistics.load(tmp_path / "s.json")

    def test_speakers_have_to_be_known(self):
        with pytest.raises(FASError, match="no speakers"):
            Statistics.fit([{"pitch": 1.0}], [None], by="speaker")


class TestCues:
    def test_each_cue_goes_by_its_functionals(self):
        quiet, loud = np.zeros(88, np.float32), np.zeros(88, np.float32)
        loud[COLUMNS["loudness_sma3_amean"]] = 1
        loud[COLUMNS["hammarbergIndexV_sma3nz_amean"]] = 2  # less high frequency
        loud[COLUMNS["alphaRatioV_sma3nz_amean"]] = -2
        statistics = fit_statistics([quiet, loud])
        assert dict(zip(CUES, cue_levels(loud, statistics), strict=True)) == {
            "energy": "high", "pitch": "medium", "dynamics": "medium", "brightness": "low", "formants": "medium",
            "voice_quality": "medium",
        }  # fmt: skip

    def test_the_columns_are_those_of_opensmile(self):
        opensmile = pytest.importorskip("opensmile")
        names = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals).feature_names
        assert {name: names[column] for name, column in COLUMNS.items()} == {name: name for name in COLUMNS}

    def test_a_clip_alone_has_the_levels_that_it_has_among_others(self, monkeypatch, tmp_path):
        fake_opensmile.use(monkeypatch)
        clips = [
            scale * np.random.default_rng(0).standard_normal(8000).astype(np.float32) for scale in (0.01, 0.1, 0.3)
        ]
        reader = CueReader(fit_statistics([fake_opensmile.functionals(clip) for clip in clips]))
        assert reader(clips) == [reader([clip])[0] for clip in clips]
        assert [levels[0] for levels in reader(clips)] == ["low", "medium", "high"]

    def test_without_opensmile_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "opensmile", None)
        reader = CueReader(fit_statistics([np.zeros(88)]))
        with pytest.raises(MissingDependencyError, match=r"fas-alm\[egemaps\]"):
            reader([np.zeros(8000, np.float32)])

    def test_statistics_of_something_else_are_refused(self):
        with pytest.raises(FASError, match="F0semitone"):
            CueReader(Statistics({"pitch": (1.0, 1.0)}))


class TestPerturbation:
    @given(st.sampled_from(CHANGED), st.floats(0, 1), st.integers(0, 9), st.text(max_size=5))
    def test_the_share_that_is_asked_for_is_changed_and_again_the_same(self, mode, share, seed, name):
        change = Perturbation(mode, share, seed)
        donor = tuple(f"donor {i}" for i in range(6))
        told = change.told(name, OWN, donor)
        assert told == change.told(name, OWN, donor)
        differing = [i for i in range(6) if told[i] != OWN[i]]
        assert len(differing) <= round(6 * share)
        if mode != "conflict":  # medium has no opposite
            assert len(differing) == round(6 * share)
        expected = {"shuffled": donor, "conflict": tuple(map(opposite, OWN))}.get(mode)
        for i in differing:
            assert told[i] == expected[i] if expected else told[i] in INVALID

    @given(st.sets(st.text(max_size=4), min_size=2, max_size=12), st.randoms())
    def test_a_donor_is_another_clip_whatever_the_order(self, names, random):
        shuffled = list(names)
        random.shuffle(shuffled)
        donors = Perturbation("shuffled").donors(shuffled)
        assert donors == Perturbation("shuffled").donors(sorted(names))
        assert sorted(donors) == sorted(donors.values()) == sorted(names)
        assert all(name != donor for name, donor in donors.items())

    def test_another_seed_changes_other_cues(self):
        told = {Perturbation("corrupted", 0.5, seed).told("clip", OWN) for seed in range(8)}
        assert len(told) > 4
        assert Perturbation("aligned").told("clip", OWN) == OWN

    def test_an_unknown_mode_or_share_is_refused(self):
        with pytest.raises(FASError, match=", ".join(MODES)):
            Perturbation("wrong")
        with pytest.raises(FASError, match="cue_share"):
            Perturbation("conflict", 1.5)

    def test_arousal_counts_no_symbol_that_is_no_level(self):
        assert [arousal(levels) for levels in (("high",) * 6, ("low",) * 6, ("zq",) * 6)] == [1, -1, 0]
        assert arousal(("low", "high", "medium", "medium", "high", "high")) == 0
        assert opposite(LEVELS[1]) == LEVELS[1]


class TestAttributes:
    def test_pitch_is_that_of_the_voice(self):
        pytest.importorskip("pyworld")
        read = attributes._pitch_reader("world")
        time = np.arange(16_000) / 16_000
        voice = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 9)).astype(np.float32) * 0.1
        assert read(voice) == pytest.approx(220, rel=0.02)
        assert read(np.zeros(16_000, np.float32)) is None

    def test_phonemes_are_counted_without_stress_and_length(self):
        pytest.importorskip("espeakng_loader")
        assert attributes.count_phonemes("cat", "en") == 3
        assert attributes.count_phonemes("Kids are talking by the door", "en") in range(18, 26)
        assert attributes.count_phonemes("", "en") is None
        assert attributes.count_phonemes("hm", "nowhere") is None

    def test_a_missing_package_names_the_extra(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "pyworld", None)
        with pytest.raises(MissingDependencyError, match=r"pyworld.*fas-alm\[attributes\]"):
            attributes.AttributeReader(tmp_path)


def test_the_command_writes_statistics_and_shows_shares(monkeypatch, tmp_path, capsys):
    fake_opensmile.use(monkeypatch)
    rows = write_clips(tmp_path / "clips", [0.5] * 4)
    lines = ["id,audio,emotion", *(f"c{i},{row['audio']},{'angry' if i % 2 else 'sad'}" for i, row in enumerate(rows))]
    (tmp_path / "clips" / "manifest.csv").write_text("\n".join(lines) + "\n")
    corpus, statistics, cache = f"own={tmp_path / 'clips'}", str(tmp_path / "s.json"), str(tmp_path / "cache")
    options = ("--statistics", statistics, "--cache", cache)
    made = CliRunner().invoke(app, ["statistics", corpus, "--output", statistics, "--cache", cache])
    assert made.exit_code == 0, made.output
    assert Statistics.load(statistics).clips == 4
    shown = CliRunner().invoke(app, ["shares", corpus, *options])
    assert shown.exit_code == 0, shown.output
    assert "| angry | 2 |" in shown.output and "voice quality, low / high" in shown.output
    main = runner(app)
    assert main(["shares", corpus, "--statistics", str(tmp_path / "no.json"), "--cache", cache]) == 2
    assert "no.json" in capsys.readouterr().err
