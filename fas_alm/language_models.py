"""Language models: hub id, directory, or the one that a package carries."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from fas_core.errors import CheckpointError

OFFLINE_PREFIX = "offline:"


def load_language_model(
    name: str | Path, revision: str | None = None, dtype: torch.dtype | str = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal LLM and its tokenizer, on the CPU.

    Args:
        name: hub id, directory, or "offline:smollm2".
        revision: branch, tag or commit of the hub.
        dtype: of the weights; "auto" is that of the files.

    Raises:
        CheckpointError: it cannot be loaded, or lacks weights.
    """
    source = str(name)
    model, report = AutoModelForCausalLM.from_pretrained(
        source, revision=revision, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    if report["missing_keys"]:
        raise CheckpointError(f"language model {name}: its weights lack {sorted(report['missing_keys'])[0]}")
    return model.eval(), AutoTokenizer.from_pretrained(source, revision=revision)


def public_name(name: str | Path) -> str:
    """The name that a file may carry: a directory is known by its last part only."""
    return Path(name).resolve().name if Path(name).is_dir() else str(name)
