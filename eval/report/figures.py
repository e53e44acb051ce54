"""Plots of the page as inline SVG: drawn by matplotlib, coloured by the page, so that they follow its light and dark mode.

No text of users is drawn; names stand in the HTML around a plot.
"""

import io
import re
from collections.abc import Callable

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fas_core.labels import EMOTIONS

# The colours of Okabe and Ito (2008), told apart with any colour vision, without the yellow that white swallows.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a")
DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
EMOTION_COLOURS = dict(
    zip(EMOTIONS, ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#8a8a8a", "#0072B2", "#56B4E9"), strict=True)
)
EMOTION_MARKERS = dict(zip(EMOTIONS, "^sDPovX", strict=True))
MANY_POINTS = 1000  # more become a bitmap inside the SVG
# Stand-ins that `svg` exchanges for colours of the page
INK, SOFT, LINE, ACCENT = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", ACCENT: "var(--accent)"}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "lines.linewidth": 1.6,
}


def svg(name: str, label: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> Markup:
    """Inline SVG of a figure.

    Args:
        name: unique on the page; salts the ids, so that two plots share none.
        label: read out by screen readers.
        size: width and height in inches of 72 points; a phone shows 3.6 without shrinking.
        draw: draws on the empty figure.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", transparent=True, dpi=144, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(
        r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL
    )  # a style in here would hold for the whole page
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # groups that nothing refers to, the same in every plot
    body = re.sub(r"(\d\.\d\d)\d+", r"\1", body).replace("xlink:href", "href")
    for stand_in, variable in _VARIABLES.items():
        body = body.replace(stand_in, variable)
    width, height = (72 * side for side in size)
    head = f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}pt">'
    return Markup(head + re.sub(r"\s*\n\s*", "\n", body))  # noqa: S704  drawn here, of numbers alone


def line_style(number: int) -> tuple[str, tuple]:
    """Colour and dashes of the n-th system: 28 that differ."""
    return PALETTE[number % len(PALETTE)], DASHES[number // len(PALETTE) % len(DASHES)]


def risk_plot(name: str, curves: dict[int, tuple[np.ndarray, np.ndarray]], coloured: int) -> Markup:
    """(coverage, risk) of systems by rank, which chooses the `line_style`; ranks from `coloured` on are grey."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for rank, (coverage, risk) in curves.items():
            colour, dashes = line_style(rank) if rank < coloured else (LINE, ())
            axes.plot(100 * coverage, 100 * risk, color=colour, dashes=dashes or (None, None))
        axes.set(
            xlabel="clips answered, the surest first (%)", ylabel="wrong among them (%)", xlim=(0, 100), ylim=(0, None)
        )

    return svg(name, "coverage and risk", (4.6, 2.9), draw)


def map_plot(name: str, points: dict[str, list], emotion_of: dict[str, str]) -> Markup:
    """Points of the clips in the plane, by the emotion of the reference."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for emotion in EMOTIONS:
            found = [xy for clip, xy in points.items() if emotion_of.get(clip) == emotion and None not in xy]
            if found:
                style = {"color": EMOTION_COLOURS[emotion], "marker": EMOTION_MARKERS[emotion], "linewidths": 0}
                size = 16 if len(points) <= MANY_POINTS else 5
                raster = len(points) > MANY_POINTS
                axes.scatter(
                    *np.array(found, dtype=float).T, s=size, alpha=0.75, label=emotion, rasterized=raster, **style
                )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(LINE)
        if axes.collections:
            figure.legend(
                loc="outside lower center", ncols=4, frameon=False, fontsize=8, markerscale=1.3, handletextpad=0.1
            )

    return svg(name, "map of the fused tokens", (3.7, 3.6), draw)


def training_plot(name: str, losses: dict[str, list], scores: dict[str, list]) -> Markup | None:
    """Training loss and validation macro-F1 by epoch, a line a seed; None where there is neither.

    Args:
        losses, scores: seed -> one number an epoch; None where it was not one.
    """
    panels = {"training loss": (losses, 1), "validation macro-F1 (%)": (scores, 100)}
    drawn = {title: panel for title, panel in panels.items() if any(panel[0].values())}
    if not drawn:
        return None

    def draw(figure: Figure) -> None:
        for axes, (title, (curves, scale)) in zip(
            figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True
        ):
            for number, curve in enumerate(curves.values()):
                values = scale * np.array(curve, dtype=float)
                axes.plot(np.arange(1, len(values) + 1), values, color=line_style(number)[0], linewidth=1.2)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.set(xlabel="epoch", ylim=(0, None))
            axes.set_title(title, fontsize=9)

    return svg(name, "training curves", (1.85 * len(drawn), 1.9), draw)
