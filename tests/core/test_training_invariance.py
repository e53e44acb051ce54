"""Tokens that tell emotions and not corpora: adversaries, contrast, mixed corpora, residuals; off they change nothing."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from test_training import CLASSES, ROOT, largest_difference, synthetic_clips, tiny_config, weights, without_key_biases
from warm import PYTHON

from fas_core.discriminant import ABSENT
from fas_core.errors import CheckpointError, FASError, FeatureError
from fas_core.inference import predict_logits
from fas_core.training import fas as run
from fas_core.training import schedule
from fas_core.training.adversary import ReverseGradient, domains, reversal
from fas_core.training.arguments import TrainingArguments
from fas_core.training.clips import Clips
from fas_core.training.contrastive import category_contrast
from fas_core.training.invariance import Invariance
from fas_core.training.loop import Trainer
from fas_core.training.residual import keep_tone_logits, residual_labels, tone_logits

MODEL = dict(standardise=True, summary="mean+deviation", summary_streams=["acoustic"])
RESIDUAL = MODEL | dict(head_shrinkage=0.3, residual=True)
BOTH = ["fused", "pooled"]
EVERYTHING = dict(
    adversarial="speaker", adversarial_on=BOTH, domain_balanced_batches=True, contrastive=0.3, contrastive_on=BOTH, contrastive_pairs="across",
    mixup=0.4, mixup_across_corpora=True, class_weighting=True, corpus_balance=True,
)  # fmt: skip


def several(count: int = 42, seed: int = 0, shift: float = 0.0) -> Clips:
    """Clips of two corpora, the second half as large, and two speakers each; `shift` is what the second adds to its features."""
    clips = synthetic_clips(count, seed, words=False, variants=("speed:0.9",))
    clips.corpora = ["small" if i % 3 == 0 else "big" for i in range(count)]
    clips.speakers = [f"s{i % 2}" for i in range(count)]
    features = clips.features

    def get(index: int, variant: str):
        clip = features(index, variant)
        clip.acoustic[:, -1] += shift * (clips.corpora[index] == "small")
        return clip

    clips.features = get
    return clips


def trainer(folder: Path, model=None, train=None, validation=None, **arguments) -> Trainer:
    defaults = dict(epochs=3, global_batch_size=12, per_device_batch_size=12, learning_rate=3e-3, cpu=True)
    arguments = TrainingArguments(output_dir=str(folder), **(defaults | arguments))
    train = train or several()
    fas = run.new_model(tiny_config(**(MODEL if model is None else model)), train, arguments.seed, arguments)
    return Trainer(fas, arguments, train, validation, Accelerator(cpu=True))


class TestAdversary:
    def test_the_reversal_grows_from_nothing_to_all(self):
        values = [reversal(p) for p in (0, 0.1, 0.5, 1)]
        assert values[0] == 0 and values == sorted(values) and values[-1] == pytest.approx(1, abs=1e-3)
        assert values[1] == pytest.approx(2 / (1 + np.exp(-1)) - 1)  # gamma is 10

    def test_the_gradient_turns_round_and_the_values_stay(self):
        x = torch.randn(3, 2, requires_grad=True)
        y = ReverseGradient.apply(x, 0.25)
        assert torch.equal(x, y)
        y.sum().backward()
        assert torch.equal(x.grad, torch.full_like(x, -0.25))

    @pytest.mark.parametrize("place", BOTH)
    def test_the_classifier_goes_down_and_the_model_goes_up(self, tmp_path, place):
        """One step of the domain loss alone, along the gradients of the classifier, and along those of the model."""
        found = trainer(tmp_path, MODEL | dict(dropout=0.0), adversarial="corpus", adversarial_on=[place])
        whole, indices = found.trained, np.arange(42)
        batch = dict(found._augmented(indices, 0).items())
        labels = torch.from_numpy(found.labels)

        def loss(strength):
            output, told = whole(strength, **batch)
            return found.invariance.loss(output, told, indices, labels, (42.0, 42.0))

        before = loss(1.0)
        before.backward()
        gradients = {n: p.grad.clone() for n, p in whole.named_parameters() if p.grad is not None}
        for part, sign in (("classifiers.", -1), ("model.", 1)):
            chosen = [n for n in gradients if n.startswith(part) and gradients[n].any()]
            assert chosen, part
            parameters = dict(whole.named_parameters())
            with torch.no_grad():
                for name in chosen:
                    parameters[name] -= 1e-3 * gradients[name]
                assert sign * (loss(1.0) - before) > 0, part
                for name in chosen:
                    parameters[name] += 1e-3 * gradients[name]
        whole.zero_grad()
        loss(0.0).backward()  # at the start nothing is reversed
        assert not any(
            p.grad.any() for n, p in whole.named_parameters() if n.startswith("model.") and p.grad is not None
        )

    def test_domains(self):
        clips = several(6)
        clips.labels[1] = -100
        assert domains(clips, "corpus").tolist() == [1, -100, 0, 1, 0, 0]
        assert len(set(domains(clips, "speaker")) - {-100}) == 4  # s0 of one corpus is not s0 of the other
        clips.speakers = [None, *clips.speakers[1:]]
        assert domains(clips, "speaker")[0] == -100
        clips.synthesizers = ["espeak", None, None, "espeak", None, "parler"]
        assert domains(clips, "synthesizer").tolist() == [0, -100, 1, 0, 1, 2]

    def test_one_domain_is_refused(self, tmp_path):
        with pytest.raises(FASError, match="--adversarial: 1 domain"):
            trainer(tmp_path, adversarial="synthesizer")

    def test_the_checkpoint_is_that_of_the_model_alone(self, tmp_path):
        assert weights(trainer(tmp_path, adversarial="corpus")).keys() == weights(trainer(tmp_path)).keys()

    def test_statistics_that_nothing_projects_cannot_be_read(self, tmp_path):
        with pytest.raises(FASError, match="pooled: .*--summary"):
            trainer(tmp_path, dict(standardise=True), adversarial="corpus", adversarial_on=["pooled"]).fit()


def fused(model, clips) -> np.ndarray:
    """(N, d)"""
    rows = np.zeros((len(clips), model.config.hidden_size), np.float32)
    predict_logits(
        model,
        lambda i: clips.features(i, ""),
        [5] * len(clips),
        on_output=lambda i, o: rows.__setitem__(i, o.fused.mean(1).numpy()),
    )
    return rows


class TestBalance:
    def test_every_batch_has_as_many_of_each(self):
        numbers = np.array([0] * 50 + [1] * 7 + [-100] * 3)
        order = schedule.balanced_order(numbers, 60, 1, 0)
        for start in range(0, 60, 12):
            assert [(numbers[order[start : start + 12]] == n).sum() for n in (0, 1, -100)] == [4, 4, 4]
        assert (
            set(numbers[order]) == {0, 1, -100} and len(set(order[numbers[order] == 0])) == 20
        )  # none twice before all once
        np.testing.assert_array_equal(order, schedule.balanced_order(numbers, 60, 1, 0))
        assert (order != schedule.balanced_order(numbers, 60, 1, 1)).any()

    def test_corpora_are_not_balanced_twice(self, tmp_path):
        both = trainer(
            tmp_path,
            domain_balanced_batches=True,
            corpus_balance=True,
            corpus_weights=["big=0.5"],
            class_weighting=True,
        )
        of = dict(zip(both.train_clips.corpora, both.clip_weights.tolist(), strict=True))
        assert of["small"] == pytest.approx(2 * of["big"])
        weighted = trainer(tmp_path, corpus_balance=True, corpus_weights=["big=0.5"], class_weighting=True)
        assert torch.equal(both.class_weights, weighted.class_weights)
        voices = trainer(tmp_path, domain_balanced_batches=True, corpus_balance=True, adversarial="speaker")
        assert len(set(voices.clip_weights.tolist())) == 2


class TestMixup:
    def test_partners_are_of_another_corpus(self):
        model = run.new_model(tiny_config(), several(), 0)
        across = Invariance(model, TrainingArguments(mixup=0.4, mixup_across_corpora=True), several())
        indices = np.arange(24)
        partners, share = across.mixing(indices, 5)
        corpora = np.array(several().corpora)
        assert (corpora[indices[partners]] != corpora[indices]).all() and 0 <= share <= 1
        alone = np.flatnonzero(corpora == "big")[:5]
        assert sorted(across.mixing(alone, 5)[0]) == list(range(5))  # nobody else is there
        assert Invariance(model, TrainingArguments(mixup_across_corpora=True), several()).mixing(indices, 5) is None


def plain_contrast(tokens, labels, weights, indices, corpora=None) -> float:
    """The definition, clip by clip."""
    total = 0.0
    for i in range(len(labels)):
        others = [
            j for j in range(len(labels))
            if labels[i] != -100 and labels[j] != -100 and indices[i] != indices[j] and (corpora is None or corpora[i] != corpora[j])
        ]  # fmt: skip
        alike = [j for j in others if labels[j] == labels[i]]
        if not alike:
            continue
        cosines = (
            np.array([tokens[i] @ tokens[j] / np.linalg.norm(tokens[i]) / np.linalg.norm(tokens[j]) for j in others])
            / 0.1
        )
        log_shares = dict(zip(others, cosines - np.log(np.exp(cosines).sum()), strict=True))
        total -= weights[i] * np.mean([log_shares[j] for j in alike])
    return total


class TestContrast:
    @pytest.mark.parametrize("across", [False, True])
    def test_is_what_it_says(self, across):
        rng = np.random.default_rng(0)
        tokens, weights = rng.normal(size=(9, 5)), rng.random(9)
        labels, indices = (
            np.array([0, 0, 1, 1, 2, -100, 0, 1, 0]),
            np.array([0, 1, 2, 3, 4, 5, 6, 7, 0]),
        )  # the first one twice
        corpora = np.array([0, 1, 0, 1, 0, 1, 1, 0, 0]) if across else None
        given = [torch.from_numpy(x) for x in (tokens, labels, weights, indices)]
        found = category_contrast(*given, None if corpora is None else torch.from_numpy(corpora))
        assert float(found) == pytest.approx(plain_contrast(tokens, labels, weights, indices, corpora), rel=1e-5)

    def test_one_emotion_attracts_and_others_repel(self):
        tokens = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.6, 0.0, 0.8]], requires_grad=True)
        category_contrast(tokens, torch.tensor([0, 0, 1]), torch.ones(3), torch.arange(3)).backward()
        cosine = torch.nn.functional.cosine_similarity
        with torch.no_grad():
            moved = tokens - 0.01 * tokens.grad
            assert cosine(moved[0], moved[1], 0) > cosine(tokens[0], tokens[1], 0)
            assert cosine(moved[0], moved[2], 0) + cosine(moved[1], moved[2], 0) < cosine(
                tokens[0], tokens[2], 0
            ) + cosine(tokens[1], tokens[2], 0)

    def test_nobody_to_compare_with_is_no_loss_and_no_nan(self):
        tokens = torch.randn(3, 4, requires_grad=True)
        loss = category_contrast(tokens, torch.tensor([0, 1, -100]), torch.ones(3), torch.arange(3))
        loss.backward()
        assert loss.item() == 0 and not tokens.grad.any()

    def test_emotions_come_closer_across_corpora(self, tmp_path):
        found = []
        for weight in (0.0, 1.0):
            clips = several(120, shift=3.0)
            settings = dict(
                epochs=30,
                global_batch_size=60,
                per_device_batch_size=60,
                contrastive=weight,
                contrastive_pairs="across",
            )
            done = trainer(tmp_path / str(weight), MODEL | dict(dropout=0.0), clips, **settings)
            done.fit()
            others = several(60, seed=9, shift=3.0)
            given = map(torch.from_numpy, (fused(done.raw_model, others), others.labels, np.ones(60), np.arange(60)))
            found.append(category_contrast(*given, torch.tensor([c == "small" for c in others.corpora])).item())
        assert found[1] < 0.95 * found[0], found


class TestResidual:
    def test_training_starts_from_the_discriminant(self, tmp_path):
        found, clips = trainer(tmp_path, RESIDUAL), several(20, seed=5)
        logits = predict_logits(found.raw_model, lambda i: clips.features(i, ""), [5] * 20)
        np.testing.assert_array_equal(logits.fused, logits.acoustic)
        before = weights(found)
        found.fit()
        changed = {n for n, value in weights(found).items() if not torch.equal(value, before[n])}
        assert any(n.startswith("head.") for n in changed) and not any(
            n.startswith("pathway.acoustic") for n in changed
        )

    def test_the_offset_of_a_clip_does_not_know_its_voice(self, tmp_path):
        """Each voice has a feature of its own that tells its emotions: the whole discriminant reads it, the held-out ones cannot."""
        clips = several(60)
        found = trainer(tmp_path, RESIDUAL, clips)
        known = predict_logits(found.raw_model, lambda i: clips.features(i, ""), [5] * 60).acoustic
        held_out = clips.tone_logits[""]
        assert set(clips.tone_logits) == {"", "speed:0.9"} and held_out.shape == (60, 7)
        rows = np.arange(60)
        likely = [np.mean(x[rows, clips.labels] - np.log(np.exp(x[:, :3]).sum(1))) for x in (known, held_out)]
        assert likely[1] < likely[0]  # nobody is surer of a voice for not having met it
        # and it is a fit on the others: other features of this voice change the others' offsets, not its own
        moved = several(60)
        features = moved.features

        def louder(index, variant):
            clip = features(index, variant)
            clip.acoustic[:, 0] *= 1 + 2 * (moved.speakers[index] == "s1")
            return clip

        moved.features = louder
        model = run.new_model(tiny_config(**RESIDUAL), moved, 0)
        assert model is not None
        s1 = np.array(moved.speakers) == "s1"
        difference = np.abs(moved.tone_logits[""] - held_out)[:, :3].max(1)
        assert difference[~s1].min() > 1e-3

    def test_what_the_others_never_met_has_no_residual(self):
        clips = several(4)
        clips.labels = np.array([0, 1, 2, -100])
        rows = [(i, "") for i in range(4)]
        logits = np.array([[1.0, 2.0, ABSENT]] * 4)
        logits = np.concatenate([logits, np.full((4, 4), ABSENT)], 1)
        keep_tone_logits(clips, rows, logits)
        assert residual_labels(clips).tolist() == [0, 1, -100, -100]
        found = tone_logits(clips, np.array([2, 0]), np.array([0, 1]))  # the variant has those of the clip
        assert found[0].tolist() == [1, 2, 1, 1, 1, 1, 1]
        assert torch.equal(found[0], found[1])
        with pytest.raises(FeatureError, match="one voice"):
            keep_tone_logits(clips, rows, np.full((4, 7), ABSENT))

    def test_answers_add_the_whole_discriminant_and_training_the_held_out_one(self, tmp_path):
        found = trainer(tmp_path, RESIDUAL | dict(dropout=0.0))
        model, indices = found.raw_model, np.arange(8)
        torch.nn.init.normal_(model.head[-1].weight)
        batch = found._augmented(indices, 0)
        training = model(**batch).logits - batch["tone_logits"]
        del batch["tone_logits"]
        output = model.eval()(**batch)
        torch.testing.assert_close(
            (output.logits - output.acoustic_logits)[:, :CLASSES], training[:, :CLASSES], rtol=1e-4, atol=1e-4
        )

    def test_mixed_clips_have_mixed_offsets(self, tmp_path):
        found = trainer(tmp_path, RESIDUAL | dict(dropout=0.0))
        batch = found._augmented(np.arange(4), 0)
        partners = torch.tensor([1, 0, 3, 2])
        logits = found.raw_model(**batch, mixing=(partners, 0.75)).logits  # the head adds nothing yet
        torch.testing.assert_close(logits, 0.75 * batch["tone_logits"] + 0.25 * batch["tone_logits"][partners])

    @pytest.mark.parametrize(
        ("changed", "named"), [(dict(head_shrinkage=0.0), "residual"), (dict(ensemble=0.5), "ensemble")]
    )
    def test_what_does_not_go_together_is_said(self, changed, named):
        with pytest.raises(CheckpointError, match=f"FASConfig.{named}"):
            tiny_config(**(RESIDUAL | changed))


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (
                dict(adversarial="language"),
                "--adversarial 'language' is unknown, expected one of none, corpus, speaker, synthesizer",
            ),
            (dict(adversarial_on=["fused", "tokens"]), "--adversarial_on 'tokens'"),
            (dict(contrastive_pairs="none"), "--contrastive_pairs"),
            (dict(contrastive=-1.0), "--contrastive -1.0"),
            (dict(adversarial_weight=float("nan")), "--adversarial_weight nan"),
        ],
    )
    def test_a_value_that_is_none_is_named(self, given, message):
        with pytest.raises(FASError) as error:
            TrainingArguments(**given)
        assert message in str(error.value)

    def test_flags(self):
        flags = [
            "--corpora",
            "a=b",
            "--adversarial",
            "speaker",
            "--adversarial_on",
            "fused",
            "pooled",
            "--contrastive",
            "0.5",
            "--head_shrinkage",
            "0.5",
        ]
        _, model, training = run.parse(
            [*flags, "--standardise", "true", "--residual", "true", "--mixup_across_corpora", "true"]
        )
        assert (
            model.residual
            and training.adversarial_on == BOTH
            and training.contrastive == 0.5
            and training.mixup_across_corpora
        )


class TestSameWeights:
    @pytest.mark.parametrize("model", [MODEL, RESIDUAL], ids=["tokens", "residual"])
    def test_resume_equals_no_interruption(self, tmp_path, monkeypatch, model):
        undisturbed = trainer(tmp_path / "a", model, **EVERYTHING)
        expected = undisturbed.fit()
        interrupted = trainer(tmp_path / "b", model, **EVERYTHING)
        train_epoch = interrupted._train_epoch
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(interrupted, "_train_epoch", lambda e: train_epoch(e) if e < 2 else _interrupt())
            interrupted.fit()
        torch.manual_seed(12345)
        resumed = trainer(tmp_path / "b", model, **EVERYTHING, resume=True)
        assert resumed.fit() == expected
        assert largest_difference(weights(resumed), weights(undisturbed)) == 0

    def test_accumulation_equals_one_big_batch(self, tmp_path):
        """Contrast apart, which is that of the clips of one pass."""
        runs = []
        for size in (12, 5):
            settings = {k: v for k, v in EVERYTHING.items() if not k.startswith(("contrastive", "mixup"))}
            clips = several()
            clips.variants = [""]  # which variant a clip has goes by the micro-batch
            found = trainer(tmp_path, RESIDUAL | dict(dropout=0.0), clips, per_device_batch_size=size, **settings)
            runs.append(([row["loss"] for row in found.fit()], weights(found)))
        np.testing.assert_allclose(runs[1][0], runs[0][0], rtol=1e-5)
        assert largest_difference(*(without_key_biases(w) for _, w in runs)) < 1e-4


def _interrupt():
    raise KeyboardInterrupt


DISTRIBUTED = {
    # three micro-batches for two processes: one of them computes an empty one
    "tokens": (MODEL, EVERYTHING | dict(global_batch_size=12, per_device_batch_size=4)),
    "residual": (RESIDUAL, dict(global_batch_size=12, per_device_batch_size=4, mixup=0.4, adversarial="corpus")),
}


def train_distributed(folder: Path) -> None:
    """What each process of the test below runs."""
    for name, (model, arguments) in DISTRIBUTED.items():
        found = trainer(folder / name, model, several(), several(9, seed=3), **arguments)
        history = found.fit()
        if found.accelerator.is_main_process:
            save_file(weights(found), folder / f"{name}.safetensors")
            (folder / f"{name}.json").write_text(json.dumps([found.accelerator.num_processes, history]))


def test_two_processes_equal_one(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, pathlib, test_training_invariance as t\nt.train_distributed(pathlib.Path(sys.argv[1]))\n"
    )
    command = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    paths = os.pathsep.join([str(ROOT / part) for part in ("", "tests/core", "tests/helpers")])
    for side in ("one", "two"):
        (tmp_path / side).mkdir()
    environment = os.environ | {"PYTHONPATH": paths, "PYTHON_EXEC": PYTHON, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(script), str(tmp_path / "two")], env=environment, check=True, timeout=300)
    train_distributed(tmp_path / "one")
    for name in DISTRIBUTED:
        (processes, ours), (_, theirs) = (
            json.loads((tmp_path / side / f"{name}.json").read_text()) for side in ("two", "one")
        )
        assert processes == 2
        one, two = (load_file(tmp_path / side / f"{name}.safetensors") for side in ("one", "two"))
        assert largest_difference(without_key_biases(one), without_key_biases(two)) < 1e-4, name
        for found, expected in zip(ours, theirs, strict=True):
            assert found == pytest.approx(expected, abs=1e-4)
