"""What a text model is trained, chosen and tested on: GoEmotions, XED, MELD, and sentences of our own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fas_core.words import texts
from fas_core.words.sentences import SPLITS, as_transcribed, emotional_sentences, plain_sentences, templates
from fas_core.words.texts import Texts

FILLINGS = {"plain": 20, "emotional": 30}  # of each template, for training
HELD_OUT_FILLINGS = 12
_PERSON = re.compile(r"\[(?:NAME|PERSON)\]")
_TAG = re.compile(r"\[\w+\]")
_LOOSE = re.compile(r"\s+([,.!?;:'…])")


def training_texts(
    folder: Path, seed: int, *, meld: bool = False, languages: tuple[str, ...] = (), emotional: bool = True
) -> Texts:
    """Everything that is trained on, in the order of a seed, partly as transcripts have it.

    Args:
        folder: with `goemotions_ekman_train.tsv`, `xed_en-annotated.tsv`, `xed_neutral_en.txt`, and what the options ask for.
        meld: also `meld_train.csv`, whose licence (GPL-3.0) the weights would have to keep.
        languages: also `xed_XX-projections.tsv` of these. emotional: also emotional sentences of our own.

    Raises:
        CorpusError: a file lacks, or has another layout.
    """
    random = np.random.default_rng(seed)
    parts = [
        texts.read_goemotions(folder / "goemotions_ekman_train.tsv"),
        texts.read_xed(folder / "xed_en-annotated.tsv"),
        texts.read_xed_neutral(folder / "xed_neutral_en.txt"),
        *(texts.read_xed(folder / f"xed_{language}-projections.tsv") for language in languages),
        *([texts.read_meld(folder / texts.MELD_SPLITS["train"])] if meld else []),
        plain_sentences("train", FILLINGS["plain"], seed),
        *([emotional_sentences("train", FILLINGS["emotional"], seed)] if emotional else []),
    ]
    joined = Texts.joined(parts)
    order = random.permutation(len(joined))
    return Texts([as_transcribed(readable(joined.texts[row], random), random) for row in order], joined.shares[order])


def unlabelled_texts(folder: Path, seed: int) -> list[str]:
    """Lines of XED without a place among the seven, for a teacher to label.

    Raises:
        CorpusError: the file lacks, or has another layout.
    """
    random = np.random.default_rng(seed)
    found = texts.read_xed_unplaced(folder / "xed_en-annotated.tsv")
    return [as_transcribed(readable(text, random), random) for text in found]


def fragments(lines: list[str], count: int, seed: int) -> list[str]:
    """Pieces of lines, at least two words in a row, and pieces of two lines behind each other, for a teacher to label."""
    random = np.random.default_rng(seed)
    words = [line.split() for line in lines]
    words = [each for each in words if len(each) > 2]
    found = []
    for first, second in random.integers(len(words), size=(count, 2)) if words else ():
        piece = _piece(words[first], random)
        found.append(" ".join(piece + _piece(words[second], random) if random.random() < 0.3 else piece))
    return found


def _piece(words: list[str], random: np.random.Generator) -> list[str]:
    length = int(random.integers(2, len(words)))
    start = int(random.integers(len(words) - length + 1))
    return words[start : start + length]


def held_out(folder: Path, split: str, seed: int = 0) -> dict[str, Texts]:
    """Texts by the name of their source, with one emotion each, of the validation or test parts.

    Args:
        folder: with GoEmotions and MELD. split: "validation" or "test". seed: of the fillings of our own templates.

    Raises:
        CorpusError: a file lacks, or has another layout.
    """
    assert split in SPLITS[1:], split
    random = np.random.default_rng(seed)
    goemotions = folder / f"goemotions_ekman_{texts.GOEMOTIONS_SPLITS[split]}.tsv"
    found = {
        "goemotions": texts.read_goemotions(goemotions).single(),
        "meld": texts.read_meld(folder / texts.MELD_SPLITS[split]),
        "plain": plain_sentences(split, HELD_OUT_FILLINGS, seed),
        "emotional": emotional_sentences(split, HELD_OUT_FILLINGS, seed),
    }
    for name in ("plain", "emotional"):
        found[name].texts = [as_transcribed(text, random) for text in found[name].texts]
    found["goemotions"].texts = [readable(text, random) for text in found["goemotions"].texts]
    return found


def readable(text: str, random: np.random.Generator) -> str:
    """A line as people write it: names in the place of tags, no space before a mark."""
    names = [name for name in templates()["slots"]["name"] if " " not in name]
    text = _PERSON.sub(lambda _: str(random.choice(names)), text)
    return _LOOSE.sub(r"\1", _TAG.sub(" ", text)).strip()
