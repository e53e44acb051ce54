"""Plots of the report as PNG inside `data:` addresses, so that the HTML needs no other file."""

import base64
import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from demo.tables import HEADS
from fas_core.answers import Answer
from fas_core.audio import SAMPLE_RATE
from fas_core.labels import EMOTIONS

INK, ACCENT, PALE, WARM = "#333333", "#2b6cb0", "#b8c4d0", "#c05621"
COLOURS = {"answer": ACCENT, "acoustic": "#2f855a", "semantic": WARM}


def data_address(figure: Figure) -> str:
    """The figure as `data:image/png;base64,...`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def plot_training(history: list[dict]) -> Figure:
    """Loss of the training clips and figures of the validation clips, over the epochs."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] + 1 for row in history]
    left.plot(epochs, [row["loss"] for row in history], color=INK)
    left.set(xlabel="epoch", ylabel="training loss (all heads)", ylim=(0, None))
    for key, name, colour in (("accuracy", "accuracy", ACCENT), ("macro_f1", "macro-F1", WARM)):
        values = [100 * row[key] for row in history if key in row]
        right.plot(epochs[: len(values)], values, color=colour, label=name)
    right.set(xlabel="epoch", ylabel="fused answer, validation (%)", ylim=(0, 100))
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(left, right)
    return figure


def plot_halves(halves: dict) -> Figure:
    """UA of each head on the congruent and the conflicting clips, with bootstrap intervals."""
    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    axes = figure.subplots()
    names = [half for half, part in halves.items() if part["clips"]]
    for shift, (head, name) in zip((-0.26, 0, 0.26), HEADS.items(), strict=True):
        reports = [halves[half]["answers"].get(head) for half in names]
        if all(reports):
            values = np.array([r["ua"] for r in reports]) * 100
            low, high = (100 * np.array([r["intervals"]["ua"][side] for r in reports]) for side in (0, 1))
            spread = np.abs([values - low, high - values])
            places = np.arange(len(names)) + shift
            axes.bar(places, values, 0.24, color=COLOURS[head], label=name, yerr=spread, capsize=2)
            for x, y, above in zip(places, values, high, strict=True):
                axes.text(x, max(y, above) + 1.5, f"{y:.0f}", ha="center", fontsize=9, color=INK)
    axes.axhline(100 / len(EMOTIONS), color=INK, linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(names)), [f"{half} clips" for half in names])
    axes.set(ylabel="UA against the tone (%)", ylim=(0, 112))
    axes.legend(frameon=False, ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    _plain(axes)
    return figure


def plot_confusions(halves: dict) -> Figure:
    """Confusion matrices in per cent of the row, a row of plots for each half, a column for each head."""
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    grid = figure.subplots(len(halves), len(HEADS), squeeze=False)
    for line, (half, part) in zip(grid, halves.items(), strict=True):
        for axes, (head, name) in zip(line, HEADS.items(), strict=True):
            axes.set_title(f"{half}: {name}", fontsize=9.5)
            if head in part["answers"]:
                # without the column of clips that were not answered
                confusion = np.asarray(part["answers"][head]["confusion"])[:, : len(EMOTIONS)]
                _draw_confusion(axes, confusion, labelled=axes is line[0])
    for axes in grid[-1]:
        axes.set_xlabel("answer")
    return figure


def _draw_confusion(axes: Axes, confusion: np.ndarray, labelled: bool) -> None:
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.5:
            colour = "white" if value > 55 else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
    ticks = range(len(EMOTIONS))
    axes.set_xticks(ticks, EMOTIONS, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(ticks if labelled else [], EMOTIONS if labelled else [], fontsize=8)
    if labelled:
        axes.set_ylabel("rendered tone")
    axes.spines[:].set_visible(False)


def plot_conflict(congruent: list[float], conflicting: list[float]) -> Figure:
    """How the conflict score is distributed on either half."""
    figure = Figure(figsize=(6.5, 3), layout="constrained")
    axes = figure.subplots()
    bins = np.linspace(0, 1, 26)
    for values, name, colour in ((congruent, "congruent", ACCENT), (conflicting, "conflicting", WARM)):
        axes.hist(values, bins, color=colour, alpha=0.6, label=f"{name} ({len(values)})")
    axes.set(xlabel="conflict between the pathways (0: they agree)", ylabel="clips", xlim=(0, 1))
    axes.legend(frameon=False)
    _plain(axes)
    return figure


def plot_kept_tokens(samples: np.ndarray, answer: Answer) -> Figure:
    """Waveform of a clip and below it what each stream kept; darker: a higher score within the stream.

    Args:
        samples: (n,) of the whole file at 16 kHz.
    """
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    wave, *rows = figure.subplots(3, 1, sharex=True, height_ratios=(5, 1, 1))
    wave.plot(np.arange(len(samples)) / SAMPLE_RATE, samples, color=INK, linewidth=0.4)
    wave.set(yticks=[], xlim=(0, len(samples) / SAMPLE_RATE))
    for axes, stream in zip(rows, ("acoustic", "semantic"), strict=True):
        _draw_tokens(axes, (answer.kept_tokens or {}).get(stream, []), COLOURS[stream])
        axes.set(yticks=[], ylim=(0, 1))
        axes.set_ylabel(stream, rotation=0, ha="right", va="center", fontsize=8)
    rows[-1].set_xlabel("seconds")
    for axes in (wave, *rows):
        axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _draw_tokens(axes: Axes, tokens: list[dict], colour: str) -> None:
    scores = np.array([t["score"] for t in tokens])
    spread = np.ptp(scores) if len(scores) else 0
    for token, score in zip(tokens, scores, strict=True):
        strength = (score - scores.min()) / spread if spread else 1.0
        axes.axvspan(token["start"], token["end"], color=colour, alpha=0.35 + 0.6 * strength, linewidth=0)
    if not tokens:
        axes.set_facecolor(PALE)


def _plain(*plots: Axes) -> None:
    for axes in plots:
        axes.spines[["top", "right"]].set_visible(False)
