"""Whom FAS's semantic head follows, and what the semantic stream does to the answer: `python -m experiments.swap`.

Each clip is given the semantic stream of another one: of the same words said in another tone, or of other words said in the same
tone. A head that reads words alone does not move by the first and moves by the second; what it moves by the first is tone that
leaks into the semantic encoder, and cannot be unlearned by better labels. Partners are of the same voice where it has one.

A second table (`experiments.words_away`) is of the answer as a whole, words that were heard included: does its label change when
neutral words are taken away, and does it stay with a tone that is right when words that contradict it take their place? Words
that carry an emotion come from the clips of all the sets that are given, so one of them has to have such words.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments import words_away
from fas_core.atomic import write_json
from fas_core.calibration import apply_temperature
from fas_core.conflict import divergence
from fas_core.data import has_folds, load_corpus
from fas_core.errors import FASError, reports_errors
from fas_core.features.cache import FeatureCache
from fas_core.inference import Logits, predict_logits
from fas_core.labels import EMOTIONS
from fas_core.markdown import table as table_of
from fas_core.paths import expanded
from fas_core.pipeline import EmotionPipeline
from fas_core.provenance import provenance
from fas_core.training.arguments import parse_pairs
from fas_core.training.data import FeatureSource
from fas_core.words.kept_transcripts import KeptTranscripts
from fas_core.words.text_model import TextModel
from fas_core.words.types import UNCLEAR, NoWords

KINDS = {"tone": "same words, other tone", "words": "same tone, other words"}


@dataclass(frozen=True)
class Said:
    """What is known of N clips: emotion of the tone and of the words (names), the sentence, the voice."""

    tone: np.ndarray
    words: np.ndarray
    sentence: np.ndarray
    voice: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[dict], read: Callable[[list[str]], np.ndarray]) -> "Said":
        """Words that nobody labelled are what `read`, a text model, says of the text."""
        texts = sorted({row["text"] for row in rows})
        top = dict(zip(texts, (EMOTIONS[i] for i in read(texts).argmax(1)), strict=True))
        columns = [
            (r["emotion"], r["semantic_emotion"] or top[r["text"]], r["text"].casefold(), r["speaker"] or "")
            for r in rows
        ]
        return cls(*map(np.array, zip(*columns, strict=True)))


def partners(said: Said, kind: str, seed: int = 0) -> np.ndarray:
    """(P, 2): clips, and one other each at random whose tone, or whose words, differ alone; clips without any are left out.

    Where words differ, so does their emotion, unless all sentences have one.
    """
    rng, pairs = np.random.default_rng(seed), []
    several = len(set(said.words)) > 1
    for i in range(len(said.tone)):
        other_tone, other_sentence = said.tone != said.tone[i], said.sentence != said.sentence[i]
        if kind == "tone":
            fits = other_tone & ~other_sentence
        else:
            fits = ~other_tone & other_sentence & (said.words != said.words[i] if several else True)
        own = fits & (said.voice == said.voice[i])
        if (found := np.flatnonzero(own if own.any() else fits)).size:
            pairs.append((i, int(rng.choice(found))))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def figures(
    said: Said, pairs: np.ndarray, kind: str, before: dict[str, np.ndarray], after: dict[str, np.ndarray]
) -> dict:
    """What a swap did.

    Args:
        before, after: head -> (P, 7) probabilities of the pairs' first clips with their own semantic stream, and with the other's.
    """
    first, other = pairs.T
    tone, words = (np.array([EMOTIONS.index(e) for e in names]) for names in (said.tone, said.words))
    was, now = ({head: p.argmax(1) for head, p in each.items()} for each in (before, after))
    found = {"pairs": len(pairs), "answer_changes": _share(was["fused"] != now["fused"])}
    if "acoustic" in was:
        right = was["acoustic"] == tone[first]
        found["answer_keeps_right_tone"] = _share(now["fused"][right] == tone[first][right])
    if "semantic" in was:
        moved = was["semantic"] != now["semantic"]
        found |= {
            "words_right": _share(was["semantic"] == words[first]),
            "head_changes": _share(moved),
            "head_moves": float(divergence(before["semantic"], after["semantic"]).mean()),
        }
        if (
            kind == "tone"
        ):  # only where the tone is not what the words say, too, does its name tell whom the head follows
            told = tone[other] != words[other]
            found["head_names_tone"] = _share(now["semantic"][told] == tone[other][told])
        else:
            found["head_names_new_words"] = _share(now["semantic"] == words[other])
    return found


def _share(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def study(said: Said, hear: Callable[[np.ndarray], dict[str, np.ndarray]], seed: int = 0) -> dict:
    """kind -> figures.

    Args:
        hear: (P, 2), of each pair the clip of the acoustic and that of the semantic stream -> head -> (P, 7) probabilities.
    """
    found = {}
    for kind in KINDS:
        pairs = partners(said, kind, seed)
        if len(pairs):
            found[kind] = figures(said, pairs, kind, hear(np.repeat(pairs[:, :1], 2, axis=1)), hear(pairs))
    return found


class Hearing:
    """Answers of a checkpoint to the acoustic stream of one clip beside the semantic stream of another."""

    def __init__(self, pipeline: EmotionPipeline, source: FeatureSource, digests: list[str]):
        self.pipeline, self.source, self.digests = pipeline, source, digests

    def __call__(self, pairs: np.ndarray) -> dict[str, np.ndarray]:
        lengths = [len(self.source.get(self.digests[i]).acoustic) for i, _ in pairs]
        logits = predict_logits(self.pipeline.model, lambda p: self._joined(*pairs[p]), lengths)
        return _probabilities(logits, self.pipeline.model.config)

    def _joined(self, acoustic: int, semantic: int):
        heard = self.source.get(self.digests[acoustic])
        if semantic == words_away.NOBODY:
            return replace(heard, semantic=heard.semantic[:0], semantic_frames=0)
        other = self.source.get(self.digests[semantic])
        names = ("semantic", "semantic_deviation", "semantic_frames")
        return replace(heard, **{name: getattr(other, name) for name in names})


def _probabilities(logits: Logits, config) -> dict[str, np.ndarray]:
    temperatures = dict(
        fused=config.temperature, acoustic=config.acoustic_temperature, semantic=config.semantic_temperature
    )
    heads = {head: getattr(logits, head) for head in temperatures}
    return {head: apply_temperature(x, temperatures[head]) for head, x in heads.items() if np.isfinite(x).all()}


HEADER = (
    "set", "swapped in", "pairs", "answer changes", "right tone kept", "head right before", "head changes", "head moves (JSD)",
    "head names the tone", "head names the new words",
)  # fmt: skip
COLUMNS = (
    "answer_changes", "answer_keeps_right_tone", "words_right", "head_changes", "head_moves", "head_names_tone", "head_names_new_words"
)  # fmt: skip


def markdown(sets: dict) -> str:
    """The figures as a table, in per cent; a dash where there is no such head or figure."""
    rows = [
        [name, KINDS[kind], str(f["pairs"]), *("-" if f.get(c) is None else f"{100 * f[c]:.1f}" for c in COLUMNS)]
        for name, kinds in sets.items()
        for kind, f in kinds.items()
    ]
    return table_of(list(HEADER), rows)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.swap", description=__doc__, formatter_class=raw)
    parser.add_argument("corpora", nargs="+", metavar="NAME=FOLDER", help="with texts and tones")
    parser.add_argument("--checkpoint", help="directory or hub id, base or tiny.en; default: the shipped one")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="only clips of this split")
    parser.add_argument("--fold", type=int, default=1, help="of corpora that have folds (%(default)s)")
    parser.add_argument("--limit", type=int, help="so many clips of each corpus")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of partners")
    parser.add_argument("--cache", default="~/.cache/fas_alm/features", help="feature cache")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    return parser.parse_args(argv)


def rows_of(name: str, folder: Path, fold: int, split: str | None, limit: int | None = None) -> list[dict]:
    """Clips whose tone and text are known; at most `limit`, evenly over the corpus."""
    dataset = load_corpus(name, folder, fold=fold if has_folds(name) else None)
    rows = [row for row in dataset if row["text"] and row["emotion"] and split in (None, row["split"])]
    if not rows:
        raise FASError(
            f"{name}: no clip of this split has a text and an emotion of the tone; expected a corpus that names both"
        )
    return rows if limit is None or len(rows) <= limit else [rows[i * len(rows) // limit] for i in range(limit)]


def words_moved(
    pipeline: EmotionPipeline, rows: list[dict], source: FeatureSource, cache: FeatureCache, sets: list[str], seed: int
) -> dict:
    """The figures of `words_away`, of clips of several sets; empty for a checkpoint that hears no words."""
    if pipeline.words_reader is None:
        return {}
    digests = [source.digests[i] for i in source.usable]
    usable = [rows[i] for i in source.usable]
    said = KeptTranscripts(cache.path, pipeline.extractor, pipeline.words_reader.transcriber)(
        {digest: row["audio"] for digest, row in zip(digests, usable, strict=True)}
    )
    words = dict(zip(said, pipeline.words_reader.read(list(said.values())), strict=True))
    clips = words_away.Clips(
        np.array([sets[i] for i in source.usable]),
        np.array([row["emotion"] for row in usable]),
        [words.get(digest, NoWords(UNCLEAR)) for digest in digests],
    )
    return words_away.study(pipeline.model.config, clips, Hearing(pipeline, source, digests), seed)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments, found = parse_arguments(argv), {}
    pipeline, read = EmotionPipeline.from_pretrained(arguments.checkpoint), TextModel.from_pretrained()
    cache = FeatureCache(expanded(arguments.cache), pipeline.extractor.identity())
    everything, sets = [], []
    for name, folder in parse_pairs(arguments.corpora, "corpora"):
        rows = rows_of(name, folder, arguments.fold, arguments.split, arguments.limit)
        everything, sets = everything + rows, sets + [name] * len(rows)
        source = FeatureSource(rows, pipeline.extractor, cache, [""])
        usable = [rows[i] for i in source.usable]
        hear = Hearing(pipeline, source, [source.digests[i] for i in source.usable])
        found[name] = study(Said.of(usable, read), hear, arguments.seed)
    print(markdown(found))
    moved = words_moved(
        pipeline, everything, FeatureSource(everything, pipeline.extractor, cache, [""]), cache, sets, arguments.seed
    )
    print("\n" + (words_away.markdown(moved) if moved else f"no words: {pipeline.no_words}"))
    if arguments.json:
        about = {"split": arguments.split, "seed": arguments.seed, "checkpoint": pipeline.name}
        write_json(arguments.json, about | {"sets": found, "words": moved, "provenance": provenance()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
