"""report.html: what the demo did and found, in one file; its only link leads to the report of the suite beside it."""

from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from datasets import Dataset
from jinja2 import Environment, PackageLoader

from demo import plots
from demo.evaluation import REPORT, Evaluation
from demo.tables import HEADS, auroc_text, prediction_rows, system_rows
from fas_core.answers import Answer
from fas_core.atomic import write_text
from fas_core.audio import load_audio
from fas_core.features.extract import ExtractionReport


@dataclass
class Findings:
    """What the stages of the demo give to the report.

    Attributes:
        dataset: every clip of the synthetic corpus.
        arguments: of data, model and training.
        training: summary that `fas_core.training.fas.train` returns.
        evaluation: what the suite found.
        examples, answers: rows of a few test clips, and model -> the answers to them.
        seconds: stage -> wall time.
    """

    dataset: Dataset
    extraction: ExtractionReport
    arguments: tuple
    training: dict
    evaluation: Evaluation
    examples: list[dict]
    answers: dict[str, list[Answer]]
    seconds: dict[str, float]


def write_report(findings: Findings, path: Path) -> Path:
    """Render the report, atomically."""
    environment = Environment(loader=PackageLoader("demo", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    return write_text(path, environment.get_template("report.html").render(_context(findings)))


def _context(f: Findings) -> dict:
    score = f.evaluation.score
    return {
        "heads": HEADS,
        "splits": corpus_table(f.dataset),
        "extraction": f.extraction,
        "training": f.training,
        "flags": changed_flags(f.arguments),
        "score": score,
        "auroc": auroc_text(score["detection"]),
        "systems": system_rows(f.evaluation.results),
        "missing": f.evaluation.results["missing"],
        "suite": f"{REPORT}/report.html",
        "predictions": {name: prediction_rows(f.examples, answers) for name, answers in f.answers.items()},
        "waves": _waves(f),
        "plots": _plots(f),
        "seconds": f.seconds,
        "provenance": f.evaluation.results["provenance"],
    }


def corpus_table(dataset: Dataset) -> list[dict]:
    """Per split: clips, those in conflict, voices, sentences, clips of the rarest and most frequent tone."""
    table = []
    for split in ("train", "validation", "test"):
        rows = [row for row in dataset if row["split"] == split]
        tones = Counter(row["emotion"] for row in rows).values()
        table.append(
            {
                "split": split,
                "clips": len(rows),
                "conflicting": sum(row["emotion"] != row["semantic_emotion"] for row in rows),
                "voices": len({row["speaker"] for row in rows}),
                "sentences": len({row["text"] for row in rows}),
                "tones": f"{min(tones)} to {max(tones)}" if tones else "0",
            }
        )
    return table


def changed_flags(arguments: tuple) -> list[str]:
    """The flags of `train/fas.py` that differ from the paper's defaults."""
    flags = []
    for group in arguments:
        default = type(group)()
        for field in fields(group):
            value = getattr(group, field.name)
            if value != getattr(default, field.name):
                flags.append(f"--{field.name} {' '.join(value) if isinstance(value, list) else value}")
    return flags


def _plots(f: Findings) -> dict[str, str]:
    halves = f.evaluation.score["halves"]
    figures = {
        "training": plots.plot_training(f.training["history"]),
        "halves": plots.plot_halves(halves),
        "confusions": plots.plot_confusions(halves),
        "conflict": plots.plot_conflict(**f.evaluation.conflicts),
    }
    return {name: plots.data_address(figure) for name, figure in figures.items()}


def _waves(f: Findings) -> list[dict]:
    """A congruent and a conflicting clip with the tokens that the trained checkpoint kept."""
    answers = next(iter(f.answers.values()))
    shown = {}
    for clip, answer in zip(f.examples, answers, strict=True):
        half = "congruent" if clip["emotion"] == clip["semantic_emotion"] else "conflicting"
        if half not in shown and not answer.error:
            figure = plots.plot_kept_tokens(load_audio(clip["audio"]).samples, answer)
            shown[half] = {"half": half, "clip": clip, "answer": answer, "image": plots.data_address(figure)}
    return list(shown.values())
