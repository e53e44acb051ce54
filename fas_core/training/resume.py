"""The resume state: written atomically, read back exactly. Safetensors and JSON, no pickle."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from fas_core.atomic import write_json
from fas_core.checkpoint import check_finite
from fas_core.errors import CheckpointError
from fas_core.model_files import read_object, reads_checkpoint
from fas_core.training.clips import Clips

POINTER = "resume.json"
INFO = {"epoch": int, "history": list, "best_score": int | float, "best_epoch": int, "fingerprint": dict}


def save_resume_state(
    root: Path, step: int, model: dict, best: dict, optimizer: torch.optim.Optimizer, info: dict
) -> None:
    """Write a new state beside the old one, then move the pointer, then remove the old one.

    Args:
        model, best: state dicts of the current and of the best weights.
        info: JSON-ready bookkeeping (epoch, history, arguments).
    """
    root.mkdir(parents=True, exist_ok=True)
    target, temporary = root / f"resume-{step:08d}", root / ".resume-tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    tensors = {f"model.{k}": v for k, v in model.items()} | {f"best.{k}": v for k, v in best.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items()}
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary / "state.safetensors")
    (temporary / "info.json").write_text(json.dumps(info))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(temporary, target)
    write_json(root / POINTER, {"state": target.name})
    for old in root.glob("resume-*"):
        if old.is_dir() and old != target:
            shutil.rmtree(old, ignore_errors=True)


def load_resume_state(root: Path, optimizer: torch.optim.Optimizer) -> tuple[dict, dict, dict] | None:
    """The model's and the best state dict and the bookkeeping, the optimizer restored in place; None without a state.

    Raises:
        CheckpointError: when the pointer names a state that is not there or cannot be read.
    """
    pointer = root / POINTER
    if not pointer.exists():
        return None
    name = read_object(pointer).get("state")
    if not isinstance(name, str) or not re.fullmatch(r"resume-\d+", name):  # no way out of the folder
        raise CheckpointError(
            f"{pointer}: state {name!r}; expected the name of a resume state (remove the file to start anew)"
        )
    folder = root / name
    with reads_checkpoint(folder, f"a resume state; remove {pointer} to start anew"):
        info = _checked_info(folder / "info.json")
        parts: dict = {"model": {}, "best": {}, "optimizer": {}}
        for key, value in load_file(folder / "state.safetensors").items():
            kind, rest = key.split(".", 1)
            parts[kind][rest] = value
        for kind in ("model", "best"):
            check_finite(parts[kind], folder / "state.safetensors")
        state = optimizer.state_dict()
        state["state"] = {}
        for key, value in parts["optimizer"].items():
            index, name = key.split(".", 1)
            state["state"].setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(state)
    return parts["model"], parts["best"], info


def _checked_info(path: Path) -> dict:
    info = read_object(path)
    for name, kind in INFO.items():
        if not isinstance(info.get(name), kind) or isinstance(info[name], bool):
            raise CheckpointError(f"{path}: {name} is {info.get(name)!r}; expected what training writes")
    return info


def clear_resume_state(root: Path) -> None:
    """Remove the resume states of a finished or an abandoned run."""
    (root / POINTER).unlink(missing_ok=True)
    for old in root.glob("resume-*"):
        shutil.rmtree(old, ignore_errors=True)
    for half in root.glob(".resume-*"):  # of a process that was killed
        shutil.rmtree(half) if half.is_dir() else half.unlink()


def clips_digest(clips: Clips | None) -> str | None:
    """sha256 (hex) of the clips' audio, names, labels and variants: the same clips in the same order."""
    if clips is None:
        return None
    content = [clips.ids, clips.labels.tolist(), clips.semantic_labels.tolist(), clips.variants, clips.digests]
    if clips.semantic_targets is not None:  # so that runs of before go on
        content.append(clips.semantic_targets.round(4).tolist())  # a text model's last digits are the processor's
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
