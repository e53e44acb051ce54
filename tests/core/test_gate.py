"""The gate between tone and words: what it learns, and that the answer is the tone where it is no better."""

import json

import numpy as np
import pytest
from scipy.optimize import check_grad

from experiments import gate as command
from fas_core import gate as module
from fas_core.errors import FASError
from fas_core.gate import FIGURES, Gate, choose, fit_gate, out_of_fold, reliability
from fas_core.labels import EMOTIONS


def made_up(count=900, tone_right=0.5, words_right=0.6, tells=True, seed=0):
    """Tone and words name the label with these chances; where `tells`, whoever is wrong is unsure."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(7, size=count)

    def side(chance):
        right = rng.random(count) < chance
        named = np.where(right, labels, (labels + rng.integers(1, 7, size=count)) % 7)
        sure = np.where(right, 0.9, 0.35) if tells else np.full(count, 0.6)
        p = np.repeat((1 - sure)[:, None] / 6, 7, axis=1)
        p[np.arange(count), named] = sure
        return p

    tone, words = side(tone_right), side(words_right)
    voices, sentences = [f"v{i % 12}" for i in range(count)], [f"s{i % 25}" for i in range(count)]
    return tone, words, np.full(count, 0.9), labels, voices, sentences


def test_the_surer_side_is_believed():
    tone, words, confidence, labels, *_ = made_up()
    gate = fit_gate(tone, words, confidence, labels)
    p = gate(tone, words, confidence)
    np.testing.assert_allclose(p.sum(1), 1)
    accuracy = [(each.argmax(1) == labels).mean() for each in (p, tone, words)]
    assert accuracy[0] > max(accuracy[1:]) + 0.1
    unsure = tone.max(1) < 0.5
    assert (
        gate.share(tone, words, confidence)[unsure].mean() < gate.share(tone, words, confidence)[~unsure].mean() - 0.2
    )


def test_the_gradient_is_that_of_the_loss(monkeypatch):
    tone, words, confidence, labels, *_ = made_up(50)
    seen = []
    monkeypatch.setattr(
        module, "minimize", lambda loss, start, **_: seen.append(loss) or type("Found", (), {"x": start})
    )
    fit_gate(tone, words, confidence, labels)
    at = np.linspace(-1, 1, len(FIGURES))
    assert check_grad(lambda w: seen[0](w)[0], lambda w: seen[0](w)[1], at) < 1e-5


def test_figures():
    assert reliability(np.eye(7)[[0]], np.full((1, 7), 1 / 7), np.array([0.4])).tolist()[0] == pytest.approx(
        [1, 1, 0, 1 / 7, 1, 1 / 7, 0.4]
    )
    assert Gate((50.0, *[0.0] * 6)).share(np.eye(7)[[0]], np.eye(7)[[1]], np.ones(1)) == pytest.approx(1)


def test_where_words_help_they_are_used():
    gate, found = choose(*made_up(tone_right=0.4, words_right=0.5))
    assert gate is not None and found["kept"] >= module.KEPT
    assert found["gate"] > found["tone"] + 0.1


@pytest.mark.parametrize(
    "more",
    [
        dict(words_right=1 / 7, tells=False),
        dict(tone_right=0.95, words_right=0.3, tells=False),
        dict(count=60, words_right=0.2),
    ],
)
def test_no_gate_where_it_is_no_better_than_the_tone(more):
    data = made_up(**more)
    gate, found = choose(*data)
    assert gate is None or found["gate"] > found["tone"]
    if not more.get("tells", True):
        assert gate is None


def test_a_gate_that_turns_right_answers_over_is_not_taken(monkeypatch):
    data = made_up(tone_right=0.5, words_right=0.9, tells=False)
    assert (
        choose(*data)[1]["gate"] > choose(*data)[1]["tone"]
    )  # words are right more often, and so are better on the whole
    assert choose(*data)[0] is None  # but a right tone that they contradict has to stay


def test_nobody_is_tried_on_what_was_fitted(monkeypatch):
    tone, words, confidence, labels, voices, sentences = made_up(300)
    confidence = np.arange(300) / 300  # tells which clips
    fitted = module.fit_gate
    seen = []
    monkeypatch.setattr(module, "fit_gate", lambda t, w, c, y: seen.append(c) or fitted(t, w, c, y))
    monkeypatch.setattr(Gate, "__call__", lambda self, t, w, c: seen.append(c) or t)
    out_of_fold(tone, words, confidence, labels, voices, sentences)
    rows = [np.round(each * 300).astype(int) for each in seen]
    for train, test in zip(rows[::2], rows[1::2], strict=True):
        for groups in (voices, sentences):
            assert not {groups[i] for i in train} & {groups[i] for i in test}
    assert sorted(np.concatenate(rows[1::2])) == list(range(300))


def test_one_voice_is_too_few():
    with pytest.raises(FASError, match="1 of voices"):
        out_of_fold(*made_up(20)[:4], ["v"] * 20, [str(i) for i in range(20)])


def test_the_command_writes_what_the_answer_comes_from(tmp_path, capsys):
    from test_training import tiny_config

    from fas_core.modeling_fas import FASForEmotionClassification

    FASForEmotionClassification(tiny_config(streams={})).save_pretrained(tmp_path)
    tone, words, confidence, labels, voices, sentences = made_up(300, words_right=1 / 7, tells=False)
    lines = [
        json.dumps(dict(
            set="made up", id=str(i), speaker=voices[i], sentence=sentences[i], split="validation", emotion=EMOTIONS[labels[i]],
            tone=tone[i].tolist(), words=words[i].tolist(), confidence=confidence[i], error=False,
        ))
        for i in range(300)
    ]  # fmt: skip
    (tmp_path / "answers.jsonl").write_text("\n".join(lines) + "\n")
    assert command.main([str(tmp_path / "answers.jsonl"), "--checkpoint", str(tmp_path)]) in (0, None)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["answer_from"] == "tone" and config["gate"] is None
    assert "tone" in capsys.readouterr().out


class TestAnswers:
    PLAIN = dict.fromkeys(EMOTIONS, 0.0)

    def answer(self, with_words=True):
        from fas_core.answers import Answer, Tone
        from fas_core.words.types import Words

        tone = self.PLAIN | {"sad": 0.6, "happy": 0.4}
        words = Words("yes", "en", 0.9, "happy", self.PLAIN | {"happy": 1.0}) if with_words else None
        return Answer("a.wav", label="fear", probabilities=self.PLAIN | {"fear": 1.0}, tone=Tone.of(tone), words=words)

    def test_a_gate_mixes(self):
        assert self.answer().gated([0.0] * 7).label == "happy"  # half of each
        assert self.answer().gated([9.0, *[0.0] * 6]).label == "sad"

    def test_without_words_it_stays(self):
        assert self.answer(with_words=False).gated([0.0] * 7).label == "fear"

    def test_configurations(self):
        from test_training import tiny_config

        from fas_core.errors import CheckpointError

        assert (
            tiny_config().answer_from == "fused" and tiny_config(answer_from="gate", gate=[1.0] * 7).gate == [1.0] * 7
        )
        for bad in (
            dict(answer_from="words"), dict(answer_from="gate"), dict(gate=[1.0] * 7), dict(answer_from="gate", gate=[1.0] * 6),
            dict(answer_from="tone", pathway_heads=False), dict(answer_from="gate", gate=[float("nan")] * 7),
        ):  # fmt: skip
            with pytest.raises(CheckpointError, match=r"FASConfig\.(answer_from|gate)"):
                tiny_config(**bad)
