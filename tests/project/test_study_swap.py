"""Swapped semantic streams: who is a partner, and heads that follow the words or the tone are told apart."""

import numpy as np
import pytest

from experiments.swap import KINDS, Said, markdown, partners, study
from fas_core.labels import EMOTIONS

TONES, SENTENCES = ("angry", "happy", "sad"), {"one": "happy", "two": "neutral", "three": "sad"}


def said(one_emotion: bool = False) -> Said:
    """Two voices say three sentences in three tones."""
    rows = [
        dict(emotion=tone, semantic_emotion="neutral" if one_emotion else words, text=text, speaker=voice)
        for voice in "ab" for tone in TONES for text, words in SENTENCES.items()
    ]  # fmt: skip
    return Said.of(rows, lambda texts: np.zeros((len(texts), 7)))


def heads(clips: Said, follows: str):
    """The answer is the tone of the acoustic stream; the semantic head says the words, or the tone, of its stream."""
    rows = np.eye(7) * 0.93 + 0.01

    def hear(pairs):
        acoustic, semantic = pairs.T
        tone = [EMOTIONS.index(clips.tone[i]) for i in acoustic]
        names = getattr(clips, follows)
        return dict(fused=rows[tone], acoustic=rows[tone], semantic=rows[[EMOTIONS.index(names[i]) for i in semantic]])

    return hear


@pytest.mark.parametrize("one_emotion", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_partners_differ_in_one_thing_and_are_of_one_voice(kind, one_emotion):
    clips = said(one_emotion)
    pairs = partners(clips, kind)
    first, other = pairs.T
    assert first.tolist() == list(range(18)) and (clips.voice[first] == clips.voice[other]).all()
    assert ((clips.tone[first] != clips.tone[other]) == (kind == "tone")).all()
    assert ((clips.sentence[first] != clips.sentence[other]) == (kind == "words")).all()
    assert one_emotion or ((clips.words[first] != clips.words[other]) == (kind == "words")).all()


def test_a_head_that_reads_words():
    clips = said()
    found = study(clips, heads(clips, "words"))
    assert found["tone"]["head_changes"] == 0 and found["tone"]["head_names_tone"] == 0
    assert found["words"]["head_changes"] == found["words"]["head_names_new_words"] == 1
    assert all(f["answer_changes"] == 0 and f["answer_keeps_right_tone"] == 1 for f in found.values())


def test_a_head_that_hears_the_tone():
    clips = said()
    found = study(clips, heads(clips, "tone"))
    assert found["tone"]["head_changes"] == found["tone"]["head_names_tone"] == 1 and found["tone"]["head_moves"] > 0.5
    assert found["words"]["head_changes"] == 0


def test_without_a_head_and_as_a_table():
    clips = said()
    hear = heads(clips, "words")
    found = study(clips, lambda pairs: {"fused": hear(pairs)["fused"]})
    assert "head_changes" not in found["tone"] and "| -" in markdown({"set": found})


def test_unlabelled_words_are_read():
    rows = [dict(emotion="sad", semantic_emotion=None, text=text, speaker=None) for text in ("b", "a")]
    assert Said.of(rows, lambda texts: np.eye(7)[[3, 5]]).words.tolist() == [EMOTIONS[5], EMOTIONS[3]]
