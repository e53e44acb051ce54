"""The training command: arguments, model, data, stages, calibration, adapter."""

import contextlib
import importlib.util
import logging
import os
import sys
import time
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import BitsAndBytesConfig, set_seed

from fas_alm.artifacts import save_adapter
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_alm.training.arguments import STAGES, DataArguments, ModelArguments, TrainingArguments
from fas_alm.training.data import load_material, warn_of_acoustic_head, warn_of_seen_validation
from fas_alm.training.folder import ADAPTER, content, finished_run, remove_checkpoints, settings_of, start_run
from fas_alm.training.limit import TimeLimit, check_time
from fas_alm.training.metrics import calibrated
from fas_alm.training.stages import has_examples, prepare_stage, restore, run_stage
from fas_alm.training.trained_weights import is_sharded
from fas_alm.training.trainer import BEST
from fas_core.cli import from_dataclasses
from fas_core.cli.adapter import ALL_HELP, HELP, RECIPES
from fas_core.cli.app import App, runner
from fas_core.errors import FASError, MissingDependencyError
from fas_core.pipeline import EmotionPipeline
from fas_core.precision import describe, loading_dtype
from fas_core.provenance import PACKAGES, package_versions, provenance
from fas_core.training.interrupt import says_how_to_go_on

CLASSES = (DataArguments, ModelArguments, TrainingArguments)


def parse(argv: list[str]) -> tuple[DataArguments, ModelArguments, TrainingArguments]:
    """YAML file first (optional), then flags. Raises as `from_dataclasses.parse`."""
    return from_dataclasses.parse(CLASSES, argv, "train/alm_adapter.py")


def train(data: DataArguments, parts: ModelArguments, arguments: TrainingArguments) -> dict:
    """Run a whole training; returns the record that is also written to `adapter/training.json`."""
    start, state, output = time.time(), PartialState(), Path(arguments.output_dir)
    limit = TimeLimit(arguments.max_minutes, output, arguments.resume)
    set_seed(arguments.seed)
    if state.is_main_process:
        print(f"training in {describe(arguments.bf16, arguments.device)}", flush=True)
    with whole_weights():
        pipeline = EmotionPipeline.from_pretrained(parts.fas, device=arguments.device, words=False)
    model, processor = build_model(pipeline, parts, arguments)
    model.fas.to(arguments.device)
    material = load_material(
        data, arguments.seed, model, processor, pipeline.extractor, train_fas=parts.train_fas,
        process=(state.process_index, state.num_processes), wait=state.wait_for_everyone,
    )  # fmt: skip
    if arguments.patience and not material.validation:
        raise FASError(
            "--patience: there are no validation clips to go by; drop it, or give --validation_fraction above 0"
        )
    warn_of_seen_validation(pipeline.training, material.account)
    warn_of_acoustic_head(model.fas.config.ensemble)
    record = dict(
        data=material.account, arguments=settings_of(data, parts, arguments), max_minutes=arguments.max_minutes,
        fas=dict(checkpoint=pipeline.name, validation_accuracy=material.fas_accuracy), stages={}, content=content(model, material),
    )  # fmt: skip
    if arguments.resume and (finished := finished_run(output, record)) is not None:
        return finished
    start_run(output, record["arguments"] | {"content of": record["content"]}, arguments.resume, state)
    for stage in STAGES:
        wanted = getattr(arguments, f"{stage}_epochs") and has_examples(stage, material.train)
        if not wanted or not check_time(limit, bool(record["stages"]), stage, arguments.device):
            continue
        prepare_stage(model, stage, parts, arguments.seed)
        done, scores, labels = run_stage(stage, model, processor, material, data, parts, arguments, limit)
        record["stages"][stage] = done
        if is_sharded(model):  # the weights are whole again in a model of this process's own
            model, _ = build_model(pipeline, parts, arguments)
            prepare_stage(model, stage, parts, arguments.seed)
        restore(model, output / stage / BEST)
    if not record["stages"]:
        raise FASError(
            "--stage2_epochs 0: conversations without audio are learned in stage 2 only; give it epochs, or clips"
        )
    if scores is not None:
        model.config.option_temperature, record["validation"] = calibrated(scores.numpy(), labels.numpy())
    model.config.transcripts = processor.transcripts = material.tells_words
    model.config.cues = processor.cues = material.cues
    record |= dict(seconds=round(time.time() - start, 1), provenance=_provenance())
    if state.is_main_process:
        save_adapter(model.to("cpu"), processor, output / ADAPTER, record)
        remove_checkpoints(output)
        _report(record, output / ADAPTER)
    state.wait_for_everyone()
    return record


def build_model(
    pipeline: EmotionPipeline, parts: ModelArguments, arguments: TrainingArguments
) -> tuple[FASAudioForConditionalGeneration, FASAudioProcessor]:
    """The whole model before any training, on the CPU."""
    low = parts.dtype == "bfloat16" or (parts.dtype == "auto" and arguments.bf16)
    dtype = (
        torch.bfloat16 if low else loading_dtype("auto" if parts.dtype == "auto" else torch.float32, arguments.device)
    )
    with whole_weights():
        model, processor = FASAudioForConditionalGeneration.from_parts(
            pipeline,
            parts.language_model,
            parts.audio_tokens,
            revision=parts.revision,
            dtype=dtype,
            seed=arguments.seed,
            connector=parts.connector,
            **quantized(parts, arguments),
        )
    for module in model.language_model.modules():
        if hasattr(
            module, "support_avx512bf16_for_cpu"
        ):  # of bitsandbytes: once validated, 4 bits would pass no gradient on
            module.support_avx512bf16_for_cpu = False
    attention = parts.attention or ("eager" if low and arguments.device.type == "cpu" else None)
    if attention:
        model.language_model.set_attn_implementation(attention)
    return model, processor


def quantized(parts: ModelArguments, arguments: TrainingArguments) -> dict:
    """Options of `from_parts` for an LLM of 4 or 8 bits, on the device that it is trained on.

    Raises:
        MissingDependencyError: bitsandbytes is not installed.
    """
    if parts.quantization == "none":
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependencyError(f"--quantization {parts.quantization} needs a package: pip install bitsandbytes")
    four = dict(  # QLoRA (Dettmers et al. 2023)
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if arguments.bf16 else torch.float32,
    )  # fmt: skip
    config = BitsAndBytesConfig(**(four if parts.quantization == "4bit" else dict(load_in_8bit=True)))
    return dict(quantization_config=config, device_map={"": arguments.device})


@contextlib.contextmanager
def whole_weights():
    """Under ZeRO-3 transformers shards whatever it loads. Here every process loads all of it: FAS's tokens are computed before
    anything is trained, and the trainer shards what it trains.
    """
    from transformers.integrations import deepspeed

    config = deepspeed._hf_deepspeed_config_weak_ref and deepspeed._hf_deepspeed_config_weak_ref()
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            deepspeed.set_hf_deepspeed_config(config)


def _provenance() -> dict:
    return provenance() | {"versions": package_versions((*PACKAGES, "accelerate", "peft", "deepspeed"))}


def _report(record: dict, folder: Path) -> None:
    metrics = record.get("validation")
    if metrics:
        fas = record["fas"]["validation_accuracy"]
        print(
            f"validation, {metrics['clips']} clips: accuracy {100 * metrics['accuracy']:.1f} % (FAS alone {100 * fas:.1f} %), "
            f"UA {100 * metrics['ua']:.1f} %, macro-F1 {100 * metrics['macro_f1']:.1f} %, mass of the options "
            f"{metrics['mass']:.3f}, ECE {metrics['ece_before']:.3f} -> {metrics['ece']:.3f} at temperature "
            f"{metrics['temperature']:.2f}"
        )
    for failure in record["data"]["failed"]:
        print(f"left out {failure['file']}: {failure['error']}")
    print(f"{folder}: adapter, after {record['seconds']:.0f} s")


def _run(data: DataArguments, parts: ModelArguments, arguments: TrainingArguments) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with says_how_to_go_on():
        train(data, parts, arguments)


app = App()
from_dataclasses.add_command(app, CLASSES, _run, text=HELP + ALL_HELP, recipes=RECIPES)
main = runner(app, "train/alm_adapter.py")

if __name__ == "__main__":
    sys.exit(main())
