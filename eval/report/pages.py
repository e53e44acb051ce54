"""Rendering of the templates: everything is escaped, nothing that is missing is an error, no path of a machine gets out."""

import base64
import hashlib
import json
from collections import Counter
from functools import cache

import jinja2
from markupsafe import Markup

from fas_eval.report import formats
from fas_eval.report.figures import line_style
from fas_eval.report.summary import interval_text


def render(name: str, content: dict) -> str:
    """A page of `templates`."""
    return _environment().get_template(name).render(content)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fas_eval.report"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # most fields of results.json may be missing
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda value: formats.percent(value, formats.DASH),
        "points": formats.points,
        "p_value": formats.p_value,
        "count": formats.count,
        "duration": formats.duration,
        "interval": interval_text,
        "groupby_count": lambda labels: Counter(labels).most_common(),
        "json": lambda value: json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True),
    }
    script = environment.loader.get_source(environment, "script.html")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # the script is ours and named by its digest: one that slipped in would not run
    environment.globals |= {"script": Markup(script), "script_digest": digest, "line_style": line_style}  # noqa: S704
    environment.tests["number"] = formats.is_number
    return environment


def _finalize(value):
    if value is None:
        return formats.DASH
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return formats.without_places(value)
    return value
