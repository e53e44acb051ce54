"""The report's section on acoustic cues: what telling a system's prompt the clip's own, or other ones, does to its answers."""

from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from fas_core.cues.perturbing import CHANGED
from fas_core.markdown import table
from fas_eval.report.figures import line_style, svg
from fas_eval.report.formats import markdown_text, percent
from fas_eval.report.reading import Run

COLUMNS = ("cues", "UA", "change", "answers that change", "moved to neutral", "called neutral", "without cues", "follow the cues",
           "follow the audio", "on the cues' side before", "clips against")  # fmt: skip


@dataclass
class CueTable:
    """One system on one benchmark: rows of texts under `COLUMNS`, and the curves of UA over the share of cues that are changed."""

    benchmark: str
    system: str
    rows: list[list[str]]
    plot: Markup | None


def cue_tables(run: Run) -> list[CueTable]:
    """A table for each benchmark and each system that was asked with cues and without."""
    entries = run.results.get("cues") or []
    pairs = dict.fromkeys((entry["benchmark"], entry["of"]) for entry in entries)
    found = []
    for number, (benchmark, system) in enumerate(pairs):
        own = [entry for entry in entries if (entry["benchmark"], entry["of"]) == (benchmark, system)]
        plot = _plot(f"cues-{number}", own)
        found.append(CueTable(run.benchmarks[benchmark]["title"], run.title(system), [_row(e) for e in own], plot))
    return found


def cue_parts(run: Run) -> list[str]:
    """The same for report.md."""
    return [
        part
        for item in cue_tables(run)
        for part in (
            f"## Acoustic cues: {markdown_text(item.system)}, {markdown_text(item.benchmark)}",
            table(COLUMNS, item.rows),
        )
    ]


def _row(entry: dict) -> list[str]:
    follows = entry["follows"]
    share = f" {100 * entry['share']:.0f} %" if entry["mode"] in CHANGED else ""
    figures = [entry["ua"], entry["ua"] - entry["ua_without"], entry["changed"], entry["to_neutral"], entry["neutral"],
               entry["neutral_without"], follows["cues"], follows["audio"], follows["without"]]  # fmt: skip
    return [f"{entry['mode']}{share}", *map(percent, figures), str(follows["clips"])]


def _plot(name: str, entries: list[dict]) -> Markup | None:
    """UA by share of changed cues; every curve begins at the clip's own cues."""
    start = next((entry["ua"] for entry in entries if entry["mode"] == "aligned"), None)
    curves = {
        mode: ([(0.0, start)] if start is not None else [])
        + sorted((entry["share"], entry["ua"]) for entry in entries if entry["mode"] == mode)
        for mode in CHANGED
    }
    curves = {mode: points for mode, points in curves.items() if len(points) > 1}
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (mode, points) in enumerate(curves.items()):
            colour, _ = line_style(number)
            axes.plot(*zip(*((100 * x, 100 * y) for x, y in points), strict=True), color=colour, marker="o", label=mode)
        axes.axhline(100 * entries[0]["ua_without"], linestyle="--", label="none", color=line_style(len(curves))[0])
        axes.set(xlabel="cues that are not the clip's own (%)", ylabel="UA (%)", ylim=(0, None))
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)

    return svg(name, "UA by the share of changed cues", (4.6, 3.2), draw)
