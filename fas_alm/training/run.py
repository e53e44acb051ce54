"""The training command: arguments, model, data, stages, calibration, adapter."""

import contextlib
import copy
import json
import logging
import os
import sys
import time
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from transformers import PreTrainedModel, set_seed
from transformers.trainer_utils import get_last_checkpoint

from fas_alm.artifacts import save_adapter
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_alm.prompts import option_token_ids
from fas_alm.training.answers import AnswerModel
from fas_alm.training.arguments import STAGES, DataArguments, ModelArguments, TrainingArguments
from fas_alm.training.collator import Collator
from fas_alm.training.data import Material, load_material, warn_of_acoustic_head, warn_of_seen_validation
from fas_alm.training.folder import DONE, remove_checkpoints, settings_of, start_run
from fas_alm.training.metrics import calibrated
from fas_alm.training.plan import BatchPlan, Draw
from fas_alm.training.teacher import make_teacher
from fas_alm.training.trainer import BEST, AdapterTrainer
from fas_alm.training.weights import is_sharded, load_trainable_state, load_weights
from fas_core.atomic import write_json
from fas_core.errors import MissingDependencyError, reports_errors
from fas_core.pipeline import SHIPPED, EmotionPipeline
from fas_core.precision import describe, loading_dtype
from fas_core.provenance import PACKAGES, package_versions, provenance
from fas_core.training.flags import parse_flags

log = logging.getLogger(__name__)
ADAPTER = "adapter"


def parse(argv: list[str]) -> tuple[DataArguments, ModelArguments, TrainingArguments]:
    """YAML file first (optional), then flags. Raises as `parse_flags`."""
    return parse_flags((DataArguments, ModelArguments, TrainingArguments), argv, "train/alm_adapter.py", __doc__)


def train(data: DataArguments, parts: ModelArguments, arguments: TrainingArguments) -> dict:
    """Run a whole training; returns the record that is also written to `adapter/training.json`."""
    start, state = time.time(), PartialState()
    set_seed(arguments.seed)
    if state.is_main_process:
        print(f"training in {describe(arguments.bf16, arguments.device)}", flush=True)
    with whole_weights():
        pipeline = EmotionPipeline.from_pretrained(parts.fas or SHIPPED, device=arguments.device)
    model, processor = build_model(pipeline, parts, arguments)
    model.fas.to(arguments.device)
    material = load_material(
        data, arguments.seed, model, processor, pipeline.extractor, train_fas=parts.train_fas,
        process=(state.process_index, state.num_processes), wait=state.wait_for_everyone,
    )  # fmt: skip
    warn_of_seen_validation(pipeline.training, material.account)
    warn_of_acoustic_head(model.fas.config.ensemble)
    record = dict(
        data=material.account, arguments=settings_of(data, parts, arguments),
        fas=dict(checkpoint=pipeline.name, validation_accuracy=material.fas_accuracy), stages={},
    )  # fmt: skip
    start_run(Path(arguments.output_dir), record["arguments"] | {"material": material.digest()}, arguments.resume, state)
    for stage in STAGES:
        if getattr(arguments, f"{stage}_epochs"):
            prepare_stage(model, stage, parts, arguments.seed)
            done, scores, labels = run_stage(stage, model, processor, material, data, parts, arguments)
            record["stages"][stage] = done
            if is_sharded(model):  # the weights are whole again in a model of this process's own
                model, _ = build_model(pipeline, parts, arguments)
                prepare_stage(model, stage, parts, arguments.seed)
            _restore(model, Path(arguments.output_dir) / stage / BEST)
    if scores is not None:
        model.config.option_temperature, record["validation"] = calibrated(scores.numpy(), labels.numpy())
    record |= dict(seconds=round(time.time() - start, 1), provenance=_provenance())
    if state.is_main_process:
        save_adapter(model.to("cpu"), processor, Path(arguments.output_dir) / ADAPTER, record)
        remove_checkpoints(Path(arguments.output_dir))
        _report(record, Path(arguments.output_dir) / ADAPTER)
    state.wait_for_everyone()
    return record


def build_model(
    pipeline: EmotionPipeline, parts: ModelArguments, arguments: TrainingArguments
) -> tuple[FASAudioForConditionalGeneration, FASAudioProcessor]:
    """The whole model before any training, on the CPU."""
    low = parts.dtype == "bfloat16" or (parts.dtype == "auto" and arguments.bf16)
    dtype = torch.bfloat16 if low else loading_dtype("auto" if parts.dtype == "auto" else torch.float32, arguments.device)
    with whole_weights():
        model, processor = FASAudioForConditionalGeneration.from_parts(
            pipeline,
            parts.language_model,
            parts.audio_tokens,
            revision=parts.revision,
            dtype=dtype,
            seed=arguments.seed,
        )
    attention = parts.attention or ("eager" if low and arguments.device.type == "cpu" else None)
    if attention:
        model.language_model.set_attn_implementation(attention)
    return model, processor


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


def prepare_stage(model: FASAudioForConditionalGeneration, stage: str, parts: ModelArguments, seed: int) -> None:
    """Freeze and unfreeze; stage 2 gets its LoRA."""
    second = stage == "stage2"
    model.freeze_parts(fas=not (second and parts.train_fas))
    if second and isinstance(model.language_model, PreTrainedModel):
        model.language_model = _with_lora(model.language_model, parts, seed)


def _with_lora(llm: PreTrainedModel, parts: ModelArguments, seed: int):
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingDependencyError("stage 2 trains LoRA, which needs a package: pip install peft") from None
    torch.manual_seed(seed)
    return get_peft_model(llm, LoraConfig(
        r=parts.lora_rank, lora_alpha=parts.lora_alpha, lora_dropout=parts.lora_dropout, target_modules="all-linear",
        task_type="CAUSAL_LM",
    ))  # fmt: skip


def run_stage(
    stage: str,
    model: FASAudioForConditionalGeneration,
    processor: FASAudioProcessor,
    material: Material,
    data: DataArguments,
    parts: ModelArguments,
    arguments: TrainingArguments,
) -> tuple[dict, torch.Tensor | None, torch.Tensor | None]:
    """Train one stage, or read what it left behind when it was finished before.

    Returns:
        Its record, and the scores (N, 7) and labels (N,) of the best weights, which lie in `best.safetensors`.
    """
    args = _of_stage(arguments, stage)
    folder = Path(args.output_dir)
    if not (arguments.resume and (folder / DONE).is_file()):
        ids = option_token_ids(processor.tokenizer)
        teacher = make_teacher(model, data, parts, arguments)
        answers = AnswerModel(model, ids, parts.train_fas, arguments.option_smoothing, teacher)
        AcceleratorState._reset_state()  # DeepSpeed allows one trainer a process, and the second stage has its own
        trainer = make_trainer(answers, processor, material, data, args, stage)
        record = _shares(answers, model)
        start = time.time()
        trainer.train(resume_from_checkpoint=_checkpoint(folder, arguments.resume))
        if not (folder / BEST).is_file():
            trainer.keep_weights()
        record |= dict(seconds=round(time.time() - start, 1), history=trainer.state.log_history)
        if args.should_save:
            write_json(folder / DONE, record)
        answers.release()
        trainer.accelerator.wait_for_everyone()
    _, scores, labels = load_weights(folder / BEST)
    return json.loads((folder / DONE).read_text(encoding="utf-8")), scores, labels


def make_trainer(
    answers: AnswerModel,
    processor: FASAudioProcessor,
    material: Material,
    data: DataArguments,
    args: TrainingArguments,
    stage: str,
) -> AdapterTrainer:
    """The trainer of a stage, ready to start."""
    shuffled = data.shuffled_options if stage == "stage2" else 0.0
    plan = BatchPlan(
        material.train, Draw(data.tasks, data.languages, shuffled), args.per_device_train_batch_size, args.seed
    )
    tokenizer = processor.tokenizer
    collator = Collator(material.audio, processor.audio_token_id, tokenizer.pad_token_id, args.share_prefix)
    return AdapterTrainer(answers, args, material.train, plan, material.validation or None, collator)


def _of_stage(arguments: TrainingArguments, stage: str) -> TrainingArguments:
    args = copy.copy(arguments)
    args.output_dir = str(Path(arguments.output_dir) / stage)
    args.num_train_epochs = getattr(arguments, f"{stage}_epochs")
    return args


def _shares(answers: AnswerModel, model: FASAudioForConditionalGeneration) -> dict:
    """How much is trained."""
    trained = sum(p.numel() for p in answers.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    if PartialState().is_main_process:
        print(f"trainable: {trained:,} of {total:,} parameters ({100 * trained / total:.2f} %)", flush=True)
    return dict(trainable=trained, parameters=total)


def _checkpoint(folder: Path, resume: bool) -> str | None:
    last = get_last_checkpoint(str(folder)) if resume and folder.is_dir() else None
    if resume and last is None:
        log.warning("%s: no interrupted stage to resume; it starts from the beginning", folder)
    return last


def _restore(model: FASAudioForConditionalGeneration, path: Path) -> None:
    """The best weights of a stage."""
    state, _, _ = load_weights(path)
    load_trainable_state(model, state, str(path))


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


@reports_errors
def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    train(*parse(sys.argv[1:] if argv is None else argv))
    return 0
