"""Sentences of our own from templates with slots: plain declaratives without emotion, and short emotional ones.

Templates, not sentences, are divided into training, validation and test, so that a held-out sentence has other words around its
slots. `plain.json` holds them.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

import numpy as np

from fas_core.labels import EMOTIONS
from fas_core.words.texts import Texts

SPLITS = ("train", "validation", "test")
FILLERS = ("uh", "um", "well", "so", "and", "okay", "right")
_SLOT = re.compile(r"\{(\w+)\}")
_MARKS = re.compile(r"[^\w\s']")


@cache
def templates() -> dict:
    """`slots`: name -> fillings; `plain`: family -> split -> templates; `emotional`: emotion -> split -> templates."""
    return json.loads(files(__package__).joinpath("plain.json").read_text("utf-8"))


def plain_sentences(split: str, each: int, seed: int) -> Texts:
    """Neutral sentences of every family: `each` fillings of each template, those that come twice once."""
    found = [template for family in templates()["plain"].values() for template in family[split]]
    return Texts.of((text, ["neutral"]) for text in _filled(found, each, seed))


def emotional_sentences(split: str, each: int, seed: int) -> Texts:
    """As `plain_sentences`, of the six emotions."""
    kinds = templates()["emotional"].items()
    return Texts.of((text, [emotion]) for emotion, of in kinds for text in _filled(of[split], each, seed))


def as_transcribed(text: str, random: np.random.Generator) -> str:
    """A text as transcripts have it: often without marks and capitals, at times with a filler, a word lost or said twice."""
    words = text.split()
    if random.random() < 0.1 and len(words) > 3:
        place = int(random.integers(len(words)))
        words[place : place + 1] = [] if random.random() < 0.5 else [words[place]] * 2
    if random.random() < 0.1:
        words.insert(0, str(random.choice(FILLERS)))
    text = " ".join(words)
    return without_marks(text) if random.random() < 0.5 else text


def without_marks(text: str) -> str:
    """Small letters, no punctuation."""
    return " ".join(_MARKS.sub(" ", text).lower().split())


def _filled(found: list[str], each: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return list(dict.fromkeys(_fill(template, random) for template in found for _ in range(each)))


def _fill(template: str, random: np.random.Generator) -> str:
    slots = templates()["slots"]
    text = _SLOT.sub(lambda match: str(random.choice(slots[match[1]])), template)
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return text[:1].upper() + text[1:]


def check_templates() -> None:
    """Every family has every split, every slot is there, no template stands in two splits (for tests)."""
    seen: dict[str, str] = {}
    for kinds in (templates()["plain"], templates()["emotional"]):
        for name, of in kinds.items():
            assert set(of) == set(SPLITS), name
            for split, texts in of.items():
                for text in texts:
                    assert seen.setdefault(text, split) == split, text
                    assert set(_SLOT.findall(text)) <= set(templates()["slots"]), text
    assert set(templates()["emotional"]) == set(EMOTIONS) - {"neutral"}
