"""Whether text from outside (a question, a cell of a table, a hub id) is the path of something that is there.

`pathlib` raises for text that cannot be a path: longer than a name may be, with NUL characters, `~` of an unknown user. Here
the answer is no.
"""

import os
import re
from pathlib import Path


def expanded(text: str | os.PathLike) -> Path:
    """The path with `~` resolved; left as it is where nobody has that name."""
    return Path(_expanded(text))


def exists(text: str | os.PathLike) -> bool:
    """Whether a file or folder is there.

    Examples:
        >>> exists("How does she feel, really? " * 12), exists("a\\0b"), exists("~nobody-of-this-name/a.wav"), exists("/")
        (False, False, False, True)
    """
    return os.path.exists(_expanded(text))


def is_file(text: str | os.PathLike) -> bool:
    """Whether a regular file is there."""
    return os.path.isfile(_expanded(text))


def is_dir(text: str | os.PathLike) -> bool:
    """Whether a folder is there."""
    return os.path.isdir(_expanded(text))


def is_inside(folder: str | os.PathLike, path: str | os.PathLike) -> bool:
    """Whether a file is below a folder and no link on the way leads out of it, or from one of its files to another."""
    home = Path(folder).resolve()
    target = Path(path).resolve()
    return target.is_relative_to(home) and not Path(path).is_symlink()


def file_name(text: str, longest: int = 80) -> str:
    """A name, an id or a language from outside as one part of a path: never another folder, hidden, empty or too long.

    Examples:
        >>> file_name("../../etc/passwd"), file_name("emodb (test)"), file_name("..")
        ('_.._etc_passwd', 'emodb_test_', '_')
    """
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).lstrip(".")[:longest] or "_"


def _expanded(text: str | os.PathLike) -> str:
    return os.path.expanduser(os.fspath(text))  # "" stays "", which pathlib would take for the working folder
