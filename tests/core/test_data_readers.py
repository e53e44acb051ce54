"""CASIA, M3ED, EmoV-DB, ASVP-ESD, MESD and FAU-Aibo on trees of their official layouts; what all readers share is in
test_data.py.
"""

import json
from collections import Counter

import pytest
from corpus_layouts import MAKERS, touch, utterance, write

from fas_core.data import load_corpus, read_corpus
from fas_core.errors import CorpusError


@pytest.fixture
def read(tmp_path):
    """read(name, **options) -> (rows by the corpus's clip name, what was left out) of the synthetic tree."""

    def call(name, *, make=True, **options):
        if make:
            MAKERS[name](tmp_path)
        reading = read_corpus(name, tmp_path, **options)
        return {row["id"].split("/", 1)[1]: row for row in reading.dataset}, reading.excluded

    return call


class TestCasia:
    def test_fields(self, read):
        rows, excluded = read("casia")
        clip = rows["liuchanhg_angry_201"]
        assert (clip["emotion"], clip["speaker"], clip["language"], clip["split"]) == (
            "angry",
            "liuchanhg",
            "zh",
            "test",
        )
        assert not excluded

    def test_the_two_parts_share_speakers_and_no_clip_is_lost(self, tmp_path, read):
        touch(tmp_path, "相同文本300/ZhaoZuoxiang/neutral/201.wav", "不同文本100/Zuoxiang.Zhao/normal/201.wav")
        touch(tmp_path, "相同文本300/ZhaoZuoxiang/bored/201.wav", "相同文本300/ZhaoZuoxiang/happy/readme.wav")
        rows, excluded = read("casia", make=False, exclude_labels=["*"])
        assert {row["speaker"] for row in rows.values()} == {"zhaozuoxiang"} and len(rows) == 2
        assert {row["emotion"] for row in rows.values()} == {"neutral"}
        assert excluded == {"unknown label: bored": 1, "file name of another form": 1}


class TestM3ed:
    def test_fields_and_official_split(self, read):
        rows, excluded = read("m3ed")
        assert {name: row["split"] for name, row in rows.items() if name.endswith("_1")} == {
            "anjia_1_1": "train", "humamaoba_1_1": "validation", "woju_1_1": "test",
        }  # fmt: skip
        clip = rows["woju_1_2"]
        assert (clip["emotion"], clip["speaker"], clip["text"]) == ("angry", "woju_徐文昌", "走")
        assert clip["audio"].endswith("modality_speech/B_woju_1_2.wav") and not excluded

    def test_what_is_missing_is_counted(self, tmp_path, read):
        MAKERS["m3ed"](tmp_path)
        (tmp_path / "modality_speech/A_anjia_1_1.wav").unlink()
        (tmp_path / "splitInfo/movie_list_val.txt").write_text("another")
        rows, excluded = read("m3ed", make=False)
        assert excluded == {"audio file missing": 1, "series in no list of splitInfo": 2} and len(rows) == 3

    def test_a_label_of_another_kind_is_counted(self, tmp_path, read):
        MAKERS["m3ed"](tmp_path)
        content = json.loads((tmp_path / "annotation.json").read_text(encoding="utf-8"))
        content["woju"]["woju_1"]["Dialog"]["woju_1_1"] = utterance("A", "Contempt")
        write(tmp_path / "annotation.json", json.dumps(content))
        assert read("m3ed", make=False, exclude_labels=["contempt"])[1] == {"label left out: Contempt": 1}

    def test_without_its_split_it_is_refused(self, tmp_path):
        MAKERS["m3ed"](tmp_path)
        (tmp_path / "splitInfo/movie_list_test.txt").unlink()
        with pytest.raises(CorpusError, match="splitInfo/movie_list_test.txt is missing"):
            read_corpus("m3ed", tmp_path)

    @pytest.mark.parametrize("content", ['{"woju":', "[]", '{"woju": {"1": {"Dialog": {}}}}', '{"woju": 3}'])
    def test_damaged_annotations(self, tmp_path, content):
        MAKERS["m3ed"](tmp_path)
        write(tmp_path / "annotation.json", content)
        with pytest.raises(CorpusError, match="annotation.json: "):
            read_corpus("m3ed", tmp_path)


class TestEmovDb:
    def test_fields(self, read):
        rows, excluded = read("emov-db")
        clip = rows["bea_amused_amused_1-28_0001"]
        assert (clip["emotion"], clip["speaker"], clip["split"]) == ("happy", "bea", "test")
        assert rows["sam_disgusted_disgust_1-28_0001"]["emotion"] == "disgust"
        assert excluded == {"sleepy has no place": 1}

    def test_folders_by_speaker_and_emotion(self, tmp_path, read):
        touch(tmp_path, "extracted/jenie/Angry/anger_1-28_0001.wav", "extracted/jenie/Neutral/neutral_1-28_0001.wav")
        touch(tmp_path, "amused_1-28_0001.wav")  # extracted without its folder: nobody knows whose it is
        rows, excluded = read("emov-db", make=False)
        assert Counter(row["emotion"] for row in rows.values()) == {"angry": 1, "neutral": 1}
        assert {row["speaker"] for row in rows.values()} == {"jenie"} and excluded == {"file name of another form": 1}


class TestAsvpEsd:
    def test_fields(self, read):
        rows, excluded = read("asvp-esd")
        sad, fear = rows["03-01-04-01-10-36-03-03-01"], rows["03-01-06-01-02-12-02-01-02-16"]
        assert (sad["emotion"], sad["speaker"], sad["language"], sad["split"]) == ("sad", "36", "zh", "test")
        assert (fear["emotion"], fear["speaker"], fear["language"]) == ("fear", "12", "en")
        assert rows["03-02-06-01-42-101-02-01-00-16"]["language"] is None
        assert excluded == {"excitement has no place": 1}

    def test_speech_only(self, read):
        rows, excluded = read("asvp-esd", speech_only=True)
        assert excluded == {"excitement has no place": 1, "not speech": 1} and len(rows) == 2

    def test_odd_names(self, tmp_path, read):
        touch(tmp_path, "03-02-03-01-15-15-02-01.wav", "03-02-04-01-57-101-02-01-00_14.wav")
        touch(tmp_path, "03-01-17-01-02-12-02-01-02.wav", "03-01-05-01-01-01-01.wav")  # the last is RAVDESS's form
        rows, excluded = read("asvp-esd", make=False, exclude_labels=["*"])
        assert {row["speaker"] for row in rows.values()} == {"15", "101"}
        assert excluded == {"unknown label: 17": 1, "file name of another form": 1}


def test_mesd(tmp_path, read):
    touch(
        tmp_path, "Speaker-embedded naturalness-reduced female voices/Sadness_F_B_2_abuelo.wav", "Anger_X_A_abajo.wav"
    )
    rows, excluded = read("mesd")
    assert excluded == {"copy of reduced naturalness": 1, "file name of another form": 1}
    clip = rows["Happiness_F_B_buenos_dias"]
    assert (clip["emotion"], clip["text"], clip["language"], clip["split"]) == ("happy", "buenos dias", "es", "test")
    assert clip["speaker"] is None  # F, M, C are voices of eleven people


class TestFauAibo:
    def test_fields_and_official_split(self, read):
        rows, excluded = read("fau-aibo")
        assert {name: (row["emotion"], row["split"]) for name, row in rows.items()} == {
            "Ohm_01_000_00": ("neutral", "train"),
            "Ohm_31_002_00": ("angry", "validation"),
            "Mont_01_000_00": ("happy", "test"),
        }
        assert rows["Mont_01_000_00"]["speaker"] == "Mont_01" and rows["Mont_01_000_00"]["language"] == "de"
        assert excluded == {"emphatic has no place": 1, "rest has no place": 1}

    def test_missing_audio_is_counted(self, tmp_path, read):
        MAKERS["fau-aibo"](tmp_path)
        (tmp_path / "wav/Mont_01_000_00.wav").unlink()
        assert read("fau-aibo", make=False)[1]["audio file missing"] == 1

    @pytest.mark.parametrize("line", ["Ohm_01 N 1", "Ohm_01_000_00"])
    def test_damaged_table(self, tmp_path, line):
        MAKERS["fau-aibo"](tmp_path)
        write(tmp_path / "labels/IS2009EmotionChallenge/chunk_labels_5cl_corpus.txt", f"Ohm_01_000_01 E 1\n{line}\n")
        with pytest.raises(CorpusError, match="chunk_labels_5cl_corpus.txt, line 2: .*expected a chunk and its label"):
            load_corpus("fau-aibo", tmp_path)


class TestCmuMosei:
    def test_segments_of_videos_with_mean_ratings(self, tmp_path, read, caplog):
        rows, excluded = read("cmu-mosei")
        assert {name: row["emotion"] for name, row in rows.items()} == {
            "a1_0": "happy",
            "a1_1": "neutral",
            "-b2_0": "angry",
            "c3_0": "disgust",
        }
        assert excluded == {"a tie of two emotions has no place": 1, "no ratings": 1}
        clip = rows["a1_1"]
        assert clip["audio"].endswith("WAV_16000/a1.wav#t=0.6,2.5") and rows["a1_0"]["audio"].endswith("a1.wav#t=0,1.5")
        assert (clip["speaker"], clip["text"], clip["language"]) == ("a1", "well, 1___ok", "en")
        assert "no cmu_mosei_std_folds.py" in caplog.text
        assert len({row["split"] for row in rows.values() if row["speaker"] == "a1"}) == 1

    def test_standard_folds(self, tmp_path, read):
        write(
            tmp_path / "cmu_mosei_std_folds.py",
            "standard_train_fold=['a1',\n 'x']\nstandard_valid_fold=['-b2']\nstandard_test_fold=['c3']\n",
        )
        rows, _ = read("cmu-mosei")
        assert {name: row["split"] for name, row in rows.items()} == {
            "a1_0": "train", "a1_1": "train", "-b2_0": "validation", "c3_0": "test"}  # fmt: skip

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("Raw/Transcript/Segmented/Combined/a1.txt", "a1___0___1.0___x\n", "a1.txt, line 1"),
            ("Raw/Transcript/Segmented/Combined/a1.txt", "a1___0___2.0___1.0___x\n", "a1.txt, line 1"),
            ("cmu_mosei_std_folds.py", "import os\n", "standard_train_fold"),
            ("Raw/Labels/more.csv", "Input.VIDEO_ID,Input.CLIP\na1,0\n", "more.csv, line 2: no answer.anger"),
        ],
    )
    def test_other_forms_are_named(self, tmp_path, read, file, text, message):
        MAKERS["cmu-mosei"](tmp_path)
        write(tmp_path / file, text)
        with pytest.raises(CorpusError, match=message):
            read("cmu-mosei", make=False)


def test_mer2024(read):
    rows, excluded = read("mer2024")
    assert excluded == {"worried has no place": 3, "audio file missing": 1} and len(rows) == 5
    clip = rows["sample_00000000"]
    assert (clip["emotion"], clip["text"], clip["language"], clip["speaker"]) == ("happy", "好的，走", "zh", None)
    assert {row["split"] for row in rows.values()} == {"train", "validation"}
