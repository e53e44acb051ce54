"""Score a FAS-ALM by its lettered options: `python -m eval.alm DIR --corpora ravdess=data/ravdess emodb=data/emodb --fold 1`.

DIR is what `train/alm_adapter.py` or `python -m fas_alm.export` wrote, or its hub id. Beside the model itself: the FAS classifier that it
carries, its answers as free text (`--free-text`), and baselines: without hearing (`--no-audio`), and the same LLM without
any adapter given Whisper's transcript (`--cascade`). An answer by options is always one of the seven; free text that does
not name one is counted, and answered by the options. Clips whose words have an emotion are also asked what the words say and
whether they contradict the tone (`eval.alm_words`); `--transcripts` decides what the model is told of the words.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fas_alm.conversations import Question
from fas_alm.conversations.reading import read_answer
from fas_alm.prompts import transcript_prompt
from fas_alm.scorer import Scorer
from fas_alm.training.audio import FrozenTokens, WindowFeatures
from fas_alm.training.data import fas_accuracy
from fas_alm.training.metrics import option_metrics
from fas_alm.training.transcripts import SOURCES, find_transcripts
from fas_core.atomic import write_json
from fas_core.data import has_folds, load_corpus
from fas_core.errors import FASError, reports_errors
from fas_core.features.cache import FeatureCache
from fas_core.hub import find_directory, named_source
from fas_core.labels import EMOTIONS
from fas_core.markdown import cell, plain
from fas_core.provenance import provenance
from fas_core.training.arguments import parse_pairs
from fas_eval.alm_words import asked, heads, words_and_conflict
from fas_eval.systems.transcripts import transcripts

FIGURES = ("accuracy", "ua", "macro_f1", "mass", "ece")


@dataclass
class Wanted:
    """What is scored: free text and the cascade beside the options; zeros for the audio; in which language."""

    free_text: str | None = None  # the task that is answered as text
    cascade: bool = False
    no_audio: bool = False
    language: str = "en"
    whisper: str | None = None  # of the cascade; the model's own by default
    transcripts: str = "learned"  # behind the audio: auto, corpus, none as in training; learned: auto, of a model that has learned them


def evaluate(scorer: Scorer, rows: list[dict], wanted: Wanted) -> dict:
    """Score clips.

    Args:
        rows: clips with `id`, `audio`, `emotion`.

    Returns:
        JSON-ready: `clips`, `failed`, `alm` (figures of the options), `fas_accuracy`, and where wanted `free_text` and
        `cascade`; where clips have an emotion of their words what `words_and_conflict` gives, and `heads`; `predictions`, one
        dict a clip.

    Raises:
        FASError: no clip is left.
    """
    start = time.time()
    features = scorer.features(rows)
    usable = set(features)
    rows = [row for row in rows if row["audio"] in usable]
    if not rows:
        raise FASError(f"none of the clips can be used; {features.failed[:1]}")
    audio = scorer.hearing(features, wanted.no_audio)
    rows = told(scorer, rows, features, wanted.transcripts)
    labels = np.array([EMOTIONS.index(row["emotion"]) for row in rows])
    scores = scorer.options(audio, asked(rows, Question("choose", wanted.language)))
    result = dict(clips=len(rows), failed=features.failed)
    result["alm"] = option_metrics(scores, labels, scorer.model.config.option_temperature)
    pairs = [(row["audio"], row["emotion"]) for row in rows]
    result["fas_accuracy"] = fas_accuracy(scorer.model.fas, features, pairs)
    predictions = [
        dict(id=row["id"], emotion=row["emotion"], label=EMOTIONS[i])
        for row, i in zip(rows, scores.argmax(1), strict=True)
    ]
    result |= words_and_conflict(scorer, audio, rows, wanted.language, bool(wanted.free_text), predictions)
    if found := heads(scorer, features, rows):
        result["heads"] = found
    if wanted.free_text:
        question = Question(wanted.free_text, wanted.language)
        texts = scorer.write(audio, asked(rows, question))
        result["free_text"] = free_text(question, texts, predictions)
    if wanted.cascade:
        result["cascade"] = cascade(scorer, audio, rows, labels, wanted)
    return result | dict(seconds=round(time.time() - start, 1), predictions=predictions)


def free_text(question: Question, texts: list[str], predictions: list[dict]) -> dict:
    """Accuracy of written answers, and how they were read: as they stand, after repair, or not at all (then the options
    answer).
    """
    counts, right = dict(exact=0, repaired=0, by_options=0), 0
    for text, prediction in zip(texts, predictions, strict=True):
        emotion, looked_for = read_answer(question, text)
        counts["by_options" if emotion is None else "repaired" if looked_for else "exact"] += 1
        right += (emotion or prediction["label"]) == prediction["emotion"]
        prediction["text"] = text
    return dict(task=question.task, accuracy=right / len(texts), **counts)


def cascade(scorer: Scorer, audio: FrozenTokens, rows: list[dict], labels: np.ndarray, wanted: Wanted) -> dict:
    """The bare LLM reads Whisper's transcript."""
    source = wanted.whisper
    if not source:
        encoder = scorer.model.config.streams.semantic
        where = "fas/config.json: streams.semantic.model"
        source, _ = named_source(encoder["model"], encoder.get("revision"), where, "or name one (--whisper)")
    said = transcripts([row["audio"] for row in rows], source, scorer.cache_dir)
    messages = [
        [{"role": "user", "content": transcript_prompt(said[row["audio"]], language=wanted.language)}] for row in rows
    ]
    with scorer.without_adapter():
        return option_metrics(scorer.options(audio, messages), labels) | {"whisper": Path(source).name}


def told(scorer: Scorer, rows: list[dict], features: WindowFeatures, source: str) -> list[dict]:
    """The clips with their words as "spoken", as in training."""
    if source == "learned":
        source = "auto" if scorer.model.config.transcripts else "none"
    cache = FeatureCache(scorer.cache_dir, scorer.extractor.identity())
    spoken = find_transcripts(
        source, rows, features.digests, scorer.extractor, scorer.model.config.fas_config.streams, cache
    )
    return [{**row, "spoken": spoken.get(row["audio"])} for row in rows]


def load_rows(
    corpora: list[tuple[str, Path]], split: str, fold: int | None, exclude_labels: Sequence[str] = ()
) -> dict[str, list[dict]]:
    """Labelled clips of each corpus on one side."""
    found = {}
    for name, folder in corpora:
        dataset = load_corpus(name, folder, fold=fold if has_folds(name) else None, exclude_labels=exclude_labels)
        found[name] = [row for row in dataset if row["emotion"] and split in ("all", row["split"])]
        if not found[name]:
            raise FASError(
                f"{name}: no labelled clip with split {split!r}; expected another --split (all takes every clip)"
            )
    return found


def some_of(rows: list[dict], number: int) -> list[dict]:
    """That many clips, the same ones each time; all for 0."""
    chosen = np.random.default_rng(0).permutation(len(rows))[: number or None]
    return [rows[i] for i in sorted(chosen)]


def table(results: dict[str, dict]) -> str:
    """Markdown; figures in per cent, but for the mass and the calibration error."""
    lines = ["| set | system | clips | accuracy | UA | macro-F1 | mass | ECE |", "|---|---|---|---|---|---|---|---|"]
    for name, result in results.items():
        name = cell(plain(name))
        for system in ("alm", "cascade"):
            if system in result:
                m = result[system]
                cells = [f"{100 * m[k]:.1f}" for k in FIGURES[:3]] + [f"{m[k]:.3f}" for k in FIGURES[3:]]
                lines.append(f"| {name} | {system} | {result['clips']} | " + " | ".join(cells) + " |")
        lines.append(f"| {name} | FAS alone | {result['clips']} | {100 * result['fas_accuracy']:.1f} | | | | |")
        lines += _words_lines(name, result)
        if "free_text" in result:
            t = result["free_text"]
            how = f"{t['exact']} as they stand, {t['repaired']} repaired, {t['by_options']} by the options"
            lines.append(
                f"| {name} | free text ({cell(plain(t['task']))}; {how}) | {result['clips']} | {100 * t['accuracy']:.1f} | | | | |"
            )
    return "\n".join(lines)


def _words_lines(name: str, result: dict) -> list[str]:
    """Rows of what words and conflict were answered; of a conflict accuracy, balanced accuracy and AUROC in the first columns."""
    lines = []
    if "words" in result:
        m = result["words"]
        figures = " | ".join([f"{100 * m[k]:.1f}" for k in FIGURES[:3]] + [f"{m['mass']:.3f}", ""])
        lines.append(f"| {name} | words | {m['clips']} | {figures} |")
    for system, title in (
        ("conflict", "conflict"),
        ("conflict_text", "conflict, free text"),
        ("heads", "conflict, tone head and text model"),
    ):
        if system in result:
            m = result[system]
            cells = [
                f"{100 * m['accuracy']:.1f}",
                *("" if m.get(k) is None else f"{100 * m[k]:.1f}" for k in ("balanced_accuracy", "auroc")),
            ]
            mass = f"{m['mass']:.3f}" if "mass" in m else ""
            lines.append(
                f"| {name} | {title} (accuracy, balanced, AUROC) | {m['clips']} | {' | '.join(cells)} | {mass} | |"
            )
    return lines


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.alm", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="adapter or model directory")
    parser.add_argument("--corpora", nargs="+", required=True, metavar="NAME=FOLDER", help="labelled corpora")
    parser.add_argument(
        "--split", default="test", choices=("train", "validation", "test", "all"), help="side (%(default)s)"
    )
    parser.add_argument("--revision", help="of a hub id: branch, tag or commit")
    parser.add_argument("--fold", type=int, help="of corpora with folds")
    parser.add_argument("--language", default="en", choices=("en", "zh"), help="of the questions")
    parser.add_argument("--free-text", nargs="?", const="choose", choices=("choose", "name", "json"), metavar="TASK",
                        help="also let the model write its answer to this task (choose)")  # fmt: skip
    parser.add_argument("--exclude-labels", nargs="+", default=[], metavar="LABEL",
        help="leave out clips of these labels; '*': of all that no table knows, which are an error otherwise")  # fmt: skip
    parser.add_argument("--no-audio", action="store_true", help="zeros in the place of FAS's tokens")
    parser.add_argument("--transcripts", default="learned", choices=("learned", *SOURCES),
        help="words told behind the audio: auto (by FAS's own Whisper), corpus (its texts), none; learned: auto, where the model was "
        "trained with transcripts (%(default)s)")  # fmt: skip
    parser.add_argument("--cascade", action="store_true", help="also score the bare LLM on Whisper's transcripts")
    parser.add_argument("--whisper", help="of the cascade: hub id, directory, offline:NAME; default: the model's own")
    parser.add_argument("--language-model", help="where the LLM of an adapter is, if not where it was")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of the LLM")
    parser.add_argument("--cache-dir", default="~/.cache/fas_alm/features", help="feature cache")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-clips", type=int, default=0, help="only so many clips of each corpus; 0: all")
    parser.add_argument("--output", type=Path, help="JSON with all figures and predictions")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> dict:
    """What the command does; returns what it writes."""
    corpora = parse_pairs(arguments.corpora, "--corpora")
    directory = find_directory(arguments.directory, arguments.revision)
    scorer = Scorer.from_directory(
        directory, arguments.cache_dir, language_model=arguments.language_model, dtype=arguments.dtype,
        batch_size=arguments.batch_size,
    )  # fmt: skip
    wanted = Wanted(
        arguments.free_text,
        arguments.cascade,
        arguments.no_audio,
        arguments.language,
        arguments.whisper,
        arguments.transcripts,
    )
    if wanted.cascade and not (directory / "projector.safetensors").is_file():
        raise FASError(
            f"{arguments.directory}: --cascade needs the bare LLM; expected an adapter directory, not a merged model"
        )
    results = {
        name: evaluate(scorer, some_of(rows, arguments.max_clips), wanted)
        for name, rows in load_rows(corpora, arguments.split, arguments.fold, arguments.exclude_labels).items()
    }
    return dict(directory=arguments.directory.name, results=results, provenance=provenance())


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    found = run(arguments)
    print(table(found["results"]))
    if arguments.output:
        write_json(arguments.output, json.loads(json.dumps(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
