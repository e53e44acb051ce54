"""What is said of a set of transplants, on answers made by hand."""

import json

import pytest

from benchmarks.transplants import KINDS, figures_of, recall, rows_of, word_figures
from fas_core.answers import Answer, Tone
from fas_core.labels import EMOTIONS
from fas_core.words.types import Words


def answer(tone, transcript=None):
    words = transcript and Words.read(transcript, "en", 0.9, [1 / 7] * 7)
    return Answer("clip", tone=tone and Tone(tone, dict.fromkeys(EMOTIONS, 1 / 7)), words=words)


def row(emotion, corpus="tess", reader="espeak", text="It is four."):
    return {"emotion": emotion, "tone_corpus": corpus, "reader": reader, "text": text}


def test_recall_is_the_mean_over_emotions_and_no_speech_is_wrong():
    rows = [row("sad"), row("sad"), row("angry")]
    found = recall(rows, [answer("sad"), answer(None), answer("angry")])
    assert found == {"clips": 3, "ua": 0.75, "recall": {"angry": 1.0, "sad": 0.5}}


def test_word_errors_are_those_of_clear_transcripts():
    rows = [row("sad"), row("sad"), row("sad")]
    found = word_figures(rows, [answer("sad", "It is four!"), answer("sad", "It was for"), answer("sad")])
    assert found == {"word_error": pytest.approx(2 / 6), "without_words": pytest.approx(1 / 3)}
    assert word_figures(rows[:1], [answer("sad")])["word_error"] is None


def test_figures_by_corpus_and_reader():
    rows = [row("sad", "tess", "espeak"), row("angry", "nemo", "kokoro")]
    said = dict.fromkeys(KINDS, [answer("sad", "It is four"), answer("angry", "it is four")])
    said["transplant"] = [answer("sad", "It is four"), answer("happy", "it is")]
    found = figures_of(rows, said)
    assert set(found) == {"all", "tess", "nemo", "espeak", "kokoro"}
    assert found["all"]["acted"]["ua"] == 1 and found["all"]["transplant"]["ua"] == 0.5
    assert found["nemo"]["transplant"]["word_error"] == pytest.approx(1 / 3)
    assert (found["tess"]["called_as_the_acted_clip"], found["kokoro"]["called_as_the_acted_clip"]) == (1, 0)


def test_the_same_clips_are_drawn_again(tmp_path):
    lines = [json.dumps({"id": f"{n:02d}", "split": "test" if n % 2 else "train"}) for n in range(20)]
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    drawn = rows_of(tmp_path, ["test"], 4)
    assert drawn == rows_of(tmp_path, ["test"], 4) and len(drawn) == 4
    assert all(int(one["id"]) % 2 for one in drawn) and len(rows_of(tmp_path, ["test", "train"], 99)) == 20
