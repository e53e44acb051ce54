"""Conflicts of human voices without speech that has any: `python -m experiments.conflict_pairs NAME=FOLDER ... --output pairs.jsonl`.

The tone of a clip, as a checkpoint hears it, is put beside the words of held-out sentences of our own, as the text model reads their
transcripts. Tone and words are independent then, as the formula of `fas_core.conflict` takes them to be. Of each clip one pair conflicts,
one has neutral words and, where the tone is not neutral, one agrees. The records are those of `experiments.conflict answer`, so
that `calibrate` and `table` take them. Nobody said these words in that tone: what a transcript gets wrong, and what a voice does to words, is
not in these figures.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from experiments.conflict import NEUTRAL, record, rows_of
from fas_core.atomic import write_text
from fas_core.errors import FASError, reports_errors
from fas_core.labels import EMOTIONS
from fas_core.pipeline import EmotionPipeline
from fas_core.training.arguments import parse_pairs
from fas_core.words.sentences import SPLITS, as_transcribed, emotional_sentences, plain_sentences
from fas_core.words.text_model import TextModel

EACH = 8  # fillings of a template
CONFIDENCE = 0.5  # of every pair: its log-odds are 0, so that nothing is fitted to what is not there


def read_sentences(part: str, seed: int, model: TextModel) -> dict[str, np.ndarray]:
    """emotion -> (N, 7) probabilities of the words of its sentences, written as transcripts are."""
    random, found = np.random.default_rng(seed), {}
    for texts in (plain_sentences(part, EACH, seed), emotional_sentences(part, EACH, seed)):
        probabilities = model([as_transcribed(text, random) for text in texts.texts])
        labels = texts.shares.argmax(1)
        for index in np.unique(labels):
            found[EMOTIONS[index]] = np.asarray(probabilities)[labels == index]
    return found


def pairs(records: list[dict], sentences: dict[str, np.ndarray], part: str, seed: int) -> list[dict]:
    """The records of clips with a tone and its label, each with words of one sentence a kind; the split is that of the sentences."""
    random, found = np.random.default_rng(seed), []
    for each in records:
        if not each["tone"] or not each["emotion"]:
            continue
        others = [emotion for emotion in sentences if emotion not in (each["emotion"], NEUTRAL)]
        for said in {str(random.choice(others)): 0, NEUTRAL: 0, each["emotion"]: 0}:
            words = sentences[said][int(random.integers(len(sentences[said])))]
            found.append(each | dict(
                id=f"{each['id']}, {said}", split=part, words_emotion=said, words=[round(float(p), 5) for p in words], confidence=CONFIDENCE, language="en",
                missing=None, sentence=None, conflict=None, disagreement=None,
            ))  # fmt: skip
    return found


def tones(pipeline: EmotionPipeline, name: str, rows: list[dict]) -> list[dict]:
    """Records of what the checkpoint hears of the tone of each clip; the words that were said are not written down."""
    answers = pipeline([row["audio"] for row in rows])
    return [record(name, row, answer) for row, answer in zip(rows, answers, strict=True)]


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.conflict_pairs", description=__doc__, formatter_class=raw)
    parser.add_argument("corpora", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--checkpoint", help="directory or hub id, base or tiny.en; default: the shipped one")
    parser.add_argument("--sentences", choices=SPLITS, default="validation", help="part of our sentences (%(default)s)")
    parser.add_argument("--split", help="clips of this split only; default: all")
    parser.add_argument("--limit", type=int, help="so many clips of each corpus")
    parser.add_argument("--seed", type=int, default=0, help="of the sentences (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="JSONL")
    return parser.parse_args(argv)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    pipeline = EmotionPipeline.from_pretrained(*[arguments.checkpoint] if arguments.checkpoint else [], words=False)
    sentences = read_sentences(arguments.sentences, arguments.seed, TextModel.from_pretrained())
    found = []
    for name, folder in parse_pairs(arguments.corpora, "corpora"):
        rows = rows_of(name, folder, 1, None)
        rows = [row for row in rows if arguments.split in (None, row["split"])]
        rows = rows if arguments.limit is None else rows[:: max(1, len(rows) // arguments.limit)]
        if not rows:
            raise FASError(f"--split {arguments.split}: {name} has no clips of it")
        found += pairs(tones(pipeline, name, rows), sentences, arguments.sentences, arguments.seed)
    write_text(arguments.output, "".join(json.dumps(each) + "\n" for each in found))
    print(f"{arguments.output}: {len(found)} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
