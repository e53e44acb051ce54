"""A command from dataclasses: each field is an option, a YAML file comes first, and flags after it win.

The dataclasses stay the only definition of names, types, defaults and help texts.
"""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import typer
from typer.main import get_command

from fas_core.cli.app import App, Command, Refusal, refusal
from fas_core.cli.recipes import recipe_file
from fas_core.cli.spelling import NO, YES
from fas_core.errors import FASError
from fas_core.yaml_files import read_options

CONFIG = "config"  # the positional argument
CONFIG_HELP = "YAML file of options{}; it stands before the flags, which win"
YAML = "a YAML file such as those in train/configs"
SIMPLE = (bool, int, float, str, Path)


def add_command(
    app: App, classes: Sequence[type], run: Callable[..., int | None], text: str, recipes: Sequence[str] = (),
    recipe: str | None = None, config: bool = True, **options: Any,
) -> None:  # fmt: skip
    """Give the application a command whose options are the fields of dataclasses.

    Args:
        run: takes an instance of each, gives an exit code or None.
        text: for --help.
        recipes: names of those that ship and may be given instead of a YAML file.
        recipe: the one whose values are the defaults where no YAML file is given.
        config: whether it takes a YAML file at all.
        options: of `App.command`.
    """

    def call(**values: Any) -> None:
        raise typer.Exit(run(*instances(classes, values)) or 0)

    call.__name__, call.__doc__ = "call", text
    signature = _signature(classes, recipes if config else None)
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    settings = {"classes": tuple(classes), "recipes": tuple(recipes), "recipe": recipe}
    base = options.pop("cls", RecipeCommand if config else Command)
    cls = type(base.__name__, (base,), settings)
    app.command(cls=cls, aliases=_aliases(classes) | (options.pop("aliases", None) or {}), **options)(call)


def parse(classes: Sequence[type], argv: Sequence[str], name: str, config: bool = True) -> tuple:
    """An instance of each dataclass, from a YAML file or not, and the flags after it.

    Args:
        name: the command that the errors name. config: as `add_command` takes it.

    Raises:
        FASError: a YAML file is missing or has unknown keys, a flag is unknown, a value is of another type or out of range.
        SystemExit: after --help (0).
    """
    app = App()
    add_command(app, classes, lambda *_: 0, "", config=config)
    try:
        context = get_command(app).make_context(name, list(argv))
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None
    except Refusal as error:
        raise FASError(refusal(error)) from None
    return instances(classes, context.params)


def instances(classes: Sequence[type], values: Mapping[str, Any]) -> tuple:
    """The dataclasses with the values of a command line; a list without words has its default."""
    return tuple(cls(**dict(_given(cls, values))) for cls in classes)


def _given(cls: type, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for each in _options(cls):
        value, default = values.get(each.name), _default(each)
        value = list(value) if isinstance(value, tuple) else value
        yield each.name, default if value in (None, []) or value == default else value  # 500 stays 500, and not 500.0


class RecipeCommand(Command):
    """A command that takes a YAML file of its options before the flags.

    Attributes:
        classes, recipes, recipe: as `add_command` takes them.
    """

    classes: ClassVar[tuple[type, ...]] = ()
    recipes: ClassVar[tuple[str, ...]] = ()
    recipe: ClassVar[str | None] = None
    takes_words = True
    last_wins = True

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        """A YAML file's values become the defaults of the flags after it."""
        file = self._file(ctx, args)
        if file is not None:
            ctx.default_map = self._defaults(file, ctx.command_path)
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if error.param is not None and _is_from_file(ctx, error.param.name):
                error.where = f"{file}: "  # type: ignore[attr-defined]
            raise
        given = ctx.params.pop(CONFIG)
        if given is not None and str(given) != args[0]:
            ctx.fail(f"{given}: not understood; a YAML file of options stands before the flags")
        return rest

    def _file(self, ctx: typer.Context, args: list[str]) -> Path | None:
        first = args[0] if args and not args[0].startswith("-") else None
        if first is None:
            return recipe_file(self.recipe) if self.recipe else None
        if first in self.recipes:
            return recipe_file(first)
        if not first.endswith((".yaml", ".yml")):
            known = f", or one of {', '.join(self.recipes)}" if self.recipes else ""
            ctx.fail(f"{first}: not understood; expected a YAML file{known}")
        return Path(first)

    def _defaults(self, file: Path, command: str) -> dict[str, Any]:
        """Field -> value; null and an empty list leave the default."""
        options = {each.name: each for cls in self.classes for each in _options(cls)}
        names = {(each.metadata.get("flag") or name).replace("-", "_"): name for name, each in options.items()}
        names |= {name: name for name in options}
        given = {str(key).replace("-", "_"): words for key, words in read_options(file, YAML).items()}
        if unknown := [key for key in given if key not in names]:
            near = [found for key in unknown for found in get_close_matches(key, sorted(names), n=1)]
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise FASError(f"{file}: unknown keys {', '.join(sorted(unknown))}{hint}; `{command} --help` lists all")
        return {names[key]: _value(options[names[key]], words, file) for key, words in given.items() if words}


def _is_from_file(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def _value(each: Field, words: list[str], file: Path) -> Any:
    """What a file says, in the type of the option; numbers are checked as those of flags are."""
    kind = _kind(each.type)
    if get_origin(kind) is list:
        return words
    if len(words) > 1:
        raise FASError(f"{file}: {each.name}: expected one value, found {len(words)}")
    if kind is not bool:
        return words[0]
    if words[0].lower() not in (*YES, *NO):
        raise FASError(f"{file}: {each.name} {words[0]!r}: expected true or false")
    return words[0].lower() in YES


def _options(cls: type) -> list[Field]:
    """The fields that are options, their types as classes and not as text."""
    hints, found = get_type_hints(cls), [each for each in fields(cls) if each.init]
    for each in found:
        each.type = hints[each.name]
    return found


def _signature(classes: Sequence[type], recipes: Sequence[str] | None) -> inspect.Signature:
    """As typer reads it: the YAML file, except where recipes is None, then a keyword for each field."""
    parameters = []
    if recipes is not None:
        named = f", or a recipe that ships: {', '.join(recipes)}" if recipes else ""
        shown = typer.Argument(metavar="CONFIG", help=CONFIG_HELP.format(named), show_default=False)
        parameters.append(_parameter(CONFIG, Annotated[str | None, shown], None))
    for cls in classes:
        for each in _options(cls):
            kind, default = _kind(each.type), _default(each)
            shown = _shown(cls, each, kind)
            is_optional = default is None
            parameters.append(
                _parameter(each.name, Annotated[kind | None if is_optional else kind, shown], _word(default))
            )
    return inspect.Signature(parameters)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _shown(cls: type, each: Field, kind: Any) -> Any:
    """The option as the help shows it."""
    flag = _flag(each)
    spelled = f"{flag}/--no-{flag.removeprefix('--')}" if kind is bool else flag
    metavar = each.metadata.get("metavar") or ("WORDS..." if get_origin(kind) is list else None)
    return typer.Option(
        spelled,
        help=(each.metadata.get("help") or "").replace("[", r"\["),
        rich_help_panel=each.metadata.get("panel") or _panel(cls, each.name),
        metavar=metavar,
    )


def _flag(each: Field) -> str:
    return "--" + (each.metadata.get("flag") or each.name).replace("_", "-")


def _aliases(classes: Sequence[type]) -> dict[str, str]:
    """Names of fields whose flag has another name."""
    options = [each for cls in classes for each in _options(cls)]
    return {f"--{each.name.replace('_', '-')}": _flag(each) for each in options if each.metadata.get("flag")}


def _panel(cls: type, name: str) -> str:
    """What the docstring of the class says that brings the field, in its first sentence."""
    owner = next(each for each in cls.__mro__ if name in inspect.get_annotations(each))
    return (owner.__doc__ or owner.__name__).strip().split(".")[0].split("; ")[0].split("\n")[0]


def _kind(hint: Any) -> Any:
    """The type as the command line has it: of several the text, of an enumeration its values."""
    if get_origin(hint) in (Union, types.UnionType):
        members = [each for each in get_args(hint) if each is not type(None)]
        return _kind(str if str in members else members[0])
    if get_origin(hint) is list or hint is list:
        return list[_kind((get_args(hint) or (str,))[0])]  # type: ignore[misc]
    return hint if hint in SIMPLE else str


def _default(each: Field) -> Any:
    """Its default value; MISSING where it has to be given."""
    return each.default if each.default_factory is MISSING else each.default_factory()


def _word(value: Any) -> Any:
    """A default as typer takes it."""
    if value is MISSING:
        return inspect.Parameter.empty
    return value.value if isinstance(value, Enum) else value
