"""Training of the adapter: what is computed, that it learns, resumes exactly, and comes back from its directory."""

import functools
import itertools
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
from alm_corpus import RATE, colored_noise, write_corpus
from alm_runs import Interrupted, flags, interrupt_at, trained, weights
from alm_tiny import clip, tiny_model, user
from peft import LoraConfig, get_peft_model
from repository import ROOT
from safetensors.torch import load_file
from warm import PYTHON

from fas_alm import load_adapter
from fas_alm.conversations import Conversation, Question
from fas_alm.prompts import option_token_ids
from fas_alm.training import adapter as run
from fas_alm.training.answer_model import AnswerModel
from fas_alm.training.arguments import DataArguments, ModelArguments, TrainingArguments
from fas_alm.training.audio import FrozenTokens, WindowFeatures
from fas_alm.training.collator import Collator
from fas_alm.training.data import warn_of_acoustic_head
from fas_alm.training.examples import IGNORED, Example, ExampleEncoder
from fas_alm.training.metrics import option_metrics
from fas_alm.training.plan import BatchPlan, Draw, ExampleSet, Unlearned
from fas_alm.training.teacher import Teacher, make_teacher
from fas_alm.training.trained_weights import load_trainable_state, trainable_state
from fas_alm.training.trainer import AdapterTrainer
from fas_core.data import load_corpus
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import CheckpointError, FASError
from fas_core.features.cache import FeatureCache
from fas_core.labels import EMOTIONS
from fas_core.precision import has_bf16


class Windows:
    """Audio inputs that only know how many windows a file has."""

    def __init__(self, **windows):
        self._windows = windows

    def windows(self, file):
        return self._windows.get(file, 1)

    def frames(self, file):
        return [50] * self.windows(file)


# ---- prompts and batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_prompts_of_training_are_those_of_use(kind):
    _, processor = tiny_model(kind)
    encoder = ExampleEncoder(processor, Windows(short=1, long=2))
    files = {"short": clip(1.0), "long": clip(31.0)}
    for audio in (["short"], ["long"], ["short", "long"]):
        texts = [*({"type": "audio", "path": name} for name in audio), {"type": "text", "text": "Which emotion?"}]
        example = encoder.prompt([{"role": "user", "content": texts}])
        used = processor.apply_chat_template(
            [user(*(files[name] for name in audio), "Which emotion?")],
            tokenize=True,
            add_generation_prompt=True,
            sampling_rate=RATE,
        )
        assert list(example.prompt) == used["input_ids"][0].tolist()
        assert example.files == tuple(audio)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_each_answer_is_an_example_that_ends_where_generation_stops(kind):
    _, processor = tiny_model(kind)
    encoder = ExampleEncoder(processor, Windows())
    messages = [
        {"role": "user", "content": [{"type": "audio", "path": "a"}, {"type": "text", "text": "Which emotion?"}]},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "the tone"},
    ]
    first, second = encoder.examples(Conversation("c", messages))
    tokenizer = processor.tokenizer
    letter = option_token_ids(tokenizer)[1]
    assert first.answer == (letter, tokenizer.eos_token_id)
    assert tokenizer.decode(second.answer) == "the tone<|im_end|>"
    assert second.files == ("a",) and "B<|im_end|>" in tokenizer.decode(second.prompt)
    assert first.prompt.count(processor.audio_token_id) == second.prompt.count(processor.audio_token_id) == 2


def example(prompt, answer=(), files=(), label=IGNORED) -> Example:
    return Example(tuple(prompt), tuple(answer), tuple(files), label)


def test_a_batch_is_padded_on_the_left_and_its_common_beginning_apart():
    class Audio(Windows):
        def batch(self, files):
            return {"audio_tokens": torch.tensor([int(file) for file in files])}

    head = list(range(10, 20))
    examples = [
        example([*head, 5, 99, 99, 6], (7, 8), ["1"], 2),
        example([*head, 99, 99, 99, 99, 6, 6], (9, 3, 8), ["2"]),
    ]
    batch = Collator(Audio(), 99, 0)(examples)
    assert batch["prefix_ids"].tolist() == [head]
    assert batch["input_ids"].tolist() == [[0, 0, 0, 5, 99, 99, 6, 7], [99, 99, 99, 99, 6, 6, 9, 3]]
    assert batch["attention_mask"].tolist() == [[1] * 10 + [0, 0, 0] + [1] * 5, [1] * 18]
    assert batch["labels"].tolist() == [[IGNORED, 7, 8], [9, 3, 8]]
    assert batch["options"].tolist() == [2, IGNORED] and batch["audio_tokens"].tolist() == [1, 2]
    assert "prefix_ids" not in Collator(Audio(), 99, 0, share_prefix=False)(examples)
    assert "prefix_ids" not in Collator(Audio(), 12, 0)(examples)  # the audio comes after three tokens: too few


def rows(count: int, **overrides) -> list[dict]:
    return [
        dict(id=str(i), audio=f"{i}", emotion=EMOTIONS[i % 7], semantic_emotion=None, corpus="c", split="train")
        | overrides
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def plan_of():
    encoder = ExampleEncoder(tiny_model()[1], Windows(**{"3": 2}))

    def make(clips, ready=(), batch=4, seed=0, draw=Draw(("choose", "name"), ("en", "zh"))):
        return BatchPlan(ExampleSet(clips, ready, encoder), draw, batch, seed)

    return make


def test_an_epoch_asks_about_every_clip_once_and_the_same_within_a_batch(plan_of):
    plan = plan_of(rows(22))
    batches = list(plan)
    assert len(batches) == len(plan) == 7  # 21 clips of one window, and one of two by itself
    assert sorted(clip for batch in batches for clip, _ in batch) == list(range(22))
    assert all(len({question for _, question in batch}) == 1 for batch in batches)
    assert [3] in [[clip for clip, _ in batch] for batch in batches]


def test_the_plan_is_a_function_of_seed_and_epoch(plan_of):
    plan, again, other = plan_of(rows(22)), plan_of(rows(22)), plan_of(rows(22), seed=1)
    first = list(plan)
    assert first == list(plan) == list(again) != list(other)
    plan.set_epoch(1)
    assert list(plan) != first
    again.set_epoch(1)
    assert list(plan) == list(again)


def test_clips_are_asked_only_what_their_labels_answer(plan_of):
    clips = rows(12) + rows(12, semantic_emotion="sad")
    plan = plan_of(clips, draw=Draw(("choose", "agree"), ("en",)))
    for epoch in range(10):
        plan.set_epoch(epoch)
        assert all(q.task == "choose" for batch in plan for i, q in batch if i < 12)
    assert not list(plan_of(rows(5), draw=Draw(("agree",), ("en",))))


def test_every_process_has_as_many_batches_and_learns_each_clip_once(plan_of):
    one, three = plan_of(rows(22)), plan_of(rows(22))
    three.processes = 3
    filled = list(three)
    assert filled[:7] == list(one) and len(filled) == 9
    assert all(isinstance(item, Unlearned) for batch in filled[7:] for item in batch)


def test_conversations_go_by_length(plan_of):
    ready = [example(range(length), (1,)) for length in np.random.default_rng(0).integers(5, 500, 200)]
    batches = list(plan_of([], ready, batch=10))
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    padding = sum(max(len(ready[i].prompt) for i in b) - len(ready[j].prompt) for b in batches for j in b)
    assert padding < 0.1 * sum(len(e.prompt) for e in ready)


# ---- what is computed ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heard(material):
    """A model with LoRA whose values are not zero, and the features of three clips, one of them of 31 s."""
    folder = material / "clips"
    folder.mkdir()
    for name, seconds in (("a", 1.0), ("b", 1.7), ("long", 31.0)):
        soundfile.write(folder / f"{name}.wav", colored_noise("sad", seconds, 3), RATE)
    model, processor = tiny_model("qwen2", fas=material / "fas")
    extractor = FeatureExtractor.from_config(model.config.fas_config.streams, device="cpu")
    cache = FeatureCache(material / "cache", extractor.identity())
    files = {path.stem: str(path) for path in folder.iterdir()}
    features = WindowFeatures(files.values(), extractor, cache)
    model.freeze_parts()
    torch.manual_seed(0)
    model.language_model = get_peft_model(model.language_model, LoraConfig(r=2, target_modules="all-linear"))
    with torch.no_grad():
        for parameter in model.language_model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.3)
    tokens = FrozenTokens(features, model.fas, "fused")
    return model, processor, features, tokens, files, extractor, cache


def asked(heard, audio, names: list[str], share: bool, answers: bool = True) -> dict:
    _, processor, _, _, files, _, _ = heard
    encoder = ExampleEncoder(processor, audio)
    messages = [[
        {"role": "user", "content": Question("choose").content({"type": "audio", "path": files[name]})},
        {"role": "assistant", "content": "ABC"[i]},
    ] for i, name in enumerate(names)]  # fmt: skip
    examples = [
        encoder.examples(Conversation("c", m, task="choose", emotion=EMOTIONS[i], order=list(EMOTIONS)))[0]
        if answers else encoder.prompt(m[:1])
        for i, m in enumerate(messages)
    ]  # fmt: skip
    return Collator(audio, processor.audio_token_id, processor.tokenizer.pad_token_id, share)(examples)


@pytest.fixture
def answers(heard):
    model, processor = heard[:2]
    answers = AnswerModel(model, option_token_ids(processor.tokenizer))
    yield answers.eval()
    answers.release()


def test_options_are_those_of_the_whole_model_on_the_audio_itself(heard, answers):
    model, processor, _, tokens, files, _, _ = heard
    names = ["a", "b", "long"]
    batch = asked(heard, tokens, names, share=True, answers=False)
    assert batch["audio_tokens"].shape == (4, 2, 16)  # 31 s are two windows
    with torch.no_grad():
        options = answers(**batch)["options"]
    for row, name in enumerate(names):
        content = Question("choose").content({"type": "audio", "path": files[name]})
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True
        )
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1]
        expected = logits.log_softmax(-1)[option_token_ids(processor.tokenizer)]
        torch.testing.assert_close(options[row], expected, atol=5e-3, rtol=0)  # the cache holds fp16


def test_the_loss_is_on_answers_only(heard, answers):
    model, _, _, tokens, _, _, _ = heard
    batch = asked(heard, tokens, ["a", "b"], share=False)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    embeddings = answers.embed(batch["input_ids"], batch["audio_tokens"], batch["audio_mask"], {})
    with torch.no_grad():
        logits = model.language_model(inputs_embeds=embeddings, attention_mask=inputs["attention_mask"]).logits
        expected = torch.nn.functional.cross_entropy(
            logits[:, -2:].flatten(0, 1), batch["labels"].flatten(), reduction="sum"
        )
        loss = answers(**batch)["loss"]
    torch.testing.assert_close(loss, expected / 2)  # the mean of the two tokens of each answer
    assert batch["labels"].shape == (2, 2)  # the letter, and the end of the turn


def test_smoothing_takes_from_the_right_letter_and_gives_to_all_seven(heard, answers):
    batch = asked(heard, heard[3], ["a", "b"], share=False)
    assert batch["options"].tolist() == [0, 1]
    ids, answers.smoothing = answers.option_ids, 0.3
    hard = answers(**batch)["loss"]  # none in evaluation
    answers.train()
    for module in answers.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    smooth = answers(**batch)["loss"]
    logits = answers.language_model(
        inputs_embeds=answers.embed(batch["input_ids"], batch["audio_tokens"], batch["audio_mask"], {}),
        attention_mask=batch["attention_mask"],
    ).logits  # fmt: skip
    logprobs = logits[:, -2].log_softmax(-1)
    target = torch.full((2, 7), 0.3 / 7) + torch.eye(2, 7) * 0.7
    end = logits[:, -1].log_softmax(-1)[torch.arange(2), batch["labels"][:, 1]]
    torch.testing.assert_close(2 * smooth, -(target * logprobs[:, ids]).sum() - end.sum())
    torch.testing.assert_close(2 * hard, -(torch.eye(2, 7) * logprobs[:, ids]).sum() - end.sum())
    others = {k: v for k, v in batch.items() if k != "options"} | {"options": torch.tensor([IGNORED, IGNORED])}
    torch.testing.assert_close(answers(**others)["loss"], hard)


def test_a_teacher_gives_the_letters_what_fas_says_of_the_same_tokens(heard):
    model, processor, _, tokens, _, _, _ = heard
    batch = asked(heard, tokens, ["a", "b"], share=False)
    shuffled = batch | {"orders": batch["orders"].flip(1)}
    answers = AnswerModel(
        model, option_token_ids(processor.tokenizer), smoothing=0.3, teacher=Teacher(model.fas)
    ).train()
    try:
        for module in answers.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        said = (
            (model.fas.head.eval()(batch["audio_tokens"].mean(1)) / model.fas.config.temperature).softmax(-1).detach()
        )
        for given, target in ((batch, said), (shuffled, said.flip(1))):
            logits = answers.language_model(
                inputs_embeds=answers.embed(given["input_ids"], given["audio_tokens"], given["audio_mask"], {}),
                attention_mask=given["attention_mask"],
            ).logits  # fmt: skip
            letters = logits[:, -2].log_softmax(-1)[:, answers.option_ids]
            end = logits[:, -1].log_softmax(-1)[torch.arange(2), given["labels"][:, 1]]
            torch.testing.assert_close(2 * answers(**given)["loss"], -(target * letters).sum() - end.sum())
        assert not any("head" in name for name, _ in answers.named_parameters())  # the teacher does not learn
    finally:
        answers.release()


def test_mixtures_are_between_two_clips_and_follow_the_seed(heard):
    fas, tokens = heard[0].fas, torch.randn(5, 2, heard[0].fas.config.hidden_size)
    teacher = Teacher(fas, mixup=0.5)
    torch.manual_seed(3)
    mixed, target = teacher(tokens)
    torch.manual_seed(3)
    assert torch.equal(teacher(tokens)[0], mixed) and not torch.equal(mixed, tokens)
    assert torch.all(mixed <= tokens.amax(0) + 1e-6) and torch.all(mixed >= tokens.amin(0) - 1e-6)
    torch.testing.assert_close(target, (fas.head.eval()(mixed.mean(1)) / fas.config.temperature).softmax(-1))
    torch.testing.assert_close(target.sum(1), torch.ones(5))


def test_a_teacher_needs_a_frozen_fas_and_labels_need_whole_clips():
    with pytest.raises(FASError, match="--token_mixup.*--distil_options"):
        TrainingArguments(token_mixup=0.5, use_cpu=True)
    asked_for = TrainingArguments(distil_options=True, use_cpu=True)
    with pytest.raises(FASError, match="frozen FAS"):
        make_teacher(None, DataArguments(corpora=["a=b"]), ModelArguments(train_fas=True), asked_for)
    assert make_teacher(None, DataArguments(corpora=["a=b"], no_audio=True), ModelArguments(), asked_for) is None


@pytest.mark.parametrize("taught", [False, True], ids=["labels", "teacher"])
def test_every_answer_weighs_the_same_however_long_it_is(heard, taught):
    model, processor, _, tokens, files, _, _ = heard
    encoder = ExampleEncoder(processor, tokens)
    texts = ["A", "It is sad, and the words that are said agree with it.", "B", "no answer"]
    examples = []
    for name, text in zip(["a", "b", "b", "a"], texts, strict=True):
        content = Question("choose").content({"type": "audio", "path": files[name]})
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": text}]
        emotion = EMOTIONS["AB".index(text)] if text in "AB" else None
        examples += encoder.examples(Conversation("c", messages, task="choose", emotion=emotion, order=list(EMOTIONS)))
    examples[-1] = replace(examples[-1], learned=False)  # what fills up another process's share
    teacher = Teacher(model.fas) if taught else None
    answers = AnswerModel(model, option_token_ids(processor.tokenizer), smoothing=0.3, teacher=teacher).train()
    try:
        for module in answers.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        collator = Collator(tokens, processor.audio_token_id, processor.tokenizer.pad_token_id)
        losses = [answers(**collator([example]))["loss"] for example in examples]
        assert losses[-1] == 0 and losses[-1].requires_grad
        if taught:  # only batches of lettered answers are taught
            examples, losses = [examples[0], examples[2], examples[3]], [losses[0], losses[2], losses[3]]
            examples[-1] = replace(examples[0], learned=False)
        torch.testing.assert_close(answers(**collator(examples))["loss"], sum(losses))
        if not taught:
            batch = collator([examples[1]])
            logits = answers.language_model(
                inputs_embeds=answers.embed(batch["input_ids"], batch["audio_tokens"], batch["audio_mask"], {}),
                attention_mask=batch["attention_mask"],
            ).logits[0, -batch["labels"].shape[1] :]  # fmt: skip
            torch.testing.assert_close(losses[1], torch.nn.functional.cross_entropy(logits, batch["labels"][0]))
    finally:
        answers.release()


@pytest.mark.parametrize("inputs", ["tokens", "features"])
def test_sharing_the_prefix_changes_neither_loss_nor_gradients(heard, inputs):
    model, processor, features, tokens, _, _, _ = heard
    audio = tokens if inputs == "tokens" else features
    model.fas.requires_grad_(inputs == "features")
    answers = AnswerModel(model, option_token_ids(processor.tokenizer), with_fas=True).eval()
    try:
        found = {}
        for share in (False, True):
            batch = asked(heard, audio, ["a", "b", "long"], share)
            assert ("prefix_ids" in batch) is share
            answers.zero_grad()
            output = answers(**batch)
            output["loss"].backward()
            gradients = {n: p.grad.clone() for n, p in answers.named_parameters() if p.grad is not None}
            found[share] = output["loss"].detach(), gradients
        torch.testing.assert_close(found[True][0], found[False][0])
        torch.testing.assert_close(found[True][1], found[False][1], atol=1e-3, rtol=1e-3)
        parts = ("multi_modal_projector", "lora_", *(["fas."] if inputs == "features" else []))
        assert all(any(part in name for name in found[True][1]) for part in parts)
        assert not any("base_layer" in name for name in found[True][1])
    finally:
        model.fas.requires_grad_(False)
        answers.release()


def test_a_cached_prefix_is_forgotten_when_the_weights_may_have_changed(heard, answers):
    batch = asked(heard, heard[3], ["a", "b"], share=True)
    state = trainable_state(answers)
    try:
        with torch.no_grad():
            before = answers.eval()(**batch)["options"]
            for name, parameter in answers.named_parameters():
                if "lora_" in name:
                    parameter.add_(0.05)
            after = answers.train().eval()(**batch)["options"]
            fresh = dict(asked(heard, heard[3], ["a", "b"], share=False).items())
            torch.testing.assert_close(after, answers(**fresh)["options"], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(before, after, atol=1e-3)
    finally:
        load_trainable_state(answers, state, "test")


def test_windows_of_long_audio_are_extracted_once(heard, monkeypatch):
    _, _, features, _, files, extractor, cache = heard
    assert [features.windows(files[name]) for name in ("a", "b", "long")] == [1, 1, 2]
    whole = soundfile.read(files["long"], dtype="float32")[0]
    [second] = extractor([whole[30 * RATE :]])
    np.testing.assert_allclose(features[files["long"]][1].acoustic, second.acoustic, atol=2e-2)
    monkeypatch.setattr(extractor, "encode", lambda *_: pytest.fail("encoded again"))
    again = WindowFeatures(files.values(), extractor, FeatureCache(cache.path.parent, extractor.identity()))
    assert {file: again.windows(file) for file in again} == {file: features.windows(file) for file in features}


def test_files_that_cannot_be_used_are_listed(heard, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    features = WindowFeatures([str(tmp_path / "broken.wav")], *heard[5:])
    assert list(features) == [] and "broken.wav" in features.failed[0]["file"]


def test_metrics_are_of_the_options_and_their_mass():
    scores = np.log(np.full((4, 7), 0.1))
    scores[np.arange(4), [0, 1, 2, 0]] = np.log(0.3)
    metrics = option_metrics(scores, np.array([0, 1, 2, 3]))
    assert metrics["accuracy"] == 0.75 and metrics["clips"] == 4
    assert metrics["mass"] == pytest.approx(0.9)


# ---- whole runs ------------------------------------------------------------------------------------------------------


def test_training_hears(material, tmp_path):
    more = ("--stage1_epochs", "0", "--stage2_epochs", "30", "--lora_dropout", "0")
    hears = trained(material, tmp_path / "hears", *more)
    deaf = trained(material, tmp_path / "deaf", *more, "--no_audio", "true")
    assert hears["validation"]["accuracy"] > 0.9 and hears["fas"]["validation_accuracy"] > 0.9
    assert deaf["validation"]["accuracy"] < 0.5


def test_the_adapter_says_the_same_when_loaded(material, tmp_path):
    record = trained(material, tmp_path / "run", "--stage2_epochs", "5")
    model, processor = load_adapter(tmp_path / "run" / "adapter", material / "llm")
    assert model.config.option_temperature == record["validation"]["temperature"] != 1.0
    with torch.no_grad():
        scores, labels = zip(*(_scored(model, processor, row) for row in validation_rows(material)), strict=True)
        with model.language_model.disable_adapter():
            bare = [_scored(model, processor, row)[0] for row in validation_rows(material)]
    metrics = option_metrics(np.stack(scores), np.array(labels), model.config.option_temperature)
    expected = {k: v for k, v in record["validation"].items() if isinstance(v, float)}
    assert {k: metrics[k] for k in expected} == pytest.approx(expected, abs=5e-3)  # the cache holds fp16
    assert np.abs(np.stack(scores) - np.stack(bare)).max() > 0.1  # base and adapter differ


def validation_rows(material) -> list[dict]:
    return [row for row in load_corpus("manifest", material / "corpus") if row["split"] == "validation"]


def _scored(model, processor, row: dict) -> tuple[np.ndarray, int]:
    """Log-probabilities of the options for an audio file, and the right one."""
    content = Question("choose").content({"type": "audio", "path": row["audio"]})
    messages = [{"role": "user", "content": content}]
    inputs = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    logprobs = model(**inputs).logits[0, -1].log_softmax(-1)
    return logprobs[option_token_ids(processor.tokenizer)].numpy(), EMOTIONS.index(row["emotion"])


def test_a_run_leaves_the_adapter_its_record_and_nothing_else(material, tmp_path, capsys):
    record = trained(material, tmp_path / "run")
    assert "trainable: 1,600 of" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["adapter"]
    assert record["data"]["corpora"] == [{"corpus": "manifest", "train": 24, "validation": 12}]
    assert set(record["stages"]) == {"stage1", "stage2"} and record["seconds"] > 0
    assert {"accuracy", "ua", "macro_f1", "mass", "temperature", "ece"} <= set(record["validation"])
    assert {"commit", "versions", "date"} <= set(record["provenance"])
    assert record["stages"]["stage2"]["trainable"] > record["stages"]["stage1"]["trainable"]
    adapter = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (8, 32, 0.1)
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.rsplit(".", 1)[-1] for name in adapter["target_modules"]} == linear
    assert "accuracy" in (tmp_path / "run" / "adapter" / "README.md").read_text()


def test_the_best_epoch_is_kept(material, tmp_path, monkeypatch):
    accuracies = iter([0.2, 0.9, 0.5])
    kept = []

    def metrics(prediction):
        return dict(accuracy=next(accuracies), ua=0.0, macro_f1=0.0, mass=1.0)

    monkeypatch.setattr("fas_alm.training.trainer.trainer_metrics", metrics)
    original = AdapterTrainer.keep_weights
    monkeypatch.setattr(
        AdapterTrainer, "keep_weights", lambda self, *a: (kept.append(trainable_state(self.model)), original(self, *a))
    )
    trained(material, tmp_path / "run", "--stage1_epochs", "3", "--stage2_epochs", "0")
    assert len(kept) == 2  # of the first and of the second epoch
    saved = weights(tmp_path / "run")
    torch.testing.assert_close(
        saved["linear_1.weight"], kept[1]["multi_modal_projector.linear_1.weight"], rtol=0, atol=0
    )


@pytest.mark.parametrize(("step", "more"), [
    (2, ()),  # in stage 1: 3 steps
    (3, ()),  # between the stages
    (7, ()),  # in the second epoch of stage 2
    (8, ("--save_strategy", "steps", "--save_steps", "2")),  # in the middle of an epoch
])  # fmt: skip
def test_resumed_equals_uninterrupted_bit_for_bit(material, tmp_path, monkeypatch, step, more):
    more = (*more, "--tasks", "choose", "name", "json_words", "--shuffled_options", "1")  # LoRA has its dropout
    whole_run = material / f"whole{'-steps' if '--save_steps' in more else ''}"
    if not whole_run.exists():
        trained(material, whole_run, *more)
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(Interrupted):
            run.main(flags(material, tmp_path / "resumed", *more))
    assert not (tmp_path / "resumed" / "adapter").exists()
    record = trained(material, tmp_path / "resumed", *more, "--resume", "true")
    whole, resumed = weights(whole_run), weights(tmp_path / "resumed")
    assert whole.keys() == resumed.keys() and len(whole) > 20
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    expected = json.loads((whole_run / "adapter" / "training.json").read_text())
    assert record["validation"] == expected["validation"]
    losses = [[h["loss"] for h in r["stages"]["stage2"]["history"] if "loss" in h] for r in (record, expected)]
    assert losses[0] == losses[1]


def test_a_run_with_other_settings_is_not_resumed(material, tmp_path, monkeypatch, capsys):
    interrupt_at(monkeypatch, 7)  # in stage 2, after its first epoch
    with pytest.raises(Interrupted):
        run.main(flags(material, tmp_path / "run"))
    more = ("--resume", "true", "--learning_rate", "1e-3", "--lora_rank", "4")
    assert run.main(flags(material, tmp_path / "run", *more)) == 2
    error = capsys.readouterr().err
    assert "--resume needs the run's own settings" in error and "learning_rate" in error and "lora_rank" in error


def test_seeds_differ_and_a_seed_repeats(material, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        trained(material, tmp_path / name, "--seed", seed, "--stage2_epochs", "1")
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["linear_1.weight"], c["linear_1.weight"])


def test_fas_is_trained_when_asked_and_only_then(material, tmp_path):
    trained(material, tmp_path / "frozen", "--stage2_epochs", "1")
    trained(material, tmp_path / "free", "--stage2_epochs", "1", "--train_fas", "true", "--fas_learning_rate", "1e-3")
    original = load_file(material / "fas" / "model.safetensors")
    frozen, free = (load_file(tmp_path / n / "adapter" / "fas" / "model.safetensors") for n in ("frozen", "free"))
    assert all(torch.equal(original[name], frozen[name]) for name in original)
    assert any(not torch.equal(original[name], free[name]) for name in original)


@pytest.mark.parametrize("more", [
    ("--gradient_checkpointing", "true"),
    ("--bf16", "true"),
    ("--audio_tokens", "distilled"),
    ("--gradient_accumulation_steps", "2"),
    ("--stage1_epochs", "0", "--stage2_epochs", "1"),
    ("--max_train_clips", "9", "--validation_fraction", "0"),
])  # fmt: skip
def test_options(material, tmp_path, more):
    record = trained(material, tmp_path / "run", "--stage2_epochs", "1", *more)
    if "--max_train_clips" in more:
        assert record["data"]["corpora"][0]["train"] == 9
    assert np.isfinite(record["stages"]["stage2"]["history"][-1]["train_loss"])
    load_adapter(tmp_path / "run" / "adapter", material / "llm")


def test_accumulated_micro_batches_give_the_step_of_one_batch(material, tmp_path):
    """Answers of different length weigh the same, however the batch is cut; checked on JSONL, whose batches are alike."""
    lines = []
    for number in range(8):
        audio = {"type": "audio", "path": str(material / "corpus" / f"train-{number:03}.wav")}
        content = [{"type": "text", "text": "Describe."}, audio]
        answer = {"role": "assistant", "content": "the tone of voice" if number % 2 else "sad"}
        lines.append(json.dumps({"messages": [{"role": "user", "content": content}, answer]}))
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    common = (
        "--lora_dropout",
        "0",
        "--stage1_epochs",
        "1",
        "--stage2_epochs",
        "0",
        "--conversations",
        str(tmp_path / "c.jsonl"),
    )
    common += ("--validation_fraction", "0", "--max_grad_norm", "0", "--optim", "sgd", "--weight_decay", "0")
    for name, size, steps in (("one", "8", "1"), ("four", "2", "4")):
        arguments = flags(material, tmp_path / name, *common, "--per_device_train_batch_size", size)
        place = arguments.index("--corpora")
        del arguments[place : place + 2]
        assert run.main([*arguments, "--gradient_accumulation_steps", steps]) == 0
    one, four = weights(tmp_path / "one"), weights(tmp_path / "four")
    for name in one:
        torch.testing.assert_close(one[name], four[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("more", "problem"), [
    (("--stage1_epochs", "0", "--stage2_epochs", "0"), "nothing to train"),
    (("--tasks", "sing"), "--tasks: sing; expected some of choose"),
    (("--languages", "de"), "--languages: de"),
    (("--shuffled_options", "1.5"), "--shuffled_options 1.5: expected a share"),
    (("--lora_rank", "0"), "--lora_rank"),
    (("--option_smoothing", "1"), "--option_smoothing 1.0"),
    (("--audio_tokens", "raw"), "--audio_tokens: raw"),
    (("--remove_unused_columns", "true"), "--remove_unused_columns"),
    (("--learning_rate", "1e30", "--max_grad_norm", "0", "--logging_steps", "1"), "the loss is"),
    (("--no_such_flag", "1"), "--no_such_flag: no such option"),
])  # fmt: skip
def test_what_cannot_work_is_one_clear_error(material, tmp_path, capsys, more, problem):
    assert run.main(flags(material, tmp_path / "run", *more)) == 2
    error = capsys.readouterr().err
    assert problem in error and "Traceback" not in error


def test_a_yaml_file_goes_first_and_flags_win(tmp_path):
    (tmp_path / "c.yaml").write_text("corpora: [ravdess=x]\nlora_rank: 4\nstage2_epochs: 5\ntasks: [choose]\n")
    data, parts, training = run.parse([str(tmp_path / "c.yaml"), "--lora_rank", "2", "--output_dir", str(tmp_path)])
    assert (parts.lora_rank, training.stage2_epochs, data.tasks) == (2, 5, ["choose"])
    (tmp_path / "c.yaml").write_text("rank: 4\n")
    with pytest.raises(FASError, match="unknown keys rank"):
        run.parse([str(tmp_path / "c.yaml")])


def test_the_figures_of_c2ser_are_the_defaults():
    parts = ModelArguments()
    assert (parts.lora_rank, parts.lora_alpha, parts.lora_dropout) == (8, 32, 0.1)
    training = TrainingArguments(use_cpu=True)
    betas, rates = (
        (training.adam_beta1, training.adam_beta2),
        (training.learning_rate, training.projector_learning_rate),
    )
    assert betas == (0.9, 0.99) and rates == (5e-5, 1e-3)
    assert (training.weight_decay, training.warmup_steps) == (0.01, 0.15)
    with pytest.raises(FASError, match="--corpora and --conversations are empty"):
        DataArguments()


@pytest.mark.parametrize("name", ["alm.yaml", "alm_cpu.yaml", "c2ser.yaml", "connector_cpu.yaml"])
def test_configurations_are_understood(name, tmp_path):
    cpu = ["--use_cpu", "true", "--corpora", "ravdess=x", "--output_dir", str(tmp_path)]
    data, _, training = run.parse([str(ROOT / "train" / "configs" / name), *cpu])
    assert training.bf16 == has_bf16("cpu") and "choose" in data.tasks


def test_a_weights_file_of_another_run_is_refused(heard, answers):
    state = trainable_state(answers)
    with pytest.raises(CheckpointError, match="other trained parameters"):
        load_trainable_state(answers, dict(list(state.items())[1:]), "best.safetensors")


# ---- several processes, DeepSpeed --------------------------------------------------------------------------------------


def launch(command: list[str], **variables: str) -> subprocess.CompletedProcess:
    environment = (
        os.environ
        | variables
        | {"PYTHON_EXEC": PYTHON, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
    )
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


# DeepSpeed with gloo alone: its own all-reduce through shared memory would be compiled first, for a minute of two cores.
WHOLE = """
import sys
import deepspeed
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
from fas_alm.training import adapter as run
from fas_alm.training.trainer import AdapterTrainer
"""
# Ends after the first epoch of stage 2.
INTERRUPTED = """
step = AdapterTrainer.training_step
count = [0]

def training_step(self, *args, **kwargs):
    count[0] += 1
    if count[0] > 7:
        sys.exit(0)
    return step(self, *args, **kwargs)

AdapterTrainer.training_step = training_step
"""
MAIN = "sys.exit(run.main())"
SCRIPT = str(ROOT / "train" / "alm_adapter.py")
PLAIN = (
    "--lora_dropout", "0", "--per_device_train_batch_size", "5", "--seed", "3", "--optim", "sgd",
    "--tasks", "choose", "name", "json_words",  # answers of two tokens and of dozens; one batch is left over
    "--learning_rate", "1e-1", "--projector_learning_rate", "1e-1", "--stage2_epochs", "1",
)  # fmt: skip
TORCHRUN = [PYTHON, "-m", "torch.distributed.run", "--standalone"]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(material, tmp_path):
    """Two gloo processes take the micro-batches that one process accumulates."""
    one = trained(material, tmp_path / "one", *PLAIN, "--gradient_accumulation_steps", "2")
    launch([*TORCHRUN, "--nproc_per_node", "2", SCRIPT, *flags(material, tmp_path / "two", *PLAIN)])
    assert_alike(one, tmp_path)


def assert_alike(one: dict, folder: Path) -> None:
    """The run on two processes and that on one."""
    two = json.loads((folder / "two" / "adapter" / "training.json").read_text())
    assert two["arguments"]["training"]["world_size"] == 2
    assert two["validation"]["mass"] == pytest.approx(one["validation"]["mass"], rel=1e-2)
    first, second = weights(folder / "one"), weights(folder / "two")
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_fsdp_shards_the_layers_of_whatever_llm_and_gathers_what_it_saves(material, tmp_path):
    """FSDP2 on two gloo processes; the second run is interrupted in stage 2 and resumed."""
    one = trained(material, tmp_path / "one", *PLAIN, "--gradient_accumulation_steps", "2")
    script = [*TORCHRUN, "--nproc_per_node", "2", str(ROOT / "tests" / "helpers" / "fsdp_on_cpu.py")]
    command = [
        *script,
        *flags(material, tmp_path / "two", *PLAIN, "--fsdp", "true"),
        "--save_strategy",
        "steps",
        "--save_steps",
        "1",
    ]
    launch(command, FSDP_REPORT=str(tmp_path / "report"), FSDP_STEPS="5")
    assert not (tmp_path / "two" / "adapter").exists()
    launch([*command, "--resume", "true"], FSDP_REPORT=str(tmp_path / "report"))
    for process, stage in itertools.product("01", ("stage1", "stage2")):
        report = json.loads((tmp_path / f"report.{process}.{stage}").read_text())
        assert report["sharded"] == report["parameters"] and report["gradients"] == ["DTensor"]
        assert report["held"] == pytest.approx(report["whole"] / 2, rel=0.02)
        assert report["units"] == ["AnswerModel", "Qwen2DecoderLayer"]  # nobody has named the class
    assert_alike(one, tmp_path)


def deepspeed_command(folder: Path, name: str) -> list[str]:
    """`accelerate launch` with that configuration, for one process on a CPU."""
    pytest.importorskip("deepspeed")
    text = (ROOT / "train" / "configs" / "accelerate" / name).read_text()
    for theirs, ours in (
        ("num_processes: 8", "num_processes: 1"), ("mixed_precision: bf16", "mixed_precision: 'no'"),
        ("use_cpu: false", "use_cpu: true"), ("device: cpu", "device: none"),
    ):  # fmt: skip
        text = text.replace(theirs, ours)
    (folder / name).write_text(text)
    return [PYTHON, "-m", "accelerate.commands.launch", "--config_file", str(folder / name)]


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("FAS_TEST_ZERO3"), reason="DeepSpeed compiles its kernels: set FAS_TEST_ZERO3=1")
def test_zero3_gives_what_a_plain_run_gives(material, tmp_path):
    """Weights are gathered, and whole again in the second stage and in the adapter."""
    more = ("--lora_dropout", "0", "--share_prefix", "false")
    launch([*deepspeed_command(tmp_path, "zero3_offload.yaml"), SCRIPT, *flags(material, tmp_path / "zero", *more)])
    trained(material, tmp_path / "plain", *more)
    plain, zero = weights(tmp_path / "plain"), weights(tmp_path / "zero")
    assert plain.keys() == zero.keys()
    for name in plain:
        torch.testing.assert_close(plain[name], zero[name], atol=2e-3, rtol=1e-2)


@pytest.mark.slow
def test_zero2_saves_and_resumes(material, tmp_path):
    """One process, as a CPU allows; interrupted by a run that ends after 5 of 9 steps and leaves its state."""
    whole, interrupted = tmp_path / "whole.py", tmp_path / "interrupted.py"
    whole.write_text(WHOLE + MAIN)
    interrupted.write_text(WHOLE + INTERRUPTED + MAIN)
    command = deepspeed_command(tmp_path, "zero2.yaml")
    launch([*command, str(whole), *flags(material, tmp_path / "whole")])
    launch([*command, str(interrupted), *flags(material, tmp_path / "resumed")])
    assert list((tmp_path / "resumed" / "stage2" / "checkpoint-3").glob("global_step*/*optim_states.pt"))
    launch([*command, str(whole), *flags(material, tmp_path / "resumed", "--resume", "true")])
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert whole.keys() == resumed.keys() and any("lora_B" in name for name in whole)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("ensemble", [0.0, 0.9])
def test_a_fas_whose_tokens_are_not_its_whole_answer_is_warned_of(ensemble, caplog):
    warn_of_acoustic_head(ensemble)
    assert ("90%" in caplog.text and "adapter_fas.yaml" in caplog.text) == bool(ensemble)


# ---- what some conversations and devices bring -------------------------------------------------------------------------


def conversation(audio: str | None, question: str, answer: str) -> str:
    """A line of JSONL."""
    content = [{"type": "text", "text": question}] + ([{"type": "audio", "path": audio}] if audio else [])
    return json.dumps({"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]})


def only_conversations(material, output, *lines: str) -> list[str]:
    """Flags without corpora."""
    output.mkdir()
    (output / "c.jsonl").write_text("\n".join(lines))
    arguments = flags(
        material, output / "run", "--conversations", str(output / "c.jsonl"), "--validation_fraction", "0"
    )
    place = arguments.index("--corpora")
    return arguments[:place] + arguments[place + 2 :]


@pytest.mark.parametrize(("heard_lines", "more"), [
    (0, ()), (0, ("--stage1_epochs", "0")), (1, ("--per_device_train_batch_size", "1")), (6, ("--train_fas", "true")), (6, ()),
], ids=str)  # fmt: skip
def test_conversations_without_audio_are_learned(material, tmp_path, capsys, heard_lines, more):
    audio = str(material / "corpus" / "train-000.wav")
    lines = [conversation(None, f"Is {i} a number?", "yes") for i in range(6)]
    lines += [conversation(audio, "How does it sound?", "sad") for _ in range(heard_lines)]
    assert run.main([*only_conversations(material, tmp_path / "c", *lines), *more]) == 0
    told = capsys.readouterr().out
    record = json.loads((tmp_path / "c" / "run" / "adapter" / "training.json").read_text())
    wants_first = "--stage1_epochs" not in more
    assert list(record["stages"]) == (["stage1"] if wants_first and heard_lines else []) + ["stage2"]
    assert ("6 answers without audio" in told) == wants_first and ("it is left out" in told) == (
        wants_first and not heard_lines
    )
    load_adapter(tmp_path / "c" / "run" / "adapter", material / "llm")


def test_nothing_but_text_cannot_train_a_projector(material, tmp_path, capsys):
    arguments = only_conversations(material, tmp_path / "c", conversation(None, "Is 1 a number?", "yes"))
    assert run.main([*arguments, "--stage2_epochs", "0"]) == 2
    assert "--stage2_epochs 0: conversations without audio are learned in stage 2 only" in capsys.readouterr().err


def test_tasks_that_no_clip_answers_are_an_error_and_clips_that_answer_none_are_counted(
    material, tmp_path, caplog, capsys
):
    corpus = tmp_path / "corpus"
    write_corpus(corpus, {"train": 2, "validation": 1}, emotions=("angry", "sad"))
    assert run.main(flags(material, tmp_path / "run", "--corpora", f"manifest={corpus}", "--tasks", "agree")) == 2
    assert "--tasks agree: no clip has the labels" in capsys.readouterr().err
    both = ("--corpora", f"manifest={corpus}", f"manifest={material / 'corpus'}")
    assert (
        run.main(
            flags(
                material, tmp_path / "both", *both, "--tasks", "agree", "--stage1_epochs", "0", "--stage2_epochs", "1"
            )
        )
        == 0
    )
    assert "4 of 28 clips have no label that answers --tasks agree" in caplog.text


def test_one_process_on_a_machine_of_many_gpus_uses_one(material, tmp_path, monkeypatch, caplog):
    """Else transformers would wrap the model in DataParallel, which cuts a batch's rows by those of the shared prefix: one."""

    setup = transformers.TrainingArguments.__dict__["_setup_devices"].func

    def devices(self):
        device = setup(self)
        self._n_gpu = 4
        return device

    cached = functools.cached_property(devices)
    cached.__set_name__(transformers.TrainingArguments, "_setup_devices")
    monkeypatch.setattr(transformers.TrainingArguments, "_setup_devices", cached)
    monkeypatch.setattr(torch.nn.DataParallel, "__init__", lambda *_: pytest.fail("DataParallel"))
    seen, forward = [], AnswerModel.forward
    monkeypatch.setattr(
        AnswerModel,
        "forward",
        lambda self, **batch: (self.training and seen.append(len(batch["input_ids"])), forward(self, **batch))[1],
    )
    trained(material, tmp_path / "run", "--stage2_epochs", "0", "--validation_fraction", "0")
    assert "one process trains on one GPU, 3 more stay idle" in caplog.text and "--num_processes 4" in caplog.text
    assert sum(seen) == 24  # every clip of the epoch


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_ends_training_before_it_is_taken(
    material, tmp_path, monkeypatch, capsys, kind, value
):
    """In the second of three steps of stage 2, after the first epoch's state was saved."""
    original, count = AnswerModel.forward, [0]

    def forward(self, **batch):
        output = original(self, **batch)
        count[0] += self.training
        if count[0] == 8 and self.training:
            if kind == "loss":
                output["loss"] = output["loss"] * value
            else:
                output["loss"].register_hook(lambda gradient: gradient * value)
        return output

    monkeypatch.setattr(AnswerModel, "forward", forward)
    assert run.main(flags(material, tmp_path / "run", "--max_grad_norm", "0", "--logging_steps", "50")) == 2
    error = capsys.readouterr().err
    assert "in step 5 of 6" in error and "--learning_rate" in error and "Traceback" not in error
    assert not (tmp_path / "run" / "adapter").exists()
    kept = load_file(tmp_path / "run" / "stage2" / "checkpoint-3" / "model.safetensors")
    assert kept and all(torch.isfinite(values).all() for values in kept.values())


class TestPatience:
    SCORES = (0.2, 0.5, 0.5, 0.4, 0.9, 0.9)
    FLAGS = ("--stage1_epochs", "0", "--stage2_epochs", "6", "--patience", "2")

    @pytest.fixture(autouse=True)
    def scores(self, monkeypatch):
        """Validation of the epochs of a stage, whichever process of the run asks."""

        def evaluate(self, *args, original=AdapterTrainer.evaluation_loop, **kwargs):
            output = original(self, *args, **kwargs)
            output.metrics["eval_accuracy"] = TestPatience.SCORES[round(self.state.epoch) - 1]
            return output

        monkeypatch.setattr(AdapterTrainer, "evaluation_loop", evaluate)

    def test_a_stage_ends_when_validation_is_no_better_for_so_long(self, material, tmp_path, capsys):
        record = trained(material, tmp_path / "run", *self.FLAGS)["stages"]["stage2"]
        assert (record["steps"], record["planned_steps"], record["ended_by"]) == (4 * 3, 6 * 3, "patience")
        assert "--patience 2 ends the stage after 12 of 18 steps" in capsys.readouterr().out

    @pytest.mark.parametrize("moment", ["epoch 3", "end"])
    def test_resumed_it_has_as_much_of_it(self, material, tmp_path, monkeypatch, moment):
        trained(material, tmp_path / "whole", *self.FLAGS)
        with monkeypatch.context() as patch:
            if moment == "end":  # after the last validation, before the stage is marked as done
                patch.setattr(AdapterTrainer, "account", lambda self: (_ for _ in ()).throw(Interrupted))
            else:
                interrupt_at(patch, 9)
            with pytest.raises(Interrupted):
                run.main(flags(material, tmp_path / "resumed", *self.FLAGS))
        record = trained(material, tmp_path / "resumed", *self.FLAGS, "--resume", "true")["stages"]["stage2"]
        assert (record["steps"], record["ended_by"]) == (12, "patience")
        whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)

    @pytest.mark.parametrize("more", [("--eval_strategy", "no"), ("--validation_fraction", "0")])
    def test_without_validation_it_is_refused(self, material, tmp_path, capsys, more):
        corpus = tmp_path / "corpus"
        write_corpus(corpus, {"train": 2}, emotions=("angry", "sad"))
        assert run.main(flags(material, tmp_path / "run", *self.FLAGS, "--corpora", f"manifest={corpus}", *more)) == 2
        assert "--patience" in capsys.readouterr().err


def test_a_stage_2_that_ran_out_of_memory_is_tried_in_another_way_and_stage_1_is_kept(
    material, tmp_path, monkeypatch, capsys
):
    step, taken = AdapterTrainer.training_step, []

    def too_large(self, model, inputs, *args):
        taken.append(len(inputs["labels"]))
        if len(taken) > 3 and taken[-1] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, model, inputs, *args)

    monkeypatch.setattr(AdapterTrainer, "training_step", too_large)
    assert run.main(flags(material, tmp_path / "run")) == 2
    error = capsys.readouterr().err
    assert "stage2: out of memory" in error and "--per_device_train_batch_size" in error and "stage1 is kept" in error
    kept = (tmp_path / "run" / "stage1" / "best.safetensors").read_bytes()
    other = ("--resume", "true", "--projector_learning_rate", "1e-3", "--per_device_train_batch_size", "4")
    assert run.main(flags(material, tmp_path / "run", *other)) == 2  # that would have been another stage 1
    assert "differ: training per_device_train_batch_size, training projector_learning_rate" in capsys.readouterr().err
    smaller = (
        "--resume",
        "true",
        "--per_device_train_batch_size",
        "4",
        "--gradient_accumulation_steps",
        "2",
        "--lora_rank",
        "4",
    )
    monkeypatch.setattr("fas_alm.training.adapter.remove_checkpoints", lambda output: None)
    record = trained(material, tmp_path / "run", *smaller)
    assert (tmp_path / "run" / "stage1" / "best.safetensors").read_bytes() == kept and len(taken) == 4 + 2 * 6
    assert [record["stages"][s]["batch"] for s in ("stage1", "stage2")] == [8, 4]
