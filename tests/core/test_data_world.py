"""Corpora of further languages, on trees of their official layouts and on real clips where these are; what all readers share is
in test_data.py.
"""

import csv
from collections import Counter
from pathlib import Path

import pytest
from corpus_layouts import MAKERS, touch, write
from repository import SPEECH

from fas_core.data import read_corpus


@pytest.fixture
def read(tmp_path):
    """read(name, **options) -> (rows by the corpus's clip name, what was left out) of the synthetic tree."""

    def call(name, *, make=True, **options):
        if make:
            MAKERS[name](tmp_path)
        reading = read_corpus(name, tmp_path, **options)
        return {row["id"].split("/", 1)[1]: row for row in reading.dataset}, reading.excluded

    return call


def sides(rows):
    """Number of speakers of each side."""
    return Counter({row["speaker"]: row["split"] for row in rows.values()}.values())


class TestNemo:
    def test_fields(self, read):
        rows, excluded = read("nemo")
        clip = rows["EB0_anger_13"]
        assert (clip["emotion"], clip["speaker"], clip["language"]) == ("angry", "EB0", "pl")
        assert clip["text"] == 'Interesuje mnie "historia".' and clip["semantic_emotion"] is None
        assert rows["WR0_surprised_13"]["emotion"] == "surprise" and rows["WR0_surprised_13"]["text"] is None
        assert not excluded and sides(rows) == {"train": 6, "validation": 2, "test": 1}

    def test_a_part_is_divided_as_the_whole_and_needs_no_table(self, tmp_path, read):
        whole = read("nemo")[0]
        touch(tmp_path / "part", "MP0_fear_1.opus", "XX0_fear_1.opus")
        part = read_corpus("nemo", tmp_path / "part")
        assert part.dataset[0]["split"] == whole["MP0_anger_13"]["split"]
        assert part.excluded == {"file name of another form": 1}


class TestAsed:
    def test_fields(self, tmp_path, read):
        touch(tmp_path, "01Neutral/n1-01-01-01-70.wav")
        rows, excluded = read("ased")
        clip = rows["S4-04-02-01-29"]  # one official name has a capital letter
        assert (clip["emotion"], clip["speaker"], clip["language"], clip["text"]) == ("sad", "29", "am", None)
        assert excluded == {"file name of another form": 1} and sides(rows) == {
            "train": 45,
            "validation": 10,
            "test": 10,
        }

    def test_a_slip_in_the_gender_makes_no_second_speaker(self, read):
        rows, _ = read("ased")
        assert rows["n1-01-01-02-25"]["speaker"] == rows["S4-04-02-01-25"]["speaker"] == "25"


class TestKorean:
    def test_the_hundred_is_the_emotion(self, tmp_path, read):
        touch(tmp_path, "plain-to-emotional/emh/wav/emh00401.wav", "plain-to-emotional/emh/wav/zzz00001.wav")
        rows, excluded = read("korean")
        found = [rows[f"emh00{number}"]["emotion"] for number in ("001", "100", "101", "300", "301")]
        assert found == ["neutral", "neutral", "happy", "sad", "angry"]
        assert excluded == {"file name of another form": 2}

    def test_texts_are_those_of_the_scripts_or_of_a_table(self, tmp_path, read):
        assert read("korean")[0]["nea00001"]["text"] == "안녕하세요."
        write(tmp_path / "labels.csv", "audio,emotion,speaker,text\nplain-to-emotional/emh/emh00101.wav,happy,emh,네\n")
        rows, _ = read("korean", make=False)
        assert (rows["emh00101"]["text"], rows["nea00001"]["text"], rows["emh00100"]["text"]) == (
            "네",
            "안녕하세요.",
            None,
        )


@pytest.mark.parametrize(
    ("name", "clip", "emotion", "speaker", "language", "text"),
    [
        ("emota", "19_18_hap", "happy", "19", "ta", None),
        ("subesco", "M_02_MONIKA_S_10_SURPRISE_5", "surprise", "M_02", "bn", None),
        ("banglaser", "03-01-03-01-02-01-34", "angry", "34", "bn", None),
        ("aesdd", "d03 (6)", "disgust", "6", "el", None),
        ("cafe", "12-J-1-3", "happy", "12", "fr", "Trois cygnes aveugles au bord du lac."),
        ("shemo", "F31W01", "surprise", "F31", "fa", None),
        ("jvnv", "M2_anger_regular_01", "angry", "M2", "ja", "おい、待て。"),
        ("emozionalmente", "3", "neutral", "1", "it", None),
    ],
)
def test_names_of_other_releases(read, name, clip, emotion, speaker, language, text):
    rows, excluded = read(name)
    found = rows[clip]
    assert (found["emotion"], found["speaker"], found["language"], found["text"]) == (emotion, speaker, language, text)
    assert excluded == ({"audio file missing": 1} if name == "emozionalmente" else {})
    assert len(sides(rows)) == 3


@pytest.mark.parametrize(
    ("name", "file"),
    [("emota", "angry/23_01_ang.wav"), ("subesco", "F_11_X_S_1_SAD_1.wav"), ("banglaser", "03-01-01-01-01-01-35.wav"),
     ("aesdd", "anger/x03 (2).wav"), ("cafe", "01-X-1-1.wav"), ("shemo", "F32A01.wav"), ("jvnv", "F3/F3_anger_free_01.wav")],
)  # fmt: skip
def test_other_names_are_counted(tmp_path, read, name, file):
    touch(tmp_path, file)
    assert read(name)[1] == {"file name of another form": 1}


def test_shemo_and_banglaser_do_not_take_the_letters_and_numbers_of_others(read, tmp_path):
    assert read("shemo")[0]["M56S112"]["emotion"] == "sad"
    MAKERS["banglaser"](tmp_path / "b")
    happy = next(
        row for row in read_corpus("banglaser", tmp_path / "b").dataset if row["id"].endswith("03-01-01-01-02-01-07")
    )
    assert happy["emotion"] == "happy"  # neutral in RAVDESS, whose names have the same form


def test_resd_and_emns(tmp_path, read):
    rows, excluded = read("resd")
    assert {row["split"] for row in rows.values()} == {"train", "test"} and excluded == {"enthusiasm has no place": 1}
    assert all(row["speaker"] is None and row["emotion"] == "happy" for row in rows.values())
    MAKERS["emns"](tmp_path / "emns")
    emns = read_corpus("emns", tmp_path / "emns")
    clip = emns.dataset[0]
    assert (clip["text"], clip["speaker"], clip["split"], clip["language"]) == ("Well, go.", "3", "train", "en")
    assert emns.excluded == {"sarcastic has no place": 1} and emns.dataset[1]["emotion"] == "sad"


@pytest.mark.parametrize(("name", "clips", "speakers"), [("nemo", 2235, 9), ("ased", 1237, 64), ("korean", 300, 15)])
def test_real_clips(name, clips, speakers):
    if not (SPEECH / name).is_dir():
        pytest.skip(f"no {name} in {SPEECH}")
    reading = read_corpus(name, SPEECH / name)
    assert len(reading.dataset) == clips and not reading.excluded
    assert len(reading.dataset.unique("speaker")) == speakers
    assert all((row["text"] is None) == (name == "ased") for row in reading.dataset)
    if name == "korean":
        with (SPEECH / name / "labels.csv").open(encoding="utf-8", newline="") as file:
            right = {Path(row["audio"]).stem: row["emotion"] for row in csv.DictReader(file)}
        assert all(right[row["id"].split("/")[1]] == row["emotion"] for row in reading.dataset)
