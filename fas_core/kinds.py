"""What a directory is that was given in the place of another, and who takes it."""

import json
from pathlib import Path

from fas_core.paths import exists

TAKES = {
    "fas": "a FAS checkpoint: EmotionPipeline.from_pretrained, fas predict --checkpoint and train/alm_adapter.py --fas take it",
    "fas_audio": "a FAS-ALM model directory: AutoModelForMultimodalLM.from_pretrained, load_emotion_pipeline and python -m serve take it",
    "adapter": "a FAS-ALM adapter directory: fas_alm.load_adapter, AutoModelForMultimodalLM.from_pretrained, load_emotion_pipeline and python -m fas_alm.export take it",
    "lora": "a LoRA in PEFT's format: model.load_adapter takes it",
    "whisper": "a Whisper, which a FAS checkpoint names",
}


def kind_of(directory: str | Path) -> str | None:
    """A key of `TAKES`, another `model_type`, or None where there is no model."""
    directory = Path(directory)
    if exists(directory / "projector.safetensors"):
        return "adapter"
    try:
        kind = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        kind = "lora" if exists(directory / "adapter_config.json") else None
    return kind if isinstance(kind, str) else None


def what_is(directory: str | Path) -> str:
    """A clause for an error about a directory that is not of the kind expected: what it is, and who takes it."""
    directory = Path(directory)
    if not exists(directory):
        return "there is no such directory"
    if not directory.is_dir():
        return "it is a file"
    for folder in ("adapter", "checkpoint", "fas"):
        if kind_of(directory) is None and kind_of(directory / folder) is not None:
            return f"it holds {directory / folder}, which is {_name(directory / folder)}"
    return f"it is {_name(directory)}"


def _name(directory: Path) -> str:
    kind = kind_of(directory)
    if kind is None:
        return "no model of any kind (no readable config.json)"
    return TAKES.get(kind, f"a model of type {kind}: a language model is given as language_model (--language-model)")
