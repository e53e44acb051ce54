"""Logits of many clips: batches by length, order kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fas_core.batching import batches_by_length, collate
from fas_core.modeling_fas import FASForEmotionClassification

HEADS = ("fused", "acoustic", "semantic")


@dataclass
class Logits:
    """Uncalibrated logits (N, 7) of the fused answer and of each pathway (NaN without that head, or where the semantic one is untrained)."""

    fused: np.ndarray
    acoustic: np.ndarray
    semantic: np.ndarray


def with_statistics(model: FASForEmotionClassification, statistics: dict) -> FASForEmotionClassification:
    """A copy of the model that standardises by other statistics: the transductive protocol."""
    copy = type(model)(model.config).eval().to(model.device)
    copy.load_state_dict(model.state_dict())
    copy.set_feature_statistics(statistics)
    return copy


@torch.inference_mode()
def predict_logits(
    model: FASForEmotionClassification,
    get: Callable,
    lengths: Sequence[int],
    *,
    batch_size: int = 64,
    on_output: Callable | None = None,
) -> Logits:
    """Run a model in evaluation mode.

    Args:
        get: index -> `ClipFeatures`.
        lengths: patches of each clip.
        on_output: called with (indices, FASOutput) of each batch.
    """
    was_training = model.training
    model.eval()
    rows = {head: np.full((len(lengths), model.config.num_labels), np.nan, dtype=np.float32) for head in HEADS}
    for indices in batches_by_length(lengths, batch_size):
        batch = {k: v.to(model.device) for k, v in collate([get(i) for i in indices]).items()}
        output = model(**batch)
        for head, logits in (
            ("fused", output.logits),
            ("acoustic", output.acoustic_logits),
            ("semantic", output.semantic_logits),
        ):
            if logits is not None:
                rows[head][indices] = logits.float().cpu().numpy()
        if on_output is not None:
            on_output(indices, output)
    model.train(was_training)
    return Logits(**rows)
