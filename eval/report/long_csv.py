"""scores.csv: every figure of results.json in a row of its own, for a spreadsheet or a plot of one's own."""

from collections.abc import Iterator
from pathlib import Path

from fas_core.atomic import atomic_path
from fas_core.cells import CellWriter
from fas_eval.report.formats import METRIC_NAMES, is_number
from fas_eval.report.reading import Run

COLUMNS = ("benchmark", "system", "seed", "metric", "value", "low", "high")
PLAIN = ("clips", "answered", "ece", "retries", "seconds", "audio_seconds", "peak_memory_mb")


def write_scores(run: Run) -> Path:
    """Writes scores.csv into the run's folder and gives its path."""
    path = run.folder / "scores.csv"
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = CellWriter(file, COLUMNS, lineterminator="\n")
        for score in run.results["scores"]:
            head = (score["benchmark"], score["system"], score.get("seed"))
            writer.writerows((*head, *row) for row in _rows(score) if is_number(row[1]))
    return path


def _rows(score: dict) -> Iterator[tuple]:
    """(metric, value, low, high); shares as fractions of 1."""
    intervals = score.get("intervals") or {}
    for metric in METRIC_NAMES:
        yield metric, score.get(metric), *_bounds(intervals.get(metric))
    for name in PLAIN:
        yield name, score.get(name), None, None
    for name in ("recall", "precision", "f1", "support"):
        for emotion, value in (score.get(name) or {}).items():
            yield f"{name}_{emotion}", value, None, None
    for way, value in (score.get("how") or {}).items():
        yield f"how_{way}", value, None, None
    for head, values in (score.get("heads") or {}).items():
        for metric, value in [
            *values.items(),
            *((f"on_words_{m}", v) for m, v in (values.get("on_words") or {}).items()),
        ]:
            yield f"{head}_{metric}", value, None, None
    yield from _abstention(score.get("abstention") or {})
    yield from _conflict(score.get("tone_or_words") or {})
    for name, entry in (("conflict", "detection"), *((n, f"{n}_detection") for n in ("disagreement", "divergence"))):
        found = score.get(entry) or {}
        yield f"{name}_auroc", found.get("auroc"), *_bounds(found.get("interval"))
    yield from _halves(score.get("halves") or {})


def _abstention(abstention: dict) -> Iterator[tuple]:
    yield "aurc", abstention.get("aurc"), None, None
    for coverage, value in (abstention.get("accuracy_at") or {}).items():
        yield f"accuracy_at_{coverage}", value, None, None


def _conflict(shares: dict) -> Iterator[tuple]:
    intervals = shares.get("intervals") or {}
    for kind, value in (shares.get("shares") or {}).items():
        yield f"follows_{kind}", value, *_bounds(intervals.get(kind))
    for half in ("congruent", "conflicting"):
        yield f"accuracy_{half}", (shares.get("accuracy") or {}).get(half), None, None
    yield "gap", shares.get("gap"), *_bounds(shares.get("gap_interval"))


def _halves(halves: dict) -> Iterator[tuple]:
    for half, part in halves.items():
        for name, figures in (part.get("answers") or {}).items():
            for metric in METRIC_NAMES:
                yield (
                    f"{half}_{name}_{metric}",
                    figures.get(metric),
                    *_bounds((figures.get("intervals") or {}).get(metric)),
                )


def _bounds(interval) -> tuple:
    return tuple(interval) if interval else (None, None)
