"""Loading a trained FAS: whole, or one clear error."""

from pathlib import Path

import torch
from safetensors import SafetensorError

from fas_core.errors import CheckpointError, FASError
from fas_core.modeling_fas import FASForEmotionClassification


def load_model(checkpoint: str | Path, revision: str | None = None) -> FASForEmotionClassification:
    """The model of a checkpoint directory or hub id, on the CPU.

    Raises:
        CheckpointError: there is none, it is of another kind, its weights are damaged or incomplete, or it does not
            name its encoders.
    """
    try:
        model, report = FASForEmotionClassification.from_pretrained(
            checkpoint, revision=revision, use_safetensors=True, output_loading_info=True
        )
        missing = sorted(report["missing_keys"])
        if missing:  # transformers would go on with random values
            raise OSError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
        if model.config.streams is None:
            raise OSError("config.json does not name the encoders")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{checkpoint}: not a FAS checkpoint ({_first_line(error)}); expected config.json and model.safetensors "
            "as `train/fas.py` writes them"
        ) from None
    return model


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device of this name; a GPU where there is one, if None.

    Raises:
        FASError: there is no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise FASError(f"device {name!r}: {_first_line(error)}; expected cpu, or cuda where there is a GPU") from None
    return device


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
