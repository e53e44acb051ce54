"""Scores of a FAS-ALM for the comparison of `experiments.adapter`: the options, free text, words and conflict, and its baselines.

Beside the model itself: the FAS classifier that it carries, its answers as free text, and the same LLM without any adapter given
Whisper's transcript. An answer by options is always one of the seven; free text that does not name one is counted, and answered by
the options. Clips whose words have an emotion are also asked what the words say and whether they contradict the tone
(`experiments.adapter_words`). To compare an adapter with other systems on corpora: `python -m eval.suite --systems alm:DIR`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.adapter_words import asked, heads, words_and_conflict
from fas_alm.conversations import Question
from fas_alm.conversations.reading import read_answer
from fas_alm.prompts import transcript_prompt
from fas_alm.scorer import Scorer
from fas_alm.training.audio import AudioInputs
from fas_alm.training.data import fas_accuracy
from fas_alm.training.metrics import option_metrics
from fas_core.data import has_folds, load_corpus
from fas_core.errors import FASError
from fas_core.hub import named_source
from fas_core.labels import EMOTIONS
from fas_eval.systems.transcripts import transcripts


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
    rows = scorer.told(rows, features, wanted.transcripts)
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


def cascade(scorer: Scorer, audio: AudioInputs, rows: list[dict], labels: np.ndarray, wanted: Wanted) -> dict:
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
