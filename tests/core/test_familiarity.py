"""The distance to the training clips: small where they were, larger elsewhere, and it travels with the checkpoint."""

import numpy as np
import pytest
import torch

from fas_core import FASConfig, FASForEmotionClassification
from fas_core.encoders.base import ClipFeatures
from fas_core.familiarity import Familiarity, fit_familiarity, groups_of
from fas_core.training.clips import Clips
from fas_core.training.fas import new_model

WIDTH = 12


def corpora(seed=0, per_group=40, shift=6.0):
    """Two corpora of two emotions; within a group feature 0 varies ten times as much as the others."""
    rng = np.random.default_rng(seed)
    labels, names = np.tile([0, 1], 2 * per_group), np.repeat(["one", "two"], 2 * per_group)
    x = rng.normal(size=(len(labels), WIDTH)) * np.r_[10.0, np.ones(WIDTH - 1)]
    x[:, 1] += 2.0 * labels
    x[names == "two", 2] += shift
    return x.astype(np.float32), labels, names


@pytest.fixture(scope="module")
def fitted():
    x, labels, names = corpora()
    groups = groups_of(names, labels)
    familiarity = Familiarity(4, 4, WIDTH)
    familiarity.set(*fit_familiarity(x, groups, 4))
    return lambda rows: familiarity(torch.from_numpy(np.asarray(rows, np.float32))).numpy()


def test_groups_are_corpora_and_emotions():
    groups = groups_of(["one", "one", "two", "two", "one"], np.array([0, 1, 0, 0, 0]))
    assert groups.tolist() == [0, 1, 2, 2, 0]


def test_new_clips_of_the_training_corpora_are_near_and_those_of_another_are_far(fitted):
    new, _, names = corpora(seed=1)
    other = new + 6.0 * np.eye(WIDTH, dtype=np.float32)[5]
    assert np.median(fitted(other)) > np.quantile(fitted(new), 0.95)
    assert abs(np.median(fitted(new[names == "one"])) - np.median(fitted(new[names == "two"]))) < 0.3


def test_between_two_corpora_is_not_at_home(fitted):
    new, *_ = corpora(seed=1, shift=0.0)
    between = new + 3.0 * np.eye(WIDTH, dtype=np.float32)[2]
    assert np.median(fitted(between)) > np.median(fitted(new))


def test_what_varies_within_a_group_counts_less(fitted):
    step = np.zeros((2, WIDTH), np.float32)
    step[0, 0] = step[1, 6] = 10.0
    along, across = fitted(step)
    assert along < across - 0.5


def built(**changes):
    labels, corpora = np.array([0, 1, -100] * 8), ["one"] * 12 + ["two"] * 12

    def features(index, variant):
        rng = np.random.default_rng(index)
        acoustic, semantic = (rng.normal(size=(5, width)).astype(np.float32) for width in (6, 5))
        return ClipFeatures(acoustic, semantic, 25, 25)

    clips = Clips(
        ids=[str(i) for i in range(24)], labels=labels, semantic_labels=np.full(24, -100), features=features, corpora=corpora,
        speakers=[str(i % 4) for i in range(24)],
    )  # fmt: skip
    settings = dict(acoustic_dim=6, semantic_dim=5, hidden_size=16, num_attention_heads=2, intermediate_size=16)
    return new_model(FASConfig(**settings, standardise=True, head_shrinkage=0.5, **changes), clips, seed=0).eval()


def batch():
    rng = np.random.default_rng(0)
    patches = {
        s: torch.from_numpy(rng.normal(size=(3, 7, d)).astype(np.float32))
        for s, d in (("acoustic", 6), ("semantic", 5))
    }
    return patches | {f"{s}_mask": torch.ones(3, 7, dtype=torch.bool) for s in patches}


def test_training_measures_it_and_it_travels_with_the_checkpoint(tmp_path):
    before = built(familiarity=3)
    assert before.config.familiar_groups == 4 and before.fas.familiarity.centres.shape == (4, 12)
    before.save_pretrained(tmp_path)
    after = FASForEmotionClassification.from_pretrained(tmp_path).eval()
    expected = before(**batch()).distance
    assert expected.shape == (3,) and expected.isfinite().all() and len(set(expected.tolist())) == 3
    torch.testing.assert_close(after(**batch()).distance, expected, rtol=0, atol=0)


def test_it_changes_no_answer():
    torch.testing.assert_close(built(familiarity=3)(**batch()).logits, built()(**batch()).logits, rtol=0, atol=0)
    assert built()(**batch()).distance is None
