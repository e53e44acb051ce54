"""What FAS gives for a batch of clips."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput

from fas_core.distillation import KeptTokens


@dataclass
class FASOutput(ModelOutput):
    """Output of FAS.

    Attributes:
        loss: the sum of the losses of all heads, when labels were given.
        logits: (B, 7) of the fused answer, uncalibrated.
        acoustic_logits, semantic_logits: (B, 7) of each pathway alone, when the configuration has pathway heads; the semantic one
            where it was trained.
        fused: (B, N_q, d) fused tokens; (B, 1, d') for the fusions without queries.
        acoustic_kept, semantic_kept: `KeptTokens` of each stream.
        statistics: stream -> (B, 2 D) mean and deviation over the real patches, standardised over clips.
        distance: (B,) of the clips to those of the training, where the configuration has `familiarity`.
        summary: stream -> (B, d) these statistics, projected, of the streams that give a summary.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    acoustic_logits: Tensor | None = None
    semantic_logits: Tensor | None = None
    fused: Tensor | None = None
    acoustic_kept: KeptTokens | None = None
    semantic_kept: KeptTokens | None = None
    statistics: dict | None = None
    distance: Tensor | None = None
    summary: dict | None = None
