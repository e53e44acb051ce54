"""Fewer word pieces and fewer layers of a BERT, and what is left of it in 8 bits (`SmallBert`)."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fas_core.errors import CheckpointError
from fas_core.words.bert import Bert
from fas_core.words.small_bert import SPECIAL, WINDOW, SmallBert

_LETTERS = string.ascii_lowercase + string.digits


def shrink(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pieces: int, layers: int
) -> SmallBert:
    """The word pieces that texts have most often, and layers evenly from the first to the last.

    Letters and digits are always kept, so that every English word can still be spelled.

    Args:
        model: a BERT for sequence classification.

    Raises:
        CheckpointError: it is none, or has fewer layers.
    """
    config = model.config
    if config.model_type != "bert" or not isinstance(tokenizer.backend_tokenizer.model, WordPiece):
        raise CheckpointError(f"a {config.model_type}; expected a BERT with word pieces: only these are made small")
    if not 0 < layers <= config.num_hidden_layers:
        raise CheckpointError(f"--layers: {layers}; expected 1 to {config.num_hidden_layers}, what the encoder has")
    kept = _kept(tokenizer, texts, pieces)
    places = np.linspace(0, config.num_hidden_layers - 1, layers).round().astype(int)
    bert = Bert(
        len(kept),
        WINDOW,
        config.hidden_size,
        config.intermediate_size,
        layers,
        config.num_attention_heads,
        config.num_labels,
    )
    bert.load_state_dict(_state(model, tokenizer.convert_tokens_to_ids(kept), places))
    return SmallBert(_tokenizer_of(tokenizer, kept), bert)


def _state(model: PreTrainedModel, rows: list[int], places: Sequence[int]) -> dict[str, Tensor]:
    """By the names of `Bert`."""
    state = {name.removeprefix("bert."): tensor for name, tensor in model.state_dict().items()}
    found = {name: tensor for name, tensor in state.items() if not name.startswith("encoder.layer.")}
    found.pop("embeddings.position_ids", None)
    for new, old in enumerate(places):
        of = f"encoder.layer.{old}."
        found |= {
            f"encoder.layer.{new}.{name.removeprefix(of)}": each for name, each in state.items() if name.startswith(of)
        }
    for name, kept in (("word", rows), ("position", range(WINDOW)), ("token_type", [0])):
        name = f"embeddings.{name}_embeddings.weight"
        found[name] = found[name][torch.tensor(list(kept))]
    return found


def _kept(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pieces: int) -> list[str]:
    """At most `pieces`, the special ones first."""
    counts = Counter(number for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"] for number in ids)
    often = [
        tokenizer.convert_ids_to_tokens(number)
        for number, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    ]
    known = tokenizer.get_vocab()
    always = [piece for c in _LETTERS for piece in (c, f"##{c}") if piece in known]
    order = dict.fromkeys([*SPECIAL, *always, *often])
    return list(order)[:pieces]


def _tokenizer_of(tokenizer: PreTrainedTokenizerBase, kept: list[str]) -> Tokenizer:
    small = Tokenizer(WordPiece({piece: number for number, piece in enumerate(kept)}, unk_token="[UNK]"))
    small.normalizer, small.pre_tokenizer = (
        tokenizer.backend_tokenizer.normalizer,
        tokenizer.backend_tokenizer.pre_tokenizer,
    )
    return small
