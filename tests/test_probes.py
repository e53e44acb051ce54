"""Pathway heads by logistic regression, and the fused path as a residual of the acoustic head."""

import numpy as np
import pytest
import torch

from fas_core.batching import collate
from fas_core.configuration_fas import FASConfig
from fas_core.encoders.base import ClipFeatures
from fas_core.errors import CheckpointError
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.training.arguments import TrainingArguments
from fas_core.training.clips import UNKNOWN, Clips
from fas_core.training.run import new_model


def separable_clips(count: int = 60) -> Clips:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    made = [
        ClipFeatures(
            rng.normal(labels[i], 0.3, (4, 6)).astype(np.float32), rng.normal(0, 1, (4, 5)).astype(np.float32), 20, 20
        )
        for i in range(count)
    ]
    words = np.full(count, UNKNOWN)
    return Clips([str(i) for i in range(count)], labels, words, lambda i, v: made[i])


def config(**changes) -> FASConfig:
    small = dict(acoustic_dim=6, semantic_dim=5, hidden_size=16, num_attention_heads=2, intermediate_size=16)
    return FASConfig(**small | dict(standardise=True) | changes)


def test_probe_separates_and_stays_as_it_is():
    clips = separable_clips()
    model = new_model(config(), clips, TrainingArguments(pathway_C=1.0)).eval()
    batch = collate([clips.features(i, "") for i in range(len(clips))])
    assert (model(**batch).acoustic_logits.argmax(1).numpy() == clips.labels).mean() > 0.95
    assert not any(p.requires_grad for p in model.pathway.parameters())


def test_absent_emotions_get_no_probability():
    clips = separable_clips()
    model = new_model(config(), clips, TrainingArguments(pathway_C=1.0)).eval()
    probabilities = model(**collate([clips.features(0, "")])).acoustic_logits.softmax(-1)
    assert probabilities[0, 3:].max() < 1e-4


def test_residual_adds_to_the_acoustic_head():
    torch.manual_seed(0)
    model = FASForEmotionClassification(config(residual=True)).eval()
    clips = separable_clips(4)
    batch = collate([clips.features(i, "") for i in range(4)])
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.zero_()
        output = model(**batch)
    torch.testing.assert_close(output.logits, output.acoustic_logits)


def test_residual_gradient_does_not_reach_the_acoustic_head():
    model = FASForEmotionClassification(config(residual=True))
    clips = separable_clips(4)
    model(**collate([clips.features(i, "") for i in range(4)])).logits.sum().backward()
    assert all(p.grad is None for p in model.pathway.parameters())


def test_residual_needs_the_heads():
    with pytest.raises(CheckpointError, match="residual"):
        config(residual=True, pathway_heads=False)
