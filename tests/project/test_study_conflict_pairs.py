"""Pairs of a voice's tone and held-out sentences: one of a kind a clip, the same from the same seed."""

import numpy as np

from experiments.conflict_pairs import pairs, read_sentences
from experiments.paired import is_conflicting
from fas_core.labels import EMOTIONS
from fas_core.words.text_model import TextModel


def clip(name: str, emotion: str | None, heard: bool = True) -> dict:
    return dict(
        set="made up", id=name, speaker="a", sentence="code", split="train", emotion=emotion, words_emotion=None, label=emotion,
        tone=[1 / 7] * 7 if heard else None, words=None, confidence=None, language=None, missing="off", conflict=None, disagreement=None,
        error=False,
    )  # fmt: skip


SENTENCES = {emotion: np.eye(7)[[place]] for place, emotion in enumerate(EMOTIONS)}


def test_a_clip_has_a_conflict_a_neutral_sentence_and_agreement():
    found = pairs([clip("sad", "sad"), clip("calm", "neutral")], SENTENCES, "validation", seed=0)
    assert [is_conflicting(each) for each in found] == [True, False, False, True, False]
    assert [each["words_emotion"] for each in found[1:3]] == ["neutral", "sad"] and found[4][
        "words_emotion"
    ] == "neutral"
    for each in found:
        assert each["words"] == np.eye(7)[EMOTIONS.index(each["words_emotion"])].tolist()
        assert each["split"] == "validation" and each["sentence"] is None
    assert len({each["id"] for each in found}) == len(found)


def test_clips_without_a_label_or_a_tone_have_no_pairs():
    assert pairs([clip("x", None), clip("y", "sad", heard=False)], SENTENCES, "test", seed=0) == []


def test_pairs_are_those_of_the_seed():
    rows = [clip(str(i), "happy") for i in range(20)]
    assert (
        pairs(rows, SENTENCES, "test", seed=1)
        == pairs(rows, SENTENCES, "test", seed=1)
        != pairs(rows, SENTENCES, "test", seed=2)
    )


def test_sentences_of_every_emotion_are_read():
    model = TextModel.from_pretrained()
    found, test = read_sentences("validation", 0, model), read_sentences("test", 0, model)
    assert set(found) == set(EMOTIONS)
    right = np.mean([row.argmax() == EMOTIONS.index(emotion) for emotion, rows in found.items() for row in rows])
    assert right > 0.8 and not np.array_equal(found["sad"], test["sad"])
