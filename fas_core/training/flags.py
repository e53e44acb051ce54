"""Flags and YAML of the training scripts: a YAML file first (optional), flags after it win."""

from pathlib import Path

import yaml
from transformers import HfArgumentParser

from fas_core.errors import FASError
from fas_core.paths import is_file


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
        known = {a.dest for a in parser._actions} - {"help"}
        argv = _flags(_read_yaml(Path(argv[0]), known, script)) + argv[1:]
    *parsed, rest = parser.parse_args_into_dataclasses(args=argv, return_remaining_strings=True)
    if rest:
        raise FASError(f"{' '.join(rest)}: not understood; `python {script} --help` lists all flags")
    return tuple(parsed)


def _read_yaml(path: Path, known: set[str], script: str) -> dict:
    if not is_file(path):
        raise FASError(f"{path}: no such configuration file; see train/configs")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FASError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise FASError(f"{path}: expected keys with values, such as epochs: 20")
    unknown = sorted(str(key) for key in set(values) - known)
    if unknown:
        raise FASError(f"{path}: unknown keys {', '.join(unknown)}; `python {script} --help` lists all")
    return values


def _flags(values: dict) -> list[str]:
    """YAML values as flags, so that one parser checks both; null and an empty list leave the default."""
    flags = []
    for key, value in values.items():
        items = value if isinstance(value, list) else [] if value is None else [value]
        flags += [f"--{key}", *map(str, items)] if items else []
    return flags
