"""What the dataclasses of training options share: a field with its help text, and checks that name the option."""

import math
from collections.abc import Collection
from dataclasses import field

from fas_core.errors import FASError


def option(default, text: str):
    """A dataclass field with a help text, as HfArgumentParser reads it."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


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
