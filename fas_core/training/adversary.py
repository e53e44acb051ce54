"""Domain-adversarial training: tokens from which a classifier cannot tell the domain (Ganin et al. 2016).

The classifier learns to tell the domain; on the way back to the model its gradient is reversed, and so the model unlearns it. The
reversal grows from 0 to 1 over the training, because a classifier that knows nothing yet has nothing to reverse.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from fas_core.errors import FASError
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.outputs import FASOutput
from fas_core.training.clips import UNKNOWN, Clips
from fas_core.training.corpora import corpus_names

SHARPNESS = 10.0  # gamma of the paper's schedule
HUMAN = "human"  # the synthesizer of clips that nobody synthesized


def reversal(progress: float) -> float:
    """What the gradient is multiplied by, negated; `progress` runs from 0 to 1 over the training."""
    return 2 / (1 + math.exp(-SHARPNESS * progress)) - 1


def domains(clips: Clips, kind: str) -> np.ndarray:
    """(N,) numbers of the clips' domains; -100 where unknown, and where the tone is not learned.

    Args:
        kind: corpus, speaker (of one corpus: two corpora that give one name mean two people) or synthesizer.
    """
    corpora = corpus_names(clips)
    if kind == "corpus":
        names = list(corpora)
    elif kind == "speaker":
        names = [
            None if s is None else f"{c}/{s}"
            for c, s in zip(corpora, clips.speakers or [None] * len(clips), strict=True)
        ]
    else:
        names = [s or HUMAN for s in clips.synthesizers or [None] * len(clips)]
    known = [name for name, label in zip(names, clips.labels, strict=True) if name is not None and label != UNKNOWN]
    number = {name: i for i, name in enumerate(sorted(set(known)))}
    toned = clips.labels != UNKNOWN
    return np.array(
        [number[n] if n is not None and t else UNKNOWN for n, t in zip(names, toned, strict=True)], dtype=np.int64
    )


class ReverseGradient(torch.autograd.Function):
    """The same values forwards; backwards the gradient times -strength."""

    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:
        """Passes x on as it is."""
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """Turns the gradient round, times the strength."""
        return -ctx.strength * gradient, None


class WithAdversaries(nn.Module):
    """The model and its domain classifiers as one module, so that processes exchange all their gradients at once.

    Args:
        places: names of what is read, see `places`.
        count: of domains.
        seed: of the classifiers' weights; nothing else is drawn otherwise for them.
    """

    def __init__(self, model: FASForEmotionClassification, places: list[str], count: int, seed: int):
        super().__init__()
        if count < 2:
            raise FASError(
                f"--adversarial: {count} domain among the training clips, expected 2 or more; give more --corpora, or none"
            )
        self.model = model
        d = model.config.hidden_size
        widths = dict(fused=model.fas.output_size, pooled=d)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classifiers = nn.ModuleDict(
                {p: nn.Sequential(nn.Linear(widths[p], d), nn.ReLU(), nn.Linear(d, count)) for p in places}
            )

    def forward(self, strength: float, **batch) -> tuple[FASOutput, dict[str, Tensor]]:
        """The model's output, and place -> (B, domains) logits."""
        output = self.model(**batch)
        return output, {
            place: self.classifiers[place](ReverseGradient.apply(tokens, strength))
            for place, tokens in tokens_at(output, list(self.classifiers)).items()
        }


def tokens_at(output: FASOutput, places: list[str]) -> dict[str, Tensor]:
    """place -> (B, D) tokens: "fused" is the mean of the fused ones, "pooled" the sum of the streams' projected statistics.

    Raises:
        FASError: a model that projects no statistics.
    """
    found = {}
    for place in places:
        if place == "pooled" and not output.summary:
            raise FASError(
                "pooled: this model has no projected statistics; expected fused, or --summary mean+deviation"
            )
        found[place] = output.fused.mean(1) if place == "fused" else sum(output.summary.values())
    return found
