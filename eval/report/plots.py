"""Plots of an evaluation as PNG files, drawn without pyplot: no display, no state between them."""

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fas_core.atomic import atomic_path
from fas_core.labels import EMOTIONS

INK, ACCENT, PALE = "#333333", "#2b6cb0", "#b8c4d0"


def plot_confusion(confusion, path: str | os.PathLike, title: str = "") -> Path:
    """Confusion matrix (7, 7) of counts, rows the reference; colour is the share of the row, text also the
    count.
    """
    confusion = np.asarray(confusion)
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            text = f"{100 * share[row, column]:.0f}%\n{count}"
            colour = "white" if share[row, column] > 0.55 else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=35, ha="right")
    axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set(xlabel="answer", ylabel="reference", title=title)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the reference class")
    return _save(figure, path)


def plot_reliability(curves: dict[str, dict], path: str | os.PathLike, title: str = "") -> Path:
    """Reliability diagram: accuracy over confidence, below it how many clips claim that confidence.

    Args:
        curves: legend -> {"counts", "accuracy", "confidence"}, each (bins,), from
            `fas_core.calibration.reliability_bins`; bins without clips are left out.
    """
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", linewidth=1, label="calibrated")
    for (legend, curve), colour in zip(curves.items(), ("#c05621", ACCENT, INK), strict=False):
        counts = np.asarray(curve["counts"])
        filled = counts > 0
        confidence, accuracy = np.asarray(curve["confidence"])[filled], np.asarray(curve["accuracy"])[filled]
        axes.plot(confidence, accuracy, marker="o", markersize=4, color=colour, label=legend)
        below.stairs(counts, np.linspace(0, 1, len(counts) + 1), color=colour)
    axes.set(ylabel="accuracy", title=title, xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    below.set(xlabel="confidence", ylabel="clips")
    for part in (axes, below):
        part.spines[["top", "right"]].set_visible(False)
    return _save(figure, path)


def plot_recall(recall: dict[str, float], path: str | os.PathLike, title: str = "") -> Path:
    """Bars of the recall of each class, and their mean, UA, as a line."""
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.bar([f"{emotion}\n{100 * value:.0f}" for emotion, value in recall.items()], recall.values(), color=ACCENT)
    mean = float(np.mean(list(recall.values())))
    axes.axhline(mean, color=INK, linestyle="--", linewidth=1)
    axes.set(ylabel="recall", title=f"{title}: UA {100 * mean:.1f}%", ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return _save(figure, path)


def _save(figure: Figure, path: str | os.PathLike) -> Path:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return Path(path)
