"""From answers to results.json, answers.csv and clips.jsonl (`fas_eval.report.reading` says what they hold)."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from fas_core.atomic import atomic_path, write_text
from fas_core.cells import CellWriter
from fas_core.labels import EMOTIONS
from fas_eval.statistics.classification import score_answers
from fas_eval.statistics.comparison import compare, correct
from fas_eval.statistics.conflicts import conflicting, detection, halves, tone_or_words
from fas_eval.statistics.cues import cue_effect
from fas_eval.statistics.metrics import point_figures
from fas_eval.suite.ask import Asked
from fas_eval.systems.base import BenchmarkClip, SystemAnswer

NONE = -1  # no emotion named: wrong, never dropped
DETECTIONS = {  # entry of a score -> the figure of an answer, and whether words without emotion contradict a tone for it
    "detection": ("conflict", False),
    "disagreement_detection": ("disagreement", True),
    "divergence_detection": ("divergence", False),
}
ANSWER = "answer"  # of the system as a whole, beside its pathways in "halves"
MEASURED = ("conflict", "disagreement", "divergence", "transcript", "words_missing")  # columns of answers.csv
METRIC = "ua"  # that systems are compared by; McNemar's test is of accuracy
NOT_IN_RESULTS = ("curve", "loss")


@dataclass(frozen=True)
class Statistics:
    """How intervals and tests are made; the fields of "suite" in results.json."""

    resamples: int = 1000
    resample: str = "clips"
    confidence: float = 0.95
    correction: str = "holm"
    seed: int = 42


@dataclass
class ScoredSet:
    """A benchmark's readable clips.

    Attributes:
        clips: what systems see. rows: of the data set. seconds: of audio; the three go together.
        facts: for results.json. setting: training corpora -> "in-domain" or "zero-shot".
    """

    name: str
    clips: list[BenchmarkClip]
    rows: list[dict]
    seconds: list[float]
    facts: dict = field(default_factory=dict)
    setting: Callable[[Collection[str]], str] = lambda corpora: "zero-shot"

    @property
    def labels(self) -> np.ndarray:
        return indices(row["emotion"] for row in self.rows)

    @property
    def words(self) -> np.ndarray:
        return indices(row["semantic_emotion"] for row in self.rows)

    def speakers(self, how: Statistics) -> list[str] | None:
        """Whom to resample, where that is asked for and everybody is known."""
        names = [row["speaker"] for row in self.rows]
        return names if how.resample == "speakers" and None not in names else None


def indices(emotions: Iterable[str | None]) -> np.ndarray:
    """Indices into `EMOTIONS`, -1 for None."""
    return np.array([NONE if e is None else EMOTIONS.index(e) for e in emotions], dtype=int)


def results(
    asked: list[Asked], sets: list[ScoredSet], missing: list[dict], how: Statistics, reference: str | None = None
) -> dict:
    """results.json without "suite" and "provenance".

    Args:
        asked: what every system said. sets: the benchmarks. missing: what could not be run.
        reference: system that the others are compared with; all pairs by default.
    """
    runs = [run for run in asked if run.answers]
    scores = [score(run, benchmark, how) for benchmark in sets for run in runs]
    comparisons = [c for benchmark in sets for c in comparisons_of(runs, benchmark, how, reference)]
    return {
        "benchmarks": {benchmark.name: benchmark.facts for benchmark in sets},
        "systems": systems_of(runs),
        "scores": scores,
        "comparisons": corrected(comparisons, how),
        "cues": [entry for benchmark in sets for entry in cue_effects(runs, benchmark)],
        "missing": missing,
        "maps": {},
    }


def systems_of(runs: list[Asked]) -> dict:
    """Systems by name; what depends on the seed is collected by seed."""
    found: dict[str, dict] = {}
    for run in runs:
        planned = run.planned
        facts = {key: value for key, value in run.facts.items() if key not in NOT_IN_RESULTS}
        entry = found.setdefault(planned.name, {
            "title": run.title, "kind": run.kind, "group": planned.group, "ablation_of": planned.options.get("ablation_of"), "seeds": [], "curves": {}, "losses": {},
            "training_corpora": list(planned.training_corpora), "fold": planned.fold, "identity": run.identity, **facts,
        })  # fmt: skip
        if planned.seed is not None:
            entry["seeds"].append(planned.seed)
        for key, target in (("curve", "curves"), ("loss", "losses")):
            if run.facts.get(key):
                entry[target][str(planned.seed)] = run.facts[key]
    return found


def score(run: Asked, benchmark: ScoredSet, how: Statistics) -> dict:
    """One entry of "scores"."""
    answers, labels = run.answers[benchmark.name], benchmark.labels
    said = indices(answer.label for answer in answers)
    timed = [(a.seconds, s) for a, s in zip(answers, benchmark.seconds, strict=True) if a.seconds is not None]
    scored = score_answers(
        labels, said, probabilities(answers), speakers=benchmark.speakers(how), resamples=how.resamples, seed=how.seed,
        confidence=how.confidence,
    )  # fmt: skip
    return scored | {  # their seed, that of the bootstrap, stands in "suite"; here it is that of the system
        "benchmark": benchmark.name,
        "system": run.planned.name,
        "seed": run.planned.seed,
        "setting": benchmark.setting(run.planned.training_corpora),
        "stopped": run.stopped,
        "how": dict(Counter(answer.how for answer in answers)),
        "failed": [{"clip": a.clip, "error": a.error} for a in answers if a.how == "failed"],
        "retries": sum(answer.retries for answer in answers),
        "seconds": round(sum(t for t, _ in timed), 3) if timed else None,
        "audio_seconds": round(sum(s for _, s in timed), 3) if timed else None,
        "heads": heads(answers, labels, benchmark.words),
        **conflict_scores(answers, benchmark, said, how),
    }


def probabilities(answers: list[SystemAnswer]) -> np.ndarray | None:
    """(N, 7), NaN for a clip without; None for a system that gives no probabilities."""
    if all(answer.probabilities is None for answer in answers):
        return None
    none = [np.nan] * len(EMOTIONS)
    return np.array([answer.probabilities or none for answer in answers])


def heads(answers: list[SystemAnswer], labels: np.ndarray, words: np.ndarray) -> dict:
    """What each pathway alone would have answered; "semantic" is also held against the emotion of the words."""
    found = {}
    for head, said in said_by_heads(answers).items():
        known = said != NONE
        found[head] = point_figures(labels[known], said[known])
        if (with_words := known & (words != NONE)).any():
            found[head]["on_words"] = point_figures(words[with_words], said[with_words])
    return found


def said_by_heads(answers: list[SystemAnswer]) -> dict[str, np.ndarray]:
    """Pathway -> (N,) indices into `EMOTIONS`, -1 for a clip that it did not hear."""
    names = dict.fromkeys(name for answer in answers for name in answer.heads)
    return {
        name: np.array([int(np.argmax(a.heads[name])) if name in a.heads else NONE for a in answers]) for name in names
    }


def conflict_scores(answers: list[SystemAnswer], benchmark: ScoredSet, said: np.ndarray, how: Statistics) -> dict:
    """What only speech with words of a known emotion can tell; None elsewhere."""
    labels, words, speakers = benchmark.labels, benchmark.words, benchmark.speakers(how)
    known = words != NONE
    if not known.any():
        return {"tone_or_words": None, "halves": None} | dict.fromkeys(DETECTIONS)
    heard = [answer for answer, here in zip(answers, known, strict=True) if here]
    drawn = dict(
        speakers=speakers and [s for s, k in zip(speakers, known, strict=True) if k],
        resamples=how.resamples, seed=how.seed, confidence=how.confidence,
    )  # fmt: skip
    everyone = {name: one[known] for name, one in ({ANSWER: said} | said_by_heads(answers)).items()}
    return {
        "tone_or_words": tone_or_words(labels[known], words[known], said[known], **drawn),
        **{
            entry: detected(heard, figure, (words != labels if counts_neutral else conflicting(labels, words))[known])
            for entry, (figure, counts_neutral) in DETECTIONS.items()
        },
        "halves": halves(labels[known], words[known], everyone, **drawn),
    }


def detected(answers: list[SystemAnswer], figure: str, truth: np.ndarray) -> dict | None:
    """`detection` by a figure of the answers, and for how many of them it is "unknown", which counts as no conflict.

    None for a system that never has it, and for clips of one kind.
    """
    values = [getattr(answer, figure) for answer in answers]
    unknown = values.count(None)
    if unknown == len(values) or truth.all() or not truth.any():
        return None
    return detection(np.array([0.0 if value is None else value for value in values]), truth) | {"unknown": unknown}


def comparisons_of(runs: list[Asked], benchmark: ScoredSet, how: Statistics, reference: str | None) -> list[dict]:
    """Pairs of systems, each by its first seed: chosen before anything was scored.

    Without a reference all pairs: which system is best is only known afterwards, and a test against it has to pay for that.
    """
    first = {run.planned.name: run for run in reversed(runs)}
    names = list(dict.fromkeys(run.planned.name for run in runs))
    if reference is None:
        pairs = [(a, b) for b, a in combinations(names, 2)]
    else:  # none, where the reference itself could not be run
        pairs = [(a, reference) for a in names if a != reference and reference in names]
    said = {name: indices(a.label for a in run.answers[benchmark.name]) for name, run in first.items()}
    return [
        {
            "benchmark": benchmark.name, "a": a, "b": b, "seed_a": first[a].planned.seed, "seed_b": first[b].planned.seed,
            "comparison": compare(
                benchmark.labels, said[a], said[b], speakers=benchmark.speakers(how), resamples=how.resamples, seed=how.seed
            ),
        }
        for a, b in pairs
    ]  # fmt: skip


def cue_effects(runs: list[Asked], benchmark: ScoredSet) -> list[dict]:
    """What being told acoustic cues did to each system of which answers without cues are there too."""
    asked = {run.planned.name: run for run in runs}
    found = []
    for name, run in asked.items():
        cues = run.facts.get("cues") or {}
        if cues.get("of") not in asked:
            continue
        answers, before = run.answers[benchmark.name], asked[cues["of"]].answers[benchmark.name]
        said, without = (indices(a.label for a in each) for each in (answers, before))
        figures = cue_effect(benchmark.labels, without, said, [answer.cues or None for answer in answers])
        ua = {
            key: point_figures(benchmark.labels, each)[METRIC] for key, each in (("ua", said), ("ua_without", without))
        }
        found.append({"benchmark": benchmark.name, "system": name, **cues, **ua, **figures})
    return found


def corrected(rows: list[dict], how: Statistics) -> list[dict]:
    """The comparisons as JSON, their p-values corrected over all of the run."""
    done = correct([row.pop("comparison") for row in rows], method=how.correction, alpha=1 - how.confidence)
    return [
        row
        | {
            "metric": METRIC,
            "difference": c.difference[METRIC],
            "interval": c.intervals[METRIC],
            "p": c.p[METRIC],
            "p_corrected": c.p_corrected[METRIC],
            "significant": c.significant[METRIC],
            "mcnemar_p": c.mcnemar_p,
            "mcnemar_p_corrected": c.mcnemar_p_corrected,
        }
        for row, c in zip(rows, done, strict=True)
    ]


def write_answers(runs: list[Asked], sets: list[ScoredSet], folder: Path) -> None:
    """answers.csv, a row a benchmark, system, seed and clip; clips.jsonl, what the pages of clips show."""
    columns = [
        "benchmark",
        "system",
        "seed",
        "id",
        "speaker",
        "language",
        "emotion",
        "semantic_emotion",
        "label",
        "how",
    ]
    columns += [f"p_{emotion}" for emotion in EMOTIONS] + [*MEASURED, "mass", "text", "error"]
    with atomic_path(folder / "answers.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = CellWriter(file, columns)
        for benchmark in sets:
            for run in runs:
                writer.writerows(_answer_rows(benchmark, run))
    lines = (json.dumps(entry, ensure_ascii=False) for benchmark in sets for entry in _clip_entries(benchmark, runs))
    write_text(folder / "clips.jsonl", "".join(f"{line}\n" for line in lines))


def _answer_rows(benchmark: ScoredSet, run: Asked):
    for row, a in zip(benchmark.rows, run.answers[benchmark.name], strict=True):
        about = [row[key] for key in ("id", "speaker", "language", "emotion", "semantic_emotion")]
        p = a.probabilities or [None] * len(EMOTIONS)
        head = [benchmark.name, run.planned.name, run.planned.seed, *about, a.label, a.how]
        yield (*head, *p, *(getattr(a, name) for name in MEASURED), a.mass, a.text, a.error)


def _clip_entries(benchmark: ScoredSet, runs: list[Asked]):
    kept: dict[str, dict] = {}
    for run in runs:
        for answer in run.answers[benchmark.name]:
            if answer.kept:
                kept.setdefault(answer.clip, {}).setdefault(run.planned.name, answer.kept)
    for row in benchmark.rows:
        about = {key: row[key] for key in ("id", "audio", "text", "emotion", "semantic_emotion", "speaker")}
        yield {"benchmark": benchmark.name, **about, "kept": kept.get(row["id"], {})}
