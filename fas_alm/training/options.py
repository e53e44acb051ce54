"""Every argument of transformers' trainer: it works in this training, or it is refused with what to give instead.

A name that neither list has, of a version of transformers to come, keeps its default or is refused: none is silently ignored.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields

import torch
import transformers

from fas_core.errors import FASError

WORKS = frozenset(
    """
    output_dir per_device_train_batch_size max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args
    weight_decay adam_beta1 adam_beta2 adam_epsilon gradient_accumulation_steps max_grad_norm bf16 fp16 tf32 gradient_checkpointing
    gradient_checkpointing_kwargs torch_empty_cache_steps logging_strategy logging_steps logging_first_step log_on_each_node log_level
    log_level_replica disable_tqdm report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id eval_strategy
    eval_steps eval_delay per_device_eval_batch_size eval_accumulation_steps save_strategy save_steps save_on_each_node save_total_limit
    metric_for_best_model full_determinism seed data_seed use_cpu dataloader_num_workers dataloader_pin_memory
    dataloader_persistent_workers dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order
    ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout fsdp fsdp_config deepspeed
    debug skip_memory_metrics local_rank
    """.split()
)

_HUB = "nothing is uploaded in training; `hf upload` takes output_dir/adapter, or what `python -m fas_alm.export` makes of it"
_PLAN = "batches are of one question or of conversations alike in length, and every clip is learned once an epoch"
_STATE = "--resume equals no interruption, and so the state is whole"
_METRICS = "validation scores lettered answers by accuracy, ua, macro_f1 and mass"
_SCRIPT = "this command trains, validates where there are validation clips, and writes the adapter"
_STEP = "not offered; --gradient_checkpointing, --bf16 and --gradient_accumulation_steps save memory"
REFUSED = {
    "num_train_epochs": "give --stage1_epochs and --stage2_epochs",
    "label_smoothing_factor": "give --option_smoothing, which is of the seven letters and not of the vocabulary",
    "average_tokens_across_devices": "an answer weighs the same on any number of processes",
    "optim_target_modules": "every part has a learning rate of its own; give --lora_target_modules for what LoRA adapts",
    "bf16_full_eval": "give --bf16, which validation computes in too",
    "fp16_full_eval": "give --fp16, which validation computes in too",
    "torch_compile": "shapes differ from batch to batch; it is not offered",
    "torch_compile_backend": "see --torch_compile, which is not offered",
    "torch_compile_mode": "see --torch_compile, which is not offered",
    "use_liger_kernel": _STEP,
    "liger_kernel_config": _STEP,
    "use_cache": "give --share_prefix, which decides on keys and values of what all prompts begin with",
    "neftune_noise_alpha": "give --distil_options and --token_mixup, which vary what the LLM hears, or --lora_dropout",
    "auto_find_batch_size": "batches are planned before; give --per_device_train_batch_size and --gradient_accumulation_steps",
    "logging_nan_inf_filter": "a loss that is not finite is an error, and not hidden",
    "include_num_input_tokens_seen": "what a batch shares is computed once, and not counted",
    "prediction_loss_only": _METRICS,
    "eval_on_start": "the accuracy to begin with is FAS's own, which is told; give --eval_strategy steps with --eval_steps",
    "eval_do_concat_batches": _METRICS,
    "eval_use_gather_object": _METRICS,
    "include_for_metrics": _METRICS,
    "batch_eval_metrics": _METRICS,
    "label_names": _METRICS,
    "greater_is_better": "all four metrics are better when greater",
    "load_best_model_at_end": "the best weights of a stage are always kept; --eval_strategy no keeps the last",
    "save_only_model": _STATE,
    "ignore_data_skip": _STATE,
    "restore_callback_states_from_checkpoint": _STATE,
    "enable_jit_checkpoint": "give --save_strategy steps with --save_steps, and --resume after a signal",
    "resume_from_checkpoint": "give --resume true with the same --output_dir",
    "push_to_hub": _HUB, "hub_token": _HUB, "hub_private_repo": _HUB, "hub_model_id": _HUB, "hub_strategy": _HUB,
    "hub_always_push": _HUB, "hub_revision": _HUB,
    "accelerator_config": "batches are planned for the number of processes; give a configuration to `accelerate launch --config_file`",
    "parallelism_config": "give --fsdp or a configuration of train/configs/accelerate, which shard the LLM",
    "dataloader_drop_last": _PLAN,
    "train_sampling_strategy": _PLAN,
    "length_column_name": _PLAN,
    "remove_unused_columns": "the batches are this project's own",
    "do_train": _SCRIPT, "do_eval": _SCRIPT, "do_predict": "give `python -m eval.suite --systems alm:DIR`, which scores an adapter",
}  # fmt: skip
METRICS = ("accuracy", "ua", "macro_f1", "mass")
# Of optimizers, those that want parameters in groups of their own, or a mode of their own when weights are kept.
OTHER_OPTIMIZERS = ("galore", "apollo", "lomo", "adalomo", "schedule_free")


def check_options(arguments: transformers.TrainingArguments) -> None:
    """Before transformers fills in what follows from them.

    Raises:
        FASError: an option that would be ignored here is not at its default.
    """
    ours = {field.name: field for field in fields(arguments)}
    for name in (field.name for field in fields(transformers.TrainingArguments)):
        value, default = getattr(arguments, name), _default(ours[name])
        unset = value == default or (default == "no" and value is False)  # as the parser of flags has it
        if name not in WORKS and not unset:
            raise FASError(
                f"--{name} {value}: {REFUSED.get(name, 'this training does not know it, and would ignore it')}"
            )
        if isinstance(value, str) and value.startswith("{"):
            with one_line(f"--{name} {value}: not JSON:"):
                json.loads(value)
    if arguments.metric_for_best_model not in METRICS:
        raise FASError(
            f"--metric_for_best_model {arguments.metric_for_best_model}: expected one of {', '.join(METRICS)}"
        )
    if str(arguments.optim).startswith(OTHER_OPTIMIZERS):
        raise FASError(
            f"--optim {arguments.optim}: every part has a learning rate of its own here; expected one like adamw_torch"
        )


def _default(field: Field):
    return field.default_factory() if field.default_factory is not MISSING else field.default


@contextlib.contextmanager
def one_line(option: str = "") -> Iterator[None]:
    """What other libraries say of options that they cannot take, or of packages that they miss, as an error of ours.

    Args:
        option: what it is about, put in front.
    """
    try:
        yield
    except (FASError, torch.OutOfMemoryError):
        raise
    except (ValueError, TypeError, ImportError, RuntimeError, NotImplementedError) as error:
        raise FASError(" ".join(f"{option} {error}".split())) from error
