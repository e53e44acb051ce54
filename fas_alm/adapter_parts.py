"""What an adapter directory holds and names: settings, classifier and encoder, language model; before they are one model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from fas_alm.adapters import PROJECTOR, with_lora
from fas_alm.configuration import FASAudioConfig
from fas_alm.language_models import grow_vocabulary, load_language_model
from fas_core.checkpoint import check_finite
from fas_core.errors import CheckpointError
from fas_core.hub import named_source
from fas_core.kinds import what_is
from fas_core.model_files import LORA, check_model_files, read_object, reads_checkpoint
from fas_core.pipeline import EmotionPipeline

FAS_FOLDER = "fas"


@dataclass(frozen=True)
class AdapterParts:
    """The parts of an adapter directory; its projector and LoRA are read when there is a model."""

    directory: Path
    config: FASAudioConfig
    pipeline: EmotionPipeline
    language_model: PreTrainedModel

    def read_projector(self, projector: nn.Module) -> None:
        """Fill a projector with the tensors of the directory; raises CheckpointError where they are damaged or do not fit."""
        path = self.directory / PROJECTOR
        with reads_checkpoint(path, "the tensors of save_adapter"):
            projector.load_state_dict(load_file(path))
        check_finite(projector.state_dict(), path)

    def with_lora(self, is_trainable: bool) -> nn.Module:
        """The language model, a PEFT model where the directory has a LoRA."""
        has_lora = (self.directory / LORA[0]).is_file()
        return with_lora(self.language_model, self.directory, is_trainable) if has_lora else self.language_model


def load_parts(
    directory: Path, language_model: str | Path | None = None, dtype: torch.dtype | str = "auto", **options: Any
) -> AdapterParts:
    """Load what an adapter directory names; arguments and errors are those of `fas_alm.load_adapter`."""
    config = _config(directory)
    name = language_model or config.base_language_model
    if not name:
        raise CheckpointError(f"{directory}: does not say which language model it is for; give `language_model`")
    if language_model:
        source: tuple[str, str | None] = str(language_model), None
    else:
        hint = "or name it, or another place of it, yourself (language_model, --language-model)"
        source = named_source(str(name), config.base_revision, f"{directory}/config.json: base_language_model", hint)
    llm, _ = load_language_model(*source, dtype, **options)
    if config.audio_token_id is not None:  # as in every configuration with parts
        grow_vocabulary(llm, config.audio_token_id)
    _check_same(config, llm, str(name))
    pipeline = EmotionPipeline.from_pretrained(directory / FAS_FOLDER, device="cpu", words=False)
    config.fas_config = pipeline.model.config
    return AdapterParts(directory, config, pipeline, llm)


def _config(directory: Path) -> FASAudioConfig:
    missing = [name for name in ("config.json", PROJECTOR, FAS_FOLDER) if not (directory / name).exists()]
    if missing:
        raise CheckpointError(f"{directory}: not an adapter directory, {missing[0]} is missing; {what_is(directory)}")
    return read_audio_config(directory)


def read_audio_config(directory: Path) -> FASAudioConfig:
    """The configuration of an adapter or model directory; raises CheckpointError that names file and field."""
    check_model_files(directory, quantised=True, adapter=True)
    path = directory / "config.json"
    with reads_checkpoint(path, "the fields of FASAudioConfig"):
        return FASAudioConfig.from_dict(read_object(path))


def _check_same(config: FASAudioConfig, llm: PreTrainedModel, name: str) -> None:
    """An adapter fits one LLM only."""
    for field in ("model_type", "hidden_size", "num_hidden_layers", "vocab_size"):
        here, there = getattr(llm.config, field, None), getattr(config.text_config, field, None)
        if here != there:
            raise CheckpointError(
                f"language model {name}: {field} is {here}, the adapter was trained on {config.base_language_model} "
                f"with {there}; give the same one as `language_model`"
            )
