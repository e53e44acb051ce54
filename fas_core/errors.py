"""Every error that this project raises on bad input, in one hierarchy.

A message names the file or field, what was wrong, what is expected, and the option that changes it.
"""

import functools
import os
import sys
from collections.abc import Callable

from safetensors import SafetensorError
from yaml import YAMLError

from fas_core.text import printable, printable_lines


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

    def __reduce__(
        self,
    ) -> tuple[type, tuple[str, str, str]]:  # keeps the error whole when it crosses a process boundary
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


# What a command says in one line: our own errors, and those of libraries on files and values that are not as they expect.
INPUT_ERRORS = (FASError, OSError, ValueError, ImportError, SafetensorError, YAMLError)
TRACEBACK = "FAS_TRACEBACK"


def error_line(error: Exception) -> str:
    """What a command says of one of `INPUT_ERRORS`; with FAS_TRACEBACK=1 in the environment it is raised instead.

    Text that came from outside cannot move the cursor, colour the terminal or begin a line of its own.
    """
    if os.environ.get(TRACEBACK):
        raise error
    if isinstance(error, FASError):
        return printable_lines(str(error))  # some list several problems
    return printable(f"{type(error).__name__}: {first_line(error)} ({TRACEBACK}=1 shows where)")


def reports_errors(main: Callable[..., int | None]) -> Callable[..., int]:
    """A command's `main`: input that cannot be used is one line on stderr and exit code 2; without a code of its own it is 0."""

    @functools.wraps(main)
    def command(*arguments: object, **options: object) -> int:
        try:
            return main(*arguments, **options) or 0
        except INPUT_ERRORS as error:
            print(f"error: {error_line(error)}", file=sys.stderr)
            return 2

    return command
