"""What a training leaves behind: the adapter directory, without the LLM's own weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fas_alm.adapter_parts import FAS_FOLDER as FAS_FOLDER
from fas_alm.adapter_parts import load_parts
from fas_alm.adapter_parts import read_audio_config as read_audio_config
from fas_alm.adapters import AUTO_MAPPING, PROJECTOR, holds_adapter
from fas_alm.card import model_card
from fas_alm.configuration import FASAudioConfig
from fas_alm.listening import LazyListener, WhisperListener
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import WHISPER_FOLDER as WHISPER_FOLDER
from fas_alm.processing import FASAudioProcessor
from fas_core.atomic import UMASK, atomic_directory, write_json, write_text
from fas_core.checkpoint import RECORD, find_device, load_model, local_streams, read_record
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import CheckpointError, FASError
from fas_core.hub import find_directory
from fas_core.kinds import what_is
from fas_core.model_files import LORA, check_model_files, reads_checkpoint
from fas_core.paths import exists
from fas_core.pipeline import EmotionPipeline
from fas_core.speech import THRESHOLD

if TYPE_CHECKING:
    from peft import PeftModel

WRAPPER = "base_model.model."  # what the names of PEFT's tensors begin with
LORA_FOLDER = "lora"


def save_adapter(
    model: FASAudioForConditionalGeneration,
    processor: FASAudioProcessor,
    directory: str | Path,
    record: dict | None = None,
    *,
    state_dict: dict[str, Tensor] | None = None,
) -> Path:
    """Write what was trained: projector, FAS, and LoRA where `model.language_model` is a PEFT model.

    PEFT's files have the keys of the bare LLM, so that PEFT alone or vLLM can load them. The directory appears whole, in
    the place of an older one.

    Args:
        record: JSON-ready, becomes `training.json`; the card tells of it (`fas_alm.card.model_card`).
        state_dict: the model's weights, gathered, where processes hold parts of them (FSDP, ZeRO-3).

    Raises:
        FASError: PEFT on the whole model instead of `model.language_model`, or more than one adapter.
    """
    _check_saved(model)
    state = state_dict or model.state_dict()
    with atomic_directory(directory) as folder:
        model.config.save_pretrained(folder)
        processor.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
        _save_tensors(_below(state, "multi_modal_projector"), folder / PROJECTOR)
        model.fas.save_pretrained(folder / FAS_FOLDER, state_dict=_below(state, "fas"))
        if hasattr(model.language_model, "peft_config"):
            save_lora(model.language_model, folder, model.config, _below(state, "language_model"))
        write_json(folder / RECORD, record or {})
        write_text(folder / "README.md", model_card(model.config, record))
    return Path(directory)


def save_lora(llm: PeftModel, folder: Path, config: FASAudioConfig, state: dict[str, Tensor] | None = None) -> None:
    """PEFT's two files of the only adapter. The embedding table is left out: none of it is trained."""
    from peft import get_peft_model_state_dict

    (name,) = llm.peft_config
    tensors = get_peft_model_state_dict(llm, state_dict=state, adapter_name=name, save_embedding_layers=False)
    settings = copy.deepcopy(llm.peft_config[name])
    settings.base_model_name_or_path, settings.revision = config.base_language_model, config.base_revision
    settings.inference_mode = True
    settings.task_type, settings.auto_mapping = None, AUTO_MAPPING if (folder / PROJECTOR).is_file() else None
    folder.mkdir(exist_ok=True)
    settings.save_pretrained(folder)
    # transformers' own `add_adapter` puts layers into the model without PEFT's wrapper, whose name PEFT's files carry
    _save_tensors({f"{WRAPPER}{key.removeprefix(WRAPPER)}": value for key, value in tensors.items()}, folder / LORA[1])


def _check_saved(model: nn.Module) -> None:
    if not isinstance(model, FASAudioForConditionalGeneration):
        raise FASError(
            f"{type(model).__name__}: expected a FASAudioForConditionalGeneration, with PEFT on its language_model"
        )
    configs = getattr(model.language_model, "peft_config", None)
    if configs is None and holds_adapter(model):
        raise FASError("PEFT is on the whole model; expected it on the language model (model.add_adapter)")
    if configs and len(configs) > 1:
        raise FASError(
            f"the language model has adapters {', '.join(configs)}; one is saved: delete the others (model.delete_adapter)"
        )


def load_adapter(
    directory: str | Path,
    language_model: str | Path | None = None,
    *,
    dtype: torch.dtype | str = "auto",
    is_trainable: bool = False,
    revision: str | None = None,
    **options: Any,
) -> tuple[FASAudioForConditionalGeneration, FASAudioProcessor]:
    """The model of an adapter directory, on the CPU unless `device_map` says otherwise; LoRA stays apart (`model.language_model` is then a PEFT model).

    Args:
        directory: as `save_adapter` writes it, or a hub id of such files.
        language_model: where the LLM is, if not where it was in training (hub id, directory, "offline:smollm2").
        dtype: of the LLM.
        is_trainable: leave LoRA and projector trainable.
        revision: branch, tag or commit of a hub id.
        options: of the LLM, as `load_language_model` takes them: `quantization_config`, `device_map`, ... Encoder, FAS and
            projector are float32 beside it, on the device of its embeddings.

    Raises:
        CheckpointError: a file is missing or damaged, the LLM is another one, or the hub does not give the files.
        IdentityMismatchError: Whisper's weights differ from those that FAS was trained with.
        MissingDependencyError: LoRA without the package peft.
    """
    directory = find_directory(directory, revision)
    parts = load_parts(directory, language_model, dtype, **options)
    model = FASAudioForConditionalGeneration.of_adapter(parts, is_trainable)
    processor = load_processor(directory)
    if parts.config.transcripts:
        streams = local_streams(parts.config.fas_config.streams or {}, directory / FAS_FOLDER / "config.json")
        extractor, whisper = parts.pipeline.extractor, streams["semantic"]["model"]
        processor.listener = LazyListener(lambda: WhisperListener.of_extractor(extractor, whisper))
    return model, processor


def load_model_directory(
    directory: Path, dtype: torch.dtype | str = "auto"
) -> tuple[FASAudioForConditionalGeneration, FASAudioProcessor]:
    """The model of a directory that `export_model` wrote, and its processor, on the CPU.

    Raises:
        CheckpointError: it is none, or its files ask for what a model has no business to ask for.
    """
    check_model_files(directory, quantised=True)
    with reads_checkpoint(directory, "a model directory (python -m fas_alm.export)"):
        model = FASAudioForConditionalGeneration.from_pretrained(directory, dtype=dtype, use_safetensors=True)
    return model.eval(), load_processor(directory)


def load_processor(directory: Path) -> FASAudioProcessor:
    """The processor of an adapter or model directory; raises CheckpointError where there is none."""
    with reads_checkpoint(directory, "the tokenizer and processor_config.json of a FAS-ALM"):
        return FASAudioProcessor.from_pretrained(directory, trust_remote_code=False)


def load_emotion_pipeline(
    directory: str | Path,
    *,
    device: str | torch.device | None = None,
    revision: str | None = None,
    speech_threshold: float = THRESHOLD,
    words: bool = True,
    words_model: str | None = None,
    unsure_below: float | None = None,
) -> EmotionPipeline:
    """The FAS classifier inside a model directory, or of an adapter directory; either may be a hub id.

    Args:
        speech_threshold, words, words_model, unsure_below: as of `EmotionPipeline.from_pretrained`.

    Raises:
        CheckpointError: there is none.
        IdentityMismatchError: `whisper/` is not the encoder that it was trained with.
    """
    name, directory, device = Path(directory).name, find_directory(directory, revision), find_device(device)
    if not exists(directory / FAS_FOLDER / "config.json"):
        raise CheckpointError(f"{directory}: no classifier in it (fas/config.json is missing); {what_is(directory)}")
    model = load_model(directory / FAS_FOLDER)
    streams, whisper = copy.deepcopy(model.config.streams or {}), directory / WHISPER_FOLDER
    file = directory / FAS_FOLDER / "config.json"
    with reads_checkpoint(file, "encoders as `train/fas.py` writes them"):
        if whisper.is_dir():  # self-contained; an adapter names its encoder
            for stream in ("acoustic", "semantic"):
                streams[stream] |= {"model": str(whisper), "revision": None}
        streams = local_streams(streams, file)
        extractor = FeatureExtractor.from_config(streams, device=device)
    pipeline = EmotionPipeline(
        model.to(device), extractor, name, speech_threshold=speech_threshold, unsure_below=unsure_below
    )
    pipeline.training = read_record(directory / FAS_FOLDER)
    if words:
        pipeline.read_words(streams, words_model)
    return pipeline


def _below(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path, {"format": "pt"})
    path.chmod(0o666 & ~UMASK)  # safetensors writes 0600
