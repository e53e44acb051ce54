"""A transformer that reads texts: fine-tuned whole or by LoRA on the shares of the seven, as a teacher or to be used itself.

The embeddings of words stay as they are: words that no training line has keep their place among the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from fas_core.labels import EMOTIONS
from fas_core.model_files import check_model_files, reads_checkpoint
from fas_core.words.fitting import Rows, fit
from fas_core.words.shrinking import shrink
from fas_core.words.small_bert import SmallBert
from fas_core.words.texts import Texts

MOST_TOKENS = 40
LORA = {
    "r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "target_modules": "all-linear",
    "modules_to_save": ["classifier"],
}
Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


class Small(NamedTuple):
    """How many word pieces and layers are kept before training."""

    pieces: int
    layers: int


def fine_tune(
    base: str | Path, data: Texts, weights: np.ndarray, *, seed: int, lora: bool = False, **training
) -> Loaded:
    """A sequence classifier of the seven, trained on soft targets.

    Args:
        base: directory or hub id of an encoder with a tokenizer, or of such a classifier of ours. weights: (N,) of the lines.
        lora: low-rank updates, merged at the end. training: what else `fit` takes.

    Raises:
        CheckpointError: no such model.
    """
    model, tokenizer = load_base(base, seed)
    model.get_input_embeddings().weight.requires_grad = False
    trained = _with_lora(model) if lora else model
    rows = Rows(tokens_of(data, tokenizer), data.shares * weights[:, None], tokenizer.pad_token_id)

    def read(ids, mask):
        return trained(input_ids=ids, attention_mask=mask.long()).logits

    fit(trained, read, rows, seed=seed, **training)
    return (trained.merge_and_unload() if lora else model).cpu(), tokenizer


def fine_tune_small(
    base: str | Path, data: Texts, weights: np.ndarray, small: Small, *, seed: int, **training
) -> SmallBert:
    """As `fine_tune`, of what `shrink` keeps of a BERT.

    Raises:
        CheckpointError: no such model, or none that can be made small.
    """
    model = shrink(*load_base(base, seed), data.texts, *small)
    fit(model.bert, model.bert, small_rows(model, data, weights), seed=seed, **training)
    return model.rounded()


def small_rows(model: SmallBert, data: Texts, weights: np.ndarray) -> Rows:
    """Training lines as its tokens; the embeddings of words are held."""
    model.bert.embeddings["word_embeddings"].weight.requires_grad = False
    return Rows([model.ids(text)[0] for text in data.texts], data.shares * weights[:, None], 0)


def load_base(base: str | Path, seed: int) -> Loaded:
    """With a last layer drawn by a seed where it has none.

    Raises:
        CheckpointError: no such model.
    """
    torch.manual_seed(seed)
    check_model_files(base)
    with reads_checkpoint(base, "an encoder of transformers with its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(base)
        named = {"id2label": dict(enumerate(EMOTIONS)), "label2id": {name: i for i, name in enumerate(EMOTIONS)}}
        return AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(EMOTIONS), **named), tokenizer


def tokens_of(data: Texts, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Of each line at most `MOST_TOKENS`."""
    return tokenizer(data.texts, truncation=True, max_length=MOST_TOKENS)["input_ids"]


def _with_lora(model: PreTrainedModel):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(task_type="SEQ_CLS", **LORA))
