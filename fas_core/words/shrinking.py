"""Fewer word pieces and fewer layers of a BERT, and what is left of it in 8 bits (`SmallBert`)."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.processors import BertProcessing
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from fas_core.errors import CheckpointError
from fas_core.words.small_bert import SPECIAL, WINDOW, SmallBert

_LETTERS = string.ascii_lowercase + string.digits


def shrink(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pieces: int, layers: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The word pieces that texts have most often, and layers evenly from the first to the last.

    Letters and digits are always kept, so that every English word can still be spelled.

    Args:
        model: a BERT for sequence classification, changed in place.

    Raises:
        CheckpointError: it is none, or has fewer layers.
    """
    config = model.config
    if config.model_type != "bert" or not isinstance(tokenizer.backend_tokenizer.model, WordPiece):
        raise CheckpointError(f"a {config.model_type}; expected a BERT with word pieces: only these are made small")
    if not 0 < layers <= config.num_hidden_layers:
        raise CheckpointError(f"--layers: {layers}; expected 1 to {config.num_hidden_layers}, what the encoder has")
    kept = _kept(tokenizer, texts, pieces)
    rows = torch.tensor([tokenizer.convert_tokens_to_ids(piece) for piece in kept])
    words = model.bert.embeddings.word_embeddings.weight.data[rows]
    model.bert.embeddings.word_embeddings = nn.Embedding.from_pretrained(words.clone(), freeze=False, padding_idx=0)
    places = np.linspace(0, config.num_hidden_layers - 1, layers).round().astype(int)
    model.bert.encoder.layer = nn.ModuleList([model.bert.encoder.layer[place] for place in places])
    config.vocab_size, config.num_hidden_layers, config.pad_token_id = len(kept), layers, 0
    return model, _tokenizer_of(tokenizer, kept)


def _kept(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], pieces: int) -> list[str]:
    """At most `pieces`, the special ones first."""
    counts = Counter(number for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"] for number in ids)
    often = [tokenizer.convert_ids_to_tokens(number) for number, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
    known = tokenizer.get_vocab()
    always = [piece for c in _LETTERS for piece in (c, f"##{c}") if piece in known]
    order = dict.fromkeys([*SPECIAL, *always, *often])
    return list(order)[:pieces]


def _tokenizer_of(tokenizer: PreTrainedTokenizerBase, kept: list[str]) -> PreTrainedTokenizerFast:
    numbers = {piece: number for number, piece in enumerate(kept)}
    small = Tokenizer(WordPiece(numbers, unk_token="[UNK]"))
    small.normalizer, small.pre_tokenizer = tokenizer.backend_tokenizer.normalizer, tokenizer.backend_tokenizer.pre_tokenizer
    small.post_processor = BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=small, **names)


def in_eight_bits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> SmallBert:
    """What `shrink` left and was trained, as it will be read."""
    tensors = {name.removeprefix("bert."): tensor.float().cpu() for name, tensor in model.state_dict().items()}
    tensors.pop("embeddings.position_ids", None)
    tensors["embeddings.position_embeddings.weight"] = tensors["embeddings.position_embeddings.weight"][:WINDOW]
    tensors["embeddings.token_type_embeddings.weight"] = tensors["embeddings.token_type_embeddings.weight"][:1]
    tensors = {name: _rounded(tensor) for name, tensor in tensors.items()}
    return SmallBert(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), tensors, model.config.num_attention_heads)


def _rounded(tensor: torch.Tensor) -> torch.Tensor:
    """As it will be after it was saved."""
    if tensor.ndim == 1:
        return tensor.clone()
    scale = tensor.abs().amax(1, keepdim=True).clamp(min=1e-9) / 127
    return (tensor / scale).round() * scale
