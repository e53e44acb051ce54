"""YAML files of the user's: one error for what is not there or not YAML, no key twice, and words that stay what was written."""

import json
from pathlib import Path
from typing import Any

import yaml

from fas_core.errors import FASError

NULL = "tag:yaml.org,2002:null"


class _Loader(yaml.SafeLoader):
    """A key that is there twice is an error: YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        repeated = next((key for key in keys if keys.count(key) > 1 and key != "<<"), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {repeated!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _AsWritten(_Loader):
    """Leaves are texts: YAML 1.1 takes no, off and on for truth values, 1:30 for 90 and 012 for 10."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (NULL, "tag:yaml.org,2002:merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(path: str | Path, expected: str) -> Any:
    """The content of a file, in YAML's own types.

    Args:
        expected: what the file should be, for the message.

    Raises:
        FASError: it cannot be read, is not YAML in UTF-8, or has a key twice.
    """
    return _loaded(path, _text(path, expected), _Loader)


def read_options(path: str | Path, expected: str) -> dict[str, list[str]]:
    """Options of a command: key -> values as they are written; null and an empty list give none. A mapping is one value, as JSON.

    Raises:
        FASError: as `read_yaml`, or a file that is no mapping.
    """
    text = _text(path, expected)
    values, typed = _loaded(path, text, _AsWritten) or {}, _loaded(path, text, _Loader) or {}
    if not isinstance(values, dict):
        raise FASError(f"{path}: expected keys with values, such as epochs: 20")
    return {key: _items(value, own) for (key, value), own in zip(values.items(), typed.values(), strict=True)}


def _items(value: Any, typed: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return [] if value is None else [json.dumps(typed) if isinstance(value, dict) else str(value)]


def _text(path: str | Path, expected: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FASError(f"{path}: not YAML: not UTF-8") from None
    except (OSError, ValueError):
        raise FASError(f"{path}: no such configuration file; expected {expected}") from None


def _loaded(path: str | Path, text: str, loader: type[yaml.SafeLoader]) -> Any:
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506  both are safe loaders
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FASError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
