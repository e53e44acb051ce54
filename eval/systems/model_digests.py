"""Which weights a model has, told without loading them: answers of other weights are not this model's."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from fas_core.errors import CheckpointError, first_line
from fas_core.hub import hub_name
from fas_core.paths import is_dir
from fas_core.walk import walk_files

READ = (".safetensors", ".json", ".jinja", ".txt", ".model")  # what transformers reads of a directory
RECORDS = ("training.json", "trainer_state.json")  # which decide nothing
BLOCK = 1 << 22


def source_digest(source: str | Path, revision: str | None = None) -> str:
    """sha256 (hex) of the files of a directory; of a hub id the commit.

    Raises:
        CheckpointError: there is no such model.
    """
    if name := hub_name(Path(source)):
        return hashlib.sha256(f"{name}@{Path(source).name}".encode()).hexdigest()
    if is_dir(source):
        return directory_digest(Path(source))
    from transformers import AutoConfig

    try:
        commit = getattr(
            AutoConfig.from_pretrained(str(source), revision=revision, trust_remote_code=False), "_commit_hash", None
        )
    except Exception as error:  # of the hub, of its HTTP library, or of a configuration that is none
        raise CheckpointError(
            f"{source}: no such model ({first_line(error)}); expected a directory or a hub id"
        ) from None
    return hashlib.sha256(f"{source}@{commit or revision}".encode()).hexdigest()


def directory_digest(directory: Path) -> str:
    """sha256 (hex) over names and content of the files that decide what a model answers."""
    digest = hashlib.sha256()
    for path in _files(directory):
        digest.update(str(path.relative_to(directory)).encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def count_parameters(directory: Path, pattern: str = "*.safetensors") -> int | None:
    """Values in the tensors of a directory, by their headers; None where there are none, or they are damaged."""
    total = 0
    try:
        for path in directory.glob(pattern):
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118  not a dict
                    values = 1
                    for size in file.get_slice(key).get_shape():
                        values *= size
                    total += values
    except (OSError, SafetensorError):
        return None
    return total or None


def _files(directory: Path) -> list[Path]:
    found = [path for path in walk_files(directory) if path.suffix in READ]
    hidden = [path for path in found if any(part.startswith(".") for part in path.relative_to(directory).parts)]
    return sorted(path for path in found if path.name not in RECORDS and path not in hidden)
