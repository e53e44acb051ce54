"""Low-rank adaptation of a Whisper encoder's shallow layers (Hu et al. 2021): small changes of its matrices, kept in a file of their own.

W becomes W + scale B A, with A (r, in) and B (out, r). In training both are parameters beside the frozen matrix; an encoder that is
loaded with an adapter has the sum in its weights, and so costs nothing more, and its identity is of what it computes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fas_core.encoders.weights import LOADING_ERRORS
from fas_core.errors import CheckpointError, first_line

ADAPTED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2")  # of a layer
FORMAT = "fas-encoder-lora"  # the key of the metadata whose value is the sha256 of the weights that are changed
SCALE = 2.0  # alpha / r


class LowRank(nn.Module):
    """A frozen linear layer and its low-rank change, which is nothing at first."""

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(rank, base.in_features, device=base.weight.device) * base.in_features**-0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank, device=base.weight.device))

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        return self.base(x) + SCALE * (x @ self.a.T) @ self.b.T


def add_lora(encoder: nn.Module, layers: int, rank: int) -> list[nn.Parameter]:
    """Give the first layers of transformers' Whisper encoder low-rank changes; the parameters to train."""
    added = []
    for layer in encoder.layers[:layers]:
        for name in ADAPTED:
            parent = layer.get_submodule(name.rpartition(".")[0])
            changed = LowRank(layer.get_submodule(name), rank)
            setattr(parent, name.rpartition(".")[2], changed)
            added += [changed.a, changed.b]
    return added


def save_lora(encoder: nn.Module, path: Path, base_sha256: str) -> None:
    """Write the changes in fp16.

    Args:
        base_sha256: of the weights that are changed; an adapter is of no use on others.
    """
    tensors = {
        f"layers.{number}.{name}.{side}": getattr(layer.get_submodule(name), side).detach().half().cpu().contiguous()
        for number, layer in enumerate(encoder.layers)
        for name in ADAPTED
        if isinstance(layer.get_submodule(name), LowRank)
        for side in ("a", "b")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={FORMAT: base_sha256})  # one entry: several have no order


@torch.no_grad()
def merge_lora(encoder: nn.Module, path: str | Path, base_sha256: str) -> None:
    """Add the changes of a file to the weights of an encoder.

    Raises:
        CheckpointError: no such file, not an adapter, or one of another model.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name).float() for name in file.keys()}
        if (meant_for := metadata.get(FORMAT)) is None:
            raise OSError("it does not say that it is one")
        if meant_for != base_sha256:
            raise OSError(f"it changes weights of sha256 {meant_for[:16]}, these are {base_sha256[:16]}")
        changes = {
            name[:-2]: SCALE * tensors[f"{name[:-2]}.b"] @ tensors[name] for name in tensors if name.endswith(".a")
        }
        for name, change in changes.items():
            if not change.isfinite().all():
                raise ValueError(f"{name} is not finite")
            weight = encoder.get_submodule(name).weight
            weight.add_(change.to(weight))
    except LOADING_ERRORS as error:
        raise CheckpointError(
            f"adapter {str(path)!r}: cannot be used: {first_line(error)}; expected a file of `train/encoder_lora.py` for this Whisper "
            "(option 'adapter')"
        ) from error
