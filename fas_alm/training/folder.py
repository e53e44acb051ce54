"""The folder of a training run: the settings that a resumed run must share, and what only a resumed run needs."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState

from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.training.arguments import STAGES, DataArguments, ModelArguments, TrainingArguments
from fas_alm.training.data import Material
from fas_alm.training.limit import SPENT
from fas_alm.training.trained_weights import weights_digest
from fas_alm.training.trainer import BEST
from fas_core.atomic import write_json
from fas_core.errors import CheckpointError
from fas_core.model_files import read_object
from fas_core.resuming import changed_settings, check_may_resume

ADAPTER, DONE, RUN = "adapter", "done.json", "run.json"
# Of transformers' arguments, those that change what is learned; a resumed run must share them.
BINDING = (
    "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "projector_learning_rate",
    "fas_learning_rate", "option_smoothing", "distil_options", "token_mixup", "weight_decay", "adam_beta1", "adam_beta2",
    "max_grad_norm", "patience", "warmup_steps", "stage1_epochs", "stage2_epochs", "max_steps", "seed", "data_seed", "optim", "lr_scheduler_type", "bf16", "fp16", "world_size",
)  # fmt: skip
# Of all settings, those that stage 1 does not know.
OF_STAGE2 = {f"model {name}" for name in (
    "lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules", "use_dora", "use_rslora", "init_lora_weights", "train_fas",
)} | {f"training {name}" for name in (
    "learning_rate", "fas_learning_rate", "stage2_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
)}  # fmt: skip


def settings_of(data: DataArguments, parts: ModelArguments, arguments: TrainingArguments) -> dict:
    """JSON-ready; of transformers' many arguments those that matter."""
    training = {name: getattr(arguments, name) for name in BINDING}
    return dict(data=asdict(data), model=asdict(parts), training=training)


def content(model: FASAudioForConditionalGeneration, material: Material) -> dict[str, str]:
    """What a resumed run must find under the same names: clips and conversations, and the models before training."""
    return {
        "the training data": material.digest(), "the FAS": weights_digest(model.fas),
        "the language model": weights_digest(model.language_model),
    }  # fmt: skip


def finished_run(output: Path, record: dict) -> dict | None:
    """The record of the same run, if it is resumed after its end; None where there is something to do."""
    path = output / ADAPTER / "training.json"
    theirs = read_object(path) if path.is_file() else {}
    ours = json.loads(json.dumps(record))
    if any(theirs.get(key) != ours[key] for key in ("arguments", "content")):
        return None
    if PartialState().is_main_process:
        print(f"{output / ADAPTER}: finished already, there is nothing to resume", flush=True)
        remove_checkpoints(output)
    return theirs


def start_run(output: Path, settings: dict, resume: bool, state: PartialState) -> None:
    """Clear what an older run left, or check that a resumed one is the same.

    Raises:
        CheckpointError: a resumed run with other settings or other data.
    """
    settings = json.loads(json.dumps(settings))
    settings["data"].pop("cache_dir")
    if resume and (output / RUN).is_file():
        theirs = read_object(output / RUN)
        changed = changed_settings(_flat(settings), _flat(theirs))
        if not (_is_between_stages(output) and set(changed) <= OF_STAGE2):
            check_may_resume(output, _flat(settings), _flat(theirs), CheckpointError)
        elif changed and state.is_main_process:
            write_json(output / RUN, settings)
    elif state.is_main_process:
        remove_checkpoints(output)
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / RUN, settings)
    state.wait_for_everyone()


def _is_between_stages(output: Path) -> bool:
    """Stage 1 is done, and of stage 2 nothing is: it may be tried in another way, after it ran out of memory for example."""
    return (output / STAGES[0] / DONE).is_file() and not any((output / STAGES[1]).glob("checkpoint-*"))


def _flat(settings: dict) -> dict:
    return {f"{a} {b}": v for a, group in settings.items() for b, v in group.items()}


def remove_checkpoints(output: Path) -> None:
    """Remove what only a resumed run needs; what trackers wrote stays."""
    for stage in STAGES:
        for path in (output / stage).glob("checkpoint-*"):
            shutil.rmtree(path, ignore_errors=True)
        for name in (BEST, DONE):
            (output / stage / name).unlink(missing_ok=True)
        if (output / stage).is_dir() and not any((output / stage).iterdir()):
            (output / stage).rmdir()
    for name in (RUN, SPENT):
        (output / name).unlink(missing_ok=True)
