"""Which numbers a processor multiplies fast: bfloat16 where it has products for them, else float32.

A CPU without such products (AVX2 only: most AMD before Zen 4, most laptops) computes them in software, an order of
magnitude slower than float32. Training, evaluation, serving and vLLM on a CPU all ask here, and an explicit option wins.
"""

import os

import torch

from fas_core.errors import FASError

VARIABLE = "FAS_BF16"  # 0: as if the processor had no bfloat16 products; 1: as if it had them
X86_FLAGS, ARM_FLAGS = ("avx512_bf16", "amx_bf16"), ("bf16", "arm_bf16")


def has_bf16(device: torch.device | str | None = None) -> bool:
    """Whether the device has bfloat16 products of its own; the environment variable FAS_BF16 overrides what it says.

    Args:
        device: by default the GPU when there is one, else the CPU.

    Raises:
        FASError: a value of FAS_BF16 other than 0 and 1.
    """
    told = os.environ.get(VARIABLE, "")
    if told not in ("", "0", "1"):
        raise FASError(f"environment variable {VARIABLE} is {told!r}: expected 0, 1, or not to be set")
    return told == "1" if told else _device_has_bf16(_device(device))


def loading_dtype(asked: torch.dtype | str, device: torch.device | str | None = None) -> torch.dtype | str:
    """The dtype to load a language model in, for computing on a device.

    Args:
        asked: what the user chose; "auto" is the dtype of the files where the device multiplies bfloat16, else float32.

    Returns:
        `asked`, or torch.float32.
    """
    return torch.float32 if asked == "auto" and not has_bf16(device) else asked


def describe(bf16: bool, device: torch.device | str | None = None) -> str:
    """What is computed in and what the device can do, in words for a log."""
    device, has = _device(device), has_bf16(device)
    told = f" ({VARIABLE}={os.environ[VARIABLE]})" if os.environ.get(VARIABLE) else ""
    used = "bfloat16" if bf16 else "float32"
    return f"{used}; this {_name(device)} has {'' if has else 'no '}bfloat16 products{told}" + (
        ", so bfloat16 is slow here" if bf16 and not has else ""
    )


def _device(device: torch.device | str | None) -> torch.device:
    return torch.device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")


def _name(device: torch.device) -> str:
    return "processor" if device.type == "cpu" else "GPU" if device.type == "cuda" else device.type


def _device_has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    found = torch.cpu.get_capabilities()
    return any(found.get(flag) for flag in X86_FLAGS + ARM_FLAGS)
