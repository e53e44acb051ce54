"""Every error that this project raises on bad input, in one hierarchy.

A message names the file or field, what was wrong, what is expected, and the option that changes it.
"""

import functools
import sys
from collections.abc import Callable


class FASError(ValueError):
    """Base of all errors raised by `fas_core` on bad input."""


class AudioError(FASError):
    """Audio that cannot be used.

    Args:
        source: file name or a description of the input, never its content.
        problem: what was wrong.
        hint: what is expected, and the option that changes it.
    """

    def __init__(self, source: str, problem: str, hint: str = ""):
        self.source, self.problem, self.hint = source, problem, hint
        super().__init__(f"{source}: {problem}" + (f" ({hint})" if hint else ""))

    def __reduce__(self):  # keeps the error whole when it crosses a process boundary
        return type(self), (self.source, self.problem, self.hint)


class CorpusError(FASError):
    """A corpus folder or manifest that does not have the expected layout."""


class FeatureError(FASError):
    """Features that are missing, damaged, or of another encoder identity."""


class IdentityMismatchError(FeatureError):
    """Features of one encoder identity given to a checkpoint of another."""


class CheckpointError(FASError):
    """A checkpoint directory that is incomplete or of another kind."""


class MissingDependencyError(FASError, ImportError):
    """An optional package that the request needs; the message says what to install."""


def first_line(error: Exception) -> str:
    """Of its message; its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def reports_errors(main: Callable[..., int | None]) -> Callable[..., int]:
    """A command's `main`: input that cannot be used is one line on stderr and exit code 2; without a code of its own it is 0."""

    @functools.wraps(main)
    def command(*arguments, **options) -> int:
        try:
            return main(*arguments, **options) or 0
        except FASError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return command
