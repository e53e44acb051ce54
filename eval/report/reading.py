"""Reads what a report is made of: results.json, answers.csv and clips.jsonl of one folder. Pieces that are missing are empty.

`fas_eval.suite.score` writes the three files; anybody may write their like. Only "scores" must be there: a missing field, null or
NaN leaves a gap in the report. results.json holds

```text
"suite": version, preset, command, seed, resamples, resample, confidence, correction
"provenance": what it was made with
"benchmarks": name -> title, corpus, languages, setting, side, fold, clips, corpus_clips, unreadable [{file, error}], speakers,
    emotions {emotion: clips}, excluded {why: clips}, incomplete (text or null), data_sha256, conflict, synthetic (its audio may be
    copied into the report), licence, protocol, source, published [{source, table, system, setting, metrics}]
"systems": name -> title, kind, seeds, weights, parameters, parameters_trained, training_seconds, peak_memory_mb,
    curves {seed: [validation macro-F1 by epoch]}, losses {seed: [...]}, source, licence, training_corpora, fold, identity,
    group (one ablation table each), ablation_of (system that the differences in it refer to; else its first)
"scores": [benchmark, system, seed (null if none), setting, how {how: clips}, failed [{clip, error}], retries, seconds,
    audio_seconds, peak_memory_mb, all of `score_answers` but its seed, heads {head: {accuracy, ua, macro_f1}}, tone_or_words or
    null, detection, disagreement_detection and divergence_detection ({auroc, interval, unknown} or null), halves or null]
"comparisons": [benchmark, a, b, seed_a, seed_b, metric, difference, interval, p, p_corrected, significant, mcnemar_p,
    mcnemar_p_corrected]
"missing": [kind ("benchmark" or "system"), name, why, where]
"maps": benchmark -> system -> method ("umap" or "pca"), points {clip id: [x, y]}
```

answers.csv has a row a benchmark, system, seed and clip: benchmark, system, seed, id, speaker, language, emotion, semantic_emotion,
label, how, p_angry to p_surprise, conflict, disagreement, divergence, transcript, words_missing, mass, text, error. clips.jsonl has a line a
clip: benchmark, id, audio (absolute, or relative to the folder), text, emotion, semantic_emotion, kept {system: [...]}. Where every
comparison has the same system on one side, that one is the reference, and marks in the tables refer to it; else a mark says what is not
significantly different from the best.
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fas_core.cells import cell_text
from fas_core.errors import FASError
from fas_core.paths import expanded, is_file
from fas_eval.report.pairs import Pairs


@dataclass
class Run:
    """An evaluation as it lies on disk.

    Attributes:
        folder: of the three files.
        results: results.json, every section there, NaN as None.
    """

    folder: Path
    results: dict = field(repr=False)

    @property
    def benchmarks(self) -> dict[str, dict]:
        """Gives the entries of results.json by benchmark."""
        return self.results["benchmarks"]

    @property
    def systems(self) -> dict[str, dict]:
        """Gives the entries of results.json by system."""
        return self.results["systems"]

    @cached_property
    def scores(self) -> dict[tuple[str, str], list[dict]]:
        """(benchmark, system) -> one score a seed."""
        found = defaultdict(list)
        for score in self.results["scores"]:
            found[score["benchmark"], score["system"]].append(score)
        return dict(found)

    @property
    def alpha(self) -> float:
        """Level of the tests; the intervals and the tests share it."""
        return round(1 - (self.results["suite"].get("confidence") or 0.95), 6)

    @cached_property
    def pairs(self) -> Pairs:
        """What the tests say of any two systems."""
        return Pairs(self.results["comparisons"], self.alpha)

    def title(self, system: str) -> str:
        """As tables and plots call it; that weights are random is said everywhere."""
        title = self.systems.get(system, {}).get("title") or system
        return f"{title} (random weights)" if self.has_random_weights(system) else title

    def has_random_weights(self, system: str) -> bool:
        """Says whether a system has weights that nobody trained."""
        return self.systems.get(system, {}).get("weights") == "random"

    def systems_on(self, benchmark: str) -> list[str]:
        """Systems that have a score there, in the order of results.json."""
        return [system for system in self.systems if (benchmark, system) in self.scores]

    def answers(self) -> Iterator[dict[str, str]]:
        """Rows of answers.csv, one at a time: the file may be large."""
        path = self.folder / "answers.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file, restval=""):
                    yield {column: cell_text(value) for column, value in row.items() if column}

    def clips(self) -> Iterator[dict]:
        """Lines of clips.jsonl, one at a time; a line cut off by a crash is left out."""
        path = self.folder / "clips.jsonl"
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                for line in file:
                    clip = _parse(line)
                    if isinstance(clip, dict):
                        yield clip


def read_run(folder: str | Path) -> Run:
    """Read results.json; the other files are read as they are needed.

    Raises:
        FASError: no results.json, no JSON in it, or not the suite's.
    """
    folder = expanded(folder)
    path = folder / "results.json"
    if not is_file(path):
        raise FASError(f"{path}: not found (expected the output folder of fas eval)")
    results = _parse(path.read_text(encoding="utf-8"))
    if not isinstance(results, dict) or not isinstance(results.get("scores"), list):
        raise FASError(f"{path}: not results of python -m eval.suite (expected JSON with a list 'scores')")
    return Run(folder, _complete(_without_nan(results), path))


def _parse(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return None


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _complete(results: dict, path: Path) -> dict:
    for section in ("suite", "provenance", "benchmarks", "systems", "maps"):
        results[section] = results.get(section) or {}
    for section in ("comparisons", "missing"):
        results[section] = results.get(section) or []
    for number, score in enumerate(results["scores"]):
        if not isinstance(score, dict) or not {"benchmark", "system"} <= score.keys():
            raise FASError(f"{path}: scores[{number}] names no benchmark and system")
        results["benchmarks"].setdefault(score["benchmark"], {})
        results["systems"].setdefault(score["system"], {})
    for section in ("benchmarks", "systems"):
        for name, entry in results[section].items():
            entry["title"] = entry.get("title") or name
    return results
