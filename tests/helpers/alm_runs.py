"""Runs of the adapter's training command on a tiny corpus, for the tests that look at what they leave behind."""

import json
from pathlib import Path

from alm_corpus import train_fas, write_corpus
from alm_tiny import save_tiny_fas, save_tiny_language_model
from safetensors.torch import load_file

from fas_alm.training import adapter as run
from fas_alm.training.trainer import AdapterTrainer


def write_material(root: Path) -> Path:
    """A tiny corpus, a FAS that hears it, and an LLM."""
    write_corpus(root / "corpus", {"train": 8, "validation": 4}, emotions=("angry", "happy", "sad"), words=True)
    save_tiny_language_model(root / "llm")
    train_fas(save_tiny_fas(root), root / "corpus")
    return root


def flags(material, output, *more: str) -> list[str]:
    return [
        "--corpora", f"manifest={material / 'corpus'}", "--fas", str(material / "fas"), "--language_model",
        str(material / "llm"), "--cache_dir", str(material / "cache"), "--output_dir", str(output), "--use_cpu", "true",
        "--per_device_train_batch_size", "8", "--tasks", "choose", "--languages", "en", "--shuffled_options", "0",
        "--learning_rate", "1e-2", "--projector_learning_rate", "1e-2", "--stage1_epochs", "1", "--stage2_epochs", "2",
        "--disable_tqdm", "true", *more,
    ]  # fmt: skip


def trained(material, output, *more: str) -> dict:
    """The record of a run that went well."""
    assert run.main(flags(material, output, *more)) == 0
    return json.loads((output / "adapter" / "training.json").read_text())


def weights(output: Path) -> dict:
    files = [output / "adapter" / name for name in ("projector.safetensors", "adapter_model.safetensors")]
    return {k: v for file in files if file.exists() for k, v in load_file(file).items()}


class Interrupted(BaseException):
    pass


def interrupt_at(monkeypatch, step: int) -> None:
    """The power fails after that many steps."""
    original, count = AdapterTrainer.training_step, [0]

    def training_step(self, *args, **kwargs):
        count[0] += 1
        if count[0] > step:
            raise Interrupted
        return original(self, *args, **kwargs)

    monkeypatch.setattr(AdapterTrainer, "training_step", training_step)
