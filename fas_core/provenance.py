"""What a result was made with: versions, commit, platform, command. No host or user names."""

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "fas-alm",
    "torch",
    "transformers",
    "datasets",
    "numpy",
    "scipy",
    "scikit-learn",
    "soundfile",
    "soxr",
    "matplotlib",
)


def provenance(command: list[str] | None = None) -> dict:
    """JSON-ready record of how a result came about.

    Args:
        command: the command line; this process's own where None.

    Returns:
        `date` (UTC, ISO 8601), `command`, `versions`, `commit` and `dirty` (None outside a git checkout),
        `platform`.
    """
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": _command() if command is None else list(command),
        "versions": package_versions(),
        **git_state(),
        "platform": {
            "system": platform.system(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
        },
    }


def _command() -> list[str]:
    """This process's own command line; where the interpreter lies is of the machine, not of the result."""
    program, *arguments = sys.orig_argv
    return [Path(program).name, *arguments]


def package_versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str | None]:
    """Installed version of each package, None where it is not installed."""
    return {name: _version(name) for name in names}


def git_state(root: Path | None = None) -> dict:
    """`commit` of the checkout at `root` (None: of this code), and whether tracked files are `dirty`."""
    root = root or Path(__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD")
    changed = None if commit is None else _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
