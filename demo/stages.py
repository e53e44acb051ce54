"""The stages of the demo; they call what `train/fas.py`, `eval.suite` and `fas predict` call."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset
from rich.console import Console

from demo.evaluation import evaluate
from demo.report import Findings, write_report
from demo.tables import auroc_text, halves_table, predictions_table, systems_table, timings_table
from fas_core import shipped
from fas_core.answers import Answer
from fas_core.cli.from_dataclasses import parse
from fas_core.cli.recipes import recipe_file
from fas_core.data import load_corpus
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import ExtractionReport, extract_features
from fas_core.pipeline import EmotionPipeline
from fas_core.synth.corpus import render_corpus
from fas_core.training.arguments import DataArguments, ModelArguments, TrainingArguments, stream_config
from fas_core.training.fas import train

# Every word emotion with every tone equally often: the tone cannot be guessed from the words.
INDEPENDENT = 6 / 7
EXAMPLES = 3  # clips of each half to predict


@dataclass
class Clock:
    """Wall time of each stage, announced on the console."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.console.rule(f"[bold]{len(self.seconds) + 1}. {name}", align="left")
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.console.print(f"{name}: {self.seconds[name]:.1f} s", style="dim")


def recipe(output: Path, epochs: int, seed: int) -> tuple[DataArguments, ModelArguments, TrainingArguments]:
    """The options of the demo's training: the recipe train/configs/demo.yaml."""
    flags = {"corpora": f"manifest={output / 'corpus'}", "cache": output / "features", "output": output / "checkpoint"}
    flags |= {"epochs": epochs, "seed": seed}
    words = [str(recipe_file("demo")), *(word for name, value in flags.items() for word in (f"--{name}", str(value)))]
    return parse((DataArguments, ModelArguments, TrainingArguments), words, "demo")


def run_demo(output: Path, clips: int, epochs: int, seed: int = 42) -> Path:
    """Run all stages.

    Args:
        output: folder for corpus, feature cache, checkpoint, the suite's report and report.html. A second run with
            the same arguments finds its features in the cache.
        clips: of the synthetic corpus, all splits together. epochs: of training. seed: of everything random.

    Returns:
        The report.

    Raises:
        FASError: an output folder whose `corpus` is something else, too few clips.
        MissingDependencyError: the packages of the extra `offline` are not installed.
    """
    console, output = Console(width=None if sys.stdout.isatty() else 110), Path(output)
    clock = Clock(console)
    arguments = recipe(output, epochs, seed)
    with clock("render the synthetic conflict corpus"):
        render_corpus(output / "corpus", clips=clips, seed=seed, train_conflict_share=INDEPENDENT)
        dataset = load_corpus("manifest", output / "corpus")
    with clock("extract features"):
        extraction = _extract(dataset, *arguments[:2])
    with clock("train FAS"):
        training = train(*arguments)
    with clock("evaluate on the test voices and sentences"):
        evaluation = evaluate(output, seed)
        console.print(halves_table(evaluation.score["halves"]))
        console.print(f"AUROC of the conflict score: {auroc_text(evaluation.score['detection'])}", highlight=False)
        console.print(systems_table(evaluation.results))
        for entry in evaluation.results["missing"]:
            console.print(f"missing {entry['kind']} {entry['name']}: {entry['why']}", style="yellow", highlight=False)
    with clock("predict example clips"):
        examples = example_clips(dataset)
        predictions = predict_examples(EmotionPipeline.from_pretrained(output / "checkpoint"), examples, console)
    with clock("write the report"):
        findings = Findings(dataset, extraction, arguments, training, evaluation, examples, predictions, clock.seconds)
        report = write_report(findings, output / "report.html")
    console.print(timings_table(clock.seconds))
    console.print(f"report: {report.resolve()}", soft_wrap=True, highlight=False)
    return report


def _extract(dataset: Dataset, data: DataArguments, model: ModelArguments) -> ExtractionReport:
    extractor = FeatureExtractor.from_config(stream_config(data, model))
    return extract_features(dataset, extractor, FeatureCache(Path(data.cache_dir), extractor.identity()))


def example_clips(dataset: Dataset) -> list[dict]:
    """A few rows of the test split, congruent ones first, no tone twice while there are others."""
    chosen: list[dict] = []
    test = [row for row in dataset if row["split"] == "test"]
    for congruent in (True, False):
        half = [row for row in test if (row["emotion"] == row["semantic_emotion"]) == congruent]
        for _ in range(min(EXAMPLES, len(half))):
            heard = {row["emotion"] for row in chosen}
            chosen.append(min((r for r in half if r not in chosen), key=lambda row: row["emotion"] in heard))
    return chosen


def predict_examples(pipeline: EmotionPipeline, examples: list[dict], console: Console) -> dict[str, list[Answer]]:
    """Answers of the checkpoint just trained and of the shipped one, if there is one; printed as tables."""
    models = {"trained in this demo, on synthetic speech": pipeline}
    if ((folder := shipped.FOLDER / shipped.SMALL) / "config.json").is_file():
        models["shipped, trained on real speech"] = EmotionPipeline.from_pretrained(folder)
    answers = {}
    for name, model in models.items():
        answers[name] = model([row["audio"] for row in examples])
        console.print(predictions_table(name, examples, answers[name]))
    if len(models) == 1:
        console.print("no shipped checkpoint here: its predictions are left out", style="yellow")
    return answers
