"""How figures, names and places are written, in every file of a report."""

import math
import re

from fas_core.markdown import plain
from fas_core.paths import file_name

METRIC_NAMES = {"accuracy": "WA", "ua": "UA", "macro_f1": "macro-F1"}
DASH = "–"
# /folder/.../name and C:\folder\...\name, but no address (https://...), no "w/o", no relative path
_PLACE = re.compile(r"(?<![\w.:/~-])(?:~?/(?:[\w.+@~-]+/)+|[A-Za-z]:\\(?:[^\\\s\"']+\\)+)([\w.+@~-]*)")


def is_number(value) -> bool:
    """Says whether a value is a finite number, which True is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def percent(value: float | None, missing: str = "-") -> str:
    """A share in per cent, one decimal."""
    return f"{100 * value:.1f}" if is_number(value) else missing


def points(difference: float | None) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "−") if is_number(difference) else DASH


def p_value(value: float | None) -> str:
    """Writes a p with three decimals, "< 0.001" below them."""
    if not is_number(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: float | None) -> str:
    """1,234; and 3.45 M from a million on."""
    if not is_number(value):
        return DASH
    return f"{value / 1e6:,.2f} M" if abs(value) >= 1e6 else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Writes seconds in the unit in which people would say them."""
    if not is_number(seconds):
        return DASH
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def without_places(text: str) -> str:
    """Absolute paths of a machine cut to what they end in: a report is passed on, a home directory is not."""
    return _PLACE.sub(r"…/\1", text)


def unique_slugs(names) -> dict[str, str]:
    """name -> slug; two names never share one, even where case does not count."""
    slugs: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        slug, n = file_name(name), 2
        while slug.casefold() in taken:
            slug, n = f"{file_name(name)}-{n}", n + 1
        taken.add(slug.casefold())
        slugs[name] = slug
    return slugs


def markdown_text(text) -> str:
    """What users wrote, as `fas_core.markdown.plain`, without places of a machine."""
    return plain(without_places(str(text)))
