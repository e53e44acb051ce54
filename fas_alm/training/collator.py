"""From examples to a batch, padded on the left, with what all prompts begin with apart."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from fas_alm.training.audio import AudioInputs
from fas_alm.training.examples import IGNORED, Example

SHORTEST_PREFIX = 8  # tokens that are worth a pass of their own


class Collator:
    """Makes the arguments of `AnswerModel.forward`.

    Args:
        audio: inputs of the files.
        audio_token_id: id of `<|audio|>`.
        pad_token_id: of the tokenizer; what stands there is masked.
        share_prefix: put what all prompts begin with, up to the first audio, into `prefix_ids`.
    """

    def __init__(self, audio: AudioInputs, audio_token_id: int, pad_token_id: int, share_prefix: bool = True):
        self.audio, self.audio_token_id, self.pad_token_id = audio, audio_token_id, pad_token_id
        self.share_prefix = share_prefix

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """A batch.

        Returns:
            `prefix_ids` (1, P) where there is a shared prefix; `input_ids` (B, L) of what comes after it, prompt and answer
            but for the answer's last token, padded on the left; `attention_mask` (B, P + L); `labels` (B, K), what the last
            K positions should predict, -100 for what is not learned; `options` (B,), index of the right option; `orders`
            (B, 7), index in `EMOTIONS` of each option, where every answer is the letter of one window of audio; and the
            inputs of the audio.
        """
        prefix = self._shared([example.prompt for example in examples])
        rows = [example.prompt[len(prefix) :] + example.answer[:-1] for example in examples]
        longest = max(map(len, rows))
        last = max(1, max(len(example.answer) for example in examples))
        ones = [1] * len(prefix)
        batch = {
            "input_ids": torch.tensor([_left(row, longest, self.pad_token_id) for row in rows]),
            "attention_mask": torch.tensor([ones + _left([1] * len(row), longest, 0) for row in rows]),
            "labels": torch.tensor(
                [_left(example.answer if example.learned else (), last, IGNORED) for example in examples]
            ),
            "options": torch.tensor([example.label for example in examples]),
        }
        if all(example.order and self._is_one_window(example) for example in examples):
            batch["orders"] = torch.tensor([example.order for example in examples])
        if prefix:
            batch["prefix_ids"] = torch.tensor([prefix])
        files = [file for example in examples for file in example.files]
        return batch | (self.audio.batch(files) if files else {})

    def _is_one_window(self, example: Example) -> bool:
        return len(example.files) == 1 and self.audio.windows(example.files[0]) == 1

    def _shared(self, prompts: list[tuple[int, ...]]) -> tuple[int, ...]:
        if not self.share_prefix or len(prompts) < 2:
            return ()
        shared = os.path.commonprefix([prompt[:-1] for prompt in prompts])  # of any sequences, whatever its name says
        if self.audio_token_id in shared:
            shared = shared[: shared.index(self.audio_token_id)]
        return tuple(shared) if len(shared) >= SHORTEST_PREFIX else ()


def _left(values: Sequence[int], length: int, fill: int) -> list[int]:
    return [fill] * (length - len(values)) + list(values)
