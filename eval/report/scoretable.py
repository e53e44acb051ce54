"""The big table: systems by benchmarks, with intervals, the best, and those that no test tells from the best."""

from collections import Counter
from dataclasses import dataclass, field

from fas_eval.report.formats import METRIC_NAMES
from fas_eval.report.pairs import Pairs
from fas_eval.report.pooling import Figure, figure
from fas_eval.report.reading import Run

METRICS = tuple(METRIC_NAMES)


@dataclass
class Cell:
    """`best`: highest on this benchmark. `mark`: ≈ for not significantly different from the best; where all systems were compared with
    one reference only, ▲ significantly better than that, ▼ worse, ≈ neither. `delta`: to the row that an ablation is of,
    `delta_significant` None where not tested.
    """

    figure: Figure
    best: bool = False
    mark: str = ""
    delta: float | None = None
    delta_significant: bool | None = None


@dataclass
class Row:
    """One system; `settings`: where one differs from that of the benchmark's other systems."""

    name: str
    title: str
    seeds: int
    random_weights: bool
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class PublishedRow:
    """Holds the figures that one table of a paper publishes of a system."""

    system: str
    source: str
    table: str
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class ScoreTable:
    """Holds the big table: a row a system, cells by (benchmark, metric), and published rows below."""

    benchmarks: list[str]
    rows: list[Row]
    published: list[PublishedRow] = field(default_factory=list)

    def best(self, benchmark: str, metric: str = "ua") -> Row | None:
        """Gives the row with the best mean of a benchmark; None where nothing is scored."""
        return next((r for r in self.rows if (c := r.cells.get((benchmark, metric))) and c.best), None)


def score_table(run: Run, names: list[str] | None = None, base: str | None = None) -> ScoreTable:
    """Table of the systems `names` (None: of all, with the published figures); `base`: the row that `delta` refers to."""
    chosen = list(run.systems if names is None else dict.fromkeys(names))
    benchmarks = [b for b in run.benchmarks if any((b, name) in run.scores for name in chosen)]
    table = ScoreTable(benchmarks, [_row(run, name, benchmarks) for name in chosen])
    pairs = run.pairs
    for benchmark in benchmarks:
        _mark_settings(run, table, benchmark)
        for metric in METRICS:
            _mark_best(table, pairs, benchmark, metric)
            if base is not None:
                _mark_deltas(table, pairs, benchmark, metric, base)
    if names is None:
        table.published = published_rows(run, benchmarks)
    return table


def ablations(run: Run) -> dict[str, tuple[ScoreTable, str]]:
    """A table and the title of its base for each `group`; deltas to the system that others name as `ablation_of`, else to the first."""
    groups: dict[str, list[str]] = {}
    for name, system in run.systems.items():
        if system.get("group"):
            groups.setdefault(system["group"], []).append(name)
    tables = {}
    for group, names in groups.items():
        named = [run.systems[name].get("ablation_of") for name in names]
        base = next((base for base in named if base in run.systems), names[0])
        if {base, *names} != {base}:
            tables[group] = score_table(run, [base, *names], base), run.title(base)
    return tables


def _row(run: Run, name: str, benchmarks: list[str]) -> Row:
    scores = {benchmark: run.scores.get((benchmark, name), []) for benchmark in benchmarks}
    row = Row(name, run.systems[name]["title"], max(map(len, scores.values()), default=0), run.has_random_weights(name))
    for benchmark, found in scores.items():
        for metric in METRICS:
            value = figure(found, metric)
            if value is not None:
                row.cells[benchmark, metric] = Cell(value)
    return row


def usual_setting(run: Run, benchmark: str) -> str:
    """The setting that most systems share, "zero-shot" or "in-domain"."""
    settings = Counter(
        score["setting"]
        for (name, _), found in run.scores.items()
        if name == benchmark
        for score in found
        if score.get("setting")
    )
    return settings.most_common(1)[0][0] if settings else run.benchmarks[benchmark].get("setting") or ""


def _mark_settings(run: Run, table: ScoreTable, benchmark: str) -> None:
    usual = usual_setting(run, benchmark)
    for row in table.rows:
        setting = next((s.get("setting") for s in run.scores.get((benchmark, row.name), [])), None)
        if setting and setting != usual:
            row.settings[benchmark] = setting


def _mark_best(table: ScoreTable, pairs: Pairs, benchmark: str, metric: str) -> None:
    """Random weights stand in for weights that were not there: their figures compete with nobody."""
    rows = [row for row in table.rows if (benchmark, metric) in row.cells and not row.random_weights]
    if len(rows) < 2:
        return
    best = max(rows, key=lambda row: row.cells[benchmark, metric].figure.value)
    best.cells[benchmark, metric].best = True
    other = next((row for row in table.rows if row.name == pairs.reference), None) if pairs.reference else best
    for row in rows:
        if other is not None and row is not other:
            row.cells[benchmark, metric].mark = _mark(pairs, benchmark, metric, row, other)


def _mark(pairs: Pairs, benchmark: str, metric: str, row: Row, other: Row) -> str:
    differs = pairs.differ(benchmark, row.name, other.name, metric)
    if differs is False:
        return "≈"
    if not differs or pairs.reference is None or (benchmark, metric) not in other.cells:
        return ""
    return "▲" if row.cells[benchmark, metric].figure.value > other.cells[benchmark, metric].figure.value else "▼"


def _mark_deltas(table: ScoreTable, pairs: Pairs, benchmark: str, metric: str, base: str) -> None:
    reference = next((row.cells.get((benchmark, metric)) for row in table.rows if row.name == base), None)
    for row in table.rows:
        cell = row.cells.get((benchmark, metric))
        if reference and cell and row.name != base:
            cell.delta = cell.figure.value - reference.figure.value
            cell.delta_significant = pairs.differ(benchmark, row.name, base, metric)


def published_notes(run: Run, benchmarks: list[str]) -> list[str]:
    """Why published figures on a benchmark, marked with †, are not to be compared with ours."""
    entries = [run.benchmarks[benchmark] for benchmark in benchmarks]
    return [f"{facts['title']}: {facts['published_note']}" for facts in entries if facts.get("published_note")]


def published_rows(run: Run, benchmarks: list[str]) -> list[PublishedRow]:
    """Rows of the one published table that covers most of the benchmarks (then: most systems); all others stand with their benchmark."""
    found: dict[tuple[str, str], dict[str, PublishedRow]] = {}
    for benchmark in benchmarks:
        for entry in run.benchmarks[benchmark].get("published") or []:
            key = (entry.get("source") or "", entry.get("table") or "")
            row = found.setdefault(key, {}).setdefault(entry["system"], PublishedRow(entry["system"], *key))
            row.settings[benchmark] = entry.get("setting") or ""
            row.values |= {(benchmark, metric): value for metric, value in (entry.get("metrics") or {}).items()}
    size = {key: (len({b for r in rows.values() for b in r.settings}), len(rows)) for key, rows in found.items()}
    return list(found[max(size, key=size.get)].values()) if size else []
