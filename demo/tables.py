"""What the demo prints."""

from pathlib import Path

from rich.table import Table

from fas_core.answer_table import conflict_text, said
from fas_core.answers import Answer

HEADS = {"answer": "FAS (fused)", "acoustic": "acoustic pathway alone", "semantic": "semantic pathway alone"}


def halves_table(halves: dict) -> Table:
    """FAS and its pathways on the congruent and the conflicting clips, from "halves" of the suite."""
    table = Table(title="test clips: accuracy / UA / macro-F1 in % for the tone", title_justify="left")
    table.add_column("")
    for half, part in halves.items():
        table.add_column(f"{half} ({part['clips']})", justify="right")
    for head, name in HEADS.items():
        table.add_row(name, *(_figures(part["answers"].get(head)) for part in halves.values()))
    return table


def systems_table(results: dict) -> Table:
    """All systems of the suite beside one another."""
    table = Table(title="all systems, test clips: UA in % for the tone", title_justify="left")
    table.add_column("")
    for column in ("all", "congruent", "conflicting", "AUROC"):
        table.add_column(column, justify="right")
    for row in system_rows(results):
        table.add_row(*row.values())
    return table


def system_rows(results: dict) -> list[dict[str, str]]:
    """One row a system, as text."""
    rows = []
    for score in results["scores"]:
        halves = {half: part["answers"].get("answer") for half, part in score["halves"].items()}
        rows.append(
            {
                "title": results["systems"][score["system"]]["title"],
                "all": f"{100 * score['ua']:.1f}",
                **{half: f"{100 * figures['ua']:.1f}" if figures else "-" for half, figures in halves.items()},
                "auroc": f"{score['detection']['auroc']:.3f}" if score["detection"] else "-",
            }
        )
    return rows


def auroc_text(detection: dict | None) -> str:
    """The AUROC with its interval, or why there is none."""
    if detection is None:
        return "not defined (test clips of one kind only, or none was answered)"
    low, high = detection["interval"]
    return f"{detection['auroc']:.3f} [{low:.3f}, {high:.3f}]"


def _figures(report: dict | None) -> str:
    return " / ".join(f"{100 * report[m]:.1f}" for m in ("accuracy", "ua", "macro_f1")) if report else "-"


def predictions_table(name: str, examples: list[dict], answers: list[Answer]) -> Table:
    """Answers beside what the clip was rendered with."""
    table = Table(title=name, title_justify="left")
    columns = (
        "clip",
        "true tone",
        "true words",
        "emotion",
        "probability",
        "tone",
        "words",
        "conflict",
        "what was said",
    )
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
            "tone": a.tone.label if a.tone else "-",
            "words": a.words.label if a.words else "-",
            "conflict": conflict_text(a),
            "said": said(a),
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
