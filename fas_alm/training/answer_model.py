"""What is trained, as one module: embeddings of text and audio in, loss on answers or log-probabilities of options out."""

import copy
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.projector import project
from fas_alm.tower import audio_tokens as tokens_of
from fas_alm.training.examples import IGNORED
from fas_alm.training.teacher import Teacher

CACHED_PREFIXES = 64


class AnswerModel(nn.Module):
    """Projector and LLM, and FAS where it is trained; the parts are those of the model, not copies.

    The encoder, and a frozen FAS, are left out: their output does not change, and so neither DDP nor DeepSpeed holds them,
    nor casts them.

    Args:
        model: the whole model; LoRA in place if it is to be trained.
        option_ids: ids of the option letters.
        with_fas: FAS is trained in some stage, so that batches hold its inputs.
        smoothing: share of a lettered answer's target that goes evenly to all seven letters.
        teacher: what a lettered answer is learned from in the place of the label.
    """

    def __init__(
        self,
        model: FASAudioForConditionalGeneration,
        option_ids: list[int],
        with_fas: bool = False,
        smoothing: float = 0.0,
        teacher: Teacher | None = None,
    ):
        super().__init__()
        self.smoothing, self.teacher = smoothing, teacher
        self.multi_modal_projector, self.language_model = model.multi_modal_projector, model.language_model
        if with_fas:
            self.fas = model.fas
        self.kind, self.audio_token_id = model.config.audio_tokens, model.config.audio_token_id
        self.option_ids = option_ids
        self._prefixes: OrderedDict[tuple, object] = OrderedDict()
        self._use_cache = getattr(self.config, "use_cache", None)  # transformers' trainer turns it off
        # The last positions are a slice; without this, a copy of the vocabulary's weights is made for each row of the batch.
        head = self.language_model.get_output_embeddings()
        self._contiguous = head.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))

    @property
    def _no_split_modules(self) -> list[str]:
        """Names of the classes of layers that FSDP shards each by itself: those of the LLM, whatever its family."""
        here = {type(module).__name__ for module in self.modules()}
        return sorted(here & set(getattr(self.language_model, "_no_split_modules", None) or ()))

    @property
    def config(self):
        """That of the LLM, which DeepSpeed and trackers ask for."""
        return self.language_model.config

    def release(self) -> None:
        """Undo what was done to the LLM."""
        self._contiguous.remove()
        self.config.use_cache = self._use_cache
        self._prefixes.clear()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        options: Tensor | None = None,
        orders: Tensor | None = None,
        prefix_ids: Tensor | None = None,
        audio_tokens: Tensor | None = None,
        audio_mask: Tensor | None = None,
        **features: Tensor,
    ) -> dict[str, Tensor]:
        """Logits are computed of the positions that answer, and of no others.

        Args:
            input_ids: (B, L), padded on the left; attention_mask: (B, P + L).
            labels: (B, K), what the last K positions should predict; -100 is not learned.
            options: (B,) index of the right option where the answer begins with its letter, otherwise -100.
            orders: (B, 7) index in `EMOTIONS` of each option, where all answers are lettered.
            prefix_ids: (1, P), what all rows begin with.
            audio_tokens, audio_mask: (N, T, d) and (N, T) of a frozen FAS, N windows.
            features: the inputs of a FAS that is trained; the patches that the connector reads, where it is heard.

        Returns:
            `loss`, the sum over rows of the mean over the labels of each; `options` (B, 7), log-probabilities of the letters at the first position
            that is asked for.
        """
        taught = self.training and self.teacher is not None and orders is not None and audio_tokens is not None
        if taught:
            audio_tokens, target = self.teacher(audio_tokens)
        embeddings = self.embed(input_ids, audio_tokens, audio_mask, features)
        past = None if prefix_ids is None else self._prefix(prefix_ids, len(input_ids))
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        logits = self.language_model(
            inputs_embeds=embeddings, attention_mask=attention_mask, position_ids=positions, past_key_values=past,
            use_cache=past is not None, logits_to_keep=labels.shape[1],
        ).logits.float()  # (B, K, V)  # fmt: skip
        losses = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none").sum(1)
        if taught:
            losses = losses + self._taught(logits, labels, target.gather(1, orders))
        elif self.training and self.smoothing and options is not None:
            losses = losses + self.smoothing * self._smoothed(logits, labels, options >= 0)
        loss = (losses / (labels != IGNORED).sum(1).clamp(min=1)).sum()
        first = logits[:, 0].detach().log_softmax(-1)
        return {"loss": loss, "options": first[:, self.option_ids]}

    def _taught(self, logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
        """(B,) what a teacher changes: from the right letter to its probabilities of the letters, `target` (B, 7)."""
        place = (labels != IGNORED).int().argmax(1)
        rows = torch.arange(len(labels), device=labels.device)
        logprobs = logits[rows, place].log_softmax(-1)
        # of a row that is not learned, the label is no token
        right = logprobs.gather(1, labels[rows, place].clamp(min=0)[:, None])[:, 0]
        return (right - (target * logprobs[:, self.option_ids]).sum(1)) * (labels != IGNORED).any(1)

    def _smoothed(self, logits: Tensor, labels: Tensor, lettered: Tensor) -> Tensor:
        """(B,) what smoothing (Szegedy et al. 2016) adds: from the right letter to the mean of all seven.

        A frozen FAS is all but perfect on the clips that it was trained on. Without smoothing an LLM that reads it learns to
        be as sure on other speakers.
        """
        place = (labels != IGNORED).int().argmax(1)  # the letter is the first token of the answer
        rows = torch.arange(len(labels), device=labels.device)
        logprobs = logits[rows, place].log_softmax(-1)
        right = logprobs.gather(1, labels[rows, place].clamp(min=0)[:, None])[:, 0]
        return (right - logprobs[:, self.option_ids].mean(-1)) * (lettered & (labels != IGNORED).any(1))

    def embed(self, input_ids: Tensor, tokens: Tensor | None, mask: Tensor | None, features: dict) -> Tensor:
        """(B, L, H) embeddings of text and audio; arguments as in `forward`."""
        is_audio = input_ids == self.audio_token_id
        embeddings = self.language_model.get_input_embeddings()(input_ids.masked_fill(is_audio, 0))
        if features and tokens is None and hasattr(self, "fas"):
            tokens, mask = tokens_of(self.fas, features, self.kind)
        if tokens is None and not features:
            return embeddings
        rows, read = project(self.multi_modal_projector, self.kind, tokens, mask, features)
        audio = rows[read]
        return embeddings.masked_scatter(is_audio[..., None], audio.to(embeddings.dtype))

    def _prefix(self, ids: Tensor, rows: int):
        """Keys and values of the prefix, for all rows. Computed once as long as the LLM stays as it is."""
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in self.language_model.parameters())
        if learns:
            past = self._run_prefix(ids)
        else:
            key = tuple(ids[0].tolist())
            if key not in self._prefixes:
                with torch.no_grad():
                    self._prefixes[key] = self._run_prefix(ids)
            while len(self._prefixes) > CACHED_PREFIXES:
                self._prefixes.popitem(last=False)
            past = copy.deepcopy(self._prefixes[key])
        past.batch_repeat_interleave(rows)
        return past

    def _run_prefix(self, ids: Tensor):
        embeddings = self.language_model.get_input_embeddings()(ids)
        return self.language_model(inputs_embeds=embeddings, use_cache=True, logits_to_keep=1).past_key_values

    def train(self, mode: bool = True) -> "AnswerModel":
        """A change of mode may come with a change of weights: what was computed from them is forgotten."""
        if mode != self.training and any(p.requires_grad for p in self.language_model.parameters()):
            self._prefixes.clear()
        super().train(mode)
        if hasattr(self, "fas"):  # no dropout where it is frozen
            self.fas.train(mode and any(p.requires_grad for p in self.fas.parameters()))
        return self

    def gradient_checkpointing_enable(self, **options) -> None:
        """Of the LLM's layers; for transformers' trainer."""
        self.language_model.gradient_checkpointing_enable(**options)
