"""Texts with an emotion, read from the layouts in which GoEmotions, XED and MELD come.

What a line says is kept as shares of the seven: a line with several labels counts for each of them in part.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fas_core.errors import CorpusError
from fas_core.labels import EMOTIONS, map_label

# goemotions_ekman_labels.txt: the lines' numbers stand for its lines, which are alphabetical
GOEMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
# Öhman et al., COLING 2020: Plutchik's eight; two of them have no place among the seven
XED = {"1": "angry", "2": None, "3": "disgust", "4": "fear", "5": "happy", "6": "sad", "7": "surprise", "8": None}
XED_LANGUAGES = (
    "de",
    "es",
    "fr",
    "it",
    "pl",
)  # projected: of a line of subtitles in the languages beside the English one
MELD_SPLITS = {"train": "meld_train.csv", "validation": "meld_dev.csv", "test": "meld_test.csv"}
GOEMOTIONS_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
NEUTRAL = EMOTIONS.index("neutral")


@dataclass
class Texts:
    """N texts and what they say.

    Attributes:
        texts: as they stand in the file.
        shares: (N, 7) in the order of `EMOTIONS`; rows sum to 1.
    """

    texts: list[str] = field(default_factory=list)
    shares: np.ndarray = field(default_factory=lambda: np.empty((0, len(EMOTIONS)), np.float32))

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, Iterable[str]]]) -> Texts:
        """Texts from pairs of a text and its emotions; a text without any is left out."""
        kept = [(text, [EMOTIONS.index(each) for each in emotions]) for text, emotions in pairs]
        kept = [(text, places) for text, places in kept if places]
        shares = np.zeros((len(kept), len(EMOTIONS)), np.float32)
        for row, (_, places) in zip(shares, kept, strict=True):
            row[places] = 1 / len(places)
        return cls([text for text, _ in kept], shares)

    @classmethod
    def joined(cls, parts: Iterable[Texts]) -> Texts:
        """All parts behind each other."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls()
        return cls([text for part in parts for text in part.texts], np.concatenate([part.shares for part in parts]))

    def single(self) -> Texts:
        """Those with one emotion: what accuracy can be counted on."""
        rows = np.flatnonzero(self.shares.max(1) == 1)
        return Texts([self.texts[row] for row in rows], self.shares[rows])

    @property
    def labels(self) -> np.ndarray:
        """(N,) the place of the first of the largest shares."""
        return self.shares.argmax(1)


def read_goemotions(path: Path) -> Texts:
    """`text TAB numbers`, the numbers of `GOEMOTIONS` with commas (Demszky et al., ACL 2020, grouped as Ekman's six and neutral).

    Raises:
        CorpusError: the file is missing, no UTF-8, or a line has another layout; the message names the line.
    """

    def emotions(number: str) -> str:
        return map_label("meld", GOEMOTIONS[int(number)])  # the same seven words

    return _read_numbers(path, emotions, "0 to 6")


def read_xed(path: Path) -> Texts:
    """`text TAB numbers`, Plutchik's eight by number; lines with anticipation or trust alone are left out.

    Raises:
        CorpusError: as of `read_goemotions`.
    """
    return _read_numbers(path, XED.__getitem__, "1 to 8")


def read_xed_unplaced(path: Path) -> list[str]:
    """The lines of XED with anticipation or trust alone: what they say has no place among the seven.

    Raises:
        CorpusError: as of `read_goemotions`.
    """
    return [text for text, emotions in _numbered(path, XED.__getitem__, "1 to 8") if not emotions]


def read_xed_neutral(path: Path) -> Texts:
    """`9 TAB text`: lines of subtitles without an emotion.

    Raises:
        CorpusError: as of `read_goemotions`.
    """
    return Texts.of((text, ["neutral"]) for _, _, text in _columns(path, "9 TAB text"))


def read_meld(path: Path) -> Texts:
    """A CSV of MELD (Poria et al., ACL 2019) with the columns Utterance and Emotion.

    Raises:
        CorpusError: the file is missing, no UTF-8, lacks a column, or a label is none of MELD's.
    """
    rows = list(csv.DictReader(_lines(path)))
    if not rows or not {"Utterance", "Emotion"} <= set(rows[0]):
        raise CorpusError(
            f"{path}: lacks the columns Utterance and Emotion; expected a CSV of MELD with sentence emotions"
        )
    return Texts.of((row["Utterance"], [map_label("meld", row["Emotion"])]) for row in rows)


def _read_numbers(path: Path, emotion: Callable[[str], str | None], expected: str) -> Texts:
    return Texts.of(_numbered(path, emotion, expected))


def _numbered(path: Path, emotion: Callable[[str], str | None], expected: str) -> Iterator[tuple[str, list[str]]]:
    for number, text, numbers in _columns(path, "text TAB numbers"):
        try:
            found = [emotion(each.strip()) for each in numbers.split(",")]
        except (LookupError, ValueError):
            where = f"{path}, line {number}: label {numbers!r}"
            raise CorpusError(f"{where}; expected numbers from {expected}, with commas") from None
        yield text, [each for each in dict.fromkeys(found) if each]


def _columns(path: Path, expected: str) -> Iterator[tuple[int, str, str]]:
    """Number of a line and its first two columns.

    A column that begins with a quotation mark goes to the next one, as csv has it, in XED's projections; a few of these swallowed
    lines of another file, which are no text and are left out.
    """
    rows = csv.reader(
        _lines(path), delimiter="\t", quoting=csv.QUOTE_MINIMAL if "projections" in path.name else csv.QUOTE_NONE
    )
    for columns in rows:
        if len(columns) < 2:
            raise CorpusError(f"{path}, line {rows.line_num}: {len(columns)} column; expected {expected}")
        if "\n" not in columns[0]:
            yield rows.line_num, columns[0], columns[1]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except FileNotFoundError:
        raise CorpusError(f"{path}: not there; --texts is the folder with this file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as UTF-8 text: {error}") from None
