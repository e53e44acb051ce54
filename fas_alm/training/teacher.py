"""FAS as the teacher of lettered answers: what it says of its own tokens, in the place of labels."""

import copy

import torch
from torch import Tensor

from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.training.arguments import DataArguments, ModelArguments, TrainingArguments
from fas_core.errors import FASError
from fas_core.modeling_fas import FASForEmotionClassification


class Teacher:
    """What the frozen FAS says of fused tokens: the target of lettered answers (Hinton et al., 2015).

    The tokens of clips that FAS was trained on lie close to its classes, those of other voices between them. An LLM that only
    learns labels may do anything there; learning FAS's own answers to mixtures of tokens (Zhang et al., 2018) ties it down.

    Args:
        fas: the classifier; its head is copied, its temperature taken, so that the LLM learns calibrated answers.
        mixup: Beta parameter of the mixtures; 0: the clips as they are.
    """

    def __init__(self, fas: FASForEmotionClassification, mixup: float = 0.0):
        self.head = copy.deepcopy(fas.head).float().eval().requires_grad_(False)
        self.temperature, self.mixup = fas.config.temperature, mixup

    @torch.no_grad()
    def __call__(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Fused tokens (B, T, d) -> the same, mixed where asked for, and (B, 7) probabilities in the order of `EMOTIONS`."""
        if self.mixup:
            share = torch.distributions.Beta(self.mixup, self.mixup).sample((len(tokens), 1, 1)).to(tokens)
            tokens = share * tokens + (1 - share) * tokens[torch.randperm(len(tokens)).to(tokens.device)]
        logits = self.head.to(tokens.device)(tokens.float().mean(1))
        return tokens, (logits / self.temperature).softmax(-1)


def make_teacher(
    model: FASAudioForConditionalGeneration, data: DataArguments, parts: ModelArguments, arguments: TrainingArguments
) -> Teacher | None:
    """FAS as a teacher of lettered answers.

    Raises:
        FASError: it is asked for, but FAS is trained too, or gives other tokens than its head reads.
    """
    if not arguments.distil_options or data.no_audio:  # who hears nothing has nothing to learn from FAS
        return None
    if parts.train_fas or model.config.audio_tokens != "fused":
        raise FASError(
            "--distil_options needs a frozen FAS and its fused tokens alone; drop --train_fas, and give --audio_tokens fused"
        )
    return Teacher(model.fas, arguments.token_mixup)
