"""Sets whose words carry an emotion of their own, on trees of their documented layouts."""

import json

import pytest
from corpus_layouts import MAKERS, touch, write

from fas_core.data import load_corpus, read_corpus
from fas_eval.benchmarks.loading import load_benchmark
from fas_eval.benchmarks.locations import DataLocations


@pytest.fixture
def read(tmp_path):
    """read(name) -> (rows by the corpus's clip name, what was left out) of the synthetic tree."""

    def call(name, **options):
        MAKERS[name](tmp_path)
        reading = read_corpus(name, tmp_path, **options)
        return {row["id"].split("/", 1)[1]: row for row in reading.dataset}, reading.excluded

    return call


def emotions(row):
    return row["emotion"], row["semantic_emotion"]


def test_emis_names_say_words_and_voice(read, tmp_path):
    rows, excluded = read("emis")
    assert emotions(rows["7_happy_explicit_sad_0011_cosyvoice"]) == ("sad", "happy")
    assert emotions(rows["91_neutral_angry_0015_f5tts"]) == ("angry", "neutral")
    assert emotions(rows["12_sad_implicit_neutral_0015_styletts"]) == ("neutral", "sad")
    assert rows["91_neutral_angry_0015_f5tts"]["speaker"] == "f5tts-0015" and not excluded
    touch(tmp_path, "notes_of_somebody.wav")
    assert read("emis")[1] == {"file name of another form": 1}


def test_listen_takes_what_is_spoken(read):
    rows, excluded = read("listen")
    assert {name: emotions(row) for name, row in rows.items()} == {
        "a": ("angry", "neutral"),
        "b": ("happy", "happy"),
        "c": ("sad", "happy"),
    }
    assert rows["c"]["text"] == "Great."
    assert excluded == {"frustration has no place": 1, "experiment 4: no words are heard": 1}


def test_humdial_takes_the_language_from_the_folder(read):
    rows, _ = read("humdial-conflict")
    assert {(row["language"], *emotions(row)) for row in rows.values()} == {
        ("en", "sad", "happy"),
        ("zh", "sad", "happy"),
    }


def test_a_listed_file_that_is_missing_is_counted(tmp_path):
    touch(tmp_path, "here.wav")
    rows = ({"file_name": name, "emotion": "sad", "text_emotion": "happy"} for name in ("here.wav", "gone.wav"))
    write(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    reading = read_corpus("humdial-conflict", tmp_path)
    assert len(reading.dataset) == 1 and reading.excluded == {"audio file missing": 1}


def test_neutral_sentences_contradict_nothing_and_transplants_join_with_their_test_side(tmp_path):
    MAKERS["neutral-words"](tmp_path)
    rows = load_corpus("neutral-words", tmp_path)
    assert set(rows["corpus"]) == {"ravdess", "tess", "nemo", "emodb"} and set(rows["semantic_emotion"]) == {"neutral"}
    touch(tmp_path, "transplants/a.flac", "transplants/b.flac")
    lines = (
        {
            "id": name,
            "audio": f"{name}.flac",
            "emotion": "sad",
            "semantic_emotion": "happy",
            "speaker": name,
            "split": split,
        }
        | {"corpus": "transplants"}
        for name, split in (("a", "train"), ("b", "test"))
    )
    write(tmp_path / "transplants" / "manifest.jsonl", "\n".join(map(json.dumps, lines)))
    loaded = load_benchmark("neutral-words", DataLocations(None, {"neutral-words": tmp_path}))
    assert len(loaded.dataset) == 5 and loaded.setting == "zero-shot"
    assert [row["id"] for row in loaded.dataset if row["semantic_emotion"] == "happy"] == ["transplants/b"]


def test_ravdess_of_another_fold(tmp_path):
    MAKERS["neutral-words"](tmp_path)
    read = (row for fold in (1, 2, 3) for row in load_corpus("neutral-words", tmp_path, fold=fold))
    assert {row["split"] for row in read if row["corpus"] == "ravdess"} == {"test", "validation", "train"} - {
        "validation"
    }
