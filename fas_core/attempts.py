"""Runs of several parts, where one that fails (out of memory, a file, a server) costs the others nothing."""

import gc
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

from fas_core.errors import first_line
from fas_core.text import printable

T = TypeVar("T")


def attempt(name: str, work: Callable[[], T]) -> tuple[T | None, str | None]:
    """The result of one part and None, or None and why there is none, which is also said on stderr.

    What the part held is given back before the next one: memory that ran out would else stay occupied.
    """
    try:
        return work(), None
    except Exception as error:  # whatever a part may raise; Ctrl-C is none of it
        why = printable(f"{type(error).__name__}: {first_line(error)}")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    print(f"{name}: failed: {why}", file=sys.stderr, flush=True)
    return None, why
