"""The discriminant behind the acoustic head: what it answers, how sure it is, and that it travels with the checkpoint."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fas_core import FASConfig, FASForEmotionClassification
from fas_core.calibration import expected_calibration_error
from fas_core.discriminant import ABSENT, fit_discriminant, whiten, within_emotion_directions
from fas_core.errors import CheckpointError, FeatureError
from fas_core.labels import EMOTIONS
from fas_core.modeling_fas import PathwayHead
from fas_core.training import fas as run
from fas_core.training.clips import Clips
from fas_core.training.fas import new_model

DIM = 12


def voices(seed=0, emotions=(0, 1, 2), per_cell=20, voices=4, noise=1.0):
    """Feature 0 tells the emotion, feature 1 the voice, the others nothing."""
    rng, rows, labels, groups = np.random.default_rng(seed), [], [], []
    for emotion in emotions:
        for voice in range(voices):
            x = rng.normal(size=(per_cell, DIM)) * noise
            x[:, 0] += 2.0 * (emotion - 1)
            x[:, 1] += 20.0 * (voice - 1.5) + 5.0 * rng.normal()
            rows.append(x)
            labels += [emotion] * per_cell
            groups += [f"voice {voice}"] * per_cell
    return np.concatenate(rows).astype(np.float32), np.array(labels), groups


def test_it_is_the_discriminant_of_scikit_learn_where_nothing_is_shrunk_or_scaled():
    x, labels, _ = voices()
    ours = fit_discriminant(x, labels, ["one voice"] * len(x), 1e-9)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(x, labels)
    logits = ours(x)[:, :3]
    expected = theirs.decision_function(x)
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=1e-2
    )


def test_it_mistrusts_what_differs_between_voices():
    x, labels, groups = voices()
    weight = np.abs(fit_discriminant(x, labels, groups, 0.01).weight).max(0)
    assert weight[1] < 0.02 * weight[0]
    shrunk = np.abs(fit_discriminant(x, labels, groups, 1.0).weight).max(0)  # nothing is known of the covariance
    assert shrunk[1] / shrunk[0] > 10 * weight[1] / weight[0]


def test_deviations_may_count_less():
    x, labels, groups = voices()
    x[:, DIM // 2] = x[:, 0]  # a deviation that says what a mean says
    even, less = (np.abs(fit_discriminant(x, labels, groups, 0.5, share).weight).max(0) for share in (1.0, 0.5))
    assert even[DIM // 2] == pytest.approx(even[0], rel=1e-3)
    assert less[DIM // 2] == pytest.approx(0.25 * less[0], rel=1e-3)
    none = fit_discriminant(x, labels, groups, 0.5, 0.0)
    assert not none.weight[:, DIM // 2 :].any() and none.weight[:3, 0].any()


def test_how_sure_it_is_holds_for_voices_that_it_does_not_know():
    x, labels, groups = voices(per_cell=3, voices=6, noise=2.0)
    new, truth, _ = voices(seed=1, per_cell=100, voices=6, noise=2.0)
    fitted = fit_discriminant(x, labels, groups, 0.1)
    alone = fit_discriminant(x, labels, ["one voice"] * len(x), 0.1)  # nothing to hold out
    error, unheld = (expected_calibration_error(softmax(each(new), -1), truth) for each in (fitted, alone))
    assert error < 0.5 * unheld


def test_an_emotion_of_one_voice_alone_does_not_decide_the_temperature():
    x, labels, groups = voices(voices=6)
    lonely = np.array([label != 2 or group == "voice 0" for label, group in zip(labels, groups, strict=True)])
    kept = [group for group, keep in zip(groups, lonely, strict=True) if keep]
    logits = fit_discriminant(x[lonely], labels[lonely], kept, 0.1)(x[lonely])
    assert softmax(logits, -1).max(1).mean() > 0.6  # an infinite loss would have made all emotions alike


def test_an_emotion_without_clips_is_never_the_answer():
    x, labels, groups = voices(emotions=(0, 2))
    fitted = fit_discriminant(x, labels, groups, 0.5)
    absent = [i for i in range(len(EMOTIONS)) if i not in (0, 2)]
    assert (fitted.bias[absent] == ABSENT).all() and not fitted.weight[absent].any()
    assert set(fitted(x).argmax(1)) <= {0, 2}


def test_the_same_clips_give_the_same_discriminant():
    one, two = (fit_discriminant(*voices(), 0.5) for _ in range(2))
    np.testing.assert_array_equal(one.weight, two.weight)


def test_one_emotion_is_an_error():
    x, _, groups = voices()
    with pytest.raises(FeatureError, match="two emotions.*--head_shrinkage"):
        fit_discriminant(x, np.zeros(len(x), int), groups, 0.5)


def config(**changes):
    settings = dict(acoustic_dim=6, semantic_dim=5, hidden_size=16, num_attention_heads=2, intermediate_size=16)
    return FASConfig(**(settings | dict(standardise=True, head_shrinkage=0.5, ensemble=0.7) | changes))


def model(**changes):
    torch.manual_seed(0)
    return FASForEmotionClassification(config(**changes)).eval()


def batch(seed=0, size=3):
    rng = np.random.default_rng(seed)
    return dict(
        acoustic=torch.from_numpy(rng.normal(size=(size, 7, 6)).astype(np.float32)),
        semantic=torch.from_numpy(rng.normal(size=(size, 7, 5)).astype(np.float32)),
        acoustic_mask=torch.ones(size, 7, dtype=torch.bool), semantic_mask=torch.ones(size, 7, dtype=torch.bool),
    )  # fmt: skip


def test_training_leaves_the_discriminant_alone_and_the_semantic_head_not():
    built = model().train()
    built.pathway["acoustic"].set(fit_discriminant(*voices(), 0.5))
    before = {name: value.clone() for name, value in built.state_dict().items()}
    optimizer = torch.optim.AdamW(built.parameters(), 0.1, weight_decay=0.1)
    labels = torch.tensor([0, 1, 2])
    built(**batch(), labels=labels, semantic_labels=labels).loss.backward()
    optimizer.step()
    changed = {name for name, value in built.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("pathway.acoustic") for name in changed)
    assert "pathway.semantic.linear.weight" in changed and "head.0.weight" in changed


def test_a_fixed_head_has_no_dropout():
    head = PathwayHead(DIM, 7, 0.9).train()
    x, labels, groups = voices()
    head.set(fit_discriminant(x, labels, groups, 0.5))
    torch.testing.assert_close(head(torch.from_numpy(x)), head(torch.from_numpy(x)), rtol=0, atol=0)


def test_it_travels_with_the_checkpoint(tmp_path):
    before = model(whitening=4)
    before.pathway["acoustic"].set(fit_discriminant(*voices(), 0.5))
    before.save_pretrained(tmp_path)
    after = FASForEmotionClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(after(**batch()).acoustic_logits, before(**batch()).acoustic_logits, rtol=0, atol=0)


def test_the_ensemble_is_a_weighted_mean_of_log_probabilities():
    whole, alone = model(), model(ensemble=0.0)
    alone.load_state_dict(whole.state_dict())
    parts = alone(**batch())
    mean = 0.3 * parts.logits.log_softmax(-1) + 0.7 * parts.acoustic_logits.log_softmax(-1)
    torch.testing.assert_close(whole(**batch()).logits, mean)


def test_whitening_evens_out_what_differs_within_an_emotion_and_keeps_the_emotion():
    x, labels, _ = voices()
    directions = torch.from_numpy(within_emotion_directions(x, labels, 0.01, 4))
    y = whiten(torch.from_numpy(x), directions).numpy()
    spread, before = ([each[labels == 1][:, i].std() for i in range(3)] for each in (y, x))
    assert before[1] > 10 * before[2] and spread[1] < 2 * spread[2]
    assert np.ptp([y[labels == label][:, 0].mean() for label in range(3)]) > 2


def test_fewer_clips_than_directions():
    directions = within_emotion_directions(*voices(per_cell=1)[:2], 0.5, 64)
    assert directions.shape == (64, DIM) and np.isfinite(directions).all() and not directions[DIM:].any()


def test_whitening_touches_the_fused_answer_and_no_head():
    whole = model(whitening=4, summary="mean+deviation", ensemble=0.0)
    before = whole(**batch())
    whole.fas.within_emotion.copy_(torch.randn(4, 12))
    after = whole(**batch())
    assert not torch.allclose(after.logits, before.logits)
    for head in ("acoustic_logits", "semantic_logits"):
        torch.testing.assert_close(after[head], before[head], rtol=0, atol=0)


def test_training_sees_the_fused_logits_alone():
    whole, alone = model(dropout=0.0).train(), model(dropout=0.0, ensemble=0.0).train()
    alone.load_state_dict(whole.state_dict())
    torch.testing.assert_close(whole(**batch()).logits, alone(**batch()).logits)


class Features:
    def __init__(self, seed, label):
        rng = np.random.default_rng(seed)
        self.acoustic = (rng.normal(size=(4, 6)) + label).astype(np.float32)
        self.semantic = rng.normal(size=(4, 5)).astype(np.float32)
        self.acoustic_deviation, self.semantic_deviation = self.acoustic.std(0), self.semantic.std(0)


@pytest.mark.parametrize("speakers", [[f"s{i % 3}" for i in range(24)], ["one"] * 24, None])
@pytest.mark.parametrize("limit", [50_000, 20])
def test_a_new_model_has_the_discriminant_of_its_labelled_clips_in_their_variants(speakers, limit, monkeypatch):
    monkeypatch.setattr(run, "MAX_STATISTICS", limit)
    labels = np.array([0, 1, 2, -100] * 6)
    asked = set()

    def features(index, variant):
        asked.add((index, variant))
        return Features(100 * index + len(variant), max(labels[index], 0))

    clips = Clips(
        ids=[str(i) for i in range(24)], labels=labels, semantic_labels=np.full(24, -100), features=features,
        variants=["", "noise:15"], speakers=speakers,
    )  # fmt: skip
    built = new_model(config(whitening=4, summary="mean"), clips, seed=0)
    both = {(i, "noise:15") for i in range(24) if labels[i] >= 0}  # 36 statistics
    assert {(i, v) for i, v in asked if v} == (both if limit > 36 else set())
    assert built.pathway["acoustic"].linear.weight[:3].abs().sum() > 0
    assert built.pathway["acoustic"].linear.bias[3:].eq(ABSENT).all()
    assert built.fas.within_emotion.abs().sum() > 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (dict(standardise=False), "head_shrinkage"),
        (dict(head_shrinkage=1.5), "head_shrinkage"),
        (dict(pathway_heads=False, ensemble=0.0), "head_shrinkage"),
        (dict(pathway_heads=False, head_shrinkage=0.0), "ensemble"),
        (dict(ensemble=1.5), "ensemble"),
        (dict(head_deviation_weight=-1.0), "head_deviation_weight"),
        (dict(whitening=4, head_shrinkage=0.0), "whitening"),
        (dict(whitening=-1), "whitening"),
        (dict(familiarity=4, head_shrinkage=0.0), "familiarity"),
        (dict(familiar_groups=0), "familiar_groups"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, field):
    with pytest.raises(CheckpointError, match=f"FASConfig.{field}"):
        model(**changes)
