"""The section of one benchmark: recall, confusion, calibration and abstention of every system."""

from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from fas_eval.report import figures, pooling
from fas_eval.report.formats import METRIC_NAMES
from fas_eval.report.reading import Run
from fas_eval.report.scoretable import published_rows, usual_setting

COLOURED = 14  # lines of a plot that can be told apart; the others are grey


@dataclass
class SystemDetails:
    """One system on one benchmark, over its seeds."""

    name: str
    title: str
    rank: int | None  # by AURC, the least first; the first `COLOURED` have a line style of their own
    recall: dict[str, float]
    confusion: list[list[tuple[int, float]]]  # (7, 8) of (count, share of the row)
    ece: float | None
    aurc: float | None
    accuracy_at: dict[str, float]
    heads: dict[str, dict]
    reliability: list[
        tuple[float, float, float]
    ]  # of each filled bin: confidence, accuracy, count as a share of the largest


@dataclass
class BenchmarkSection:
    """Holds what the page shows of one benchmark: its facts and its systems, the best first."""

    name: str
    slug: str
    facts: dict
    setting: str
    systems: list[SystemDetails]
    risk: Markup | None
    coverages: list[str]
    other_published: list[dict] = field(default_factory=list)


def benchmark_sections(run: Run, slugs: dict[str, str]) -> list[BenchmarkSection]:
    """Makes the section of each benchmark, in the order of results.json."""
    shown = {(row.source, row.table) for row in published_rows(run, list(run.benchmarks))}
    sections = []
    for name, facts in run.benchmarks.items():
        systems = [_details(run, name, system) for system in run.systems_on(name)]
        _rank(systems)
        coverages = sorted({key for s in systems for key in s.accuracy_at}, reverse=True)
        others = [row for row in facts.get("published") or [] if (row.get("source"), row.get("table")) not in shown]
        risk = _risk_plot(run, name, slugs[name], systems)
        sections.append(
            BenchmarkSection(name, slugs[name], facts, usual_setting(run, name), systems, risk, coverages, others)
        )
    return sections


def _rank(systems: list[SystemDetails]) -> None:
    for rank, system in enumerate(sorted((s for s in systems if s.aurc is not None), key=lambda s: s.aurc)):
        system.rank = rank


def _risk_plot(run: Run, benchmark: str, slug: str, systems: list[SystemDetails]) -> Markup | None:
    ranked = sorted((s for s in systems if s.rank is not None), key=lambda s: -s.rank)  # the best on top
    curves = {s.rank: pooling.risk_curve(run.scores[benchmark, s.name]) for s in ranked}
    curves = {rank: curve for rank, curve in curves.items() if curve is not None}
    return figures.risk_plot(f"risk-{slug}", curves, COLOURED) if curves else None


def _details(run: Run, benchmark: str, system: str) -> SystemDetails:
    scores = run.scores[benchmark, system]
    abstention = [score.get("abstention") or {} for score in scores]
    accuracy_at = [entry.get("accuracy_at") or {} for entry in abstention]
    return SystemDetails(
        name=system,
        title=run.title(system),
        rank=None,
        recall=pooling.by_emotion(scores, "recall"),
        confusion=_shares(pooling.confusion(scores)),
        ece=pooling.mean_of(score.get("ece") for score in scores),
        aurc=pooling.mean_of(entry.get("aurc") for entry in abstention),
        accuracy_at={key: pooling.mean_of(e.get(key) for e in accuracy_at) for table in accuracy_at for key in table},
        heads=_heads(scores),
        reliability=_filled_bins(pooling.reliability(scores)),
    )


def _shares(confusion: np.ndarray | None) -> list[list[tuple[int, float]]]:
    if confusion is None:
        return []
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return [
        [(int(n), float(share)) for n, share in zip(*rows, strict=True)] for rows in zip(confusion, shares, strict=True)
    ]


def _filled_bins(curve: dict | None) -> list[tuple[float, float, float]]:
    if curve is None or not curve["counts"].any():
        return []
    rows = zip(curve["confidence"], curve["accuracy"], curve["counts"] / curve["counts"].max(), strict=True)
    return [(float(c), float(a), float(n)) for c, a, n in rows if n > 0]


def _heads(scores: list[dict]) -> dict[str, dict]:
    """Head -> WA, UA, macro-F1; a head that was also held against the words has a second entry."""
    tables = [
        {
            **heads,
            **{
                f"{head}, held against the words": values["on_words"]
                for head, values in heads.items()
                if "on_words" in values
            },
        }
        for heads in (score.get("heads") or {} for score in scores)
    ]
    return {
        head: {metric: pooling.mean_of(table.get(head, {}).get(metric) for table in tables) for metric in METRIC_NAMES}
        for head in dict.fromkeys(name for table in tables for name in table)
    }
