"""What the study of words and conflict makes of answers, and what it writes."""

import json

import numpy as np
import pytest

from experiments import conflict as study
from experiments import paired
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS


def one(emotion: str, share: float = 0.9) -> list[float]:
    rest = (1 - share) / 6
    return [share if each == emotion else rest for each in EMOTIONS]


def record(
    tone: str, said: str | None, *, name="sets", words: str | None = None, heard: str | None = None, **changes
) -> dict:
    """A clip of a tone and of words; `heard` is what the model hears in the tone, `words` in the words."""
    pair = one(heard or tone), one(words or said) if said else None
    values = [0.0 if pair[1] is None else float(study.conflict(*map(np.array, pair)))] * 2
    base = dict(
        set=name, id=f"{tone}{said}{len(changes)}", speaker=None, split="test", emotion=tone, words_emotion=said, label=heard or tone,
        tone=pair[0], words=pair[1], confidence=0.9, language="en", missing=None if said else "unclear",
        conflict=values[0] if said else None, disagreement=values[1] if said else None, error=False,
    )  # fmt: skip
    return base | changes


CLIPS = [record(t, s) for t in ("angry", "happy", "sad") for s in ("angry", "happy", "neutral")]


def test_the_figures_are_shares_of_what_was_heard():
    plain = [
        record("angry", "neutral"),
        record("sad", "neutral", words="happy"),
        record("sad", None, words_emotion="neutral"),
    ]
    found = study.figures([*plain, record("sad", "sad", error=True)])["sets"]
    assert found["clips"] == 3 and found["with_words"] == 2 and found["missing"] == {"unclear": 1}
    assert found["words_neutral"] == found["words_right"] == 0.5
    assert found["conflict_over_half"] == pytest.approx(1 / 3)
    assert found["accuracy_answer"] == found["accuracy_tone"] == 1
    assert found["against_words"]["difference"] == 1 and found["against_tone"]["difference"] == 0


def test_a_conflict_that_is_heard_is_detected_and_one_with_neutral_words_is_none():
    found = study.figures(CLIPS)["sets"]
    assert found["auroc_conflict"]["auroc"] == 1
    assert found["auroc_disagreement"]["auroc"] < 1  # there neutral words count, and these scores leave them out
    assert study.is_conflicting(record("sad", "happy")) and not study.is_conflicting(record("sad", "neutral"))
    assert study.is_conflicting(record("sad", "neutral"), counts_neutral=True)


def test_each_half_is_compared():
    clips = [
        record(t, s, words=s, speaker=v, label=s)
        for t in ("angry", "sad")
        for s in ("angry", "sad", "neutral")
        for v in "abc"
    ]
    found = study.figures(clips)["sets"]
    halves = found["halves"]
    assert [halves[h]["compared"] for h in ("congruent", "conflicting")] == [12, 6] and found["compared"] == 18
    assert halves["conflicting"]["accuracy_answer"] == 0 and halves["conflicting"]["against_tone"]["difference"] == -1
    assert halves["congruent"]["accuracy_words"] == 0.5 and halves["congruent"]["against_words"]["difference"] == 0
    assert halves["congruent"]["against_tone"]["resampled"] == "speakers"
    text = paired.markdown({"sets": found})
    assert (
        "| sets | conflicting | 6 | 0.0 | 100.0 | 0.0 | -100.0 [-100.0, -100.0] |" in text
        and text.count("| sets |") == 3
    )


def test_the_table_names_every_set_and_split():
    text = study.markdown(study.figures([*CLIPS, record("sad", "neutral", name="other", split="train")], "test"))
    assert "| sets | 9 | 100.0 |" in text and "other" not in text


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps(CLIPS[0]) + "\n" + json.dumps(CLIPS[1])[:40])
    assert study.read([file, tmp_path / "none"]) == [CLIPS[0]]


def test_calibration_is_written_into_a_fas_checkpoint_only(tmp_path):
    noisy = CLIPS * 20 + [record("sad", "sad", heard="angry"), record("happy", "angry", heard="angry")] * 5
    pair = study.calibration(noisy)
    assert pair[1] > 0
    study.recalibrated(noisy, [-20.0, 1.0, 0.0])
    assert study.figures(noisy)["sets"]["conflict_over_half"] == 0
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(FASError, match="model_type"):
        study.write_calibration(tmp_path, pair)
    with pytest.raises(FASError, match="--split"):
        study.calibration([record("sad", None)])
