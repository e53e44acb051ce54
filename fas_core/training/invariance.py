"""What training asks of FAS's tokens beside the labels: domains that nobody can tell, emotions alike across corpora, mixed corpora."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fas_core.outputs import FASOutput
from fas_core.training import schedule
from fas_core.training.adversary import WithAdversaries, domains, reversal, tokens_at
from fas_core.training.arguments import TrainingArguments
from fas_core.training.clips import UNKNOWN, Clips
from fas_core.training.contrastive import category_contrast
from fas_core.training.corpora import corpus_names, weights_of_clips


class Invariance:
    """The parts of a training that are off by default; with all of them off it changes nothing.

    Args:
        model: the FAS that is trained.

    Attributes:
        module: what is optimised and saved in resume states: the model, with its domain classifiers where there are any.
        clip_weights: (N,) what each clip counts for in the loss; None where all count alike.
        class_weights: (7,).
    """

    def __init__(self, model, arguments: TrainingArguments, clips: Clips):
        self.arguments, self.clips = arguments, clips
        self.corpora = np.unique(corpus_names(clips), return_inverse=True)[1]
        kind = arguments.adversarial
        self.domains = domains(clips, "corpus" if kind == "none" else kind)
        self.module: nn.Module = model
        if kind != "none":
            self.module = WithAdversaries(model, arguments.adversarial_on, int(self.domains.max()) + 1, arguments.seed)
        weights = weights_of_clips(clips, arguments)
        counts = clips.class_weights(weights) if arguments.class_weighting else np.ones(model.config.num_labels)
        if arguments.domain_balanced_batches and kind in ("none", "corpus"):
            # the batches balance the corpora already
            weights = weights_of_clips(clips, replace(arguments, corpus_balance=False))
        self.class_weights = torch.tensor(counts, dtype=torch.float32)
        self.clip_weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def order(self, epoch: int, steps: int) -> np.ndarray:
        """The clips of an epoch in the order in which they are cut into batches."""
        seed, size = self.arguments.seed, self.arguments.global_batch_size
        if self.arguments.domain_balanced_batches:
            return schedule.balanced_order(self.domains, size * steps, seed, epoch)
        return schedule.epoch_order(len(self.clips), seed, epoch)

    def mixing(self, indices: np.ndarray, seed: int) -> tuple[np.ndarray, float] | None:
        """Partners (B,) of a micro-batch's clips, places in it, and the clips' own share; None where mixup is off."""
        if not self.arguments.mixup:
            return None
        rng = np.random.default_rng([seed, 2])
        share = float(rng.beta(self.arguments.mixup, self.arguments.mixup))
        partners = rng.permutation(len(indices))
        if self.arguments.mixup_across_corpora:
            corpora = self.corpora[indices]
            for i in np.flatnonzero(corpora[partners] == corpora):
                others = np.flatnonzero(corpora != corpora[i])
                partners[i] = rng.choice(others) if len(others) else partners[i]
        return partners, share

    def domain_weight(self, clips: np.ndarray) -> float:
        """Of a whole global batch; every process knows it."""
        return float(self._weights(clips)[torch.from_numpy(self.domains[clips] != UNKNOWN)].sum())

    def forward(self, model: nn.Module, progress: float, batch: dict) -> tuple[FASOutput, dict[str, Tensor]]:
        """Output of `module`, as processes wrap it, and what the domain classifiers say, place -> (B, domains)."""
        if self.arguments.adversarial == "none":
            return model(**batch), {}
        return model(reversal(progress), **batch)

    def loss(
        self,
        output: FASOutput,
        told: dict[str, Tensor],
        indices: np.ndarray,
        labels: Tensor,
        totals: tuple[float, float],
    ) -> Tensor | float:
        """This micro-batch's share of what is added to the loss of the labels.

        Args:
            labels: (B,) of the tone; all unknown in a micro-batch that only keeps step.
            totals: weight of the whole global batch: of its labels (class and clip weights), of its domains.
        """
        loss: Tensor | float = 0.0
        weights = self._weights(indices).to(labels.device)
        if told:
            truth = torch.from_numpy(self.domains[indices]).to(labels.device).masked_fill(labels == UNKNOWN, UNKNOWN)
            each = [
                F.cross_entropy(logits.float(), truth, reduction="none", ignore_index=UNKNOWN)
                for logits in told.values()
            ]
            loss = self.arguments.adversarial_weight * (torch.stack(each) * weights).sum() / max(totals[1], 1e-8)
        if self.arguments.contrastive:
            weights = weights * self.class_weights.to(labels.device)[labels.clamp(min=0)]
            corpora = (
                torch.from_numpy(self.corpora[indices]).to(labels.device)
                if self.arguments.contrastive_pairs == "across"
                else None
            )
            same = torch.from_numpy(indices).to(labels.device)
            places = tokens_at(output, self.arguments.contrastive_on).values()
            found = sum(category_contrast(tokens, labels, weights, same, corpora) for tokens in places)
            loss = loss + self.arguments.contrastive * found / max(totals[0], 1e-8)
        return loss

    def _weights(self, indices: np.ndarray) -> Tensor:
        return torch.ones(len(indices)) if self.clip_weights is None else self.clip_weights[indices]
