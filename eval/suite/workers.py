"""The processes of a run: one, or those of `accelerate launch -m eval.suite`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

LONGEST_WAIT = timedelta(days=7)  # the others wait while one trains


@dataclass(frozen=True)
class Workers:
    """This process among them. `wait` returns when all have called it."""

    index: int = 0
    number: int = 1
    wait: Callable[[], None] = lambda: None

    @property
    def is_main(self) -> bool:
        return self.index == 0

    @classmethod
    def of_this_run(cls) -> "Workers":
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls()
        import torch
        from accelerate import PartialState

        state = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
        return cls(state.process_index, state.num_processes, state.wait_for_everyone)


def environment_of_one_process() -> dict[str, str]:
    """The environment for a child that is no part of the group."""
    distributed = (
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "GROUP_RANK",
        "ROLE_RANK",
    )
    prefixes = ("TORCHELASTIC_", "ACCELERATE_", "ROLE_", "GROUP_")
    return {k: v for k, v in os.environ.items() if k not in distributed and not k.startswith(prefixes)}
