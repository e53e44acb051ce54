"""Scores of one system's seeds as one: means, spreads, sums. Everything takes the scores of one benchmark, one a seed."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from fas_eval.report.formats import is_number
from fas_eval.statistics.comparison import summarise


@dataclass(frozen=True)
class Figure:
    """Mean over the seeds; `spread` is that of `eval.statistics.comparison.summarise`, `low` and `high` the means of the bounds
    of the seeds' intervals: what other clips would do to one typical seed. None where no seed has them.
    """

    value: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None


def mean_of(values) -> float | None:
    """Gives the mean of what is a number; None where nothing is."""
    known = [value for value in values if is_number(value)]
    return float(np.mean(known)) if known else None


def figure(scores: list[dict], metric: str) -> Figure | None:
    """A metric with its interval; None where no seed has it."""
    known = [score for score in scores if is_number(score.get(metric))]
    if not known:
        return None
    values = [score[metric] for score in known]
    bounds = [(score.get("intervals") or {}).get(metric) or (None, None) for score in known]
    summary = summarise(values)
    return Figure(summary["mean"], summary["spread"], *(mean_of(side) for side in zip(*bounds, strict=True)))


def by_emotion(scores: list[dict], metric: str) -> dict[str, float]:
    """Mean over the seeds of recall, precision or F1 of each emotion; emotions that no seed has are left out."""
    tables = [score.get(metric) or {} for score in scores]
    means = {emotion: mean_of(t.get(emotion) for t in tables) for table in tables for emotion in table}
    return {emotion: value for emotion, value in means.items() if value is not None}


def confusion(scores: list[dict]) -> np.ndarray | None:
    """(7, 8) counts summed over the seeds; the last column: no emotion named."""
    tables = [np.asarray(score["confusion"], dtype=float) for score in scores if score.get("confusion")]
    return np.nan_to_num(sum(tables)) if tables else None


def reliability(scores: list[dict]) -> dict | None:
    """Bins of all seeds together: counts add up, accuracy and confidence are weighted by them."""
    bins = [score["reliability"] for score in scores if score.get("reliability")]
    if not bins:
        return None
    counts = np.array([b["counts"] for b in bins], dtype=float)
    total = counts.sum(axis=0)

    def weighted(key: str) -> np.ndarray:
        values = np.nan_to_num(np.array([b[key] for b in bins], dtype=float))  # empty bins may hold no number
        return (values * counts).sum(axis=0) / np.maximum(total, 1)

    return {"counts": total, "accuracy": weighted("accuracy"), "confidence": weighted("confidence")}


def risk_curve(scores: list[dict], points: int = 60) -> tuple[np.ndarray, np.ndarray] | None:
    """(coverage, mean risk over the seeds), each (points,)."""
    curves = [score["abstention"] for score in scores if (score.get("abstention") or {}).get("coverage")]
    if not curves:
        return None
    start = max(min(curve["coverage"]) for curve in curves)
    grid = np.linspace(start, 1, points)
    arrays = [np.array([curve["coverage"], curve["risk"]], dtype=float) for curve in curves]
    return grid, np.mean([np.interp(grid, *array[:, array[0].argsort()]) for array in arrays], axis=0)


def counts_of_how(scores: list[dict]) -> Counter:
    """How labels were found, over all scores given."""
    total: Counter = Counter()
    for score in scores:
        total.update({how: n for how, n in (score.get("how") or {}).items() if is_number(n)})
    return total


def mean_shares(scores: list[dict]) -> dict | None:
    """`tone_or_words` of the seeds: means of every figure and bound."""
    parts = [score["tone_or_words"] for score in scores if score.get("tone_or_words")]
    return _mean_tree(parts) if parts else None


def detection(scores: list[dict], entry: str = "detection") -> dict | None:
    """`detection`, `disagreement_detection` or `divergence_detection` of the seeds: means."""
    parts = [score[entry] for score in scores if (score.get(entry) or {}).get("auroc") is not None]
    return _mean_tree(parts) if parts else None


def _mean_tree(parts: list):
    """Mean over dictionaries and lists of the same build."""
    parts = [part for part in parts if part is not None]
    if not parts:
        return None
    if isinstance(parts[0], dict):
        return {key: _mean_tree([part.get(key) for part in parts]) for key in parts[0]}
    if isinstance(parts[0], list):
        return [_mean_tree(list(items)) for items in zip(*parts, strict=False)]
    return mean_of(parts)
