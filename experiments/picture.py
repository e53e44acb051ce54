"""`python -m experiments.picture --output docs/images/results.svg`: the README's picture, out of the kept figures of docs/results and docs/words."""

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.tables import read
from fas_core.atomic import atomic_path
from fas_core.cli.app import App, runner
from fas_eval.statistics.comparison import summarise

SYSTEMS = {  # in the words of the README's table
    "paper": "architecture and loss of the paper",
    "stack": "logistic regression on one pathway",
    "shipped": "FAS as we recommend",
}
CORPORA = {"ravdess": "RAVDESS\nspeakers apart", "emodb": "EmoDB\nzero-shot", "urdu": "URDU\nzero-shot, chosen on"}
PAIRS = {"ravdess": "RAVDESS", "nemo": "nEMO", "ased": "ASED", "emodb": "EmoDB (zero-shot)"}
COLOURS = ("#b8bcc8", "#7f8bb3", "#3f51b5")


def recall_by_corpus(runs: list[dict]) -> dict[str, list[dict]]:
    """System -> mean UA in % and its deviation over the six folds, one entry a corpus."""
    kept = [run for run in runs if run["stage"] == "test" and run["padding"] == "clip" and not run["set"]]
    return {
        system: [summarise([run["scores"][c]["ua"] for run in kept if run["system"] == system]) for c in CORPORA]
        for system in SYSTEMS
    }


def draw_recall(axes: Axes, recall: dict[str, list[dict]]) -> None:
    """Bars of UA, a group a corpus, with the deviation over the folds."""
    for number, (system, figures) in enumerate(recall.items()):
        places = np.arange(len(CORPORA)) + (number - 1) * 0.27
        means = [figure["mean"] for figure in figures]
        bars = axes.bar(places, means, 0.25, color=COLOURS[number], label=SYSTEMS[system])
        axes.errorbar(places, means, [figure["spread"] for figure in figures], fmt="none", ecolor="#444", elinewidth=1)
        axes.bar_label(bars, [f"{mean:.1f}" for mean in means], padding=11, fontsize=8)
    axes.set_xticks(range(len(CORPORA)), list(CORPORA.values()))
    axes.set(ylim=(0, 112), yticks=range(0, 101, 20), ylabel="UA in %", title="Which emotion is it?")
    axes.legend(loc="upper right", fontsize=8, frameon=False)


def draw_conflict(axes: Axes, sets: dict[str, dict]) -> None:
    """Points of AUROC with their intervals, a line a corpus."""
    for place, name in enumerate(PAIRS):
        area = sets[name]["auroc_conflict"]
        low, high = area["interval"]
        axes.plot([low, high], [place, place], color=COLOURS[2], linewidth=2)
        axes.plot(area["auroc"], place, "o", color=COLOURS[2])
        axes.annotate(
            f"{area['auroc']:.2f}", (area["auroc"], place), (0, 8), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set_yticks(range(len(PAIRS)), list(PAIRS.values()))
    axes.set(xlim=(0.5, 1), ylim=(len(PAIRS) - 0.4, -0.7), xlabel="AUROC (0.5: chance)")
    axes.set_title("Do words and tone conflict?")
    axes.grid(axis="x", alpha=0.3)


app = App()


@app.command()
def picture(
    output: Annotated[Path, typer.Option(help="SVG file")] = Path("docs/images/results.svg"),
    docs: Annotated[Path, typer.Option(help="folder with results and words")] = Path("docs"),
) -> None:
    """Draw what docs/results.md and docs/words.md have in tables: UA by corpus, and how well a conflict is told.

    Example:

      python -m experiments.picture --output docs/images/results.svg
    """
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    draw_recall(left, recall_by_corpus(read(docs / "results" / "test.jsonl")))
    pairs = json.loads((docs / "words" / "conflict_pairs_base.json").read_text(encoding="utf-8"))
    draw_conflict(right, pairs["sets"])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(output) as unfinished, rc_context({"svg.hashsalt": "fas"}):  # the same bytes from every run
        figure.savefig(unfinished, format="svg", metadata={"Date": None})


main = runner(app, "python -m experiments.picture")

if __name__ == "__main__":
    sys.exit(main())
