"""What the page shows beside scores and benchmarks, as plain values for the templates."""

from dataclasses import dataclass

from markupsafe import Markup

from fas_eval.report import figures, pooling
from fas_eval.report.formats import is_number
from fas_eval.report.reading import Run

LISTED = 100  # failures in a table; results.json has all


@dataclass
class ComparisonTable:
    """Systems of one benchmark in pairs: `matrix` by row and column, None on the diagonal and where not tested; empty where all were
    compared with one reference only.
    """

    benchmark: str
    names: list[str]
    matrix: list[list]
    rows: list[dict]


def comparisons(run: Run, metric: str = "ua") -> list[ComparisonTable]:
    """Makes a table of paired tests a benchmark, the best system first."""
    pairs, found = run.pairs, []
    for benchmark in run.benchmarks:
        rows = [row for row in run.results["comparisons"] if row.get("benchmark") == benchmark]
        if rows:
            # the best first: what is significant gathers in the upper right
            names = sorted(run.systems_on(benchmark), key=lambda name: -(_ua(run, benchmark, name) or 0))
            columns = [] if pairs.reference else names
            matrix = [[pairs.verdict(benchmark, a, b, metric) if a != b else None for b in columns] for a in names]
            rows = sorted(rows, key=lambda row: row["p_corrected"] if is_number(row.get("p_corrected")) else 2)
            found.append(ComparisonTable(benchmark, names, matrix, rows))
    return found


def _ua(run: Run, benchmark: str, system: str) -> float | None:
    value = pooling.figure(run.scores.get((benchmark, system), []), "ua")
    return None if value is None else value.value


@dataclass
class ToneOrWords:
    """Bars of one benchmark: (title, shares and intervals, detection of conflict, and of disagreement) of each system, most often after
    the tone first.
    """

    benchmark: str
    systems: list[tuple[str, dict, dict | None, dict | None]]


def tone_or_words(run: Run) -> list[ToneOrWords]:
    """Makes a table a benchmark with conflict: whom each system follows, by its heads too."""
    found = []
    for benchmark in run.benchmarks:
        rows = []
        for system in run.systems_on(benchmark):
            scores = run.scores[benchmark, system]
            shares, detection = pooling.mean_shares(scores), pooling.detection(scores)
            if shares or detection:
                differing = pooling.detection(scores, "disagreement_detection")
                rows.append((run.title(system), shares or {}, detection, differing))
        if rows:
            rows.sort(key=lambda row: -((row[1].get("shares") or {}).get("tone") or 0))
            found.append(ToneOrWords(benchmark, rows))
    return found


def costs(run: Run) -> list[dict]:
    """Size, training time, times real time and memory of every system, over all benchmarks."""
    rows = []
    for name, system in run.systems.items():
        scores = [score for (_, s), found in run.scores.items() if s == name for score in found]
        timed = [s for s in scores if s.get("seconds") and s.get("audio_seconds")]
        seconds, audio = (sum(s[key] for s in timed) for key in ("seconds", "audio_seconds"))
        memory = [entry["peak_memory_mb"] for entry in (system, *scores) if is_number(entry.get("peak_memory_mb"))]
        keys = ("kind", "parameters", "parameters_trained", "training_seconds", "weights", "source", "licence")
        rows.append(
            {"title": run.title(name), "times_real_time": audio / seconds if seconds else None}
            | {"memory_mb": max(memory, default=None), **{key: system.get(key) for key in keys}}
            | {"corpora": ", ".join(system.get("training_corpora") or [])}
        )
    return rows


def answer_counts(run: Run) -> tuple[list[str], list[dict]]:
    """How labels were found: the ways that occur, those without a label last, and their counts by system."""
    rows = []
    for name in run.systems:
        scores = [score for (_, s), found in run.scores.items() if s == name for score in found]
        how = pooling.counts_of_how(scores)
        retries = sum(score.get("retries") or 0 for score in scores)
        rows.append({"title": run.title(name), "how": how, "total": sum(how.values()), "retries": retries})
    ways = list(dict.fromkeys(way for row in rows for way in row["how"]))
    return sorted(ways, key=lambda way: way in ("unparsed", "failed")), rows


def failures(run: Run) -> tuple[list[tuple], int]:
    """(benchmark, system, seed, clip, why) of what failed, the first `LISTED`, and how many there are."""
    found = [
        (score["benchmark"], run.title(score["system"]), score.get("seed"), entry.get("clip"), entry.get("error"))
        for score in run.results["scores"]
        for entry in score.get("failed") or []
    ]
    found += [
        (benchmark, None, None, entry.get("file"), entry.get("error"))
        for benchmark, facts in run.benchmarks.items()
        for entry in facts.get("unreadable") or []
    ]
    return found[:LISTED], len(found)


def maps(run: Run, emotion_of: dict[str, dict[str, str]]) -> list[tuple[str, str, str, Markup]]:
    """(benchmark, title of the system, method, plot). `emotion_of`: benchmark -> clip -> emotion."""
    return [
        (
            benchmark,
            run.title(system),
            entry.get("method") or "",
            figures.map_plot(f"map-{b}-{s}", entry["points"], known),
        )
        for b, (benchmark, systems) in enumerate(run.results["maps"].items())
        for s, (system, entry) in enumerate(systems.items())
        if entry.get("points") and (known := emotion_of.get(benchmark, {}))
    ]


def training_curves(run: Run) -> list[tuple[str, list[str], Markup]]:
    """(title, seeds, plot) of every system that was trained here."""
    found = []
    for number, (name, system) in enumerate(run.systems.items()):
        losses, curves = system.get("losses") or {}, system.get("curves") or {}
        plot = figures.training_plot(f"training-{number}", losses, curves)
        if plot is not None:
            found.append((run.title(name), list(dict.fromkeys([*losses, *curves])), plot))
    return found
