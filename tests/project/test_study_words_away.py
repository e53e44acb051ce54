"""Labels that stay, and labels that move, when words are taken away or others take their place."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_fas import save_tiny_checkpoint
from tiny_transcriber import save_tiny_transcriber

from experiments import swap, words_away
from fas_core.labels import EMOTIONS
from fas_core.pipeline import EmotionPipeline
from fas_core.words.types import UNCLEAR, NoWords, Words

ROWS = np.eye(7) * 0.93 + 0.01


def heard(emotion: str | None) -> Words | NoWords:
    return Words.read("...", "en", 0.9, ROWS[EMOTIONS.index(emotion)]) if emotion else NoWords(UNCLEAR)


def clips() -> words_away.Clips:
    tone, words = ["sad", "angry", "happy", "fear"], ["neutral", "neutral", "happy", None]
    return words_away.Clips(np.array(["a", "a", "b", "b"]), np.array(tone), [heard(each) for each in words])


def hear(pairs: np.ndarray) -> dict[str, np.ndarray]:
    """The tone is heard but for the last clip; the fused head says what the semantic stream is of, surprise without one."""
    tone = np.array([EMOTIONS.index(e) for e in ["sad", "angry", "happy", "sad"]])
    words = np.array([EMOTIONS.index(e) for e in ["neutral", "neutral", "happy", "sad", "surprise"]])
    return {"acoustic": ROWS[tone[pairs[:, 0]]], "fused": ROWS[words[pairs[:, 1]]]}


def config(answer_from: str, gate=None) -> SimpleNamespace:
    return SimpleNamespace(answer_from=answer_from, gate=gate)


def test_an_answer_of_the_tone_stays():
    found = words_away.study(config("tone"), clips(), hear)
    assert found["a"] == dict(clips=2, neutral_words=2, changed_without=0, tone_right=2, kept_against_words=1)
    assert found["b"] == dict(clips=2, neutral_words=0, changed_without=None, tone_right=0, kept_against_words=None)
    assert "| a | 2 | 2 | 0.0 | 2 | 100.0 |" in words_away.markdown(found)


def test_an_answer_of_the_words_moves():
    for settings in (config("fused"), config("tone", gate=(-50.0, *[0.0] * 6))):
        found = words_away.study(settings, clips(), hear)["a"]
        assert found["changed_without"] == 1 and found["kept_against_words"] == 0


def test_words_that_contradict_are_emotional_and_of_another_tone():
    alone = np.array(["sad", "angry", "happy", "sad"])
    assert words_away.contradictions(clips(), alone).tolist() == [[0, 2], [1, 2]]


def test_it_runs_on_a_checkpoint(tmp_path):
    pipeline = EmotionPipeline.from_pretrained(
        save_tiny_checkpoint(tmp_path / "tiny", save_tiny_transcriber(tmp_path / "whisper")),
        device="cpu",
        speech_threshold=0,
    )
    features = pipeline.extractor(
        [np.random.default_rng(i).standard_normal(9000 + 4000 * i).astype("f") for i in range(3)]
    )
    hearing = swap.Hearing(pipeline, SimpleNamespace(get=features.__getitem__), [0, 1, 2])
    whole, deaf = (
        hearing(np.array([[i, j] for i, j in zip(range(3), other, strict=True)]))
        for other in ((0, 1, 2), [words_away.NOBODY] * 3)
    )
    np.testing.assert_allclose(whole["acoustic"], deaf["acoustic"], atol=1e-5)
    assert np.abs(whole["fused"] - deaf["fused"]).max() > 1e-4
    assert whole["fused"].sum(1) == pytest.approx(1)
