"""Figures that the papers publish, to print beside ours.

`published_results.csv` holds them as printed, in per cent, by source: "fas2026" is the paper that this
project implements (Huang et al., 2026). The papers name the same figure differently: ACC and WA are both
accuracy, UA and balanced ACC both mean recall. They differ from ours in more than the system: other test
sides, some with fewer classes; a row is context for our figure, not a like-for-like comparison.
"""

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

METRIC_OF = {"ACC": "accuracy", "WA": "accuracy", "UA": "ua", "balanced ACC": "ua", "macro-F1": "macro_f1"}


@dataclass
class PublishedResult:
    """One system of one table on one dataset; `metrics`: of `eval.statistics.metrics.METRICS`, as fractions of 1."""

    source: str
    table: str
    system: str
    dataset: str
    setting: str
    metrics: dict[str, float] = field(default_factory=dict)


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with (Path(__file__).parent / "published_results.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def published_results(dataset: str, metric: str | None = None) -> list[PublishedResult]:
    """What the papers report on recordings of a dataset, the most accurate first.

    Args:
        dataset: its name in the papers, in any case: "RAVDESS", "EmoDB", "CASE". Rows on its human recordings
            ("TESS human") belong to it, those on synthesised speech do not.
        metric: one of `eval.statistics.metrics.METRICS`, to leave out systems without it.

    Returns:
        One entry a system and table, empty where the papers report nothing.
    """
    wanted = {dataset.casefold(), f"{dataset} human".casefold()}
    found: dict[tuple, PublishedResult] = {}
    for row in _rows():
        if row["dataset"].casefold() in wanted and row["metric"] in METRIC_OF:
            key = tuple(row[name] for name in ("source", "table", "system", "dataset", "setting"))
            entry = found.setdefault(key, PublishedResult(*key))
            entry.metrics[METRIC_OF[row["metric"]]] = float(row["value"]) / 100
    chosen = [entry for entry in found.values() if metric is None or metric in entry.metrics]
    return sorted(chosen, key=lambda entry: -entry.metrics.get("accuracy", 0.0))
