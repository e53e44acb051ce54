"""The recipes that ship: YAML files of options, by name."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent / "train" / "configs"


@cache
def folder() -> Path:
    """Where they are: in a checkout `train/configs`, installed the package `fas_core.configs`."""
    if CHECKOUT.is_dir():
        return CHECKOUT
    found = find_spec("fas_core.configs")
    return Path(found.origin or "").parent if found else CHECKOUT


def recipe_file(name: str) -> Path:
    """The YAML file of a recipe."""
    return folder() / f"{name}.yaml"
