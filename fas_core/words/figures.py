"""How well a text model reads texts whose emotion is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.metrics import f1_score

from fas_core.calibration import expected_calibration_error
from fas_core.words.texts import NEUTRAL, Texts

Reader = Callable[[Sequence[str]], np.ndarray]
COLUMNS = ("texts", "accuracy", "macro_f1", "weighted_f1", "neutral_recall", "neutral_share", "ece")


def figures(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float | int | None]:
    """Of (N, 7) probabilities and (N,) labels.

    Returns:
        `texts` (N), `accuracy`, `macro_f1` and `weighted_f1` over the labels that occur, `neutral_recall` (None where no text is neutral),
        `neutral_share` (of the answers), `ece` (15 bins), all 0 to 1.
    """
    answers, neutral = probabilities.argmax(1), labels == NEUTRAL

    def f1(average: str) -> float:
        return float(f1_score(labels, answers, labels=np.unique(labels), average=average, zero_division=0))

    return {
        "texts": len(labels),
        "accuracy": float((answers == labels).mean()),
        "macro_f1": f1("macro"),
        "weighted_f1": f1("weighted"),
        "neutral_recall": float((answers[neutral] == NEUTRAL).mean()) if neutral.any() else None,
        "neutral_share": float((answers == NEUTRAL).mean()),
        "ece": expected_calibration_error(probabilities, labels),
    }


def figures_by_source(model: Reader, sources: dict[str, Texts]) -> dict[str, dict]:
    """Name of a source -> its `figures`."""
    return {name: figures(model(texts.texts), texts.labels) for name, texts in sources.items()}


def as_markdown(rows: dict[tuple[str, str], dict]) -> str:
    """A table with a row for each (model, source), in per cent."""
    lines = [
        f"| model | source | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for (model, source), found in rows.items():
        cells = [
            "" if found[c] is None else str(found[c]) if c == "texts" else f"{100 * found[c]:.1f}" for c in COLUMNS
        ]
        lines.append(f"| {model} | {source} | {' | '.join(cells)} |")
    return "\n".join(lines)
