"""One stage of a training: what is trained in it, its trainer, and what it leaves behind."""

import contextlib
import copy
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from transformers import PreTrainedModel
from transformers.trainer import TRAINER_STATE_NAME

from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_alm.prompts import option_token_ids
from fas_alm.training.answer_model import AnswerModel
from fas_alm.training.arguments import STAGES, DataArguments, ModelArguments, TrainingArguments
from fas_alm.training.collator import Collator
from fas_alm.training.data import Material
from fas_alm.training.folder import DONE
from fas_alm.training.limit import Pace, TimeLimit
from fas_alm.training.lora import with_lora
from fas_alm.training.options import one_line
from fas_alm.training.plan import BatchPlan, Draw, ExampleSet
from fas_alm.training.teacher import make_teacher
from fas_alm.training.trained_weights import load_trainable_state, load_weights
from fas_alm.training.trainer import BEST, AdapterTrainer
from fas_core.atomic import write_json
from fas_core.errors import CheckpointError, FASError
from fas_core.model_files import read_object

log = logging.getLogger(__name__)


def prepare_stage(model: FASAudioForConditionalGeneration, stage: str, parts: ModelArguments, seed: int) -> None:
    """Freeze and unfreeze; stage 2 gets its LoRA."""
    second = stage == "stage2"
    model.freeze_parts(fas=not (second and parts.train_fas))
    if second and isinstance(model.language_model, PreTrainedModel):
        model.language_model = with_lora(model.language_model, parts, seed)


def run_stage(
    stage: str,
    model: FASAudioForConditionalGeneration,
    processor: FASAudioProcessor,
    material: Material,
    data: DataArguments,
    parts: ModelArguments,
    arguments: TrainingArguments,
    limit: TimeLimit,
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
        pace = make_pace(limit, arguments, args, stage, len(material.validation))
        trainer = make_trainer(answers, processor, material, data, args, stage, pace)
        record = _shares(answers, model) | dict(
            batch=args.per_device_train_batch_size,
            accumulation=args.gradient_accumulation_steps,
            processes=args.world_size,
        )
        start = time.time()
        with _told_memory(stage):
            trainer.train_from(_checkpoint(folder, arguments.resume))
        if not (folder / BEST).is_file():
            trainer.keep_weights()
        record |= dict(seconds=round(time.time() - start, 1)) | trainer.account()
        if args.should_save:
            write_json(folder / DONE, record)
            limit.keep()
        answers.release()
        trainer.accelerator.wait_for_everyone()
    _, scores, labels = load_weights(folder / BEST)
    return read_object(folder / DONE), scores, labels


def examples_of(stage: str, train: ExampleSet) -> ExampleSet:
    """What a stage can learn from: stage 1 trains the projector, which conversations without audio do not reach."""
    heard = [example for example in train.ready if example.files]
    return ExampleSet(train.clips, heard, train.encoder) if stage == "stage1" else train


def has_examples(stage: str, train: ExampleSet) -> bool:
    """Whether a stage has anything to learn; what it leaves out is said."""
    examples = examples_of(stage, train)
    if (silent := len(train) - len(examples)) and PartialState().is_main_process:
        rest = "" if len(examples) else ", and nothing else is there: it is left out"
        print(f"{stage}: trains the projector, which {silent} answers without audio do not reach{rest}", flush=True)
    return len(examples) > 0


def make_trainer(
    answers: AnswerModel,
    processor: FASAudioProcessor,
    material: Material,
    data: DataArguments,
    args: TrainingArguments,
    stage: str,
    pace: Pace,
) -> AdapterTrainer:
    """The trainer of a stage, ready to start."""
    shuffled = data.shuffled_options if stage == "stage2" else 0.0
    examples = examples_of(stage, material.train)
    plan = BatchPlan(
        examples, Draw(data.tasks, data.languages, shuffled, data.transcript_dropout if material.tells_words else 0.0, data.cue_dropout if data.cues else 0.0), args.per_device_train_batch_size,
        args.seed if args.data_seed is None else args.data_seed, args.world_size,
    )  # fmt: skip
    _tell_unasked(plan, examples, data)
    tokenizer = processor.tokenizer
    collator = Collator(material.audio, processor.audio_token_id, tokenizer.pad_token_id, args.share_prefix)
    with one_line():
        return AdapterTrainer(answers, args, examples, plan, material.validation or None, collator, pace)


def _of_stage(arguments: TrainingArguments, stage: str) -> TrainingArguments:
    args = copy.copy(arguments)
    args.output_dir = str(Path(arguments.output_dir) / stage)
    args.num_train_epochs = getattr(arguments, f"{stage}_epochs")
    return args


def _tell_unasked(plan: BatchPlan, examples: ExampleSet, data: DataArguments) -> None:
    """Raises FASError where no batch is left."""
    tasks = " ".join(dict.fromkeys(data.tasks))
    if not len(plan):
        raise FASError(
            f"--tasks {tasks}: no clip has the labels to answer any of them; `choose` needs the emotion alone"
        )
    if plan.unasked and PartialState().is_main_process:
        log.warning(
            "%d of %d clips have no label that answers --tasks %s: they are left out",
            plan.unasked,
            len(examples.clips),
            tasks,
        )


def make_pace(limit: TimeLimit, whole: TrainingArguments, args: TrainingArguments, stage: str, validation: int) -> Pace:
    """The stage's share of the time that is left, by its epochs and those of the stages after it."""
    later = sum(getattr(whole, f"{name}_epochs") for name in STAGES[STAGES.index(stage) + 1 :])
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    return Pace(limit, limit.deadline(args.num_train_epochs, later), stage, validation / batch)


def _shares(answers: AnswerModel, model: FASAudioForConditionalGeneration) -> dict:
    """How much is trained."""
    trained = sum(p.numel() for p in answers.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    if PartialState().is_main_process:
        print(f"trainable: {trained:,} of {total:,} parameters ({100 * trained / total:.2f} %)", flush=True)
    return dict(trainable=trained, parameters=total)


def _checkpoint(folder: Path, resume: bool) -> str | None:
    """The last state that was written to its end; half ones, which transformers would take for the last, are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2])) if resume else []
    whole = [path for path in found if _is_whole(path)]
    for half in set(found) - set(whole):
        shutil.rmtree(half, ignore_errors=True)
    PartialState().wait_for_everyone()
    if resume and not whole:
        log.warning("%s: no interrupted stage to resume; it starts from the beginning", folder)
    return str(whole[-1]) if whole else None


@contextlib.contextmanager
def _told_memory(stage: str) -> Iterator[None]:
    """Raises FASError where memory runs out; on a CPU that is a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        kept = "; stage1 is kept, and --resume true goes on from it with either" if stage == "stage2" else ""
        raise FASError(
            f"{stage}: out of memory: give a smaller --per_device_train_batch_size, with --gradient_accumulation_steps, or "
            f"--gradient_checkpointing true{kept}"
        ) from error


def _is_whole(checkpoint: Path) -> bool:
    """Whether what is written last is there and can be read."""
    try:
        return bool(read_object(checkpoint / TRAINER_STATE_NAME))
    except (OSError, CheckpointError) as error:
        log.warning("%s: not whole, and not used: %s", checkpoint, error)
        return False


def restore(model: FASAudioForConditionalGeneration, path: Path) -> None:
    """The best weights of a stage."""
    state, _, _ = load_weights(path)
    load_trainable_state(model, state, str(path))
