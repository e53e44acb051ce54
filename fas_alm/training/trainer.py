"""transformers' trainer, with this project's batches, learning rates, checkpoints and choice of the best weights."""

from pathlib import Path

import torch
from torch import nn
from torch.distributed.fsdp import StateDictType
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import SAFE_WEIGHTS_NAME

from fas_alm.training.answer_model import AnswerModel
from fas_alm.training.arguments import TrainingArguments
from fas_alm.training.callbacks import Epoch, FiniteGradients, Patience, WholeStates, not_finite
from fas_alm.training.collator import Collator
from fas_alm.training.examples import IGNORED
from fas_alm.training.limit import Pace
from fas_alm.training.metrics import trainer_metrics
from fas_alm.training.options import one_line
from fas_alm.training.plan import BatchPlan, ExampleSet
from fas_alm.training.trained_weights import save_weights, trainable_state
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
        self.patience = Patience(args.metric_for_best_model, args.patience)
        super().__init__(
            model, args, data_collator=collator, train_dataset=data, eval_dataset=validation,
            compute_metrics=trainer_metrics, callbacks=[Epoch(plan), pace, FiniteGradients(), WholeStates(), self.patience],
        )  # fmt: skip
        self.plan, self.pace = plan, pace
        # The loss is a sum over answers, divided by how many there are in all micro-batches of all processes: whatever is asked
        # weighs as often as it is asked, however long its answer is.
        self.model_accepts_loss_kwargs, self._loss_shifts_labels = True, False
        collator.share_prefix &= self._can_share_prefix()
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin is not None and plugin.state_dict_type != StateDictType.SHARDED_STATE_DICT:
            raise FASError(
                "FSDP with FULL_STATE_DICT cannot be resumed; expected state_dict_type SHARDED_STATE_DICT in its configuration"
            )
        self.latest_scores: tuple | None = None

    def train_from(self, checkpoint: str | None) -> None:
        """Train to the end from the state of an interrupted run, if there is one; it may have run out of patience already."""
        state = TrainerState.load_from_json(Path(checkpoint) / TRAINER_STATE_NAME) if checkpoint else None
        if state is not None and self.patience.is_over(state):
            self.state = state
        else:
            self.train(resume_from_checkpoint=checkpoint)

    def account(self) -> dict:
        """What the stage did: steps of those that were planned, what ended it, and the history of its losses."""
        state = self.state
        early = "patience" if self.patience.is_over(state) else "max_minutes"
        ended = early if state.global_step < state.max_steps else "epochs"
        return dict(steps=state.global_step, planned_steps=state.max_steps, ended_by=ended, history=state.log_history)

    def _can_share_prefix(self) -> bool:
        """ZeRO-3 and FSDP gather a layer's weights once a forward pass; checkpointing keeps no keys and values."""
        zero = getattr(self.accelerator.state.deepspeed_plugin, "zero_stage", 0) if self.is_deepspeed_enabled else 0
        return not (self.args.gradient_checkpointing or self.is_fsdp_enabled or zero == 3)

    def get_train_dataloader(self) -> DataLoader:
        loader = DataLoader(
            self.train_dataset, batch_sampler=self.plan, collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers, pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers, prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context, in_order=self.args.dataloader_in_order,
        )  # fmt: skip
        return self.accelerator.prepare(loader)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with a learning rate for each part; biases and norms do not decay."""
        if self.optimizer is None:
            named = [(n, p) for n, p in (model or self.model).named_parameters() if p.requires_grad]
            with one_line(f"--optim {self.args.optim}:"):
                kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
                self.optimizer = kind(_groups(named, self._learning_rates(), self.args.weight_decay), **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        """That of transformers; it ends with the stage where a limit of time ends the stage early."""
        with one_line(f"--lr_scheduler_type {self.args.lr_scheduler_type}:"):
            scheduler = super().create_scheduler(num_training_steps, optimizer)
        self.pace.follow(scheduler, num_training_steps)
        return scheduler

    def _learning_rates(self) -> dict[str, float]:
        return {
            "multi_modal_projector": self.args.projector_learning_rate,
            "fas": self.args.fas_learning_rate,
            "language_model": self.args.learning_rate,
        }

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device):
        """The micro-batches of a step, and how many answers are learned in it, over all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        answers = sum(((batch["labels"] != IGNORED).any(1).sum() for batch in batches), torch.tensor(0))
        return batches, self.accelerator.reduce(answers.to(device), "sum")

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean over all answers of the step, whatever the processes and the accumulation."""
        # gradients are averaged over processes
        return model(**inputs)["loss"] / num_items_in_batch * self.accelerator.num_processes

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise not_finite(f"the loss is {loss.item()}", self.state)
        return loss

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

    def _issue_warnings_after_load(self, load_result) -> None:
        trained = {name for name, p in self.model.named_parameters() if p.requires_grad}
        lost = sorted(trained & set(load_result.missing_keys)) + sorted(load_result.unexpected_keys)
        if lost:
            raise FASError(f"the state to resume is of other trained parameters than this run's, e.g. {lost[0]}")


def _groups(named: list[tuple[str, nn.Parameter]], rates: dict[str, float], decay: float) -> list[dict]:
    groups = {}
    for name, parameter in named:
        part = next(p for p in rates if f"{p}." in name)
        key = part, parameter.ndim > 1
        group = {"params": [], "lr": rates[part], "weight_decay": decay if parameter.ndim > 1 else 0.0}
        groups.setdefault(key, group)["params"].append(parameter)
    return list(groups.values())
