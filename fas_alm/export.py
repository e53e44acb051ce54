"""One self-contained model directory from an adapter: `python -m fas_alm.export ADAPTER OUTPUT`."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

from fas_alm.artifacts import FAS_FOLDER, LORA_FOLDER, WHISPER_FOLDER, load_adapter, save_lora
from fas_alm.card import model_card
from fas_alm.configuration import FASAudioConfig
from fas_alm.language_models import public_name
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_core.atomic import atomic_directory, write_json, write_text
from fas_core.checkpoint import RECORD, read_record
from fas_core.cli.export import main
from fas_core.encoders.offline import offline_whisper_dir
from fas_core.errors import FASError
from fas_core.hub import OFFLINE_PREFIX, find_directory, named_source
from fas_core.model_files import check_model_files, reads_checkpoint


def export_model(
    adapter_directory: str | Path,
    output: str | Path,
    merge: bool = True,
    language_model: str | Path | None = None,
    dtype: str = "auto",
    revision: str | None = None,
) -> Path:
    """Write the whole model, which transformers and vLLM load without anything else.

    Args:
        adapter_directory: as `save_adapter` writes it, or a hub id of such files.
        output: the directory; it appears whole, in the place of an older one.
        merge: add LoRA into the LLM's weights; False keeps it apart in `lora/`, for PEFT or vLLM's LoRA modules.
        language_model: where the LLM is, if not where it was in training.
        dtype: of the LLM's weights: "auto" (as they are), "float32", "bfloat16", "float16".
        revision: branch, tag or commit of a hub id.

    Returns:
        `output`.

    Raises:
        FASError: as `load_adapter`; an adapter without LoRA where it should be kept apart; an output that is the adapter.
        CheckpointError: a Whisper without its decoder.
    """
    adapter_directory, output = find_directory(adapter_directory, revision), Path(output)
    if output.resolve() == adapter_directory.resolve():
        raise FASError(f"{output}: is the adapter itself; expected another directory")
    model, processor = load_adapter(adapter_directory, language_model, dtype=dtype)
    has_lora = hasattr(model.language_model, "peft_config")
    if not merge and not has_lora:
        raise FASError(f"{adapter_directory}: has no LoRA to keep apart; expected merge=True (leave --no-merge out)")
    with atomic_directory(output) as folder:
        if not merge:
            save_lora(model.language_model, folder / LORA_FOLDER, _public(model.config))
        if has_lora:
            llm = model.language_model
            model.language_model = llm.merge_and_unload() if merge else llm.unload()
        save_model(model, processor, folder, read_record(adapter_directory))
    return output


def save_model(
    model: FASAudioForConditionalGeneration, processor: FASAudioProcessor, folder: Path, record: dict | None = None
) -> None:
    """Fill a directory with a model whose LLM holds no PEFT layers: weights, processor, classifier, Whisper, card."""
    encoder = model.config.streams.acoustic
    whisper = named_source(encoder["model"], encoder.get("revision"), "fas/config.json: streams.acoustic.model")
    model.config = _public(model.config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    model.fas.config = model.config.fas_config
    model.fas.save_pretrained(folder / FAS_FOLDER)
    save_whisper(*whisper, folder / WHISPER_FOLDER)
    write_json(folder / RECORD, record or {})
    write_text(folder / "README.md", model_card(model.config, record, is_adapter=False))


def save_whisper(model: str, revision: str | None, folder: Path) -> None:
    """A whole Whisper: encoder, decoder, tokenizer, feature extractor.

    Raises:
        CheckpointError: it has no decoder, or no tokenizer.
    """
    source = model
    if model.startswith(OFFLINE_PREFIX):
        source, revision = str(offline_whisper_dir(model.removeprefix(OFFLINE_PREFIX))), None
    expected = "a whole one, with decoder and tokenizer, because a model directory also writes transcripts"
    check_model_files(source, revision)
    with reads_checkpoint(f"Whisper {model!r}", expected):
        whisper, report = WhisperForConditionalGeneration.from_pretrained(
            source, revision=revision, use_safetensors=True, output_loading_info=True
        )
        if missing := sorted(report["missing_keys"]):
            raise OSError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
        options = {"revision": revision, "trust_remote_code": False}
        parts = [c.from_pretrained(source, **options) for c in (AutoTokenizer, AutoFeatureExtractor)]
    for part in (whisper, *parts):
        part.save_pretrained(folder)


def _public(config: FASAudioConfig) -> FASAudioConfig:
    """Without paths of this machine: a directory is known by its last part only."""
    config = copy.copy(config)
    config.fas_config = copy.deepcopy(config.fas_config)
    for stream in ("acoustic", "semantic"):
        settings = (config.fas_config.streams or {})[stream]
        settings["model"] = public_name(settings["model"])
    if config.base_language_model:
        config.base_language_model = public_name(config.base_language_model)
    return config


if __name__ == "__main__":
    sys.exit(main())
