"""What happens around the steps of transformers' trainer: the plan's epoch, finite gradients, patience, the last state."""

import torch
from transformers import TrainerCallback, TrainerState

from fas_alm.training.plan import BatchPlan
from fas_core.errors import FASError


def not_finite(what: str, state: TrainerState) -> FASError:
    """What to do about a step that cannot be taken."""
    return FASError(
        f"{what} in step {state.global_step + 1} of {state.max_steps}: try a lower --learning_rate or --projector_learning_rate, "
        "--max_grad_norm 1, a longer --warmup_steps, --bf16 false; what was saved before is as it was"
    )


class FiniteGradients(TrainerCallback):
    """A loss may be finite and its gradient not; fp16 scales its loss until it is, and DeepSpeed looks after its own."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        local = [g.to_local() if hasattr(g, "to_local") else g for g in gradients]  # FSDP2
        if not args.fp16 and not all(torch.isfinite(gradient).all() for gradient in local):
            raise not_finite("a gradient is not finite", state)


class Epoch(TrainerCallback):
    """Tells the plan which epoch it is, also where the sampler is wrapped more deeply than the trainer looks."""

    def __init__(self, plan: BatchPlan):
        self.plan = plan

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.plan.set_epoch(int((state.epoch or 0) + 1e-6))


class WholeStates(TrainerCallback):
    """A state holds no half of a logged mean, and the last state is kept.

    At the end of a stage transformers would remove the last state in favour of the best one, and what came after would be lost
    if the process ended before the stage is marked as done. The best weights are in a file of their own.
    """

    def on_train_begin(self, args, state, control, **kwargs):
        state.best_model_checkpoint = None

    on_save = on_train_begin

    def on_step_end(self, args, state, control, **kwargs):
        control.should_log |= control.should_save

    on_epoch_end = on_step_end


class Patience(TrainerCallback):
    """Ends a stage after so many validations without a better score; 0: never."""

    def __init__(self, metric: str, patience: int):
        self.key, self.patience = f"eval_{metric}", patience

    def is_over(self, state: TrainerState) -> bool:
        """By the history alone, so that a resumed run knows as much."""
        scores = [row[self.key] for row in state.log_history if self.key in row]
        return bool(self.patience and scores) and len(scores) - 1 - scores.index(max(scores)) >= self.patience

    def on_evaluate(self, args, state, control, **kwargs):
        if self.is_over(state) and state.global_step < state.max_steps:
            control.should_training_stop = True
            if state.is_world_process_zero:
                print(
                    f"--patience {self.patience} ends the stage after {state.global_step} of {state.max_steps} steps",
                    flush=True,
                )
