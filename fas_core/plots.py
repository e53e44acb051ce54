"""Pictures of an answer, for a page and a notebook: what was listened to, and tone against words."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fas_core.audio import SAMPLE_RATE, Audio
from fas_core.labels import EMOTIONS

COLOURS = {"acoustic": "#d95f02", "semantic": "#1b6ca8"}  # told apart by all kinds of sight
NAMES = {"acoustic": "acoustic tokens", "semantic": "semantic tokens"}
POINTS = 2000  # of the waveform's outline


def waveform(audio: Audio, kept: dict[str, list[dict]]) -> Figure:
    """The outline of the samples; above and below it the tokens that FAS kept, the darker the higher their score."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots()
    times, low, high = outline(audio.samples)
    axes.fill_between(times, low, high, color="#888888", linewidth=0)
    top = max(1e-3, float(np.abs([low, high]).max()))
    for stream, side in (("acoustic", 1), ("semantic", -1)):
        tokens = kept.get(stream, [])
        largest = max((token["score"] for token in tokens), default=1.0)
        for token in tokens:
            shade = 0.25 + 0.75 * max(0.0, token["score"] / largest) if largest > 0 else 0.5
            width = token["end"] - token["start"]
            axes.broken_barh(
                [(token["start"], width)],
                (side * 1.28 * top - 0.1 * top, 0.2 * top),
                color=COLOURS[stream],
                alpha=shade,
            )
        axes.plot([], [], color=COLOURS[stream], linewidth=6, label=f"{NAMES[stream]} kept: {len(tokens)}")
    axes.set(xlim=(0, audio.duration), ylim=(-1.5 * top, 1.5 * top), xlabel="seconds", yticks=[])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", fontsize=9, ncols=2, frameon=False)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return figure


def outline(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times in seconds, lowest and highest sample of at most `POINTS` stretches."""
    size = max(1, -(-len(samples) // POINTS))
    starts = np.arange(0, len(samples), size)
    return starts / SAMPLE_RATE, np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)


def tone_against_words(tone: dict[str, float] | None, words: dict[str, float] | None) -> Figure:
    """A figure of `draw_tone_against_words`."""
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    draw_tone_against_words(figure.subplots(), tone, words)
    return figure


def draw_tone_against_words(axes: Axes, tone: dict[str, float] | None, words: dict[str, float] | None) -> None:
    """Draws bars to the left for the tone, to the right for the words; where they differ the picture is lopsided."""
    rows = np.arange(len(EMOTIONS))[::-1]
    for probabilities, sign, stream in ((tone, -1, "acoustic"), (words, 1, "semantic")):
        if probabilities:
            values = np.array([probabilities[emotion] for emotion in EMOTIONS])
            axes.barh(rows, sign * values, color=COLOURS[stream])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlim=(-1, 1), yticks=rows, yticklabels=EMOTIONS, xticks=[-1, -0.5, 0, 0.5, 1])
    axes.set_xticklabels(["1", "0.5", "0", "0.5", "1"])
    axes.set_title("the tone says", loc="left", fontsize=11, color=COLOURS["acoustic"])
    axes.set_title("the words say", loc="right", fontsize=11, color=COLOURS["semantic"])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
