"""The weights that are trained, gathered from wherever they lie, and the best of them on disk."""

import contextlib
import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fas_core.atomic import atomic_path
from fas_core.errors import CheckpointError
from fas_core.model_files import reads_checkpoint

SAMPLED = 1000  # values of a weight that its digest looks at
SCORES, LABELS = "validation.options", "validation.labels"


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the trained parameters on the CPU, whole; where they are sharded (ZeRO-3, FSDP) every process must call."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    with _gathered([p for _, p in named]):
        return {name: _whole(p).detach().cpu().clone() for name, p in named}


def load_trainable_state(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Put trained parameters back into a model whose parameters are whole.

    Raises:
        CheckpointError: the state is of other parameters.
    """
    here = {name: p for name, p in model.named_parameters() if p.requires_grad}
    differing = sorted(set(here) ^ set(state))
    if differing:
        raise CheckpointError(f"{source}: is of other trained parameters than this run's, e.g. {differing[0]}")
    with torch.no_grad(), reads_checkpoint(source, "the weights of this run"):
        for name, parameter in here.items():
            parameter.copy_(state[name])


def save_weights(path: Path, state: dict[str, Tensor], scores: Tensor | None, labels: Tensor | None) -> None:
    """Write trained parameters and, where there is validation, what they said about it; atomically.

    Args:
        scores: (N, 7) log-probabilities of the options; labels: (N,) the right ones.
    """
    extra = {} if scores is None else {SCORES: scores, LABELS: labels}
    with atomic_path(path) as temporary:
        save_file({k: v.contiguous() for k, v in (state | extra).items()}, temporary, {"format": "pt"})


def load_weights(path: Path) -> tuple[dict[str, Tensor], Tensor | None, Tensor | None]:
    """What `save_weights` wrote.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); train again without --resume") from None
    scores, labels = state.pop(SCORES, None), state.pop(LABELS, None)
    return state, scores, labels


@torch.no_grad()
def weights_digest(model: nn.Module) -> str:
    """sha256 (hex) of names, shapes and a sample of the values of all weights: enough to notice that they are of another model."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.flatten()[:: max(1, tensor.numel() // SAMPLED)].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def is_sharded(model: nn.Module) -> bool:
    """Whether parameters lie in parts on several processes, so that this process cannot read or write them whole."""
    return any(hasattr(p, "ds_id") or hasattr(p, "full_tensor") for p in model.parameters())


def _whole(parameter: Tensor) -> Tensor:
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter  # FSDP2


def _gathered(parameters: list[Tensor]):
    if not any(hasattr(p, "ds_id") for p in parameters):
        return contextlib.nullcontext()
    import deepspeed  # ZeRO-3

    return deepspeed.zero.GatheredParameters(parameters)
