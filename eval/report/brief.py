"""report.md: the page in short, for a repository or an issue. Figures are those of the page."""

from fas_core.markdown import code
from fas_core.markdown import table as table_of
from fas_eval.report.cues import cue_parts
from fas_eval.report.formats import (
    METRIC_NAMES,
    count,
    duration,
    markdown_text,
    percent,
    without_places,
)
from fas_eval.report.pooling import Figure
from fas_eval.report.reading import Run
from fas_eval.report.scoretable import Cell, PublishedRow, ScoreTable, published_notes, usual_setting
from fas_eval.report.sections import answer_counts, costs, failures, tone_or_words
from fas_eval.report.summary import caveats, compared, findings, interval_text, legend


def render_brief(run: Run, table: ScoreTable) -> str:
    """Writes report.md: what was compared, findings, tables, and where figures come from."""
    parts = [
        "# Speech emotion recognition: systems compared",
        markdown_text(compared(run, table)),
        _findings(run, table),
    ]
    parts.append("\n".join(f"> - {markdown_text(note)}" for note in caveats(run, table)))
    for metric, name in METRIC_NAMES.items():
        parts += [f"## {name}", _scores(run, table, metric)]
    parts.append(markdown_text(legend(run)))
    if table.published:
        where = f"{table.published[0].source}, {table.published[0].table}"
        parts += [
            f"## Published figures ({markdown_text(where)}): other test sides, no ranking",
            _published(run, table),
            "\n".join(f"> † {markdown_text(note)}" for note in published_notes(run, table.benchmarks)),
        ]
    parts += [
        *_conflicts(run),
        *cue_parts(run),
        "## Cost",
        _costs(run),
        "## Answers",
        _answers(run),
        *_missing(run),
        *_failures(run),
    ]
    return "\n\n".join(part for part in [*parts, "## Provenance", _provenance(run)] if part) + "\n"


def _findings(run: Run, table: ScoreTable) -> str:
    return "\n".join(
        f"- {markdown_text(f.title)} ({markdown_text(f.setting)}): **{markdown_text(f.best)}**, {f.figure}. "
        f"{markdown_text(' '.join(f.details))}".rstrip()
        for f in findings(run, table)
    )


def _scores(run: Run, table: ScoreTable, metric: str) -> str:
    header = [
        "system",
        *(
            f"{markdown_text(run.benchmarks[b]['title'])} ({markdown_text(usual_setting(run, b))})"
            for b in table.benchmarks
        ),
    ]
    rows = []
    for row in table.rows:
        title = markdown_text(row.title) + (" (random weights)" if row.random_weights else "")
        cells = [_cell(row.cells.get((b, metric)), row.settings.get(b)) for b in table.benchmarks]
        rows.append([title, *cells])
    return table_of(header, rows)


def _cell(cell: Cell | None, setting: str | None) -> str:
    if cell is None:
        return "-"
    text = interval_text(cell.figure)
    if cell.best:
        text = f"**{percent(cell.figure.value)}**{text.removeprefix(percent(cell.figure.value))}"
    return text + (f" {cell.mark}" if cell.mark else "") + (f" ({markdown_text(setting)})" if setting else "")


def _published(run: Run, table: ScoreTable) -> str:
    header = ["system", *(f"{markdown_text(run.benchmarks[b]['title'])}: WA, macro-F1" for b in table.benchmarks)]
    rows = [
        [
            markdown_text(row.system),
            *(", ".join(_printed(run, row, b, m) for m in ("accuracy", "macro_f1")) for b in table.benchmarks),
        ]
        for row in table.published
    ]
    return table_of(header, rows)


def _printed(run: Run, row: PublishedRow, benchmark: str, metric: str) -> str:
    value = row.values.get((benchmark, metric))
    return percent(value) + (" †" if value is not None and run.benchmarks[benchmark].get("published_note") else "")


def _conflicts(run: Run) -> list[str]:
    parts = []
    for item in tone_or_words(run):
        header = [
            "system",
            "tone",
            "words",
            "neither",
            "none",
            "WA congruent",
            "WA conflicting",
            "gap",
            "conflict AUROC",
            "disagreement AUROC",
        ]
        rows = []
        for title, shares, *found in item.systems:
            kinds = [_share(shares, kind) for kind in ("tone", "words", "neither", "none")]
            halves = [percent((shares.get("accuracy") or {}).get(key)) for key in ("congruent", "conflicting")]
            gap = _with_bounds(shares.get("gap"), shares.get("gap_interval"))
            aurocs = ["-" if each is None else f"{each['auroc']:.3f}" for each in found]
            rows.append([markdown_text(title), *kinds, *halves, gap, *aurocs])
        title = markdown_text(run.benchmarks[item.benchmark]["title"])
        parts += [f"## Tone or words: {title}", table_of(header, rows)]
    return parts


def _share(shares: dict, kind: str) -> str:
    return _with_bounds((shares.get("shares") or {}).get(kind), (shares.get("intervals") or {}).get(kind))


def _with_bounds(value: float | None, bounds: list | None) -> str:
    return "-" if value is None else interval_text(Figure(value, None, *(bounds or (None, None))))


def _costs(run: Run) -> str:
    header = ["system", "parameters", "trained", "training", "x real time", "peak memory (MB)", "weights"]
    rows = []
    for row in costs(run):
        speed = "-" if row["times_real_time"] is None else f"{row['times_real_time']:.3g}"
        sizes = [count(row["parameters"]), count(row["parameters_trained"]), duration(row["training_seconds"])]
        rows.append(
            [markdown_text(row["title"]), *sizes, speed, count(row["memory_mb"]), markdown_text(row["weights"] or "-")]
        )
    return table_of(header, rows)


def _answers(run: Run) -> str:
    ways, rows = answer_counts(run)
    cells = [[markdown_text(r["title"]), *(str(r["how"].get(way, 0)) for way in ways), str(r["retries"])] for r in rows]
    return table_of(["system", *map(markdown_text, ways), "retries"], cells)


def _missing(run: Run) -> list[str]:
    rows = [
        [f"{e.get('kind') or ''} {e.get('name') or ''}", e.get("why") or "-", e.get("where") or "-"]
        for e in run.results["missing"]
    ]
    table = table_of(["what", "why", "where to get it"], [[markdown_text(cell) for cell in row] for row in rows])
    return ["## Missing", table] if rows else []


def _failures(run: Run, listed: int = 20) -> list[str]:
    found, total = failures(run)
    rows = [[b, system or "unreadable", clip or "-", why or "-"] for b, system, _, clip, why in found[:listed]]
    table = table_of(["benchmark", "system", "clip", "why"], [[markdown_text(cell) for cell in row] for row in rows])
    return [f"## Failures: {total}" + (f", the first {listed}" if total > listed else ""), table] if rows else []


def command_line(run: Run) -> str:
    """Gives the command of the run without places of a machine; "unknown" where nothing says it."""
    command = run.results["provenance"].get("command") or run.results["suite"].get("command") or "unknown"
    return without_places(" ".join(map(str, command)) if isinstance(command, list) else str(command))


def _provenance(run: Run) -> str:
    made = run.results["provenance"]
    state = " with uncommitted changes" if made.get("dirty") else ""
    versions = ", ".join(f"{name} {version}" for name, version in (made.get("versions") or {}).items() if version)
    seeds = "; ".join(
        f"{markdown_text(s['title'])} {markdown_text(', '.join(map(str, s['seeds'])))}"
        for s in run.systems.values()
        if s.get("seeds")
    )
    lines = [
        markdown_text(f"date: {made.get('date') or 'unknown'}, commit: {made.get('commit') or 'unknown'}{state}"),
        f"command: {code(command_line(run))}",
        markdown_text(f"versions: {versions or 'unknown'}"),
        f"seeds: statistics {markdown_text(run.results['suite'].get('seed', 'unknown'))}; systems: {seeds or 'none trained here'}",
    ]
    return "\n".join(f"- {line}" for line in lines)
