"""The command `fas adapter`: its help from our own options alone; what it does is in `fas_alm.training.adapter`."""

import importlib
from typing import Any

import typer
from typer.main import get_command

from fas_core.cli.adapter_options import AdapterData, AdapterParts, AdapterTraining
from fas_core.cli.app import App
from fas_core.cli.from_dataclasses import RecipeCommand, add_command

RECIPES = ("alm", "alm_cpu", "alm_words_cpu")
HELP = """Train the adapter that lets a language model hear through FAS, and write it to OUTPUT/adapter.

Examples:

  fas adapter alm_cpu --corpora ravdess=data/ravdess --fold 1 --output runs/alm

  accelerate launch --config_file train/configs/accelerate/ddp.yaml -m fas_core adapter alm --language-model Qwen/Qwen2.5-7B-Instruct --corpora ravdess=data/ravdess --fold 1

Then: fas export runs/alm/adapter runs/alm/model

Exit code: 0; 2 for input that cannot be used; 130 or 143 when it was stopped, and --resume goes on from what was saved.
"""
OWN_HELP = "\nTransformers' own TrainingArguments are options too: `fas adapter --help-all` shows them."
ALL_HELP = (
    "\nOptions of transformers' TrainingArguments that have no effect here are refused with what to give instead."
)


class AdapterCommand(RecipeCommand):
    """Shows help without the package that trains; anything else is done there."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> typer.Context:
        """That of this command for --help, else that of `fas_alm.training.adapter`."""
        if "--help" in args:
            return super().make_context(info_name, args, parent, **extra)
        command = get_command(importlib.import_module("fas_alm.training.adapter").app)
        args = ["--help" if word in ("--help-all", "--help_all") else word for word in args]
        return command.make_context(info_name, args, parent, **extra)


app = App()
add_command(
    app, (AdapterData, AdapterParts, AdapterTraining), lambda *_: 0, HELP + OWN_HELP, RECIPES, cls=AdapterCommand
)
