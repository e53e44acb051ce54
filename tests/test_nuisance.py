"""The filter of acoustic statistics: what it removes, what it keeps, and that it travels with the checkpoint."""

import numpy as np
import pytest
import torch

from fas_core import FASConfig, FASForEmotionClassification
from fas_core.errors import CheckpointError, FeatureError
from fas_core.nuisance import COMPONENT_SCALE, StatisticsFilter, fit_filter

DIM = 12


def voices(rng, per_cell=20):
    """Feature 0 tells the emotion, feature 1 the voice, the others nothing."""
    rows, labels, groups = [], [], []
    for emotion in range(3):
        for voice in range(4):
            x = rng.normal(size=(per_cell, DIM)) * 0.1
            x[:, 0] += 2.0 * (emotion - 1)
            x[:, 1] += 2.0 * (voice - 1.5)
            rows.append(x)
            labels += [emotion] * per_cell
            groups += [f"voice {voice}"] * per_cell
    return np.concatenate(rows).astype(np.float32), np.array(labels), groups


def filtered(x, fitted, squash=0.0, rank=8, components=4):
    layer = StatisticsFilter(DIM, squash, rank, components)
    layer.set(fitted)
    return layer, layer(torch.from_numpy(x))


def test_what_differs_between_voices_shrinks_and_the_emotion_stays():
    x, labels, groups = voices(np.random.default_rng(0))
    _, y = filtered(x, fit_filter(x, labels, groups, 0.0, 10.0, 8, 4))
    before, after = x.std(0), y.numpy().std(0)
    assert after[1] < 0.25 * before[1]
    assert after[0] == pytest.approx(before[0], rel=0.02)


def test_a_stronger_penalty_shrinks_more():
    x, labels, groups = voices(np.random.default_rng(1))
    spread = [
        float(filtered(x, fit_filter(x, labels, groups, 0.0, penalty, 8, 0), components=0)[1][:, 1].std())
        for penalty in (0.0, 0.5, 5.0, 50.0)
    ]
    assert spread == sorted(spread, reverse=True)
    assert spread[0] == pytest.approx(x[:, 1].std(), rel=1e-2)


def test_components_are_centred_ordered_and_scaled():
    x, labels, groups = voices(np.random.default_rng(2))
    layer, y = filtered(x, fit_filter(x, labels, groups, 0.0, 10.0, 8, 4))
    z = layer.principal(y).numpy()
    assert z.shape == (len(x), 4)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)
    assert z[:, 0].std() == pytest.approx(COMPONENT_SCALE, rel=1e-3)
    assert (np.diff(z.std(0)) <= 1e-5).all()


def test_outlying_features_are_clipped():
    x, labels, groups = voices(np.random.default_rng(3))
    fitted = fit_filter(x, labels, groups, 1.5, 0.0, 0, 0)
    _, y = filtered(x * 100, fitted, squash=1.5, rank=0, components=0)
    assert y.abs().max() == 1.5


def test_the_same_clips_give_the_same_filter():
    x, labels, groups = voices(np.random.default_rng(4))
    one, two = (fit_filter(x, labels, groups, 1.5, 1.0, 8, 4) for _ in range(2))
    np.testing.assert_array_equal(one.nuisance, two.nuisance)
    np.testing.assert_array_equal(one.components, two.components)


def test_fewer_groups_and_clips_than_directions():
    x, labels, groups = voices(np.random.default_rng(5), per_cell=1)
    layer, y = filtered(x, fit_filter(x, labels, groups, 0.0, 1.0, 64, 64), rank=64, components=64)
    assert layer.principal(y).shape == (12, 64)
    assert torch.isfinite(layer.principal(y)).all()


def test_no_clip_is_an_error():
    with pytest.raises(FeatureError, match="no labelled clip"):
        fit_filter(np.zeros((0, DIM)), np.zeros(0), [], 1.5, 1.0, 8, 4)


def model(**changes):
    torch.manual_seed(0)
    settings = dict(acoustic_dim=6, semantic_dim=5, hidden_size=16, num_attention_heads=2, intermediate_size=16)
    settings |= dict(standardise=True, squash=1.5, nuisance_penalty=0.5, nuisance_rank=8, head_components=4)
    built = FASForEmotionClassification(FASConfig(**(settings | dict(ensemble=True) | changes))).eval()
    if built.fas.filter is not None:
        x, labels, groups = voices(np.random.default_rng(6))
        built.fas.filter.set(fit_filter(x, labels, groups, 1.5, 0.5, 8, 4))
    return built


def batch(rng):
    return dict(
        acoustic=torch.from_numpy(rng.normal(size=(3, 7, 6)).astype(np.float32)),
        semantic=torch.from_numpy(rng.normal(size=(3, 7, 5)).astype(np.float32)),
        acoustic_mask=torch.ones(3, 7, dtype=torch.bool), semantic_mask=torch.ones(3, 7, dtype=torch.bool),
    )  # fmt: skip


def test_the_filter_travels_with_the_checkpoint(tmp_path):
    before = model()
    before.save_pretrained(tmp_path)
    after = FASForEmotionClassification.from_pretrained(tmp_path).eval()
    inputs = batch(np.random.default_rng(7))
    torch.testing.assert_close(after(**inputs).logits, before(**inputs).logits, rtol=0, atol=0)


def test_the_ensemble_is_the_mean_of_two_probabilities():
    whole, alone = model(), model(ensemble=False)
    alone.load_state_dict(whole.state_dict())
    inputs = batch(np.random.default_rng(8))
    parts = alone(**inputs)
    mean = (parts.logits.softmax(-1) + parts.acoustic_logits.softmax(-1)) / 2
    torch.testing.assert_close(whole(**inputs).logits.softmax(-1), mean)


def test_training_sees_the_fused_logits_alone():
    whole, alone = model(dropout=0.0).train(), model(dropout=0.0, ensemble=False).train()
    alone.load_state_dict(whole.state_dict())
    inputs = batch(np.random.default_rng(9))
    torch.testing.assert_close(whole(**inputs).logits, alone(**inputs).logits)


@pytest.mark.parametrize(
    "changes, field",
    [
        (dict(standardise=False), "squash"),
        (dict(squash=-1.0), "squash"),
        (dict(pathway_heads=False), "ensemble"),
        (dict(head_components=-1), "head_components"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, field):
    with pytest.raises(CheckpointError, match=f"FASConfig.{field}"):
        model(**changes)


def test_the_paper_has_no_filter():
    paper = FASForEmotionClassification(FASConfig.paper())
    assert paper.fas.filter is None and paper.num_parameters() == 3_452_935
