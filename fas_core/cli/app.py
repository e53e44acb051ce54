"""What all commands have in common: one spelling of options, errors of one line, exit codes.

0; 1 where a command says that something was found or failed; 2 for input that cannot be used; 130 for Ctrl-C, 141 where nobody
reads what is printed any more.
"""

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from fas_core.cli.spelling import Spelling
from fas_core.errors import INPUT_ERRORS, error_line
from fas_core.text import printable, printable_lines

USAGE, INTERRUPTED, CLOSED = 2, 128 + 2, 128 + 13  # the last two as shells give them, of SIGINT and SIGPIPE
Refusal = typer.BadParameter.__mro__[
    2
]  # ClickException: what the parser could not take; typer has it and does not name it


class _Runs:
    """The part of a command that ends the process: every error is one line on stderr."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **more: Any) -> Any:
        """Run it; exits with its code, or gives the code where standalone_mode is False."""
        is_standalone = more.pop("standalone_mode", True)
        try:
            code = super().main(args, prog_name, standalone_mode=False, **more)
        except Refusal as error:
            if type(error).__name__ != "NoArgsIsHelpError":  # the help is shown already
                _say(f"error: {refusal(error)}")
            code = error.exit_code
        except INPUT_ERRORS as error:
            _say(f"error: {error_line(error)}")
            code = USAGE
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        code = code if isinstance(code, int) else 0
        if is_standalone:
            sys.exit(code)
        return code


class Command(_Runs, TyperCommand):
    """A command whose options may be written with dashes or underscores, and by older names.

    Attributes:
        aliases: older names of flags -> the flags, both with their dashes.
        takes_words: as `Spelling` has it; None: where there are no positional arguments. last_wins: as `Spelling` has it.
    """

    aliases: Mapping[str, str] = {}
    takes_words: bool | None = None
    last_wins: bool = False

    def spelling(self) -> Spelling:
        """How its flags may be written."""
        options = [param for param in self.params if isinstance(param, TyperOption)]
        switches = {
            flag: (option.opts[0], next(iter(option.secondary_opts), None))
            for option in options
            if option.is_flag
            for flag in (*option.opts, *option.secondary_opts)
        }
        takes_words = self.takes_words
        if takes_words is None:
            takes_words = not any(isinstance(param, TyperArgument) for param in self.params)
        flags = {flag for option in options for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
        lists = {flag for option in options if option.multiple for flag in option.opts}
        return Spelling(
            flags, lists, switches | {"--help": ("--help", None)}, self.aliases, takes_words, self.last_wins
        )

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """Options and arguments, after their spelling is made one."""
        return super().parse_args(ctx, self.spelling().rewrite(args))

    def invoke(self, ctx: typer.Context) -> Any:
        """Run it; where nobody reads what is printed any more, it ends as shells expect."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush goes nowhere
            raise typer.Exit(CLOSED) from None


class Row(NamedTuple):
    """A command: its panel in the help, where its application is, and what it does in one line."""

    panel: str
    application: str
    line: str


class Lazy(TyperCommand):
    """A row of the table; the command itself is loaded when it is called."""

    def __init__(self, name: str, row: Row):
        super().__init__(name, help=row.line, rich_help_panel=row.panel)
        self.application = row.application

    def load(self) -> Any:
        """The command. Raises ImportError: a package that it needs is not installed."""
        module, name = self.application.split(":")
        command = get_command(getattr(import_module(module), name))
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent=None, **extra: Any) -> typer.Context:
        """That of the command itself, which is loaded here."""
        return self.load().make_context(info_name, args, parent, **extra)


class Group(_Runs, TyperGroup):
    """A command with commands below it; without a word it shows its help.

    Attributes:
        rows: name -> a command that is loaded when it is called.
    """

    rows: Mapping[str, Row] = {}

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.commands |= {name: Lazy(name, row) for name, row in self.rows.items() if _is_there(row)}


def _is_there(row: Row) -> bool:
    """Whether this package, for a module of its own, has it; other packages are not looked into."""
    module = row.application.partition(":")[0]
    return not module.startswith("fas_core.") or find_spec(module) is not None


class App(typer.Typer):
    """A typer application whose commands are `Command`s."""

    def __init__(self, **options: Any):
        defaults = dict(cls=Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
        super().__init__(**(defaults | options))

    def command(self, name: str | None = None, *, aliases: Mapping[str, str] | None = None, **options: Any):
        """As typer's. Args: aliases: older names of flags -> the flags, which `--help` does not show."""
        cls = options.pop("cls", Command)
        if aliases:
            cls = type(cls.__name__, (cls,), {"aliases": dict(aliases)})
        return super().command(name, cls=cls, **options)


def runner(app: typer.Typer, name: str | None = None) -> Callable[..., int]:
    """A `main(argv)` that gives the exit code, for module entry points and tests.

    Args:
        name: of the program, as its help and its errors show it.
    """

    def main(argv: list[str] | None = None) -> int:
        return get_command(app).main(argv, name, standalone_mode=False)

    return main


def run(app: typer.Typer, name: str | None = None) -> None:
    """Run the application as a process, and exit with its code.

    After Ctrl-C at once: threads that wait for a server would hold the process for all their time-outs.
    """
    code = runner(app, name)(None)
    if code == INTERRUPTED and threading.active_count() > 1:
        atexit._run_exitfuncs()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def late(place: str) -> Callable[..., Any]:
    """A function that is loaded when it is called, so that `--help` does not wait for what it needs.

    Args:
        place: "module:name".
    """

    def call(*given: Any, **more: Any) -> Any:
        module, name = place.split(":")
        return getattr(import_module(module), name)(*given, **more)

    return call


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint at the nearest of the known words; empty where none is near."""
    found = get_close_matches(word, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def refusal(error: Exception) -> str:
    """What the parser could not take, in one line that names the option."""
    context = getattr(error, "ctx", None)
    hint = f" (`{context.command_path} --help` shows all)" if context is not None else ""
    return _problem(error) + hint


def _problem(error: Exception) -> str:
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        known = sorted(error.ctx.command.spelling().flags) if isinstance(error.ctx.command, Command) else []
        return f"{option}: no such option{nearest(option.replace('_', '-'), known)}"
    if type(error) is typer.BadParameter and error.param is not None:
        where = getattr(error, "where", "")  # a file, where the value is from one
        return f"{where}{error.param.opts[0]}{_found(error.__cause__)}: {_expected(error.message)}"
    return " ".join(error.format_message().split()).removesuffix(".")


def _found(cause: BaseException | None) -> str:
    """The value as it was given, where the validator knows it."""
    errors = cause.errors() if hasattr(cause, "errors") else []
    return f" {errors[0]['input']!r}" if errors else ""


def _expected(message: str) -> str:
    """What a validator says, as this project says it."""
    text = " ".join(message.split()).removesuffix(".")
    _, found, choices = text.partition("is not one of ")
    if found:
        return f"expected one of {choices}"
    return text.replace("Input should be", "expected").partition(", unable to parse")[0]


def _say(line: str) -> None:
    print(printable_lines(line) if "\n" in line else printable(line), file=sys.stderr)
