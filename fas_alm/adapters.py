"""PEFT on the model: LoRA goes on the language model, and what would silently do nothing is refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from safetensors import safe_open
from torch import nn

from fas_core.checkpoint import check_finite
from fas_core.errors import CheckpointError, FASError, MissingDependencyError, first_line
from fas_core.hub import find_directory
from fas_core.model_files import LORA, check_lora, reads_checkpoint

if TYPE_CHECKING:
    from peft import PeftModel

FLOAT32_PARTS = ("audio_tower", "fas", "multi_modal_projector")
PROJECTOR = "projector.safetensors"
# Where PEFT's AutoPeftModel looks for the base model: it would find the language model and leave out the audio side.
AUTO_MAPPING = {"base_model_class": "AdapterDirectory", "parent_library": "fas_alm.adapters"}
OF_ITS_OWN = "has a projector and a FAS of its own beside its LoRA; load it with fas_alm.load_adapter(DIRECTORY)"


class AdapterDirectory:
    """What PEFT's Auto classes find in an adapter directory; they know nothing of its projector and its FAS."""

    @classmethod
    def from_pretrained(cls, name: str, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `FASError`, always."""
        raise FASError(f"an adapter of FAS-ALM (for {name}) {OF_ITS_OWN}")


class LanguageModelAdapters:
    """transformers' methods for adapters, on the language model: `model.language_model` becomes a PEFT model.

    PEFT on the whole model leaves encoder, FAS and projector alone as well.
    """

    language_model: nn.Module
    # Of PEFT: an adapter of the bare language model fits the whole model.
    _checkpoint_conversion_mapping = {
        r"^(?!language_model\.|audio_tower\.|fas\.|multi_modal_projector\.)": "language_model."
    }

    def load_adapter(
        self, peft_model_id: str | Path, adapter_name: str = "default", *, is_trainable: bool = False,
        revision: str | None = None,
    ) -> None:  # fmt: skip
        """Put a LoRA of the bare language model on it, and make it the active one.

        Args:
            peft_model_id: directory or hub id in PEFT's format, such as `lora/` of `python -m fas_alm.export --no-merge`.

        Raises:
            CheckpointError: it is missing, damaged, or of another model.
            FASError: a whole adapter directory (`fas_alm.load_adapter` reads it), a name that is taken.
        """
        directory = find_directory(peft_model_id, revision)
        if (directory / PROJECTOR).is_file():
            raise FASError(f"{directory}: {OF_ITS_OWN}")
        if adapter_name in getattr(self.language_model, "peft_config", {}):
            raise FASError(f"adapter {adapter_name!r} is there already; give another adapter_name")
        self.language_model = with_lora(self.language_model, directory, is_trainable, adapter_name)
        self.set_adapter(adapter_name)

    def add_adapter(self, adapter_config: Any, adapter_name: str = "default") -> None:
        """A new adapter to train, active. Raises `FASError` for a name that is taken or settings that do not fit."""
        peft = import_peft("adapters")
        try:
            if isinstance(self.language_model, peft.PeftModel):
                self.language_model.add_adapter(adapter_name, adapter_config)
            else:
                self.language_model = peft.get_peft_model(self.language_model, adapter_config, adapter_name)
        except (TypeError, ValueError) as error:
            raise FASError(f"adapter {adapter_name!r}: {first_line(error)}") from error
        self.set_adapter(adapter_name)

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Make one adapter the active one."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        if len(names) != 1 or names[0] not in self._peft_model().peft_config:
            known = ", ".join(self._peft_model().peft_config)
            raise FASError(f"adapter {', '.join(names)}: expected one of {known}")
        self._peft_model().set_adapter(names[0])

    def disable_adapters(self) -> None:
        self._peft_model().base_model.disable_adapter_layers()

    def enable_adapters(self) -> None:
        self._peft_model().base_model.enable_adapter_layers()

    def active_adapters(self) -> list[str]:
        return list(self._peft_model().active_adapters)

    def delete_adapter(self, adapter_names: str | Sequence[str]) -> None:
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            self._peft_model().delete_adapter(name)

    def get_adapter_state_dict(self, adapter_name: str | None = None, state_dict: dict | None = None) -> dict:
        from peft import get_peft_model_state_dict

        name = adapter_name or self.active_adapters()[0]
        return get_peft_model_state_dict(self._peft_model(), state_dict=state_dict, adapter_name=name)

    def enable_peft_hotswap(self, *args: Any, **kwargs: Any) -> None:
        """Raises `FASError`: `model.language_model` is a PEFT model, whose hot swap PEFT has."""
        raise FASError("enable_peft_hotswap: use peft.utils.hotswap on model.language_model")

    def _peft_model(self) -> PeftModel:
        peft = import_peft("adapters")
        if not isinstance(self.language_model, peft.PeftModel):
            raise FASError("the language model has no adapter; expected load_adapter or add_adapter before")
        return self.language_model

    @property
    def peft_config(self) -> dict:
        """Of PEFT on the whole model, which sets it once its layers are in place."""
        if "_peft_config" not in self.__dict__:
            raise AttributeError("peft_config")
        return self.__dict__["_peft_config"]

    @peft_config.setter
    def peft_config(self, value: dict) -> None:
        for config in value.values():
            if getattr(config, "auto_mapping", None) == AUTO_MAPPING:
                raise FASError(f"this adapter {OF_ITS_OWN}")
            if isinstance(getattr(config, "target_modules", None), set):
                config.target_modules = {name for name in config.target_modules if not name.startswith(_PREFIXES)}
        for part in FLOAT32_PARTS:
            _take_layers_out(cast(nn.Module, self), part)
        self.__dict__["_peft_config"] = value

    @peft_config.deleter
    def peft_config(self) -> None:
        del self.__dict__["_peft_config"]

    def _check_adapters(self) -> None:
        """Raises `FASError` for what PEFT put on the whole model without a word to it: a second adapter."""
        if "_peft_config" in self.__dict__ and len(self.peft_config) > 1:
            raise FASError(
                f"adapters {', '.join(self.peft_config)} on the whole model: expected one; several go on the language model "
                "(model.add_adapter, model.load_adapter)"
            )


_PREFIXES = tuple(f"{part}." for part in FLOAT32_PARTS)


def holds_adapter(module: nn.Module) -> bool:
    """Whether PEFT's layers are in a module, unmerged."""
    if "peft" not in sys.modules:
        return False
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    return any(isinstance(m, PeftModel | BaseTunerLayer | AuxiliaryTrainingWrapper) for m in module.modules())


def with_lora(llm: nn.Module, directory: Path, is_trainable: bool = False, adapter_name: str = "default") -> nn.Module:
    """The language model with the LoRA of a directory in PEFT's format; a PEFT model gets one more.

    Raises:
        CheckpointError: it is missing, damaged, another model's, or asks for more than a LoRA.
        MissingDependencyError: the package peft is missing.
    """
    peft = import_peft(f"{directory}: its LoRA")
    check_lora(directory)
    with reads_checkpoint(directory / LORA[1]):
        if isinstance(llm, peft.PeftModel):
            llm.load_adapter(str(directory), adapter_name, is_trainable=is_trainable)
        else:
            llm = peft.PeftModel.from_pretrained(llm, str(directory), adapter_name, is_trainable=is_trainable)
        tensors = peft.get_peft_model_state_dict(llm, adapter_name=adapter_name, save_embedding_layers=False)
    _check_names(set(tensors), directory / LORA[1])
    check_finite(tensors, directory / LORA[1])
    return llm


def import_peft(what: str) -> ModuleType:
    """The package. Raises `MissingDependencyError`."""
    try:
        import peft
    except ImportError:
        raise MissingDependencyError(f"{what} needs the package peft: pip install peft") from None
    return peft


def _check_names(here: set[str], path: Path) -> None:
    """PEFT warns of tensors that are missing, and says nothing of those that fit nowhere."""
    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
    if differing := sorted((here - there) or {name for name in there - here if "lora_" in name}):
        what = "lacks" if differing[0] in here else "has, but the language model has no place for,"
        raise CheckpointError(f"{path}: {what} {differing[0]} and {len(differing) - 1} more; it is of another model")


def _take_layers_out(model: nn.Module, part: str) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(getattr(model, part).named_modules(prefix=part)):
        if isinstance(layer, BaseTunerLayer):
            model.set_submodule(name, layer.get_base_layer())
