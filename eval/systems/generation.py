"""The next token after a prompt, and the text that follows, of any generative model of transformers."""

from collections.abc import Sequence

import torch

from fas_alm.prompts import OPTION_LETTERS
from fas_core.errors import FASError


def letter_token_ids(tokenizer) -> list[list[int]]:
    """Ids that each letter may have as the first token of an answer: after a line break, after a space, by itself.

    Chat templates end in different ways, and a model may begin with a space.

    Raises:
        FASError: a letter that is never one token, or two with the same one.
    """
    found = [_single_tokens(tokenizer, letter) for letter in OPTION_LETTERS]
    every = [token for ids in found for token in ids]
    if not all(found) or len(set(every)) < len(every):
        raise FASError(f"tokenizer: options {OPTION_LETTERS} are tokens {found}; expected different single tokens")
    return found


def _single_tokens(tokenizer, letter: str) -> list[int]:
    ids = set()
    for before in ("", " ", "\n"):
        tokens = tokenizer.encode(before + letter, add_special_tokens=False)
        if tokens and tokenizer.decode(tokens[-1:]).strip() == letter and (len(tokens) == 1 or before):
            ids.add(tokens[-1])
    return sorted(ids)


@torch.inference_mode()
def option_logprobs(model, inputs: dict, letters: Sequence[Sequence[int]]) -> list[list[float]]:
    """(B, 7) log-probabilities of the letters as the next token, over the whole vocabulary.

    Args:
        model: with `generate`. inputs: of a left-padded batch, on its device. letters: of `letter_token_ids`.
    """
    output = model.generate(**inputs, **_greedy(1), output_logits=True, return_dict_in_generate=True)
    logprobs = output.logits[0].float().log_softmax(-1)
    return torch.stack([logprobs[:, list(ids)].logsumexp(-1) for ids in letters], 1).clamp(max=0).tolist()


@torch.inference_mode()
def written(model, inputs: dict, tokenizer, max_new_tokens: int) -> list[str]:
    """The greedy answers of a batch."""
    ids = model.generate(**inputs, **_greedy(max_new_tokens))
    return tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def _greedy(max_new_tokens: int) -> dict:
    return dict(max_new_tokens=max_new_tokens, do_sample=False, temperature=None, top_p=None, top_k=None)
