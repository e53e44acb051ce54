"""What the dataclasses of options share: a field with its help text, and checks that name the option."""

import math
from collections.abc import Collection
from dataclasses import field
from typing import Any

from fas_core.errors import FASError


def option(default: Any, text: str, *, flag: str | None = None, panel: str | None = None, metavar: str | None = None):
    """A dataclass field that is an option of a command (`fas_core.cli.from_dataclasses`).

    Args:
        default: its value where it is not given; ... where it has to be given.
        text: for --help.
        flag: its name on the command line, where that is not the field's. panel: of the help, where not the dataclass's.
        metavar: what stands for its value in the help.
    """
    metadata = {"help": text, "flag": flag, "panel": panel, "metavar": metavar}
    if default is ...:
        return field(metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def expect_choice(arguments, name: str, valid: Collection[str]) -> None:
    """The value of the option, or each of its values, is one of the valid ones."""
    value = getattr(arguments, name)
    for each in value if isinstance(value, list) else [value]:
        if each not in valid:
            raise FASError(f"--{name} {each!r} is unknown, expected one of {', '.join(valid)}")


def expect_between(arguments, names: tuple[str, ...], low: float, high: float = math.inf) -> None:
    """`low` is allowed, `high` is not, nor is NaN."""
    for name in names:
        if not low <= (value := getattr(arguments, name)) < high:
            raise FASError(f"--{name} {value}: expected at least {low} and below {high}")
