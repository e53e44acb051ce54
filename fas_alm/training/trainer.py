"""transformers' trainer, with this project's batches, learning rates, checkpoints and choice of the best weights."""

import math
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import SAFE_WEIGHTS_NAME

from fas_alm.training.answers import AnswerModel
from fas_alm.training.arguments import TrainingArguments
from fas_alm.training.collator import Collator
from fas_alm.training.limit import Pace
from fas_alm.training.metrics import trainer_metrics
from fas_alm.training.plan import BatchPlan, ExampleSet
from fas_alm.training.weights import save_weights, trainable_state
from fas_core.errors import FASError

BEST = "best.safetensors"


class AdapterTrainer(Trainer):
    """Trains an `AnswerModel`. Everything else (accelerate, DeepSpeed, FSDP, trackers, resume) is transformers' own.

    Args:
        model: what is trained.
        args: of this stage.
        data, plan: the training set, and which of it makes a batch.
        validation: examples without an answer, with the right option as label; or None.
        collator: of both.
        pace: what ends the stage in time.
    """

    def __init__(
        self,
        model: AnswerModel,
        args: TrainingArguments,
        data: ExampleSet,
        plan: BatchPlan,
        validation: Dataset | None,
        collator: Collator,
        pace: Pace,
    ):
        if validation is None:
            args.eval_strategy = IntervalStrategy.NO
        super().__init__(
            model, args, data_collator=collator, train_dataset=data, eval_dataset=validation,
            compute_metrics=trainer_metrics, callbacks=[_Epoch(plan), pace],
        )  # fmt: skip
        self.plan, self.pace = plan, pace
        # The loss is a sum over answers, divided by how many there are in all micro-batches of all processes.
        self.model_accepts_loss_kwargs, self._loss_shifts_labels = True, False
        collator.share_prefix &= self._can_share_prefix()
        self.latest_scores: tuple | None = None

    def account(self) -> dict:
        """What the stage did: steps of those that were planned, what ended it, and the history of its losses."""
        state = self.state
        ended = "max_minutes" if self.pace.ended else "epochs"
        return dict(steps=state.global_step, planned_steps=state.max_steps, ended_by=ended, history=state.log_history)

    def _can_share_prefix(self) -> bool:
        """ZeRO-3 and FSDP gather a layer's weights once a forward pass; checkpointing keeps no keys and values."""
        zero = getattr(self.accelerator.state.deepspeed_plugin, "zero_stage", 0) if self.is_deepspeed_enabled else 0
        return not (self.args.gradient_checkpointing or self.is_fsdp_enabled or zero == 3)

    def get_train_dataloader(self) -> DataLoader:
        loader = DataLoader(
            self.train_dataset, batch_sampler=self.plan, collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers, pin_memory=self.args.dataloader_pin_memory,
        )  # fmt: skip
        return self.accelerator.prepare(loader)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with a learning rate for each part; biases and norms do not decay."""
        if self.optimizer is None:
            named = [(n, p) for n, p in (model or self.model).named_parameters() if p.requires_grad]
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(_groups(named, self._learning_rates(), self.args.weight_decay), **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """That of transformers; it ends with the stage where a limit of time ends the stage early."""
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        self.pace.follow(scheduler, num_training_steps)
        return scheduler

    def _learning_rates(self) -> dict[str, float]:
        return {
            "multi_modal_projector": self.args.projector_learning_rate,
            "fas": self.args.fas_learning_rate,
            "language_model": self.args.learning_rate,
        }

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean over all answer tokens of the step, whatever the processes and the accumulation."""
        output = model(**inputs)
        if num_items_in_batch is None:
            return output["loss"] / (inputs["labels"] >= 0).sum().clamp(min=1)
        return (
            output["loss"] / num_items_in_batch * self.accelerator.num_processes
        )  # gradients are averaged over processes

    @torch.no_grad()
    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """(no loss, (B, 7) log-probabilities of the options, (B,) the right ones)."""
        inputs = self._prepare_inputs(inputs)
        return None, model(**inputs)["options"], inputs["options"]

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Scores validation; the weights of the best score are kept in `best.safetensors`, whatever is saved to resume."""
        with self.pace.validation():
            metrics = super().evaluate(*args, **kwargs)
        value, best = metrics[f"eval_{self.args.metric_for_best_model}"], self.state.best_metric
        if self.is_in_train and (best is None or value > best):
            self.keep_weights(*self.latest_scores)
        return metrics

    def evaluation_loop(self, *args, **kwargs):
        output = super().evaluation_loop(*args, **kwargs)
        self.latest_scores = torch.from_numpy(output.predictions), torch.from_numpy(output.label_ids)
        return output

    def keep_weights(self, scores=None, labels=None) -> None:
        """Writes the trained weights of now; every process must call."""
        state = trainable_state(self.model)
        if self.args.should_save:
            save_weights(Path(self.args.output_dir) / BEST, state, scores, labels)
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Only what is trained: the LLM and the encoder are where they were. Every process must call."""
        state = trainable_state(self.model)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_weights(folder / SAFE_WEIGHTS_NAME, state, None, None)

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if not math.isfinite(logs.get("loss", 0.0)):
            raise FASError(f"the loss is {logs['loss']}: try a lower --learning_rate or --projector_learning_rate")
        super().log(logs, *args, **kwargs)

    def _issue_warnings_after_load(self, load_result) -> None:
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        lost = sorted(trained & set(load_result.missing_keys)) + sorted(load_result.unexpected_keys)
        if lost:
            raise FASError(f"the state to resume is of other trained parameters than this run's, e.g. {lost[0]}")


class _Epoch(TrainerCallback):
    """Tells the plan which epoch it is, also where the sampler is wrapped more deeply than the trainer looks."""

    def __init__(self, plan: BatchPlan):
        self.plan = plan

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.plan.set_epoch(int((state.epoch or 0) + 1e-6))


def _groups(named: list[tuple[str, nn.Parameter]], rates: dict[str, float], decay: float) -> list[dict]:
    groups = {}
    for name, parameter in named:
        part = next(p for p in rates if f"{p}." in name)
        key = part, parameter.ndim > 1
        group = {"params": [], "lr": rates[part], "weight_decay": decay if parameter.ndim > 1 else 0.0}
        groups.setdefault(key, group)["params"].append(parameter)
    return list(groups.values())
