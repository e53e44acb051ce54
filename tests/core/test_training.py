"""Training on synthetic features: it learns, and the same run gives the same weights however it is cut."""

import json
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import Dataset
from repository import ROOT
from safetensors.torch import load_file, save_file
from warm import PYTHON

from fas_core.configuration_fas import FASConfig
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import StreamConfig
from fas_core.errors import CheckpointError, FASError, FeatureError
from fas_core.inference import Logits
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.training import fas as run
from fas_core.training import saving, schedule
from fas_core.training.arguments import (
    DataArguments,
    ModelArguments,
    TrainingArguments,
    fas_config,
    parse_layer,
    parse_pairs,
    stream_config,
)
from fas_core.training.clips import Clips, concatenate, label_indices
from fas_core.training.data import _with_validation, with_validation_speakers
from fas_core.training.loop import Trainer

ACOUSTIC, SEMANTIC, CLASSES = 6, 10, 3


def synthetic_clips(count: int, seed: int = 0, words: bool = True, variants: tuple[str, ...] = ()) -> Clips:
    """Clips of 3 to 9 patches; the mean tells the class, of the tone (acoustic) and the words (semantic)."""
    rng = np.random.default_rng(seed)
    labels, spoken = rng.integers(CLASSES, size=(2, count))
    features = []
    for tone, word in zip(labels, spoken, strict=True):
        patches = int(rng.integers(3, 10))
        acoustic = rng.normal(2 * np.eye(ACOUSTIC)[tone], 0.5, (patches, ACOUSTIC)).astype(np.float32)
        semantic = rng.normal(2 * np.eye(SEMANTIC)[word], 0.5, (patches + 1, SEMANTIC)).astype(np.float32)
        features.append(ClipFeatures(acoustic, semantic, 5 * patches, 5 * patches + 5))

    def get(index: int, variant: str) -> ClipFeatures:
        clip, shift = features[index], float(len(variant)) / 10
        return ClipFeatures(clip.acoustic + shift, clip.semantic + shift, clip.acoustic_frames, clip.semantic_frames)

    spoken = spoken if words else np.full(count, -100)
    return Clips([f"{seed}/{i}" for i in range(count)], labels, spoken, get, ["", *variants])


def tiny_config(**overrides) -> FASConfig:
    sizes = dict(acoustic_dim=ACOUSTIC, semantic_dim=SEMANTIC, hidden_size=16, intermediate_size=16)
    return FASConfig(**(sizes | dict(num_attention_heads=4, k_acoustic=3, k_semantic=4, dropout=0.2) | overrides))


def make_trainer(folder: Path, model: dict | None = None, train=None, validation=None, **arguments) -> Trainer:
    defaults = dict(epochs=3, global_batch_size=8, per_device_batch_size=4, learning_rate=3e-3, cpu=True)
    arguments = TrainingArguments(output_dir=str(folder), **(defaults | arguments))
    train = synthetic_clips(21) if train is None else train
    fas = run.new_model(tiny_config(**(model or {})), train, arguments.seed)
    return Trainer(fas, arguments, train, validation, Accelerator(cpu=True))


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.raw_model.state_dict().items()}


def largest_difference(a: dict, b: dict) -> float:
    assert a.keys() == b.keys()
    return max(float((a[k] - b[k]).abs().max()) for k in a)


def without_key_biases(state: dict) -> dict:
    """Attention ignores its keys' bias: the gradient is rounding noise, which Adam blows up to steps."""
    d = state["fas.projection.acoustic.bias"].shape[0]
    biases = {k: torch.cat([v[:d], v[2 * d :]]) for k, v in state.items() if k.endswith("in_proj_bias")}
    return state | biases


class TestLearning:
    @pytest.mark.parametrize("fusion", ["query", "concat", "gated"])
    def test_separable_classes_are_learned(self, tmp_path, fusion):
        model = dict(fusion=fusion, standardise=True)
        validation = synthetic_clips(40, seed=9)
        settings = dict(epochs=20, learning_rate=1e-2, per_device_batch_size=8)
        trainer = make_trainer(tmp_path, model, synthetic_clips(200, seed=1), validation, **settings)
        history = trainer.fit()
        assert history[-1]["loss"] < history[0]["loss"] / 2
        logits = trainer.validate()
        assert (logits.fused.argmax(1) == validation.labels).mean() > 0.95
        assert (logits.acoustic.argmax(1) == validation.labels).mean() > 0.8  # chance: 1 in 3
        # the semantic head learns the words, which know nothing of the tone here
        assert (logits.semantic.argmax(1) == validation.semantic_labels).mean() > 0.8

    def test_class_weights(self, tmp_path):
        clips = synthetic_clips(12)
        clips.labels = np.array([0] * 8 + [2] * 2 + [-100] * 2)
        expected = np.array([10 / 2 / 8, 0, 10 / 2 / 2, 0, 0, 0, 0])
        np.testing.assert_allclose(clips.class_weights(), expected)
        settings = dict(train=clips, epochs=1, global_batch_size=12, per_device_batch_size=12)
        trainer = make_trainer(tmp_path, dict(dropout=0.0, pathway_heads=False), class_weighting=True, **settings)
        before = FASForEmotionClassification(trainer.raw_model.config).eval()
        before.load_state_dict(trainer.raw_model.state_dict())
        logits = torch.from_numpy(run.predict_logits(before, lambda i: clips.features(i, ""), trainer.lengths).fused)
        entropy = torch.nn.functional.cross_entropy
        expected = entropy(logits, torch.from_numpy(clips.labels), torch.tensor(expected, dtype=torch.float32))
        assert trainer.fit()[0]["loss"] == pytest.approx(float(expected), rel=1e-5)

    def test_every_variant_is_drawn_and_none_in_validation(self, tmp_path):
        clips = synthetic_clips(16, variants=("speed:0.9", "noise:15"))
        seen, features = [], clips.features
        clips.features = lambda i, variant: (seen.append(variant), features(i, variant))[1]
        trainer = make_trainer(tmp_path, train=clips, validation=synthetic_clips(4, seed=2))
        seen.clear()
        trainer.fit()
        assert len(seen) == 3 * 16
        assert min(seen.count(v) for v in ("", "speed:0.9", "noise:15")) > 5

    def test_dropped_pathways(self, tmp_path):
        trainer = make_trainer(tmp_path, train=synthetic_clips(400), pathway_dropout=0.5)
        batch = trainer._augmented(np.arange(400), seed=0)
        dropped = {s: ~batch[f"{s}_mask"].any(1) for s in ("acoustic", "semantic")}
        assert not (dropped["acoustic"] & dropped["semantic"]).any()
        assert all(0.2 < float(d.float().mean()) < 0.3 for d in dropped.values())

    def test_words_corpora_teach_the_semantic_head_only(self, tmp_path):
        tone, words = synthetic_clips(8, words=False), synthetic_clips(8, seed=5)
        words.labels = np.full(8, -100)
        trainer = make_trainer(tmp_path, train=concatenate([tone, words]))
        assert np.isfinite(trainer.fit()[-1]["loss"])

    @pytest.mark.parametrize("kind", ["loss", "gradient"])
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_step_that_is_not_finite_is_not_taken(self, tmp_path, monkeypatch, kind, value):
        trainer = make_trainer(tmp_path, model=dict(dropout=0.0))
        backward, steps = trainer.accelerator.backward, []

        def spoiled(loss):
            steps.append(weights(trainer))
            if len(steps) == 9:  # the second micro-batch of the second step of the second epoch
                loss.register_hook(lambda gradient: gradient * value)
            backward(loss)

        monkeypatch.setattr(trainer.accelerator, "backward", spoiled)
        if kind == "loss":
            original = trainer._backward
            spoil = lambda *args: original(*args) * (value if len(steps) == 9 else 1)  # noqa: E731
            monkeypatch.setattr(trainer, "_backward", spoil)
        with pytest.raises(FASError, match="in epoch 2, step 2 of 3.*--learning_rate.*--max_grad_norm"):
            trainer.fit()
        assert largest_difference(weights(trainer), steps[-1]) == 0
        assert json.loads((tmp_path / "resume.json").read_text())["state"] == "resume-00000001"

    def test_gradients_are_clipped_to_the_norm_that_is_asked_for(self, tmp_path, monkeypatch):
        norms = {}
        for limit in (0.0, 0.05):
            trainer = make_trainer(tmp_path / str(limit), model=dict(dropout=0.0), epochs=1, max_grad_norm=limit)
            step, norms[limit] = trainer.optimizer.step, []

            def measured(*args, trainer=trainer, step=step, limit=limit):
                gradients = [p.grad for p in trainer.raw_model.parameters() if p.grad is not None]
                norms[limit].append(float(torch.nn.utils.get_total_norm(gradients)))
                step(*args)

            monkeypatch.setattr(trainer.optimizer, "step", measured)
            trainer.fit()
        assert min(norms[0.0]) > 0.1 and norms[0.05] == pytest.approx([0.05] * 3, rel=1e-3)

    def test_lost_in_nan_is_an_error_of_ours(self, tmp_path):
        with pytest.raises(FASError, match="loss is nan in epoch 1, step 1 of 1.*--learning_rate"):
            clips = synthetic_clips(8)
            clips.features(0, "").acoustic[:] = 0
            features = clips.features
            clips.features = lambda i, v: ClipFeatures(features(i, v).acoustic * np.nan, features(i, v).semantic, 5, 5)
            make_trainer(tmp_path, train=clips).fit()

    def test_nothing_to_train_on(self, tmp_path):
        empty = Clips([], np.array([], dtype=int), np.array([], dtype=int), lambda i, v: None)
        with pytest.raises(FeatureError, match="no training clip"):
            make_trainer(tmp_path, train=empty)

    def test_bf16(self, tmp_path):
        arguments = TrainingArguments(
            output_dir=str(tmp_path), epochs=2, global_batch_size=8, mixed_precision="bf16", cpu=True
        )
        train = synthetic_clips(16)
        model = run.new_model(tiny_config(), train, 0)
        AcceleratorState._reset_state()  # a process has one precision
        try:
            trainer = Trainer(model, arguments, train, train, Accelerator(cpu=True, mixed_precision="bf16"))
            assert np.isfinite([row["loss"] for row in trainer.fit()]).all()
        finally:
            AcceleratorState._reset_state()
        assert {v.dtype for v in model.state_dict().values()} == {torch.float32}


EVERYTHING = dict(mixup=0.4, pathway_dropout=0.3, label_smoothing=0.1, class_weighting=True)


class TestSameWeights:
    def test_same_seed_bit_for_bit(self, tmp_path):
        runs = []
        for seed in (1, 1, 2):
            trainer = make_trainer(tmp_path, dict(selection="random"), seed=seed, **EVERYTHING)
            trainer.fit()
            runs.append(weights(trainer))
        assert largest_difference(runs[0], runs[1]) == 0
        assert largest_difference(runs[0], runs[2]) > 0.01

    @pytest.mark.parametrize("keep", ["best", "last"])
    def test_resume_equals_no_interruption(self, tmp_path, monkeypatch, keep):
        def trainer(folder, **extra):
            train = synthetic_clips(21, variants=("speed:0.9",))
            validation = synthetic_clips(9, seed=3)
            model = dict(standardise=True, selection="random", summary="mean+deviation")
            return make_trainer(folder, model, train, validation, epochs=5, keep=keep, **EVERYTHING, **extra)

        undisturbed = trainer(tmp_path / "a")
        expected = undisturbed.fit()
        interrupted = trainer(tmp_path / "b")
        train_epoch = interrupted._train_epoch
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(interrupted, "_train_epoch", lambda e: train_epoch(e) if e < 2 else _interrupt())
            interrupted.fit()
        torch.manual_seed(12345)
        resumed = trainer(tmp_path / "b", resume=True, save_every=2, patience=50)  # these three may differ
        assert resumed.fit() == expected
        assert largest_difference(weights(resumed), weights(undisturbed)) == 0
        assert (resumed.best_epoch, resumed.best_score) == (undisturbed.best_epoch, undisturbed.best_score)
        (tmp_path / "b" / ".resume-abc.json").write_text("{")  # what a kill leaves
        resumed.finish()
        assert [f.name for f in (tmp_path / "b").iterdir()] == []

    @pytest.mark.parametrize(
        ("changed", "named"),
        [
            (dict(learning_rate=1e-3), "learning_rate"),
            (dict(epochs=4), "epochs"),
            (dict(model=dict(dropout=0.3)), "dropout"),
            (dict(model=dict(num_queries=3)), "num_queries"),
            (dict(train=synthetic_clips(20)), "training clips"),
            (dict(validation=synthetic_clips(4, seed=8)), "validation clips"),
        ],
    )
    def test_resume_with_other_settings_is_refused(self, tmp_path, changed, named):
        make_trainer(tmp_path).fit()
        with pytest.raises(CheckpointError, match="--resume") as error:
            make_trainer(tmp_path, resume=True, **changed).fit()
        assert f"differ: {named};" in str(error.value)

    def test_resume_with_other_audio_under_the_same_names_is_refused(self, tmp_path):
        def clips(content: str) -> Clips:
            return replace(synthetic_clips(21), digests=[content] * 21)

        make_trainer(tmp_path, train=clips("a")).fit()
        make_trainer(tmp_path, train=clips("a"), resume=True).fit()
        with pytest.raises(CheckpointError, match="training clips"):
            make_trainer(tmp_path, train=clips("b"), resume=True).fit()

    def test_resume_with_other_labels_is_refused(self, tmp_path):
        make_trainer(tmp_path).fit()
        clips = synthetic_clips(21)
        clips.labels = clips.labels[::-1].copy()
        with pytest.raises(CheckpointError, match="training clips"):
            make_trainer(tmp_path, train=clips, resume=True).fit()

    def test_a_damaged_state_is_named(self, tmp_path):
        make_trainer(tmp_path).fit()
        (state,) = tmp_path.glob("resume-*/state.safetensors")
        state.write_bytes(state.read_bytes()[:-100])
        with pytest.raises(CheckpointError, match="resume-00000003"):
            make_trainer(tmp_path, resume=True).fit()

    def test_resume_without_a_state_starts_and_says_so(self, tmp_path, caplog):
        fresh = make_trainer(tmp_path / "a")
        fresh.fit()
        resumed = make_trainer(tmp_path / "b", resume=True)
        resumed.fit()
        assert largest_difference(weights(fresh), weights(resumed)) == 0
        assert "no interrupted run" in caplog.text

    def test_a_run_anew_forgets_the_old_state(self, tmp_path):
        make_trainer(tmp_path, seed=1).fit()
        again = make_trainer(tmp_path, seed=2)
        assert len(again.fit()) == 3

    @pytest.mark.parametrize("fusion", ["query", "concat", "gated"])
    def test_accumulation_equals_one_big_batch(self, tmp_path, fusion):
        runs = []
        clips = synthetic_clips(21)
        clips.labels[::5] = -100  # so that micro-batches differ in their number of labels
        for size in (8, 4, 3):
            model = dict(dropout=0.0, fusion=fusion)
            extra = dict(class_weighting=True, label_smoothing=0.1)
            trainer = make_trainer(tmp_path, model, clips, per_device_batch_size=size, **extra)
            history = trainer.fit()
            runs.append((weights(trainer), [row["loss"] for row in history]))
        for found, losses in runs[1:]:
            assert largest_difference(without_key_biases(found), without_key_biases(runs[0][0])) < 1e-5
            np.testing.assert_allclose(losses, runs[0][1], rtol=1e-5)


def _interrupt():
    raise KeyboardInterrupt


DISTRIBUTED = {
    "query": (dict(), dict(global_batch_size=8, per_device_batch_size=2)),
    # three micro-batches for two processes: one of them computes an empty one
    "concat": (dict(fusion="concat", summary="mean"), dict(global_batch_size=6, per_device_batch_size=2)),
    "gated": (dict(fusion="gated", selection="random"), dict(global_batch_size=21, per_device_batch_size=4)),
}


def train_distributed(folder: Path) -> None:
    """What each process of the test below runs: every setting; the main one keeps weights and history."""
    for name, (model, arguments) in DISTRIBUTED.items():
        trainer = make_trainer(
            folder / name, model, synthetic_clips(21), synthetic_clips(5, seed=3), **EVERYTHING, **arguments
        )
        history = trainer.fit()
        if trainer.accelerator.is_main_process:
            save_file(weights(trainer), folder / f"{name}.safetensors")
            (folder / f"{name}.json").write_text(json.dumps([trainer.accelerator.num_processes, history]))


def test_two_processes_equal_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, pathlib, test_training\ntest_training.train_distributed(pathlib.Path(sys.argv[1]))\n"
    )
    command = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    paths = os.pathsep.join([str(ROOT / part) for part in ("", "tests/core", "tests/helpers")])
    (tmp_path / "two").mkdir()
    subprocess.run(
        [*command, str(script), str(tmp_path / "two")],
        env=os.environ | {"PYTHONPATH": paths, "PYTHON_EXEC": PYTHON, "OMP_NUM_THREADS": "1"}, check=True, timeout=300,
    )  # fmt: skip
    (tmp_path / "one").mkdir()
    train_distributed(tmp_path / "one")
    for name in DISTRIBUTED:
        processes, history = json.loads((tmp_path / "two" / f"{name}.json").read_text())
        _, expected = json.loads((tmp_path / "one" / f"{name}.json").read_text())
        assert processes == 2
        one, two = (load_file(tmp_path / side / f"{name}.safetensors") for side in ("one", "two"))
        assert largest_difference(without_key_biases(one), without_key_biases(two)) < 1e-4, name
        for ours, theirs in zip(history, expected, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)


class TestBestEpoch:
    """Validation that is perfect after the second epoch and wrong afterwards."""

    @pytest.fixture
    def trainer(self, tmp_path, monkeypatch):
        def make(**arguments):
            validation = synthetic_clips(12, seed=4)
            trainer = make_trainer(tmp_path, validation=validation, **({"epochs": 6} | arguments))
            trainer.seen = []

            def validate():
                trainer.seen.append(weights(trainer))
                right = len(trainer.seen) == 2
                answers = validation.labels if right else (validation.labels + len(trainer.seen) % 2 + 1) % CLASSES
                return Logits(*[np.eye(7, dtype=np.float32)[answers]] * 3)

            monkeypatch.setattr(trainer, "validate", validate)
            return trainer

        return make

    def test_best_is_kept(self, trainer):
        found = trainer(keep="best")
        history = found.fit()
        assert found.best_epoch == 1 and history[1]["macro_f1"] == 1 and len(history) == 6
        assert largest_difference(weights(found), found.seen[1]) == 0

    def test_last_is_kept(self, trainer):
        found = trainer(keep="last")
        found.fit()
        assert found.best_epoch == 1
        assert largest_difference(weights(found), found.seen[-1]) == 0

    def test_patience(self, trainer):
        assert len(trainer(patience=2).fit()) == 4
        assert len(trainer(patience=1).fit()) == 3


class TestRun:
    """What stands around the loop: calibration, refit, the checkpoint on disk."""

    def test_calibration_sets_the_temperature_of_each_head(self, tmp_path):
        validation = synthetic_clips(40, seed=9)
        trainer = make_trainer(
            tmp_path,
            dict(standardise=True),
            synthetic_clips(60, seed=1),
            validation,
            epochs=8,
            learning_rate=1e-2,
        )
        trainer.fit()
        summary = run.calibrate(trainer.raw_model, validation)
        assert summary.keys() == {"fused", "acoustic", "semantic"}
        config = trainer.raw_model.config
        assert summary["fused"]["temperature"] == config.temperature != 1
        assert summary["semantic"]["temperature"] == config.semantic_temperature
        assert summary["fused"]["accuracy"] > 0.9 and summary["fused"]["clips"] == 40

    def test_no_words_no_semantic_temperature(self, tmp_path):
        validation = synthetic_clips(10, words=False)
        model = make_trainer(tmp_path).raw_model
        assert run.calibrate(model, validation).keys() == {"fused", "acoustic"}
        assert model.config.semantic_temperature == 1

    def test_refit_trains_on_everything_for_the_chosen_epochs(self, tmp_path):
        train, validation = synthetic_clips(21), synthetic_clips(9, seed=3)
        chosen = make_trainer(tmp_path, train=train, validation=validation, refit=True)
        chosen.fit()
        chosen.best_epoch = 1
        both = concatenate([train, validation])
        model, _ = run.refit(chosen.raw_model.config, chosen.arguments, chosen, both, chosen.accelerator)
        reference = make_trainer(tmp_path / "reference", train=both, refit=True)
        reference.epochs = 2
        reference.fit()
        assert largest_difference(model.state_dict(), weights(reference)) == 0

    def test_a_killed_save_leaves_no_mixture(self, tmp_path, monkeypatch):
        class Extractor:
            identity = staticmethod(lambda: {"encoder": "synthetic"})

        monkeypatch.setattr(saving, "model_card", lambda result: "a card")
        model = make_trainer(tmp_path).raw_model
        saving.save_checkpoint(model, Extractor, tmp_path, {"epoch": 1})
        names = {"config.json", "model.safetensors", "streams.json", "training.json", "README.md"}
        names |= {"preprocessor_config.json"}
        assert {f.name for f in tmp_path.iterdir()} == names
        replace, done = os.replace, []

        def killed_after_one(source, target):
            if Path(target).parent == tmp_path and done:
                raise KeyboardInterrupt
            done.extend([target] if Path(target).parent == tmp_path else [])
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(saving.os, "replace", killed_after_one)
            saving.save_checkpoint(model, Extractor, tmp_path, {"epoch": 2})
        with pytest.raises(RuntimeError):
            FASForEmotionClassification.from_pretrained(tmp_path)
        saving.save_checkpoint(model, Extractor, tmp_path, {"epoch": 3})
        assert {f.name for f in tmp_path.iterdir()} == names
        assert FASForEmotionClassification.from_pretrained(tmp_path).num_parameters() == model.num_parameters()


class TestSchedule:
    def test_micro_batches_hold_every_clip_once(self):
        lengths = np.random.default_rng(0).integers(1, 50, 100)
        clips = schedule.epoch_order(100, seed=1, epoch=0)[:37]
        for processes in (1, 2, 3):
            batches = schedule.micro_batches(clips, lengths, 5, processes, seed=1, epoch=0, step=0)
            assert len(batches) % processes == 0
            assert sorted(np.concatenate([b.indices for b in batches])) == sorted(clips)
            assert len({b.seed for b in batches}) == len(batches)
        ordered = lengths[np.concatenate([b.indices for b in batches])]
        assert (np.diff(ordered) <= 0).all()

    def test_processes_only_share_out(self):
        lengths, clips = np.arange(20), np.arange(20)
        one, two = (schedule.micro_batches(clips, lengths, 4, p, 7, 3, 2) for p in (1, 2))
        for ours, theirs in zip(one, two, strict=False):
            assert ours.indices.tolist() == theirs.indices.tolist() and ours.seed == theirs.seed

    def test_order_is_a_new_permutation_each_epoch(self):
        first, second = (schedule.epoch_order(50, 1, epoch).tolist() for epoch in (0, 1))
        assert sorted(first) == sorted(second) == list(range(50))
        assert first != second and first == schedule.epoch_order(50, 1, 0).tolist()

    def test_learning_rate_warms_up_then_falls_as_a_cosine(self):
        factors = [schedule.learning_rate_factor(step, 100, 0.05) for step in range(100)]
        assert np.argmax(factors) == 5 and factors[5] == 1
        assert (np.diff(factors[:6]) > 0).all() and factors[0] > 0
        assert (np.diff(factors[5:]) < 0).all()
        assert factors[52] == pytest.approx(0.5 * (1 + math.cos(math.pi * 47 / 95)))
        assert 0 < factors[-1] < 1e-3

    def test_steps(self):
        assert [schedule.steps_per_epoch(n, 8) for n in (1, 8, 9)] == [1, 1, 2]


def speaker_rows(speakers: list[str | None], split: str = "train") -> Dataset:
    rows = {
        "id": [str(i) for i in range(len(speakers))],
        "speaker": speakers,
        "split": [split] * len(speakers),
    }
    return Dataset.from_dict(rows)


class TestValidationSpeakers:
    def test_whole_speakers_move(self):
        rows = speaker_rows([s for s in "abcdefghij" for _ in range(3)])
        found = with_validation_speakers(rows, 0.2, seed=0)
        sides = {s: {r["split"] for r in found if r["speaker"] == s} for s in "abcdefghij"}
        assert all(len(side) == 1 for side in sides.values())
        assert sum(side == {"validation"} for side in sides.values()) == 2

    def test_only_where_no_corpus_has_a_validation_split(self):
        train, ready = speaker_rows(["a", "b", "c"]), speaker_rows(["d"], "validation")
        untouched = _with_validation([("x", train, True), ("y", ready, True)], 0.15, 0)
        assert [set(rows["split"]) for _, rows, _ in untouched] == [{"train"}, {"validation"}]
        divided = _with_validation([("x", train, True), ("z", speaker_rows(["e"]), True)], 0.15, 0)
        assert [set(rows["split"]) for _, rows, _ in divided] == [{"train", "validation"}, {"train"}]

    @pytest.mark.parametrize("speakers", [["a", "a"], [None, None]])
    def test_nobody_to_put_aside(self, speakers):
        corpora = [("x", speaker_rows(speakers), True)]
        with pytest.raises(FASError, match="--validation_fraction 0"):
            _with_validation(corpora, 0.15, 0)
        assert _with_validation(corpora, 0.0, 0) == corpora


class TestArguments:
    def test_defaults_are_table_3(self):
        data, model, training = run.parse(["--corpora", "ravdess=a", "tess=b"])
        assert data.corpora == ["ravdess=a", "tess=b"] and data.fold is None
        assert (training.learning_rate, training.weight_decay, training.warmup_ratio) == (2e-4, 1e-4, 0.05)
        assert (training.global_batch_size, training.epochs, training.seed) == (2048, 100, 42)
        dimensions = {"acoustic": 64, "semantic": 1280}
        ours = fas_config(model, dimensions, {}, "").to_dict()
        paper = FASConfig.paper().to_dict()
        assert {k for k in paper if ours[k] != paper[k]} == {"pathway_heads", "streams", "streams_identity"}

    def test_configurations_that_we_ship_parse(self):
        configs = (ROOT / "train" / "configs").glob("*.yaml")
        of_adapters = ("alm", "c2ser", "connector")  # of train/alm_adapter.py
        found = sorted(file for file in configs if not file.name.startswith(of_adapters))
        assert found
        for file in found:
            run.parse([str(file)])
        assert run.parse([str(ROOT / "train" / "configs" / "paper.yaml")])[1:] == run.parse([])[1:]

    def test_yaml_first_flags_win(self, tmp_path):
        file = tmp_path / "a.yaml"
        file.write_text(
            "corpora: [ravdess=x]\nepochs: 7\nlearning_rate: 3e-4\nstandardise: true\ntrim: false\n"
            "acoustic_layer: 2,3\nsemantic_layer: -1\nfold: null\nwords_corpora: []\n"
        )
        data, model, training = run.parse([str(file), "--epochs", "9", "--fold", "2"])
        assert (data.corpora, data.trim, data.fold, data.acoustic_layer) == (["ravdess=x"], False, 2, "2,3")
        assert (training.epochs, training.learning_rate, model.standardise) == (9, 3e-4, True)
        assert data.semantic_layer == "-1" and data.words_corpora == []

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--fusion", "sum"], "--fusion: 'sum', expected one of query, concat, gated"),
            (["--selection", "best"], "--selection"),
            (["--keep", "worst"], "--keep 'worst'"),
            (["--tracker", "abacus"], "--tracker 'abacus'"),
            (["--mixed_precision", "fp64"], "--mixed_precision"),
            (["--epochs", "0"], "--epochs 0: expected at least 1"),
            (["--epochs", "many"], "--epochs 'many': expected a valid integer"),
            (["--dropout", "1.5"], "--dropout"),
            (["--hidden_size", "100"], "--hidden_size: 100, expected a multiple of"),
            (["--pathway_dropout", "nan"], "--pathway_dropout"),
            (["--learning_rate", "-1"], "--learning_rate -1.0"),
            (["--standardise", "perhaps"], "perhaps: not understood"),
            (["--augmentation", "speed:9"], "speed takes a number from 0.5 to 2"),
            (["--acoustic_layer", "two"], "--acoustic_layer 'two'"),
            (["--semantic_layer", "two"], "--semantic_layer 'two'"),
            (["--no_such_flag", "1"], "--no_such_flag: no such option"),
            (["stray"], "stray: not understood"),
            (["missing.yaml"], "missing.yaml: no such configuration file"),
            ([], "--corpora is empty"),
            (["--corpora", "ravdess"], "'ravdess': expected NAME=FOLDER"),
        ],
    )
    def test_bad_flags_end_with_2_and_one_line(self, arguments, told, tmp_path, capfd, monkeypatch):
        monkeypatch.setattr(run.FeatureExtractor, "from_config", lambda *a, **k: _NoEncoders())
        code, line = self._end([*arguments, "--output_dir", str(tmp_path)], capfd)
        assert code == 2 and told in line

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("epoch: 3\nlearnin_rate: 1", "unknown keys epoch, learnin_rate; did you mean epochs, learning_rate?"),
            ("epochs: many", "a.yaml: --epochs 'many': expected a valid integer"),
            ("epochs: [1, 2]", "a.yaml: epochs: expected one value, found 2"),
            ("fusion: sum", "--fusion: 'sum'"),
            ("- epochs", "expected keys with values"),
            ("epochs: [1", "not YAML"),
            ("standardise: 3", "a.yaml: standardise '3': expected true or false"),
            ("epochs: 3\nepochs: 30", "the key 'epochs' is there twice"),
        ],
    )
    def test_bad_yaml_ends_with_2_and_one_line(self, text, told, tmp_path, capfd):
        file = tmp_path / "a.yaml"
        file.write_text(text)
        code, line = self._end([str(file)], capfd)
        assert code == 2 and told in line

    @staticmethod
    def _end(arguments: list[str], capfd) -> tuple[int, str]:
        """Exit code and what stderr says, which is one line."""
        code = run.main(arguments)
        text = capfd.readouterr().err
        assert "Traceback" not in text
        return code, text.strip().splitlines()[-1]

    def test_help_names_every_argument(self, capsys):
        assert run.main(["--help"]) == 0
        text = capsys.readouterr().out
        assert "--corpora" in text and "--global-batch-size" in text and "NAME=FOLDER" in text

    def test_streams(self):
        data = DataArguments(encoder="w", acoustic_layer="2,3", padding="30s", trim=False)
        found = stream_config(data, ModelArguments(patch_size=4))
        assert found["acoustic"]["layer"] == [2, 3] and found["semantic"]["layer"] == -1
        assert found["acoustic"]["padding"] == "30s" and found["patch_size"] == 4
        assert found["front_end"] == {"trim": False, "level": True}
        codec = stream_config(DataArguments(acoustic_encoder="x.tflite"), ModelArguments())
        assert codec["acoustic"] == {"type": "soundstream", "model": "x.tflite"}
        assert codec["semantic"] == {
            "type": "whisper", "model": "offline:tiny.en", "revision": None, "layer": -1, "padding": "clip"
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("wavlm:org/name", {"type": "wavlm", "model": "org/name", "revision": None, "layer": [1, 2]}),
            ("wavlm", {"type": "wavlm", "revision": None, "layer": [1, 2]}),
            ("egemaps", {"type": "egemaps"}),
            ("soundstream:x", {"type": "soundstream", "model": "x"}),
            ("whisper:offline:base", {"model": "offline:base", "padding": "clip"}),
            ("whisper", {"type": "whisper", "model": "whisper"}),  # a directory of that name, as in an exported model
            ("openai/whisper-base", {"type": "whisper", "model": "openai/whisper-base"}),
        ],
    )
    def test_streams_of_any_encoder(self, text, expected):
        data = DataArguments(acoustic_encoder=text, acoustic_layer="1,2", semantic_encoder=text, semantic_layer="last")
        found = stream_config(data, ModelArguments())
        StreamConfig.from_dict(found)  # the registry takes all of it
        assert expected.items() <= found["acoustic"].items()
        assert found["acoustic"].get("layer", [1, 2]) == [1, 2] and found["semantic"].get("layer", -1) == -1
        assert set(found["acoustic"]) == set(found["semantic"])

    def test_small_parsers(self):
        assert parse_layer("3") == 3 and parse_layer("2,3") == [2, 3]
        assert parse_pairs(["a=b=c"], "--corpora") == [("a", Path("b=c"))]
        assert label_indices(["angry", None, "surprise"]).tolist() == [0, -100, 6]


class _NoEncoders:
    """Stands where encoders would be loaded: a bad argument must not need them."""

    dimensions = {"acoustic": ACOUSTIC, "semantic": SEMANTIC}
    digest = "0" * 64

    def identity(self) -> dict:
        return {}


def test_concatenated_clips_keep_their_own_features():
    parts = [synthetic_clips(3), synthetic_clips(2, seed=1)]
    whole = concatenate(parts)
    assert len(whole) == 5 and whole.ids[3] == "1/0"
    assert np.array_equal(whole.features(4, "").acoustic, parts[1].features(1, "").acoustic)
    assert whole.labels.tolist() == [*parts[0].labels, *parts[1].labels]


@pytest.mark.parametrize(("options", "named"), [
    (dict(acoustic_encoder="egemaps", acoustic_layer="3"), "--acoustic_layer 3 is not used: the encoder egemaps has no layers"),
    (dict(acoustic_encoder="egemaps", semantic_encoder="egemaps", padding="30s"), "--padding 30s is not used"),
    (dict(acoustic_encoder="egemaps"), ""),
])  # fmt: skip
def test_an_option_that_the_encoders_do_not_have_is_told(options, named, caplog):
    stream_config(DataArguments(**options), ModelArguments())
    assert named in caplog.text and bool(caplog.text) == bool(named)


@pytest.mark.parametrize("gpus", [1, 3])
def test_one_process_beside_idle_gpus_says_so(monkeypatch, capsys, gpus):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(run, "Accelerator", lambda **_: SimpleNamespace(num_processes=1))
    run._accelerator(TrainingArguments())
    assert ("--num_processes 3" in " ".join(capsys.readouterr().out.split())) == (gpus == 3)


@pytest.mark.parametrize("more", [dict(patience=2), dict(refit=True)], ids=str)
def test_what_goes_by_validation_needs_some(tmp_path, monkeypatch, more):
    account = dict(corpora=[], identity="")
    monkeypatch.setattr(run, "load_clips", lambda *_, **__: (synthetic_clips(8), None, account))
    monkeypatch.setattr(run.FeatureExtractor, "from_config", lambda *_, **__: None)
    with pytest.raises(FASError, match=f"--{next(iter(more))}: there are no validation clips"):
        run.train(
            DataArguments(corpora=["a=b"]),
            ModelArguments(),
            TrainingArguments(output_dir=str(tmp_path), cpu=True, **more),
        )
