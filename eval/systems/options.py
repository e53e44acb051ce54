"""Options of a system, as a user writes them: checked before anything is loaded."""

from collections.abc import Iterable

from fas_core.errors import FASError

COMMON = ("type", "name", "title", "group", "ablation_of", "source", "training_corpora", "licence")  # of every system


def check_options(options: dict, known: Iterable[str], required: Iterable[str] = ()) -> None:
    """Raises `FASError` for an option that a system does not have, and for one that is missing."""
    known, name = tuple(known), options.get("name", options.get("type", "system"))
    unknown = sorted(set(options) - set(known) - set(COMMON))
    missing = [option for option in required if not options.get(option)]
    if unknown or missing:
        problem = f"unknown option {', '.join(unknown)}" if unknown else f"{missing[0]} is missing"
        raise FASError(f"system {name}: {problem}; expected {', '.join(known)}")
