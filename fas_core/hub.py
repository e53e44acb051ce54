"""Models on the hub: what a user names is fetched, what a file names has to be here already."""

from pathlib import Path

from fas_core.errors import CheckpointError, first_line
from fas_core.paths import exists

# What `save_adapter` and `export_model` write, and nothing that would have to be unpickled. `*` crosses folders.
FILES = ("*.json", "*.safetensors", "*.jinja", "*merges.txt", "*vocab.txt", "*tokenizer.model", "README.md")
OFFLINE_PREFIX = "offline:"


def find_directory(name: str | Path, revision: str | None = None) -> Path:
    """The directory of this name; of a hub id ("org/name") that no path here has, its files in the hub's cache.

    Args:
        name: directory or hub id, as the user gave it.
        revision: branch, tag or commit of the hub; a directory has none.

    Returns:
        `name` itself where it exists, or cannot be a hub id: what is missing is told by whoever reads it.

    Raises:
        CheckpointError: the hub cannot be reached, or does not have it.
    """
    if exists(name) or not _may_be_hub_id(str(name)):
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # the hub's own, or of its HTTP library, which differs by version
        raise CheckpointError(
            f"{name}: no such directory, and as a hub id (revision {revision or 'main'}) it cannot be had: "
            f"{first_line(error)}; expected a directory: where there is a network `hf download {name} --local-dir DIR`, "
            "then give DIR"
        ) from error


def named_source(name: str, revision: str | None, where: str, otherwise: str = "") -> tuple[str, str | None]:
    """Where a model lies that a file names and its user did not: on this machine, or nowhere. Nothing is fetched.

    Args:
        name, revision: as the file has them: a path, "offline:NAME", or a hub id, which is looked for in the hub's cache.
        where: file and field, for the message.
        otherwise: what else the user can do.

    Returns:
        The name and its revision; the directory and None for a hub id.

    Raises:
        CheckpointError: it is not here.
    """
    if not isinstance(name, str) or not isinstance(revision, str | None):
        raise CheckpointError(f"{where}: {name!r}, revision {revision!r}; expected a path, offline:NAME or a hub id")
    if name.startswith(OFFLINE_PREFIX) or exists(name):
        return name, revision
    found = _cached(name, revision) if _may_be_hub_id(name) else None
    if found is None:
        fetch = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        hint = f"; if you trust it: `{fetch}`" if _may_be_hub_id(name) else ""
        raise CheckpointError(
            f"{where} names the model {name!r}, which is not on this machine, and what a file names is not fetched{hint}"
            f"{otherwise and f'; {otherwise}'}"
        )
    return found, None


def hub_name(directory: Path) -> str | None:
    """The id of a directory in the hub's cache (models--ORG--NAME/snapshots/COMMIT); None for any other."""
    repository = directory.parent.parent.name
    is_cached = directory.parent.name == "snapshots" and repository.startswith("models--")
    return repository.removeprefix("models--").replace("--", "/") if is_cached else None


def _cached(name: str, revision: str | None) -> str | None:
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, revision=revision, local_files_only=True)
    except Exception:  # as above
        return None


def _may_be_hub_id(name: str) -> bool:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name  # a single word is a folder that is not there
