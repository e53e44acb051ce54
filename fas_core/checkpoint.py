"""Loading a trained FAS: whole, or one clear error."""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from fas_core.configuration_fas import FASConfig
from fas_core.errors import CheckpointError, FASError, first_line
from fas_core.hub import find_directory, named_source
from fas_core.kinds import what_is
from fas_core.model_files import check_model_files, read_object, reads_checkpoint
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.paths import exists

RECORD = "training.json"
PATHS_ONLY = ("soundstream",)  # encoders whose model is a file of this machine


def load_model(checkpoint: str | Path, revision: str | None = None) -> FASForEmotionClassification:
    """The model of a checkpoint directory or hub id, in float32 on the CPU.

    Raises:
        CheckpointError: there is none, it is of another kind, its weights are damaged, incomplete or not finite, it does not
            name its encoders, or asks for what no FAS has; the message names the file and the field.
    """
    directory = find_directory(checkpoint, revision)
    config_file, weights = directory / "config.json", directory / "model.safetensors"
    expected = "config.json and model.safetensors as `train/fas.py` writes them"
    for path in (config_file, weights):
        if not exists(path):
            raise CheckpointError(
                f"{checkpoint}: not a FAS checkpoint ({path.name} is missing); expected {expected}; {what_is(directory)}"
            )
    check_model_files(directory)
    config = read_config(config_file)
    with reads_checkpoint(weights, expected):
        _check_shapes(weights, config)
        model = FASForEmotionClassification.from_pretrained(
            directory, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
    check_finite(model.state_dict(), weights)
    for name, tensor in model.state_dict().items():
        if name.endswith(".deviation") and not (tensor > 0).all():
            raise CheckpointError(f"{weights}: {name} holds zeros; expected deviations of the training set, above 0")
    if is_head_untrained(read_object(config_file), read_record(directory)):
        model.drop_semantic_head()
    return model


def is_head_untrained(config: dict, record: dict) -> bool:
    """Whether nobody trained the semantic head of a checkpoint that does not say so itself, as none did before it could.

    Its record then has validation figures, none of that head, and no corpus that taught words. Without a record the head stays.

    Args:
        config: of config.json. record: of training.json.
    """
    figures = record.get("validation")
    taught = any(corpus.get("learns") == "words" for corpus in _at(record, "data.corpora") or ())
    return (
        "semantic_head" not in config
        and isinstance(figures, dict)
        and bool(figures)
        and "semantic" not in figures
        and not taught
    )


def read_config(path: Path) -> FASConfig:
    """The configuration of a FAS checkpoint; raises CheckpointError that names file and field."""
    values = read_object(path)
    if values.get("model_type") != FASConfig.model_type:
        raise CheckpointError(
            f"{path}: model_type {values.get('model_type')!r}; expected 'fas', as `train/fas.py` writes it; {what_is(path.parent)}"
        )
    with reads_checkpoint(path, "the fields of FASConfig"):
        config = FASConfig.from_dict(values)
    if config.streams is None:
        raise CheckpointError(f"{path}: does not name the encoders; expected 'streams', as `train/fas.py` writes it")
    return config


def local_streams(streams: dict, where: str | Path) -> dict:
    """The streams of a checkpoint with the encoders where they lie on this machine: a checkpoint's file has them fetched by nobody.

    Args:
        streams: `StreamConfig.to_dict()`.
        where: the file that names them, for the message.

    Raises:
        CheckpointError: an encoder that is not here.
    """
    local = dict(streams)
    for stream in ("acoustic", "semantic"):
        encoder = streams.get(stream)
        if isinstance(encoder, dict) and encoder.get("model") and encoder.get("type") not in PATHS_ONLY:
            source = named_source(encoder["model"], encoder.get("revision"), f"{where}: streams.{stream}.model")
            local[stream] = encoder | dict(zip(("model", "revision"), source, strict=True))
            if encoder.get("adapter") is not None:
                local[stream]["adapter"] = str(_adapter_beside(encoder["adapter"], where, stream))
    return local


def _adapter_beside(name: object, where: str | Path, stream: str) -> Path:
    """A checkpoint's own file, and no other one of this machine."""
    if not isinstance(name, str) or Path(name).name != name or not exists(Path(where).parent / name):
        raise CheckpointError(f"{where}: streams.{stream}.adapter {name!r}; expected the name of a file beside it")
    return Path(where).parent / name


def check_finite(tensors: dict[str, Tensor], path: Path) -> None:
    """Raises CheckpointError where a weight is NaN or infinite: no answer of it would be one."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: {name} holds NaN or infinite values; expected the weights of a finished training"
            )


def read_record(directory: Path) -> dict:
    """What `training.json` of a directory says, nothing where there is none.

    Raises:
        CheckpointError: no JSON, or fields of another kind than training writes.
    """
    path = directory / RECORD
    record = read_object(path) if exists(path) else {}
    kinds = {"data": dict, "data.corpora": list, "arguments": dict, "arguments.data": dict, "provenance": dict}
    for name, kind in kinds.items():
        value = _at(record, name)
        if not isinstance(value, kind | None):
            raise CheckpointError(
                f"{path}: {name} is a {type(value).__name__}; expected a {kind.__name__}, as training writes it"
            )
    for number, corpus in enumerate(_at(record, "data.corpora") or ()):
        if not isinstance(corpus, dict) or not isinstance(corpus.get("corpus"), str):
            raise CheckpointError(
                f"{path}: data.corpora[{number}] does not name a corpus; expected its name in 'corpus'"
            )
    if not isinstance(_at(record, "arguments.data.fold"), int | None):
        raise CheckpointError(f"{path}: arguments.data.fold is not a number; expected a whole number or null")
    return record


def learned_from(record: dict) -> tuple[tuple[str, ...], int | None]:
    """(corpora whose tone was learned, fold) of a record."""
    corpora = _at(record, "data.corpora") or ()
    return tuple(c["corpus"] for c in corpora if c.get("learns") != "words"), _at(record, "arguments.data.fold")


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device of this name; a GPU where there is one, if None.

    Raises:
        FASError: there is no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise FASError(f"device {name!r}: {first_line(error)}; expected cpu, or cuda where there is a GPU") from None
    return device


def _check_shapes(path: Path, config: FASConfig) -> None:
    """What the file holds against what the configuration says, before anything of that size is made."""
    with torch.device("meta"):
        expected = {
            name: list(tensor.shape) for name, tensor in FASForEmotionClassification(config).state_dict().items()
        }
    with safe_open(path, "pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  not a dict
    if missing := sorted(expected.keys() - found.keys()):  # transformers would go on with random values
        raise CheckpointError(
            f"{path}: lacks {missing[0]} and {len(missing) - 1} more; expected the weights of config.json's model"
        )
    for name, shape in expected.items():
        if shape != found[name]:
            raise CheckpointError(f"{path}: {name} has the shape {found[name]}; expected {shape}, as config.json says")


def _at(values: dict, name: str) -> Any:
    """The value at "a.b.c"; None where one of them is not there."""
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
