"""The demo's evaluation: the suite on the test voices and sentences, and what of it the demo shows."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fas_core.errors import FASError
from fas_eval.benchmarks.locations import DataLocations
from fas_eval.presets import load_preset
from fas_eval.suite.run import SYNTHETIC, RunSettings, run_suite
from fas_eval.suite.score import Statistics
from fas_eval.systems.context import BuildContext

SYSTEM = "fas-demo"
PRESET = "quick"
REPORT = "suite"  # folder of the suite's own report


@dataclass(frozen=True)
class Evaluation:
    """What the suite found; the properties are of the checkpoint that the demo trained.

    Attributes:
        results: results.json of the suite. folder: of its report.
    """

    results: dict
    folder: Path

    @property
    def score(self) -> dict:
        """Its entry of "scores".

        Raises:
            FASError: it could not be run; says why.
        """
        for score in self.results["scores"]:
            if score["system"] == SYSTEM:
                return score
        why = [entry["why"] for entry in self.results["missing"] if entry["name"] == SYSTEM]
        raise FASError(f"the checkpoint of the demo was not evaluated: {'; '.join(why)}")

    @property
    def conflicts(self) -> dict[str, list[float]]:
        """Half -> conflict score of each of its clips."""
        found: dict[str, list[float]] = {"congruent": [], "conflicting": []}
        for row in self._answers():
            if row["system"] == SYSTEM and row["conflict"]:
                half = "congruent" if row["emotion"] == row["semantic_emotion"] else "conflicting"
                found[half].append(float(row["conflict"]))
        return found

    def _answers(self) -> Iterator[dict[str, str]]:
        with (self.folder / "answers.csv").open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def evaluate(output: Path, seed: int) -> Evaluation:
    """The checkpoint just trained beside the systems of the preset `quick`, trained and tested on the demo's corpus.

    Args:
        output: of the demo, with `corpus`, `checkpoint` and `features`; the report goes to `suite`.
    """
    preset = load_preset(PRESET)
    ours = {
        "type": "fas",
        "name": SYSTEM,
        "title": "FAS, trained in this demo",
        "checkpoint": str(output / "checkpoint"),
        "words": False,  # what is shown is FAS: what its two heads make of one another; the examples have words, which take time
    }
    others = [entry | {"words": False} if entry["type"] == "fas" else entry for entry in preset.systems]
    preset.systems = [ours, *others]
    preset.seeds = [seed]
    context = BuildContext(locations=DataLocations(overrides={SYNTHETIC: output / "corpus"}), cache_dir=output)
    settings = RunSettings(output / REPORT, statistics=Statistics(seed=seed), needs_benchmarks=True, preset=PRESET)
    return Evaluation(run_suite(preset, context, settings), settings.output)
