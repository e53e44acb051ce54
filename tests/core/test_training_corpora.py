"""Training on clips of several corpora: balance, trust, emotions that a corpus lacks, differences between corpora."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fas_core import FASConfig
from fas_core.discriminant import Corpora, fit_discriminant, fit_discriminants, within_emotion_directions
from fas_core.errors import FASError
from fas_core.losses import classification_loss, label_weight
from fas_core.training import fas as run
from fas_core.training.arguments import TrainingArguments
from fas_core.training.clips import Clips
from fas_core.training.corpora import discriminant_corpora, held_out_groups, possible_emotions, weights_of_clips

DIM = 12
SIZES = {"big": 60, "small": 15}


def corpora(sizes=SIZES, seed=0):
    """Feature 0 tells the emotion, feature 1 too, but each corpus has its own scale of it; the others tell nothing."""
    rng, rows, labels, names = np.random.default_rng(seed), [], [], []
    for number, (name, size) in enumerate(sizes.items()):
        for emotion in (0, 1, 2):
            x = rng.normal(size=(size, DIM))
            x[:, 0] += 2.0 * (emotion - 1)
            x[:, 1] += 2.0 * (emotion - 1) + 4.0 * number * (emotion - 1)
            rows.append(x)
            labels += [emotion] * size
            names += [name] * size
    return np.concatenate(rows).astype(np.float32), np.array(labels), np.array(names)


def weight(x, labels, names, **options):
    """(7, F) of a discriminant in which the corpora weigh alike."""
    count = {name: (names == name).sum() for name in set(names)}
    options = dict(alike=True, weights=np.array([1 / count[name] for name in names])) | options
    return fit_discriminant(x, labels, ["one"] * len(x), 0.1, corpora=Corpora(names, **options)).weight


class TestDiscriminant:
    def test_plain_options_are_the_plain_discriminant(self):
        x, labels, names = corpora()
        plain = fit_discriminant(x, labels, ["one"] * len(x), 0.1)
        np.testing.assert_allclose(
            weight(x, labels, names, alike=False, weights=np.ones(len(x))), plain.weight, rtol=1e-3, atol=1e-4
        )

    def test_the_size_of_a_corpus_does_not_matter_where_they_weigh_alike(self):
        x, labels, names = corpora()
        again = np.concatenate([np.arange(len(x)), *[np.flatnonzero(names == "small")] * 7])
        np.testing.assert_allclose(
            weight(x[again], labels[again], names[again]), weight(x, labels, names), rtol=1e-3, atol=1e-4
        )
        unbalanced = [dict(alike=False, weights=np.ones(n)) for n in (len(again), len(x))]
        one, two = (
            weight(x[again], labels[again], names[again], **unbalanced[0]),
            weight(x, labels, names, **unbalanced[1]),
        )
        assert np.abs(one - two).max() > 0.05 * np.abs(two).max()

    def test_what_corpora_disagree_on_is_mistrusted(self):
        x, labels, names = corpora()
        shares = [abs(w[0, 1] / w[0, 0]) for w in (weight(x, labels, names, between=b) for b in (0.0, 1.0, 20.0))]
        assert shares[0] > 1.5 * shares[1] > 3 * shares[2]
        directions = [
            within_emotion_directions(x, labels, 0.1, 1, Corpora(names, np.ones(len(x)), True, b)) for b in (0.0, 20.0)
        ]
        assert abs(directions[1][0, 1]) > 0.9 > abs(directions[0][0, 1])

    def test_an_emotion_of_one_corpus_alone_has_no_difference_between_corpora(self):
        x, labels, names = corpora()
        kept = (names == "big") | (labels != 2)
        found = weight(x[kept], labels[kept], names[kept], between=20.0)
        assert np.isfinite(found).all() and found[2].any()

    def test_several_shrinkages_are_those_one_by_one(self):
        x, labels, names = corpora()
        groups, how = names.tolist(), Corpora(names, np.ones(len(x)), False, 5.0)
        for each, shrinkage in zip(fit_discriminants(x, labels, groups, (0.2, 0.8), 0.5, how), (0.2, 0.8), strict=True):
            alone = fit_discriminant(x, labels, groups, shrinkage, 0.5, how)
            np.testing.assert_array_equal(each.weight, alone.weight)
            np.testing.assert_array_equal(each.bias, alone.bias)

    def test_how_sure_it_is_holds_for_corpora_rather_than_for_voices(self):
        x, labels, names = corpora({"a": 40, "b": 40, "c": 40})
        voices = [f"{name}{i % 4}" for i, name in enumerate(names)]
        sure = [np.abs(fit_discriminant(x, labels, groups, 0.1, splits=3).weight).max() for groups in (voices, names)]
        assert sure[1] < 0.8 * sure[0]


def clips(names, labels, speakers=None):
    return Clips(
        ids=[str(i) for i in range(len(names))], labels=np.array(labels), semantic_labels=np.full(len(names), -100),
        features=None, speakers=speakers, corpora=names,
    )  # fmt: skip


class TestWhatAClipCountsFor:
    def test_nothing_by_default(self):
        some = clips(["a", "b"], [0, 1])
        assert weights_of_clips(some, TrainingArguments()) is None
        assert discriminant_corpora(some, np.array([0, 1]), TrainingArguments()) is None

    def test_balance_and_trust(self):
        some = clips(["a"] * 3 + ["b"] * 2, [0, 1, 2, 0, -100])
        balanced = weights_of_clips(some, TrainingArguments(corpus_balance=True))
        assert balanced[:3].sum() == pytest.approx(balanced[3]) and balanced[:4].mean() == pytest.approx(1)
        trusted = weights_of_clips(some, TrainingArguments(corpus_weights=["b=0.5"]))
        assert trusted[3] == pytest.approx(0.5 * trusted[0])
        both = weights_of_clips(some, TrainingArguments(corpus_balance=True, corpus_weights=["b=0.5"]))
        assert both[:3].sum() == pytest.approx(2 * both[3])

    def test_classes_are_counted_with_the_weights(self):
        some = clips(["a"] * 3 + ["b"], [0, 0, 1, 1])
        weights = weights_of_clips(some, TrainingArguments(corpus_balance=True))
        classes = some.class_weights(weights)
        assert (classes[some.labels] * weights)[:2].sum() == pytest.approx((classes[some.labels] * weights)[2:].sum())

    @pytest.mark.parametrize("pair", ["c=0.5", "a=0", "a=nan", "a", "=2", "a=b"])
    def test_a_weight_that_is_none_is_named(self, pair):
        with pytest.raises(FASError, match=f"--corpus_weights '?{pair.partition('=')[0]}"):
            weights_of_clips(clips(["a"], [0]), TrainingArguments(corpus_weights=[pair]))

    def test_groups_are_corpora_where_there_are_several(self):
        some = clips(["a", "a", "b"], [0, 1, 0], ["01", "02", "01"])
        rows = np.array([0, 1, 2, 0])
        assert held_out_groups(some, rows, TrainingArguments(temperature_on="corpora")) == (["a", "a", "b", "a"], 2)
        assert held_out_groups(some, rows, TrainingArguments()) == (["a/01", "02", "b/01", "a/01"], None)
        alone = clips(["a", "a"], [0, 1], ["01", None])
        assert held_out_groups(alone, np.array([0, 1]), TrainingArguments(temperature_on="corpora")) == (
            ["01", "1"],
            None,
        )


class TestLoss:
    labels = torch.tensor([0, 1, -100, 2])
    classes = torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0])

    def output(self):
        torch.manual_seed(0)
        logits = [torch.randn(4, 7, requires_grad=True) for _ in range(2)]
        return SimpleNamespace(logits=logits[0], acoustic_logits=logits[1], semantic_logits=None)

    def loss(self, output, mixing=None, smoothing=0.1, **more):
        return classification_loss(output, self.labels, None, self.classes, smoothing, None, mixing, **more)

    @pytest.mark.parametrize("mixing", [None, (torch.tensor([1, 0, 3, 2]), 0.3)])
    def test_weights_of_one_and_no_absent_emotion_change_nothing(self, mixing):
        plain = self.loss(self.output(), mixing)
        ours = self.loss(self.output(), mixing, clip_weights=torch.ones(4), possible=torch.ones(4, 7, dtype=torch.bool))
        torch.testing.assert_close(ours, plain)

    def test_absent_emotions_are_no_wrong_answers(self):
        output, possible = self.output(), torch.ones(4, 7, dtype=torch.bool)
        possible[0, 4:] = False
        self.loss(output, possible=possible).backward()
        for logits in (output.logits, output.acoustic_logits):
            assert not logits.grad[0, 4:].any() and logits.grad[0, :4].all() and logits.grad[1].all()
            assert torch.isfinite(logits.grad).all()
        narrow = F.cross_entropy(self.output().acoustic_logits[:1, :4], self.labels[:1])
        alone = classification_loss(
            SimpleNamespace(logits=self.output().logits[:1], acoustic_logits=self.output().acoustic_logits[:1], semantic_logits=None),
            self.labels[:1], possible=possible[:1],
        )  # fmt: skip
        torch.testing.assert_close(alone, narrow + F.cross_entropy(self.output().logits[:1, :4], self.labels[:1]))

    def test_a_mixed_clip_has_the_emotions_of_both(self):
        output, possible = self.output(), torch.ones(4, 7, dtype=torch.bool)
        possible[[0, 1], 4:] = False
        self.loss(output, (torch.tensor([1, 2, 3, 0]), 0.3), possible=possible).backward()
        assert not output.logits.grad[0, 4:].any() and output.logits.grad[1, 4:].all()

    def test_a_clip_of_weight_two_is_two_clips(self):
        twice = SimpleNamespace(**{k: v if v is None else v[[0, 1, 2, 3, 3]] for k, v in vars(self.output()).items()})
        labels = self.labels[[0, 1, 2, 3, 3]]
        torch.testing.assert_close(
            self.loss(self.output(), clip_weights=torch.tensor([1.0, 1, 1, 2])),
            classification_loss(twice, labels, None, self.classes, 0.1),
        )
        assert label_weight(self.labels, self.classes, torch.tensor([1.0, 1, 1, 2])) == 4.0


class Features:
    def __init__(self, seed, label):
        rng = np.random.default_rng(seed)
        self.acoustic = (rng.normal(size=(4, 6)) + label).astype(np.float32)
        self.semantic = rng.normal(size=(4, 5)).astype(np.float32)
        self.acoustic_deviation, self.semantic_deviation = self.acoustic.std(0), self.semantic.std(0)


def spoken(labels=(0, 1, 2, 0, 1) * 8):
    """Clips with features; corpus b has emotions 0 and 1 alone."""
    names = ["b" if i % 5 > 2 else "a" for i in range(len(labels))]
    some = clips(names, labels, [f"s{i % 7}" for i in range(len(labels))])
    some.features = lambda index, variant: Features(index, labels[index])
    return some


SETTINGS = dict(
    acoustic_dim=6, semantic_dim=5, hidden_size=16, num_attention_heads=2, intermediate_size=16, standardise=True,
    head_shrinkage=0.5, ensemble=0.7, whitening=4, summary="mean",
)  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        dict(corpus_balance=True),
        dict(between_corpora=5.0),
        dict(corpus_weights=["b=0.2"]),
        dict(temperature_on="corpora"),
    ],
)
def test_each_option_reaches_the_discriminant(more):
    plain, ours = (run.new_model(FASConfig(**SETTINGS), spoken(), 0, TrainingArguments(**each)) for each in ({}, more))
    assert not torch.equal(plain.pathway["acoustic"].linear.weight, ours.pathway["acoustic"].linear.weight)
    same = "temperature_on" in more
    assert torch.equal(plain.fas.within_emotion, ours.fas.within_emotion) == same


def test_each_option_of_the_loss_reaches_training(tmp_path):
    from accelerate import Accelerator

    from fas_core.training.loop import Trainer

    def trained(**more):
        arguments = TrainingArguments(
            output_dir=str(tmp_path), epochs=2, global_batch_size=8, per_device_batch_size=4, cpu=True, class_weighting=True,
            mixup=0.4, label_smoothing=0.1, **more,
        )  # fmt: skip
        trainer = Trainer(
            run.new_model(FASConfig(**SETTINGS), spoken(), 0), arguments, spoken(), None, Accelerator(cpu=True)
        )
        trainer.fit()
        return trainer.raw_model.head[0].weight

    plain = trained()
    assert torch.equal(plain, trained())
    for more in (dict(corpus_balance=True), dict(corpus_weights=["b=0.2"]), dict(mask_absent=True)):
        found = trained(**more)
        assert torch.isfinite(found).all() and not torch.equal(found, plain)


def test_the_temperature_of_left_out_corpora_is_not_fitted_again_on_known_voices():
    model = run.new_model(FASConfig(**SETTINGS), spoken(), 0, TrainingArguments(temperature_on="corpora"))
    on_corpora, alone = (
        TrainingArguments(temperature_on="corpora"),
        FASConfig(**SETTINGS | dict(ensemble=0.0, answer_from="tone")),
    )
    assert run.calibrated_heads(model.config, spoken(), on_corpora) == ("fused", "acoustic")
    assert run.calibrated_heads(alone, spoken(), on_corpora) == ("acoustic",)
    assert run.calibrated_heads(model.config, spoken(), TrainingArguments()) == ()
    summary = run.calibrate(model, spoken(), ("fused", "acoustic"))
    assert (
        model.config.temperature == model.config.acoustic_temperature == 1.0 and summary["fused"]["temperature"] == 1.0
    )


def test_emotions_of_a_corpus():
    possible = possible_emotions(spoken())
    assert possible[0].tolist() == [True] * 3 + [False] * 4 and possible[3].tolist() == [True] * 2 + [False] * 5
    assert possible_emotions(clips(["words"], [-100])).all()
