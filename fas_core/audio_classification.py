"""FAS as transformers' pipeline for audio classification takes it."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers.modeling_outputs import SequenceClassifierOutput

from fas_core.modeling_fas import FASForEmotionClassification


class FASForAudioClassification(FASForEmotionClassification):
    """FAS whose `logits` are those of its answer: of the head that the label comes from, divided by its temperature.

    Their softmax is what `EmotionPipeline` calls the probabilities of a voice without its words. Weights and loss are those of
    `FASForEmotionClassification`, whose `logits` are the fused ones as they were trained.
    """

    def forward(self, *args: Any, **kwargs: Any) -> SequenceClassifierOutput:
        """Gives the loss, where there are labels, and the calibrated logits (B, 7); arguments are those of the class above it."""
        output = super().forward(*args, **kwargs)
        if self.config.answer_from == "fused":
            logits = cast(Tensor, output.logits) / self.config.temperature
        else:  # the gate mixes words in, which are not here: what it has without them is the tone
            logits = cast(Tensor, output.acoustic_logits) / self.config.acoustic_temperature
        return SequenceClassifierOutput(loss=output.loss, logits=logits)
