"""Whisper's decoder, greedily: tokens with their log-probabilities, and what its first step says of language and silence.

`generate` of transformers does the same and more, at several times the cost: it needs a pass of its own for the language, gives
no probability of silence for a single window, and multiplies by the whole vocabulary in float32, which on a CPU is more than
half of each step (`TokenHead`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration

from fas_core.encoders.products import use_onednn
from fas_core.words.token_head import TokenHead

ROUNDS = 3  # copies of the same words in a row are no speech any more
PERIOD = 40  # tokens of what may be repeated


@dataclass
class Decoded:
    """Tokens of one window, without prompt and end, and the log-probability of each and of the end."""

    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)


class GreedyDecoder:
    """The decoder of a Whisper over windows of frames, each filled up with those of silence.

    What attention reads of the silent frames, its keys and values, is computed once: filling up costs no product with weights.

    Args:
        model: its encoder is not used.
        silence: (W, D) frames of a silent window of full length.
        limit: tokens of one window.
    """

    def __init__(self, model: WhisperForConditionalGeneration, silence: Tensor, limit: int):
        self.decoder, self.settings, self.limit = use_onednn(model.model.decoder), model.generation_config, limit
        self.head = TokenHead(model.proj_out.weight.detach())
        self._config = copy.deepcopy(model.config)
        self._config.num_hidden_layers = (
            model.config.decoder_layers
        )  # what a cache asks for; of Whisper it is the encoder's
        self._suppressed = self.head.mask(self.settings.suppress_tokens)
        self._suppressed_first = self._suppressed + self.head.mask(self.settings.begin_suppress_tokens)
        with torch.inference_mode():
            self._silence = [self._read(layer.encoder_attn, silence) for layer in self.decoder.layers]

    def listen(self, windows: Sequence[Tensor]) -> tuple[EncoderDecoderCache, Tensor]:
        """Windows of (T, D) frames, filled up, and <|startoftranscript|>.

        Returns:
            The cache, and the (B, D) hidden states that decide on the next token.
        """
        cache = EncoderDecoderCache(DynamicCache(config=self._config), DynamicCache(config=self._config))
        packed, lengths = torch.cat(list(windows)), [len(window) for window in windows]
        for number, (layer, silent) in enumerate(zip(self.decoder.layers, self._silence, strict=True)):
            read = self._read(layer.encoder_attn, packed)
            keys, values = (_filled(x, lengths, y) for x, y in zip(read, silent, strict=True))
            cache.cross_attention_cache.update(keys, values, number)
            cache.is_updated[number] = True  # so the decoder reads this instead of frames
        start = torch.full((len(windows), 1), self.settings.decoder_start_token_id, device=packed.device)
        return cache, self._step(start, cache)

    @staticmethod
    def _read(attention: nn.Module, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(T, D) -> keys and values, (H, T, d) each."""
        keys, values = attention.k_proj(frames), attention.v_proj(frames)
        return tuple(x.view(len(frames), attention.num_heads, -1).transpose(0, 1) for x in (keys, values))

    def decode(self, cache: EncoderDecoderCache, prompts: Tensor, hidden: Tensor) -> list[Decoded]:
        """Goes on after `listen` with a prompt for each, until the end, the limit, or the text goes in circles.

        Args:
            cache, hidden: what `listen` gave.
            prompts: (B, P) token ids; P is 0 for a Whisper that knows no token between the start and the text.
        """
        found = [Decoded() for _ in prompts]
        active, tokens, suppressed = set(range(len(found))), prompts, self._suppressed_first
        for _ in range(self.limit):
            hidden = self._step(tokens, cache) if tokens.shape[1] else hidden
            best, log_probabilities = self.head.best(hidden, suppressed)
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

    def _step(self, tokens: Tensor, cache: EncoderDecoderCache) -> Tensor:
        nothing = self.head.weight.new_empty(
            len(tokens), 0, self._config.d_model
        )  # the cache has what it would read of frames
        output = self.decoder(tokens, encoder_hidden_states=nothing, past_key_values=cache, use_cache=True)
        return output.last_hidden_state[:, -1]


def _filled(packed: Tensor, lengths: list[int], silence: Tensor) -> Tensor:
    """(H, sum of lengths, d) of windows and (H, W, d) of silence -> (B, H, W, d), each window followed by silence."""
    filled = silence.expand(len(lengths), *silence.shape).contiguous()
    for row, window in zip(filled, packed.split(lengths, dim=1), strict=True):
        row[:, : window.shape[1]] = window
    return filled


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
