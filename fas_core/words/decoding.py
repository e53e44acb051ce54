"""Whisper's decoder, greedily: tokens with their log-probabilities, and what its first step says of language and silence.

`generate` of transformers does the same and more, at several times the cost: it needs a pass of its own for the language, gives
no probability of silence for a single window, and multiplies by the whole vocabulary in float32, which on a CPU is more than
half of each step (`TokenHead`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration

from fas_core.encoders.products import use_onednn
from fas_core.words.vocabulary import TokenHead

ROUNDS = 3  # copies of the same words in a row are no speech any more
PERIOD = 40  # tokens of what may be repeated


@dataclass
class Decoded:
    """Tokens of one window, without prompt and end, and the log-probability of each and of the end."""

    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)


class GreedyDecoder:
    """The decoder of a Whisper over frames of its encoder, which are (B, S, D), S the same in a batch.

    Args:
        model: its encoder is not used.
        limit: tokens of one window.
    """

    def __init__(self, model: WhisperForConditionalGeneration, limit: int):
        self.decoder, self.settings, self.limit = use_onednn(model.model.decoder), model.generation_config, limit
        self.head = TokenHead(model.proj_out.weight.detach())
        self._config = copy.deepcopy(model.config)
        self._config.num_hidden_layers = model.config.decoder_layers  # what a cache asks for; of Whisper it is the encoder's
        self._suppressed = self.head.mask(self.settings.suppress_tokens)
        self._suppressed_first = self._suppressed + self.head.mask(self.settings.begin_suppress_tokens)

    def listen(self, frames: Tensor) -> tuple[EncoderDecoderCache, Tensor]:
        """After <|startoftranscript|>: the cache, and the (B, D) hidden states that decide on the next token."""
        cache = EncoderDecoderCache(DynamicCache(config=self._config), DynamicCache(config=self._config))
        start = torch.full((len(frames), 1), self.settings.decoder_start_token_id, device=frames.device)
        return cache, self._step(start, frames, cache)

    def decode(self, frames: Tensor, cache: EncoderDecoderCache, prompts: Tensor) -> list[Decoded]:
        """Goes on after `listen` with a prompt for each, (B, P), until the end, the limit, or the text goes in circles."""
        found = [Decoded() for _ in prompts]
        active, tokens, suppressed = set(range(len(found))), prompts, self._suppressed_first
        for _ in range(self.limit):
            best, log_probabilities = self.head.best(self._step(tokens, frames, cache), suppressed)
            for row in list(active):
                if not self._goes_on(found[row], int(best[row]), float(log_probabilities[row])):
                    active.remove(row)
            if not active:
                break
            tokens, suppressed = best[:, None], self._suppressed
        return found

    def _goes_on(self, found: Decoded, token: int, log_probability: float) -> bool:
        found.log_probabilities.append(log_probability)
        if token == self.settings.eos_token_id:
            return False
        found.tokens.append(token)
        return repeated_period(found.tokens) is None

    def _step(self, tokens: Tensor, frames: Tensor, cache: EncoderDecoderCache) -> Tensor:
        output = self.decoder(tokens, encoder_hidden_states=frames, past_key_values=cache, use_cache=True)
        return output.last_hidden_state[:, -1]


def repeated_period(tokens: list[int]) -> int | None:
    """How many tokens the end repeats `ROUNDS` times over, if it does."""
    for period in range(1, min(PERIOD, len(tokens) // ROUNDS) + 1):
        tail = tokens[-ROUNDS * period :]
        if tail == tail[:period] * ROUNDS:
            return period
    return None


def without_circles(tokens: list[int]) -> list[int]:
    """The tokens, with one round left of what the end repeats."""
    period = repeated_period(tokens)
    while period and tokens[-period:] == tokens[-2 * period : -period]:
        tokens = tokens[:-period]
    return tokens
