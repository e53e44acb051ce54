"""The adapter's training command with FSDP2 on a CPU, for torchrun: accelerate shards on a GPU only unless told otherwise.

Writes what each process held while it trained to the file that FSDP_REPORT names; ends after FSDP_STEPS steps, if that is set.
"""

import json
import os
import sys
from pathlib import Path

from accelerate import state
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from fas_alm.training import adapter as run
from fas_alm.training.trainer import AdapterTrainer

initialise = state.AcceleratorState.__init__
step = AdapterTrainer.training_step
taken: list[int] = []


def init(self, *args, fsdp_plugin=None, **kwargs):
    initialise(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin


def training_step(self, model, *args, **kwargs):
    taken.append(1)
    if len(taken) > int(os.environ.get("FSDP_STEPS", 1000)):
        os._exit(0)  # as if the power failed: nothing is tidied up
    loss = step(self, model, *args, **kwargs)
    parameters = list(model.parameters())
    report = dict(
        sharded=sum(isinstance(p, DTensor) for p in parameters), parameters=len(parameters),
        held=sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in parameters),
        whole=sum(p.numel() for p in parameters),
        units=sorted({type(m).__name__.removeprefix("FSDP") for m in model.modules() if isinstance(m, FSDPModule)}),
        gradients=sorted({type(p.grad).__name__ for p in parameters if p.grad is not None}),
    )  # fmt: skip
    path = Path(os.environ["FSDP_REPORT"])
    path.with_name(f"{path.name}.{self.args.process_index}.{Path(self.args.output_dir).name}").write_text(
        json.dumps(report)
    )
    return loss


state.AcceleratorState.__init__ = init
AdapterTrainer.training_step = training_step

if __name__ == "__main__":
    sys.exit(run.main())
