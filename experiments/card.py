"""What a checkpoint does on each corpus, for its model card: `python -m experiments.card DIR NAME=FOLDER ... [--calibrate NAME ...]`.

Corpora that it was trained on are scored on their test voices where they have some, else on voices that it knows; others as a whole. The
label is what the pipeline answers to the voice, without words and without the check for speech. Writes `figures.json` into DIR and the table into
its README.md, between the marks that training put there.

With `--calibrate` the temperature of the answer is first fitted on corpora that it never heard, each of the same weight, and written into
config.json: what is left out of training anyway says how sure a model of all the training corpora may be. Their own ECE is then no test.
"""

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult

from fas_core import card_data
from fas_core.atomic import write_json
from fas_core.calibration import apply_temperature, expected_calibration_error, fit_temperature
from fas_core.checkpoint import learned_from
from fas_core.data import has_folds, load_corpus
from fas_core.errors import FASError, reports_errors
from fas_core.features.cache import FeatureCache
from fas_core.labels import EMOTIONS
from fas_core.markdown import table as table_of
from fas_core.model_files import read_object
from fas_core.paths import expanded
from fas_core.pipeline import EmotionPipeline
from fas_core.provenance import provenance
from fas_core.training.arguments import parse_pairs
from fas_core.training.card import TASK
from fas_core.training.clips import UNKNOWN, label_indices
from fas_core.training.data import FeatureSource
from fas_eval.statistics.metrics import point_figures

SURE = 0.9
MARKS = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
UNSEEN, KNOWN, FOREIGN, CALIBRATED = (
    "voices kept apart",
    "voices of the training",
    "corpus never heard",
    "corpus never heard, calibrated on",
)
COLUMNS = ("corpus", "scored on", "clips", "voices", "WA", "UA", "macro-F1", "ECE", "sure (0.9)", "of these right")


def scored_clips(name: str, folder: Path, trained: tuple[str, ...], fold: int | None):
    """The rows of a corpus to score, and what they are to the checkpoint."""
    rows = load_corpus(name, folder, **({"fold": fold} if has_folds(name) else {}))
    if name not in trained:
        return rows, FOREIGN
    test = [i for i, split in enumerate(rows["split"]) if split == "test"]
    return (rows.select(test), UNSEEN) if test else (rows, KNOWN)


def head_of(pipeline: EmotionPipeline) -> str:
    """The head whose label the answer is."""
    return "fused" if pipeline.model.config.answer_from == "fused" else "acoustic"


def figures(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Accuracy, UA, macro-F1, ECE, share of answers with a probability of at least `SURE`, and how many of these are right; in per cent."""
    answers, sure = probabilities.argmax(1), probabilities.max(1) >= SURE
    found = point_figures(labels, answers) | {
        "ece": expected_calibration_error(probabilities, labels),
        "sure": sure.mean(),
    }
    found["sure_right"] = (answers == labels)[sure].mean() if sure.any() else np.nan
    return {name: None if np.isnan(value) else round(100 * float(value), 1) for name, value in found.items()}


@dataclass
class Heard:
    """Clips of a corpus: what is true, and the log-probabilities (N, 7) of the head that answers, as it is calibrated."""

    corpus: str
    scored_on: str
    voices: int
    labels: np.ndarray
    logits: np.ndarray

    def row(self, temperature: float) -> dict:
        """Of the table, with logits divided by a temperature."""
        known = dict(corpus=self.corpus, scored_on=self.scored_on, clips=len(self.labels), voices=self.voices)
        return known | figures(self.labels, apply_temperature(self.logits, temperature))


def hear(pipeline: EmotionPipeline, cache: FeatureCache, name: str, folder: Path) -> Heard:
    """The clips of a corpus that are scored, through the checkpoint."""
    trained, fold = learned_from(pipeline.training)
    rows, scored_on = scored_clips(name, folder, trained, fold)
    source = FeatureSource(rows, pipeline.extractor, cache, [""])
    labels = label_indices(rows["emotion"])
    usable = [i for i in source.usable if labels[i] != UNKNOWN]
    heads, _, _ = pipeline.hear([source.get(source.digests[i]) for i in usable])
    logits = np.log(np.maximum(heads[head_of(pipeline)].astype(np.float64), 1e-30))
    return Heard(name, scored_on, len({rows[i]["speaker"] for i in usable}), labels[usable], logits)


def temperature_of(heard: list[Heard], names: list[str]) -> float:
    """What to divide the logits of all by; 1 where no corpus is named.

    Raises:
        FASError: a corpus that is not scored here, or that was trained on.
    """
    if not names:
        return 1.0
    for name in names:
        if not any(each.corpus == name and each.scored_on == FOREIGN for each in heard):
            raise FASError(
                f"--calibrate {name}: expected one of the corpora given that the checkpoint was not trained on"
            )
    chosen = [each for each in heard if each.corpus in names]
    weights = np.concatenate([np.full(len(each.labels), 1 / len(each.labels)) for each in chosen])
    for each in chosen:
        each.scored_on = CALIBRATED
    return fit_temperature(
        np.concatenate([each.logits for each in chosen]), np.concatenate([each.labels for each in chosen]), weights
    )


def write_temperature(folder: Path, head: str, factor: float) -> None:
    """Multiplies the temperature of a head in config.json."""
    name = "temperature" if head == "fused" else f"{head}_temperature"
    config = read_object(folder / "config.json")
    write_json(folder / "config.json", config | {name: round(config.get(name, 1.0) * factor, 6)})


def table(rows: list[dict]) -> str:
    """Markdown."""
    shown = [[("-" if value is None else str(value)) for value in row.values()] for row in rows]
    return table_of(list(COLUMNS), shown)


def write_card(folder: Path, rows: list[dict]) -> None:
    """Raises FASError where the card has no place for the table."""
    path = folder / "README.md"
    card = path.read_text(encoding="utf-8")
    if not MARKS.search(card):
        raise FASError(
            f"{path}: no place for the table; expected <!-- figures --> and <!-- /figures -->, as train/fas.py writes them"
        )
    text = f"{table(rows)}\n\nIn per cent; the label is that of the voice, among {', '.join(EMOTIONS)}. `figures.json` has these figures.\n"
    card = MARKS.sub(lambda m: m[1] + text + m[2], card)
    path.write_text(card_data.with_results(card, model_index(rows)), encoding="utf-8")


def model_index(rows: list[dict]) -> list[EvalResult] | None:
    """What a hub is told of the table: shares, not per cent."""
    return card_data.results(
        TASK,
        [
            (
                row["corpus"],
                f"{row['corpus']} ({row['scored_on']})",
                {name: value / 100 for name, value in row.items() if name in card_data.METRICS and value is not None},
            )
            for row in rows
        ],
    )


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m experiments.card", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, metavar="DIR", help="as train/fas.py wrote it")
    parser.add_argument("corpora", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument(
        "--calibrate",
        nargs="+",
        default=[],
        metavar="NAME",
        help="corpora never heard that say how sure an answer may be",
    )
    parser.add_argument("--cache", default="~/.cache/fas_alm/features", help="feature cache (%(default)s)")
    return parser.parse_args(argv)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    pipeline = EmotionPipeline.from_pretrained(arguments.checkpoint, words=False)
    cache = FeatureCache(expanded(arguments.cache), pipeline.extractor.identity())
    heard = [hear(pipeline, cache, name, folder) for name, folder in parse_pairs(arguments.corpora, "corpora")]
    temperature = temperature_of(heard, arguments.calibrate)
    if arguments.calibrate:
        write_temperature(arguments.checkpoint, head_of(pipeline), temperature)
    rows = [each.row(temperature) for each in heard]
    write_json(arguments.checkpoint / "figures.json", {"corpora": rows, "provenance": provenance()})
    write_card(arguments.checkpoint, rows)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
