"""Files below a folder, through linked folders too; what cannot be followed is named, never left out in silence."""

import fnmatch
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from fas_core.text import printable

logger = logging.getLogger(__name__)
NAMED = 5  # of what was not followed, in one warning


def walk_files(root: str | os.PathLike, pattern: str = "*") -> list[Path]:
    """Files below a folder, sorted, hidden ones and those of hidden folders left out.

    Linked folders are followed, each folder once: of several ways to a folder the one without a link counts, then the first by
    name. Folders that cannot be read, links that lead nowhere, and links to a folder that is read already (a loop) are named in
    one warning.

    Args:
        pattern: of the path below `root`, as `Path.match` reads it: "*.csv" for any place, "dialog/*.txt" for one folder.
    """
    skipped: list[str] = []
    found = [path for path in _walk(Path(root), skipped) if pattern == "*" or _matches(path, root, pattern)]
    if skipped:
        more = f", and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
        logger.warning("%s: not followed: %s%s", printable(str(root)), printable("; ".join(skipped[:NAMED])), more)
    return sorted(found)


def _matches(path: Path, root: str | os.PathLike, pattern: str) -> bool:
    parts, wanted = path.relative_to(root).parts, pattern.split("/")
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts[-len(wanted) :], wanted))


def _walk(root: Path, skipped: list[str]) -> Iterator[Path]:
    """All real folders first, then what links lead to, so that a folder is found under its own name."""
    read: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        start = waiting.pop(0)
        if start is not root and _identity(start) in read:
            skipped.append(f"{start} (a link to a folder that is read already)")
            continue
        links: list[Path] = []
        yield from _tree(start, read, links, skipped)
        waiting += sorted(links)


def _tree(folder: Path, read: set, links: list[Path], skipped: list[str]) -> Iterator[Path]:
    """Files of a folder and of those in it that are no links; linked folders are added to `links`."""
    folders = [folder]
    while folders:
        here = folders.pop()
        if (identity := _identity(here)) in read:  # from a link to a folder above, or a mount of a folder into itself
            skipped.append(f"{here} (a folder that is read already)")
            continue
        read.add(identity)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            skipped.append(f"{here} ({error.strerror})")
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = here / entry.name
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            elif os.path.isfile(path):
                yield path
            elif entry.is_symlink():
                skipped.append(f"{path} (a link that leads nowhere)")


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:
        return (-1, hash(folder))
    return status.st_dev, status.st_ino
