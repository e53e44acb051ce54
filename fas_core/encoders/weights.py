"""What encoders of transformers' classes share: loading of weights, their digest, exact arithmetic."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from fas_core.encoders.products import use_onednn
from fas_core.errors import CheckpointError, FASError, first_line
from fas_core.hub import hub_name
from fas_core.model_files import check_model_files
from fas_core.paths import is_dir

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LOADING_ERRORS = (OSError, LookupError, TypeError, AttributeError, ValueError, RuntimeError, ImportError, ArithmeticError,
                  AssertionError, MemoryError, SafetensorError)  # fmt: skip


def public_name(model: str) -> str:
    """The name that an identity may carry: a directory is known by its last part only, one in the hub's cache by its id."""
    if not is_dir(model):
        return model
    return hub_name(Path(model)) or Path(model).resolve().name


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """sha256 (hex) over names, types, shapes and bytes of tensors, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu()
        values = values.view(torch.int16) if tensor.dtype == torch.bfloat16 else values  # numpy has no bfloat16
        digest.update(np.ascontiguousarray(values.numpy()).data)
    return digest.hexdigest()


def exact_convolutions(device: torch.device):
    """A context without TF32 in convolutions: cuDNN's default would cost three digits."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def find_device(device: str | torch.device | None) -> torch.device:
    """That device, or a GPU when there is one."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def weights_kind(module: nn.Module) -> str:
    """`Encoder.weights`: "random" where the configuration says `random_weights`, else "real"."""
    return "random" if getattr(module.config, "random_weights", False) else "real"


def load_frozen(
    model_class,
    model: str,
    revision: str | None = None,
    *,
    kinds: tuple[str, ...] = (),
    dtype: str = "float32",
    unused: tuple[str, ...] = (),
    **options,
) -> nn.Module:
    """A model of transformers in evaluation mode, without gradients, from safetensors, no code of others run.

    Args:
        model_class: a class with `from_pretrained`.
        model: hub id or directory.
        kinds: values of `model_type` in its configuration that will do; any, if empty.
        dtype: a name of `DTYPES`.
        unused: parts of names of weights that may be missing, because features do not depend on them.
        options: further arguments of `from_pretrained`.

    Raises:
        FASError: an unknown dtype.
        CheckpointError: no such model, of another kind, weights that are damaged, missing or not safetensors.
    """
    if dtype not in DTYPES:
        raise FASError(f"encoder option 'dtype': {dtype!r}, expected one of {', '.join(DTYPES)}")
    try:
        check_model_files(model, revision)
        _check_kind(model, revision, kinds)
        loaded, report = model_class.from_pretrained(
            model, revision=revision, dtype=DTYPES[dtype], use_safetensors=True, output_loading_info=True, **options
        )
        missing = sorted(key for key in report["missing_keys"] if not any(part in key for part in unused))
        if missing:  # transformers would go on with random values
            raise OSError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
    except LOADING_ERRORS as error:
        raise cannot_load(model, error, " or ".join(kinds) or model_class.__name__) from error
    return use_onednn(loaded.eval().requires_grad_(False))


def cannot_load(model: str, error: Exception, what: str) -> CheckpointError:
    """The error that says how to get the weights of `what`."""
    return CheckpointError(
        f"encoder model {model!r}: cannot be loaded: {first_line(error)}; expected a directory with "
        f"config.json, preprocessor_config.json and safetensors weights of {what} (option 'model'), or its hub id: `hf "
        "download ID --local-dir DIR` where there is a network, then name DIR. Where the hub has pytorch_model.bin only, "
        "option 'revision' takes the commit of its safetensors conversion (refs/pr/N)"
    )


def _check_kind(model: str, revision: str | None, kinds: tuple[str, ...]) -> None:
    if not kinds:
        return
    from transformers import PreTrainedConfig  # reads config.json of any kind, without code of others

    found = PreTrainedConfig.get_config_dict(model, revision=revision)[0].get("model_type")
    if found not in kinds:
        raise OSError(f"it is a {found!r} model")
