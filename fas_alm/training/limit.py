"""A limit of wall time that a whole training keeps to, and the pace of a stage that has to fit into its share of it."""

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from fas_core.atomic import write_json
from fas_core.errors import CheckpointError, FASError
from fas_core.model_files import read_object

FINISH = 0.02  # of the limit: writing the adapter
SPENT = "spent.json"
now = time.monotonic


class TimeLimit:
    """From the start of a training to its adapter: features, both stages, validation and saving.

    Args:
        minutes: of wall time; 0: no limit.
        output: folder of the run, where the time spent is kept for a run that is resumed.
        resume: count what the interrupted run had spent when it last wrote its state.
    """

    def __init__(self, minutes: float, output: Path, resume: bool = False):
        self.seconds, self.file = minutes * 60 if minutes else math.inf, output / SPENT
        self.start = now() - (self._spent() if resume else 0.0)

    def left(self) -> float:
        """Seconds until the adapter has to be written."""
        return self.seconds * (1 - FINISH) - (now() - self.start) if self.seconds < math.inf else math.inf

    def keep(self) -> None:
        """Write what has been spent; by one process, where its work is on disk."""
        write_json(self.file, {"seconds": now() - self.start})

    def deadline(self, epochs: float, later_epochs: float) -> float:
        """When a stage of so many epochs has to end, so that later ones get their share.

        An epoch of a later stage never costs less: a limit that is enough for all of them cuts none.
        """
        return now() + self.left() * epochs / (epochs + later_epochs)

    def _spent(self) -> float:
        if not self.file.is_file():
            return 0.0
        seconds = read_object(self.file).get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise CheckpointError(
                f"{self.file}: seconds {seconds!r}; expected what has been spent (leave out --resume)"
            )
        return seconds


class Pace(TrainerCallback):
    """Ends a stage at the step after which validation still fits before its deadline, and its learning rate with it.

    How many steps fit is measured, and measured again at every step. The schedule is run through in that many: it never ends
    in the middle. With time enough nothing changes.

    Args:
        limit: of the whole training.
        deadline: of this stage, on the clock `now`.
        name: of the stage.
        validation_steps: validation in training steps, an estimate until it is measured.
    """

    def __init__(self, limit: TimeLimit, deadline: float, name: str, validation_steps: float):
        self.limit, self.deadline, self.name, self.validation_steps = limit, deadline, name, validation_steps
        self.validation_seconds: float | None = None
        self.steps, self.seconds, self.planned, self.total, self.ended = 0, 0.0, 0, 0, False

    def follow(self, scheduler: LRScheduler, planned: int) -> None:
        """Make a schedule of `planned` steps end with the last step that fits."""
        self.planned = self.total = planned
        if isinstance(scheduler, LambdaLR):
            scheduler.lr_lambdas = [self._shortened(factor) for factor in scheduler.lr_lambdas]

    def _shortened(self, factor):
        return lambda step: factor(step if self.total == self.planned else step * self.planned / self.total)

    @contextlib.contextmanager
    def validation(self) -> Iterator[None]:
        """Around a validation: the next one will take as long."""
        began = now()
        yield
        self.validation_seconds = now() - began

    def _start_watch(self, args, state, control, **kwargs):
        self._began = now()

    on_epoch_begin = _start_watch

    def on_optimizer_step(self, args, state, control, **kwargs):
        """Before the learning rate of the next step is set."""
        self.steps, self.seconds = self.steps + 1, self.seconds + now() - self._began
        was, self.total = self.total, self._fitting(args, state, state.global_step + 1)
        if self.total < was == self.planned and state.is_world_process_zero:
            print(f"{self.name}: about {self.total} of {self.planned} steps fit into --max_minutes", flush=True)

    def on_step_end(self, args, state, control, **kwargs):
        if self.total < self.planned and state.global_step >= self.total:
            self._end(state, control)
            # at the end of an epoch, this one's early end included, validation comes by itself
            control.should_evaluate |= args.eval_strategy == IntervalStrategy.STEPS
        self._began = now()

    def on_evaluate(self, args, state, control, **kwargs):
        """It may have taken longer than was thought."""
        self.total = self._fitting(args, state, state.global_step)
        if not self.ended and state.global_step >= self.total < self.planned:
            self._end(state, control)
        self._began = now()

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.limit.keep()
        self._began = now()

    def _end(self, state, control) -> None:
        control.should_training_stop = self.ended = True
        if state.is_world_process_zero:
            print(f"{self.name}: --max_minutes ends it after {state.global_step} of {self.planned} steps", flush=True)

    def _fitting(self, args, state, done: int) -> int:
        """Steps that the stage can have, those done among them; every process goes by the clock of the first."""
        if self.deadline == math.inf or not self.steps:
            return self.planned
        step = self.seconds / self.steps
        validation = self.validation_steps * step if self.validation_seconds is None else self.validation_seconds
        by_epoch = args.eval_strategy == IntervalStrategy.EPOCH
        every = self.planned / args.num_train_epochs if by_epoch else state.eval_steps or math.inf
        left, rest = self.deadline - now(), self.planned - done
        if rest * step + math.ceil(rest / every) * validation <= left:  # the last validation is that of the last epoch
            more = rest
        else:
            more = int((left - validation) / max(step + validation / every, 1e-9))
        return int(broadcast(torch.tensor(min(self.planned, done + max(0, more)), device=args.device)))


def check_time(limit: TimeLimit, trained: bool, stage: str, device: torch.device) -> bool:
    """Whether a stage can start; every process goes by the clock of the first.

    Raises:
        FASError: nothing has been trained, and no time is left.
    """
    if broadcast(torch.tensor(limit.left() > 0, device=device)):
        return True
    if not trained:
        raise FASError(
            f"--max_minutes {limit.seconds / 60:g}: reading and features took all of it, and nothing is trained; features are kept, so "
            "the same command gets further, or give a longer limit"
        )
    if PartialState().is_main_process:
        print(f"{stage}: left out, --max_minutes is over", flush=True)
    return False
