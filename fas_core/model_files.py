"""What the files of a model may ask for. They come from strangers, and transformers and PEFT do what they say: fetch kernels,
follow `adapter_config.json` to another model, import what a quantisation needs. So they are read here first.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from safetensors import safe_open

from fas_core.errors import CheckpointError, FASError, FeatureError, MissingDependencyError, first_line
from fas_core.paths import is_dir

LORA = ("adapter_config.json", "adapter_model.safetensors")  # PEFT's names
INDEX = "model.safetensors.index.json"
READ = ("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
        "tokenizer_config.json", "special_tokens_map.json")  # fmt: skip
IMPLEMENTATIONS = (
    None,
    "eager",
    "sdpa",
    "flex_attention",
)  # of transformers itself; others are fetched where they are not here
DTYPES = (None, "auto", "float32", "float16", "bfloat16", "float64", "torch.float32", "torch.float16", "torch.bfloat16",
          "torch.float64")  # fmt: skip
QUANTISATIONS = (
    "bitsandbytes",
    "bitsandbytes_4bit",
    "bitsandbytes_8bit",
    "gptq",
    "awq",
    "compressed-tensors",
    "torchao",
    "hqq",
)
KERNEL_QUANTISATIONS = ("fp8", "mxfp4")  # take their kernels from the hub where the package `kernels` is there
MOST_LAYERS = 1000
MOST_BYTES = 64 << 20  # of a JSON file
_LAYERS = re.compile(r"(?:^|_)(?:n_?)?(?:layers?|blocks|depth)$")


def check_model_files(
    source: str | Path, revision: str | None = None, *, quantised: bool = False, adapter: bool = False
) -> None:
    """Read the JSON files of a directory, or of a hub id, before transformers does.

    Args:
        source: directory or hub id; what is not there is left to who loads it.
        quantised: whether a `quantization_config` may be there. adapter: whether an `adapter_config.json` may.

    Raises:
        CheckpointError: a file that is no JSON object, or one that asks for code, another model, weights outside of the
            directory, or what no model has; the message names the file and the field.
    """
    if not Path(source).is_dir() and _find(source, READ[0], revision) is None:
        return  # no such model, or no hub; each file more would be waited for
    for name in READ:
        path = _find(source, name, revision)
        if path is not None:
            _check_values(read_object(path), f"{source}/{name}", quantised)
    if not adapter and _find(source, LORA[0], revision) is not None:
        raise CheckpointError(
            f"{source}: has an adapter_config.json, which would load another model in its place; expected a whole model "
            "(merge_and_unload of PEFT makes one), or the directory without that file"
        )
    index = _find(source, INDEX, revision)
    if index is not None:
        _check_index(read_object(index), f"{source}/{INDEX}", Path(source))


def read_object(path: Path) -> dict:
    """The JSON object of a file.

    Raises:
        CheckpointError: it cannot be read, is too large, no JSON or no object.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"{path}: larger than {MOST_BYTES >> 20} MB; expected a JSON file of a model")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise (
            error if isinstance(error, FASError) else CheckpointError(f"{path}: no JSON: {first_line(error)}")
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: a JSON {type(content).__name__}; expected an object")
    return content


@contextmanager
def reads_checkpoint(what: str | Path, expected: str = "") -> Iterator[None]:
    """Whatever libraries raise on files that are not as they expect becomes one `CheckpointError`.

    Args:
        what: the file or directory, in front of the message. expected: behind it.
    """
    try:
        yield
    except (FeatureError, MissingDependencyError):
        raise
    except FASError as error:  # of a field; it says what is expected
        raise CheckpointError(str(error) if str(what) in str(error) else f"{what}: {error}") from error
    except Exception as error:  # transformers, PEFT and safetensors raise of all kinds on files of strangers
        raise CheckpointError(f"{what}: {first_line(error)}{expected and f'; expected {expected}'}") from error


def check_lora(directory: Path) -> None:
    """Read a LoRA's two files before PEFT does.

    Raises:
        CheckpointError: one is missing or damaged, it is no LoRA, names modules that PEFT would import, or a rank that its
            weights have not.
    """
    path, weights = (directory / name for name in LORA)
    if not weights.is_file():  # PEFT would look for a pickle
        raise CheckpointError(f"{directory}: {LORA[0]} without {LORA[1]}")
    config = read_object(path)
    _expect(config.get("peft_type") == "LORA", f"{path}: peft_type {config.get('peft_type')!r}", "'LORA'")
    _expect(not config.get("megatron_config"), f"{path}: megatron_config names modules to import", "null")
    mapping = config.get("auto_mapping") or {}
    library = mapping.get("parent_library", "transformers") if isinstance(mapping, dict) else mapping
    is_known = str(library).partition(".")[0] in ("transformers", "fas_alm")
    _expect(is_known, f"{path}: auto_mapping names the module {library!r} to import", "one of transformers, or null")
    with reads_checkpoint(weights), safe_open(weights, "pt") as file:
        names = [name for name in file.keys() if "lora_A" in name]  # noqa: SIM118  not a dict
        largest = max((file.get_slice(name).get_shape()[0] for name in names), default=0)
    pattern = config.get("rank_pattern") or {}
    _expect(
        isinstance(config.get("rank_pattern"), dict | None),
        f"{path}: rank_pattern {pattern!r}",
        "an object: module to rank",
    )
    for rank in (config.get("r"), *pattern.values()):
        _expect(
            type(rank) is int and 0 < rank <= largest, f"{path}: rank {rank!r}", f"at most {largest}, as in {LORA[1]}"
        )


def _check_values(values, where: str, quantised: bool) -> None:
    """Of an object and all objects in it."""
    if isinstance(values, list):
        for value in values:
            _check_values(value, where, quantised)
    elif isinstance(values, dict):
        for name, value in values.items():
            _check_value(name, value, where, quantised)
            if name != "quantization_config":  # whose fields are those of its method
                _check_values(value, where, quantised)


def _check_value(name: str, value, where: str, quantised: bool) -> None:
    if re.search(r"(attn|experts)_implementation(_internal)?$", name):
        named = value.values() if isinstance(value, dict) else [value]
        _expect(
            all(map(_is_here, named)), f"{where}: {name} {value!r}", "no such field; what is not here would be fetched"
        )
    elif name in ("dtype", "torch_dtype"):
        _expect(
            isinstance(value, dict) or value in DTYPES, f"{where}: {name} {value!r}", "float32, float16 or bfloat16"
        )
    elif _LAYERS.search(name) and isinstance(value, int):
        lowest = -MOST_LAYERS if "feature" in name else -1  # LLaVA counts the layer of its features from the end
        _expect(lowest <= value <= MOST_LAYERS, f"{where}: {name} {value}", f"at most {MOST_LAYERS}")
    elif name == "quantization_config" and value:
        _expect(quantised, f"{where}: {name}", "weights in float32, float16 or bfloat16")
        method = value.get("quant_method") if isinstance(value, dict) else value
        here = (*QUANTISATIONS, *(() if find_spec("kernels") else KERNEL_QUANTISATIONS))
        _expect(method in here, f"{where}: {name}.quant_method {method!r}", f"one of {', '.join(here)}")


def _is_here(implementation) -> bool:
    """Whether an implementation is transformers' own, or a FlashAttention for which nothing can be fetched."""
    if isinstance(implementation, str) and re.fullmatch(r"flash_attention_\d", implementation):
        return find_spec("flash_attn") is not None or find_spec("kernels") is None
    return implementation in IMPLEMENTATIONS


def _check_index(index: dict, where: str, directory: Path) -> None:
    files = index.get("weight_map")
    is_map = isinstance(files, dict) and all(isinstance(file, str) for file in files.values())
    _expect(is_map and files, f"{where}: weight_map {type(files).__name__}", "an object: weight to file")
    for file in sorted(set(files.values())):
        is_plain = re.fullmatch(r"[\w.-]+\.safetensors", file) is not None
        _expect(is_plain, f"{where}: weight_map names {file!r}", "names of safetensors files beside it")
        if directory.is_dir():
            _expect((directory / file).is_file(), f"{where}: weight_map names {file!r}", "a file that is there")
            check_link(directory, directory / file)


def check_link(directory: Path, path: Path) -> None:
    """Raises CheckpointError where a link leads out of the directory; the hub's cache, which is made of links, is its own."""
    home, target = directory.resolve(), path.resolve()
    inside = target.is_relative_to(home) or target.parent == home.parent.parent / "blobs"
    _expect(inside, f"{path}: is a link out of the directory", "a file in it (copy what it links to)")


def _expect(is_right, found: str, expected: str) -> None:
    if not is_right:
        raise CheckpointError(f"{found}; expected {expected}")


def _find(source: str | Path, name: str, revision: str | None) -> Path | None:
    if is_dir(source):
        path = Path(source) / name
        return path if path.is_file() or path.is_symlink() else None
    from transformers.utils import cached_file

    missing = {
        f"_raise_exceptions_for_{kind}": False for kind in ("missing_entries", "connection_errors", "gated_repo")
    }
    path = cached_file(str(source), name, revision=revision, **missing)
    return Path(path) if path else None
