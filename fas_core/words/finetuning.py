"""A transformer that reads texts: fine-tuned whole or by LoRA on the shares of the seven, as a teacher or to be used itself."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from fas_core.labels import EMOTIONS
from fas_core.model_files import check_model_files, reads_checkpoint
from fas_core.words.texts import Texts

MOST_TOKENS = 40
FROZEN_LAYERS = 2  # and the embeddings: a third of the time, and words that no training line has keep their place
BATCH = 64
LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear", "modules_to_save": ["classifier"]}


def fine_tune(
    base: str | Path,
    data: Texts,
    *,
    epochs: float,
    learning_rate: float,
    seed: int,
    lora: bool = False,
    log=lambda line: None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence classifier of the seven, trained on soft targets with AdamW, a tenth of warm-up and linear decay.

    Args:
        base: directory or hub id of an encoder with a tokenizer. lora: low-rank updates, merged at the end.

    Raises:
        CheckpointError: no such model.
    """
    torch.manual_seed(seed)
    check_model_files(base)
    with reads_checkpoint(base, "an encoder of transformers with its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(base)
        named = {"id2label": dict(enumerate(EMOTIONS)), "label2id": {name: i for i, name in enumerate(EMOTIONS)}}
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(EMOTIONS), **named)
    trained = _with_lora(model) if lora else _upper_layers(model)
    batches = _batches(data, tokenizer, math.ceil(epochs), seed)
    steps = math.ceil(epochs * len(data) / BATCH)
    parameters = [each for each in trained.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / (steps * 0.1 + 1), 1 - step / steps))
    trained.train()
    start, mean = time.monotonic(), 0.0
    for step, rows in zip(range(steps), batches, strict=False):
        loss = _loss(trained, tokenizer, data, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean += (loss.item() - mean) / min(step + 1, 100)
        if step % 50 == 49:
            log(f"step {step + 1} of {steps}, loss {mean:.3f}, {time.monotonic() - start:.0f} s")
    trained.eval()
    return (trained.merge_and_unload() if lora else model), tokenizer


def _upper_layers(model: PreTrainedModel) -> PreTrainedModel:
    frozen = re.compile(rf"embeddings\.|\.layer\.[0-{FROZEN_LAYERS - 1}]\.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = frozen.search(name) is None
    return model


def _with_lora(model: PreTrainedModel):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(task_type="SEQ_CLS", **LORA))


def _loss(model, tokenizer: PreTrainedTokenizerBase, data: Texts, rows: np.ndarray) -> Tensor:
    device = next(model.parameters()).device
    inputs = tokenizer([data.texts[row] for row in rows], truncation=True, max_length=MOST_TOKENS, padding=True, return_tensors="pt")
    with torch.autocast(device.type, torch.bfloat16):
        logits = model(**inputs.to(device)).logits
    return torch.nn.functional.cross_entropy(logits.float(), torch.from_numpy(data.shares[rows]).to(device))


def _batches(data: Texts, tokenizer: PreTrainedTokenizerBase, epochs: int, seed: int):
    """Rows of like length together, in an order of the seed, so that little is padded."""
    random = np.random.default_rng(seed)
    lengths = np.array([len(each) for each in tokenizer(data.texts, truncation=True, max_length=MOST_TOKENS)["input_ids"]])
    for _ in range(epochs):
        order = random.permutation(len(lengths))
        chunks = np.array_split(order, max(1, len(order) // (50 * BATCH)))
        rows = [np.array_split(part[np.argsort(lengths[part], kind="stable")], max(1, len(part) // BATCH)) for part in chunks]
        flat = [batch for part in rows for batch in part]
        yield from (flat[place] for place in random.permutation(len(flat)))
