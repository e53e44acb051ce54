"""A hub id in the place of an adapter or model directory."""

from pathlib import Path

from fas_core.errors import CheckpointError

# What `save_adapter` and `export_model` write, and nothing that would have to be unpickled. `*` crosses folders.
FILES = ("*.json", "*.safetensors", "*.jinja", "*merges.txt", "*vocab.txt", "*tokenizer.model", "README.md")


def find_directory(name: str | Path, revision: str | None = None) -> Path:
    """The directory of this name; of a hub id ("org/name") that no path here has, its files in the hub's cache.

    Args:
        name: directory or hub id.
        revision: branch, tag or commit of the hub; a directory has none.

    Returns:
        `name` itself where it exists, or cannot be a hub id: what is missing is told by whoever reads it.

    Raises:
        CheckpointError: the hub cannot be reached, or does not have it.
    """
    if Path(name).exists() or not _may_be_hub_id(str(name)):
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # the hub's own, or of its HTTP library, which differs by version
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{name}: no such directory, and as a hub id (revision {revision or 'main'}) it cannot be had: {first}; "
            f"expected a directory: where there is a network `hf download {name} --local-dir DIR`, then give DIR"
        ) from error


def _may_be_hub_id(name: str) -> bool:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name  # a single word is a folder that is not there
