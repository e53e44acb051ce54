"""Flags and YAML of the training scripts: a YAML file first (optional), flags after it win."""

from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from fas_core.errors import FASError
from fas_core.yaml_files import read_options

_SWITCH = {"on": "true", "off": "false"}  # which YAML knows, and transformers' parser does not


def parse_flags(classes: tuple[type, ...], argv: list[str], script: str, description: str | None = None) -> tuple:
    """An instance of each dataclass.

    Args:
        classes: dataclasses of arguments.
        argv: flags, after a YAML file or not.
        script: the command that the errors name.
        description: for --help.

    Raises:
        FASError: for a YAML file that is missing or has unknown keys, an unknown flag, a value out of range.
        SystemExit: for a flag whose value is of another type (2), and after --help (0).
    """
    parser = HfArgumentParser(classes, description=description)
    if argv and argv[0].endswith((".yaml", ".yml")):
        argv = _flags(argv[0], parser, script) + argv[1:]
    *parsed, rest = parser.parse_args_into_dataclasses(args=argv, return_remaining_strings=True)
    if rest:
        raise FASError(f"{' '.join(rest)}: not understood; `python {script} --help` lists all flags")
    return tuple(parsed)


def _flags(path: str, parser: HfArgumentParser, script: str) -> list[str]:
    """Options of a YAML file as flags, so that one parser checks both; null and an empty list leave the default."""
    values = read_options(path, "a YAML file such as those in train/configs")
    known = {action.dest for action in parser._actions} - {"help"}
    switches = {action.dest for action in parser._actions if action.type is string_to_bool}
    unknown = sorted(str(key) for key in values if key not in known)
    if unknown:
        raise FASError(f"{path}: unknown keys {', '.join(unknown)}; `python {script} --help` lists all")
    flags = []
    for key, items in values.items():
        words = [_SWITCH.get(item.lower(), item) if key in switches else item for item in items]
        flags += [f"--{key}", *words] if words else []
    return flags
