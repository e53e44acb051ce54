"""Acoustic cues in the adapter's prompts: where they stand, that training tells them, keeps its flag, and resumes exactly."""

import json

import fake_opensmile
import pytest
import torch
from alm_runs import Interrupted, flags, interrupt_at, trained, weights, write_material
from alm_tiny import clip, tiny_model, user
from hypothesis import given, settings
from hypothesis import strategies as st

from fas_alm import load_adapter
from fas_alm.conversations import Conversation, Question
from fas_alm.cues import cue_line, is_cue_line, with_cue_line, with_cues
from fas_alm.prompts import LANGUAGES
from fas_alm.training import adapter as run
from fas_alm.transcript import Said, with_transcripts
from fas_core.cues.acoustic import CueReader, fit_statistics
from fas_core.cues.levels import LEVELS, Statistics
from fas_core.cues.perturbing import INVALID
from fas_core.errors import FASError

OWN = ("high", "low", "medium", "high", "low", "medium")
TOLD = ("--cues", "true", "--cue_dropout", "0.3")


@given(st.tuples(*[st.sampled_from([*LEVELS, *INVALID])] * 6), st.sampled_from(LANGUAGES))
@settings(deadline=None)
def test_a_line_says_every_symbol_and_is_known_as_one(levels, language):
    line = cue_line(levels, language)
    assert is_cue_line(line) and line.count("=") == 6 and "\n" not in line
    other = tuple("low" if level == "high" else "high" for level in levels)
    assert cue_line(other, language) != line


def test_cues_stand_behind_the_audio_and_its_words():
    messages = [user("first", clip(), clip(), "then")]
    (told,) = with_transcripts(with_cues(messages, iter([OWN, None])), iter([Said("Fine."), Said("No.")]))
    assert [part.get("text", "<audio>") for part in told["content"]] == [
        "first", "<audio>", 'Transcript: "Fine."', cue_line(OWN), "<audio>", 'Transcript: "No."', "then",
    ]  # fmt: skip
    asked = Question("choose").content({"type": "audio", "path": "x"}, Said("Fine."), OWN)
    assert [part.get("text") for part in asked[2:]] == ['Transcript: "Fine."', cue_line(OWN)]
    assert Question("choose", with_cues=False).content({"type": "audio", "path": "x"}, None, OWN)[2:] == []


def test_a_chinese_message_is_told_in_chinese_and_other_models_behind_the_question():
    (told,) = with_cues([user("她怎么样？", clip())], iter([OWN]))
    assert told["content"][-1]["text"] == "声学线索：能量=高 音高=低 动态=中 明亮度=高 共振峰=低 音质=中"
    assert with_cue_line("How?", OWN) == f"How?\n{cue_line(OWN)}" and with_cue_line("How?", None) == "How?"
    with pytest.raises(FASError, match="energy, pitch"):
        cue_line(("high",))


def test_a_batch_is_its_conversations_one_by_one():
    _, processor = tiny_model()
    talks = [[user("How?", clip(0.5))], [user("And she?", clip(0.7), clip(0.4))]]
    levels = [OWN, None, OWN[::-1]]
    options = dict(tokenize=True, sampling_rate=16_000, transcript=None)
    both = processor.apply_chat_template(talks, cues=levels, **options)
    alone = [
        processor.apply_chat_template([talk], cues=own, **options)["input_ids"][0]
        for talk, own in zip(talks, (levels[:1], levels[1:]), strict=True)
    ]
    for row, mask, single in zip(both["input_ids"], both["attention_mask"], alone, strict=True):
        assert row[mask.bool()].tolist() == single.tolist()
    with pytest.raises(FASError, match="1 for 3 audios"):
        processor.apply_chat_template(talks, cues=[OWN])


def test_the_processor_measures_what_the_model_has_learned_and_tells_it_only_when_asked(tmp_path, monkeypatch):
    fake_opensmile.use(monkeypatch)
    _, processor = tiny_model()
    talk = [user("How?", clip(0.5))]

    def text(**options):
        inputs = processor.apply_chat_template(talk, tokenize=True, sampling_rate=16_000, transcript=None, **options)
        return processor.tokenizer.decode(inputs["input_ids"][0])

    with pytest.raises(FASError, match="--cues true"):
        text(cues="auto")
    statistics = fit_statistics([fake_opensmile.functionals(clip(0.5, seed)) for seed in range(4)])
    processor.cues = statistics.to_dict()
    processor.save_pretrained(tmp_path)
    processor = type(processor).from_pretrained(tmp_path)
    assert "Acoustic cues" not in text()
    assert text(cues="auto") == text(cues=CueReader(statistics)([clip(0.5)])) != text()
    with pytest.raises(FASError, match="tokenize=True"):
        processor.apply_chat_template(talk, cues="auto")


def test_a_clip_of_a_corpus_is_asked_with_its_cues():
    row = dict(id="x", audio="/x.wav", emotion="sad", semantic_emotion=None, corpus="c", split="train", cues=OWN)
    told = Conversation.about(row, Question("choose", "zh"))
    assert told.messages[0]["content"][-1]["text"] == cue_line(OWN, "zh")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return write_material(tmp_path_factory.mktemp("cues"))


@pytest.fixture(scope="module")
def cued(material):
    """A run that was told cues, with the stand-in of opensmile."""
    with pytest.MonkeyPatch.context() as patch:
        fake_opensmile.use(patch)
        trained(material, material / "run", *TOLD)
    return material / "run"


def test_the_record_keeps_the_flag_and_the_adapter_its_statistics(cued):
    record = json.loads((cued / "adapter" / "training.json").read_text())
    assert record["arguments"]["data"]["cues"] is True
    model, processor = load_adapter(cued / "adapter")
    assert Statistics.from_dict(model.config.cues).clips == 24  # the training side, and nothing of validation
    assert processor.cues == model.config.cues


def test_resumed_with_cues_equals_uninterrupted_bit_for_bit(material, cued, tmp_path, monkeypatch, capsys):
    fake_opensmile.use(monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(patch, 5)
        run.main(flags(material, tmp_path / "run", *TOLD))
    assert run.main(flags(material, tmp_path / "run", "--resume", "true")) == 2
    assert "cues" in capsys.readouterr().err
    trained(material, tmp_path / "run", *TOLD, "--resume", "true")
    whole, resumed = weights(cued), weights(tmp_path / "run")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_statistics_without_cues_are_refused(material, tmp_path, capsys):
    assert run.main(flags(material, tmp_path, "--cue_statistics", "x.json")) == 2
    assert "--cues true" in capsys.readouterr().err
