"""How an answer looks to a reader in Python: one line, a table of a notebook, a picture."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fas_core.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fas_core.answers import Answer

SHOWN = 60  # characters of a transcript in one line


def as_line(answer: Answer) -> str:
    """What an answer says, in one line: `<Answer call.wav: angry 0.82 (unsure); tone angry 0.91; ...>`."""
    said = "; ".join(_with_name(name, text) for name, text in _parts(answer))
    return f"<Answer {_file(answer)}: {said}>"


def as_html(answer: Answer) -> str:
    """The same as a small table; whatever comes from outside is escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(text)}</td></tr>"
        for name, text in [("file", _file(answer)), *_parts(answer, shown=None)]
    )
    return f"<table>{rows}</table>"


def draw(answer: Answer, axes: Axes | None = None) -> Axes:
    """Draws what the tone says against what the words say; without a tone of its own, the answer's probabilities.

    Args:
        axes: of matplotlib; None makes a figure by `matplotlib.pyplot`.

    Returns:
        The axes, whose label below is what the answer says.
    """
    from fas_core.plots import draw_tone_against_words

    if axes is None:
        from matplotlib import pyplot

        _, axes = pyplot.subplots(figsize=(4.2, 4.2), layout="constrained")
    voice = answer.tone.probabilities if answer.tone else answer.probabilities
    draw_tone_against_words(axes, voice, answer.words.probabilities if answer.words else None)
    text = f"{_file(answer)}: {_label(answer)}"
    axes.set_xlabel(text.replace("$", r"\$"))  # a file's name is no formula
    return axes


def _parts(answer: Answer, shown: int | None = SHOWN) -> list[tuple[str, str]]:
    """(name, text) of all that an answer says; the first has the label."""
    if answer.error is not None or answer.label is None:
        return [("label", _label(answer))]
    parts = [("label", _label(answer))]
    if answer.tone is not None:
        parts.append(("tone", f"{answer.tone.label} {answer.tone.probabilities[answer.tone.label]:.2f}"))
    parts.append(("words", _words(answer, shown)))
    if answer.conflict is not None:
        parts.append(("conflict", f"{answer.conflict:.2f}"))
    return parts


def _with_name(name: str, text: str) -> str:
    return text if name == "label" else f"{name} {text}"


def _file(answer: Answer) -> str:
    """Its name, with the channel and the seconds of a window."""
    channel = "" if answer.audio.channel in (None, "mix") else f", channel {answer.audio.channel}"
    window = "" if answer.start is None or answer.end is None else f", {answer.start:.1f} to {answer.end:.1f} s"
    return f"{printable(answer.file)}{channel}{window}"


def _label(answer: Answer) -> str:
    if answer.error is not None:
        return f"error: {printable(answer.error.removeprefix(f'{answer.file}: '))}"
    if answer.probability is None:
        return "no speech"
    return f"{answer.label} {answer.probability:.2f}{' (unsure)' if answer.unsure else ''}"


def _words(answer: Answer, shown: int | None) -> str:
    words = answer.words
    if words is None:
        return f"none ({answer.words_missing})"
    said = printable(words.transcript)
    if shown is not None and len(said) > shown:
        said = f"{said[: shown - 3]}..."
    return f'{words.label} {words.probabilities[words.label]:.2f} "{said}"'
