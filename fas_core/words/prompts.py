"""What Whisper's decoder is told before it writes, and what its first step says of the language."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from fas_core.words.token_head import TokenHead

ENGLISH = "en"
SILENT = ("<|nospeech|>", "<|nocaptions|>")  # one token, renamed between releases


class Prompts:
    """The special tokens of one Whisper.

    Attributes:
        languages: codes, in the order of their tokens; English alone where the Whisper is not multilingual.
        no_speech: the token that says that nobody speaks, None in a vocabulary without one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: GenerationConfig):
        self.is_multilingual = bool(getattr(settings, "is_multilingual", False))
        tokens = settings.lang_to_id if self.is_multilingual else {}
        self.languages = [token.strip("<|>") for token in tokens] or [ENGLISH]
        self._languages, self._tasks = dict(zip(self.languages, tokens.values(), strict=False)), {}
        if self.is_multilingual:
            self._tasks = settings.task_to_id
        self._no_timestamps = getattr(settings, "no_timestamps_token_id", None)
        vocabulary = tokenizer.get_vocab()
        self.no_speech = next((vocabulary[token] for token in SILENT if token in vocabulary), None)

    def detect(self, head: TokenHead, hidden: Tensor) -> list[tuple[str, float]]:
        """(B, D) after the first step -> of each the most probable language, and its probability among all languages."""
        if not self.is_multilingual:
            return [(ENGLISH, 1.0)] * len(hidden)
        tokens = torch.tensor([list(self._languages.values())] * len(hidden), device=hidden.device)
        values, places = head.exact(hidden, tokens).softmax(-1).max(-1)
        return [(self.languages[i], value) for i, value in zip(places.tolist(), values.tolist(), strict=True)]

    def silence(self, head: TokenHead, hidden: Tensor) -> list[float]:
        """(B, D) after the first step -> of each the probability that nobody speaks."""
        if self.no_speech is None:
            return [0.0] * len(hidden)
        return head.log_probability(hidden, self.no_speech).exp().tolist()

    def after_start(self, languages: Sequence[str], task: str) -> list[list[int]]:
        """Of each clip the tokens between <|startoftranscript|> and the text."""
        end = [] if self._no_timestamps is None else [self._no_timestamps]
        if not self.is_multilingual:
            return [end for _ in languages]
        return [[self._languages[language], self._tasks[task], *end] for language in languages]
