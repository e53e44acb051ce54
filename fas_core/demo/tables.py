"""What the demo prints."""

from pathlib import Path

from rich.table import Table

from fas_core.answers import Answer

HEADS = {"fused": "FAS (fused)", "acoustic": "acoustic pathway alone", "semantic": "semantic pathway alone"}


def top(probabilities: dict[str, float] | None) -> str:
    """The most probable emotion, "-" without a head."""
    return max(probabilities, key=probabilities.get) if probabilities else "-"


def halves_table(conflict: dict) -> Table:
    """Every head on the congruent and the conflicting clips, from the suite's conflict report."""
    halves = conflict["halves"]
    table = Table(title="test clips: accuracy / UA / macro-F1 in % for the tone", title_justify="left")
    table.add_column("")
    for half, part in halves.items():
        table.add_column(f"{half} ({part['clips']})", justify="right")
    for head, name in HEADS.items():
        table.add_row(name, *(_figures(part.get(head)) for part in halves.values()))
    return table


def auroc_text(conflict: dict) -> str:
    """The AUROC with its interval, or why there is none."""
    if conflict["auroc"] is None:
        return f"not defined ({conflict['auroc_missing']})"
    low, high = conflict["auroc_interval"]
    return f"{conflict['auroc']:.3f} [{low:.3f}, {high:.3f}]"


def _figures(report: dict | None) -> str:
    return " / ".join(f"{100 * report[m]:.1f}" for m in ("accuracy", "ua", "macro_f1")) if report else "-"


def predictions_table(name: str, examples: list[dict], answers: list[Answer]) -> Table:
    """Answers beside what the clip was rendered with."""
    table = Table(title=name, title_justify="left")
    columns = ("clip", "true tone", "true words", "emotion", "probability", "tone", "words", "conflict")
    for column in columns:
        table.add_column(column)
    for row in prediction_rows(examples, answers):
        table.add_row(*row.values())
    return table


def prediction_rows(examples: list[dict], answers: list[Answer]) -> list[dict[str, str]]:
    """One row a clip, as text."""
    return [
        {
            "clip": Path(clip["audio"]).stem,
            "true_tone": clip["emotion"],
            "true_words": clip["semantic_emotion"],
            "label": a.label or "-",
            "probability": f"{a.probabilities[a.label]:.2f}" if a.probabilities else "-",
            "tone": top(a.acoustic),
            "words": top(a.semantic),
            "conflict": "-" if a.conflict is None else f"{a.conflict:.2f}",
        }
        for clip, a in zip(examples, answers, strict=True)
    ]


def timings_table(seconds: dict[str, float]) -> Table:
    """Wall time of each stage and of all."""
    table = Table(title="wall time", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.1f}")
    table.add_section()
    table.add_row("all", f"{sum(seconds.values()):.1f}")
    return table
