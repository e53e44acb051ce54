"""A transformer that reads texts: fine-tuned whole or by LoRA on the shares of the seven, as a teacher or to be used itself.

The embeddings of words stay as they are: words that no training line has keep their place among the others.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from fas_core.labels import EMOTIONS
from fas_core.model_files import check_model_files, reads_checkpoint
from fas_core.precision import has_bf16
from fas_core.words.shrinking import shrink
from fas_core.words.texts import Texts

MOST_TOKENS = 40
BATCH = 128
LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear", "modules_to_save": ["classifier"]}


class Small(NamedTuple):
    """How many word pieces and layers are kept before training."""

    pieces: int
    layers: int


def fine_tune(
    base: str | Path,
    data: Texts,
    *,
    epochs: float,
    learning_rate: float,
    seed: int,
    weights: np.ndarray | None = None,
    lora: bool = False,
    small: Small | None = None,
    log=lambda line: None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence classifier of the seven, trained on soft targets with AdamW, a tenth of warm-up and linear decay.

    Args:
        base: directory or hub id of an encoder with a tokenizer, or of such a classifier of ours. weights: (N,) of the lines.
        lora: low-rank updates, merged at the end. small: what `shrink` keeps of it.

    Raises:
        CheckpointError: no such model, or none that can be made small.
    """
    torch.manual_seed(seed)
    check_model_files(base)
    with reads_checkpoint(base, "an encoder of transformers with its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(base)
        named = {"id2label": dict(enumerate(EMOTIONS)), "label2id": {name: i for i, name in enumerate(EMOTIONS)}}
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(EMOTIONS), **named)
    if small:
        model, tokenizer = shrink(model, tokenizer, data.texts, *small)
    model.get_input_embeddings().weight.requires_grad = False
    trained = _with_lora(model) if lora else model
    trained.to(device := find_device())
    rows = _Rows(data, tokenizer, weights, device)
    steps = math.ceil(epochs * len(data) / BATCH)
    parameters = [each for each in trained.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / (steps * 0.1 + 1), 1 - step / steps))
    trained.train()
    start, mean = time.monotonic(), torch.zeros((), device=device)
    for step, places in zip(range(steps), rows.batches(math.ceil(epochs), seed), strict=False):
        loss = rows.loss(trained, places)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean += (loss.detach() - mean) / min(step + 1, 100)
        if step % 100 == 99:
            log(f"step {step + 1} of {steps}, loss {mean.item():.3f}, {time.monotonic() - start:.0f} s")
    trained.eval()
    return (trained.merge_and_unload() if lora else model).cpu(), tokenizer


def find_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _with_lora(model: PreTrainedModel):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(task_type="SEQ_CLS", **LORA))


class _Rows:
    """Lines as tokens, and what is to be learnt of them."""

    def __init__(self, data: Texts, tokenizer: PreTrainedTokenizerBase, weights: np.ndarray | None, device: torch.device):
        self.ids = tokenizer(data.texts, truncation=True, max_length=MOST_TOKENS)["input_ids"]
        self.lengths, self.padding, self.device = np.array([len(each) for each in self.ids]), tokenizer.pad_token_id, device
        weights = np.ones(len(data), np.float32) if weights is None else weights
        self.targets = torch.from_numpy(data.shares * weights[:, None].astype(np.float32)).to(device)

    def loss(self, model, places: np.ndarray) -> Tensor:
        length = self.lengths[places].max()
        ids = torch.tensor([self.ids[place] + [self.padding] * (length - len(self.ids[place])) for place in places])
        mask = torch.arange(length) < torch.from_numpy(self.lengths[places])[:, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.device.type == "cpu" and has_bf16("cpu")):
            logits = model(input_ids=ids.to(self.device), attention_mask=mask.long().to(self.device)).logits
        targets = self.targets[torch.from_numpy(places).to(self.device)]
        return -(targets * logits.float().log_softmax(1)).sum(1).mean()

    def batches(self, epochs: int, seed: int):
        """Lines of like length together, in an order of the seed, so that little is padded."""
        random = np.random.default_rng(seed)
        for _ in range(epochs):
            order = random.permutation(len(self.lengths))
            chunks = np.array_split(order, max(1, len(order) // (50 * BATCH)))
            ordered = [part[np.argsort(self.lengths[part], kind="stable")] for part in chunks]
            flat = [batch for part in ordered for batch in np.array_split(part, max(1, len(part) // BATCH))]
            yield from (flat[place] for place in random.permutation(len(flat)))
