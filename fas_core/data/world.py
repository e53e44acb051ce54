"""Acted corpora of further languages, divided by speaker: nEMO (Polish), ASED (Amharic), Korean."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.data.reading import Clip, by_name
from fas_core.data.splits import assign_speaker_splits
from fas_core.data.tables import read_table
from fas_core.walk import walk_files

_NEMO = re.compile(r"([A-Z]{2}0)_([a-z]+)_\d+")
_NEMO_SPEAKERS = ("EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0")
_ASED = re.compile(r"([nfhsa]\d)-\d\d-\d\d-0[12]-(\d\d)", re.IGNORECASE)
_KOREAN = re.compile(r"([ne][em][a-o])(\d{5})")
_KOREAN_SPEAKERS = tuple(f"ne{letter}" for letter in "abcdeklmno") + tuple(f"em{letter}" for letter in "abfgh")
_KOREAN_HUNDREDS = ("neutral", "happy", "sad", "angry")


def nemo(root: Path) -> Iterator[Clip]:
    """SPEAKER_emotion_sentence, and data.tsv with file_id and raw_text, where it lies there; the nine actors 6/2/1."""
    table = next(iter(walk_files(root, "data.tsv")), None)
    rows = read_table(table) if table else []
    said = {row.need(("file_id",)).partition(".")[0]: row.get(("raw_text", "normalized_text")) for row in rows}
    side = assign_speaker_splits(_NEMO_SPEAKERS)

    def parse(path: Path) -> Clip | None:
        match = _NEMO.fullmatch(path.stem)
        if match is None or match[1] not in side:
            return None
        return Clip(path.stem, path, match[2], match[1], side[match[1]], said.get(path.stem), "pl")

    return by_name(root, parse)


def ased(root: Path) -> Iterator[Clip]:
    """EMOTIONn-sentence-repetition-gender-speaker; the 65 speakers 70/15/15, the same division for a part of the corpus.

    Most sentences belong to one emotion, so that words can tell it; they are not part of the release. The speaker is the number
    alone: one name gives a speaker the other gender.
    """
    side = assign_speaker_splits(f"{number:02d}" for number in range(1, 66))

    def parse(path: Path) -> Clip | None:
        match = _ASED.fullmatch(path.stem)
        if match is None or match[2] not in side:
            return None
        return Clip(path.stem.lower(), path, match[1], match[2], side[match[2]], None, "am")

    return by_name(root, parse)


def korean(root: Path) -> Iterator[Clip]:
    """The emotional part of emotiontts_open_db: SCRIPT/SPEAKER/wav/SPEAKERnnnnn, with the words in SCRIPT/SPEAKER/script, or a table
    labels.csv with audio and text; the 15 speakers 70/15/15.

    The hundred of a clip's number is its emotion: neutral, happy, sad, angry. The release's README calls the third anger and the
    fourth sadness; texts and pitch say that it is the other way round. In emotional-to-emotional the words say the emotion
    too, in plain-to-emotional plain words are spoken in four tones.
    """
    table = next(iter(walk_files(root, "labels.csv")), None)
    rows = read_table(table) if table else []
    said = {Path(row.need(("audio",))).stem: row.get(("text",)) for row in rows}
    texts = {path.stem: path for folder in ("transcript", "script") for path in walk_files(root, f"{folder}/*.txt")}
    side = assign_speaker_splits(_KOREAN_SPEAKERS)

    def parse(path: Path) -> Clip | None:
        match = _KOREAN.fullmatch(path.stem)
        number = int(match[2]) if match else 0
        if match is None or match[1] not in side or not 1 <= number <= 400:
            return None
        clip = Clip(path.stem, path, _KOREAN_HUNDREDS[(number - 1) // 100], match[1], side[match[1]], said.get(path.stem), "ko")
        return replace(clip, text=_text(texts[path.stem])) if clip.text is None and path.stem in texts else clip

    return by_name(root, parse)


def _text(path: Path) -> str | None:
    """The words of a clip, in one small file; None where it is empty."""
    return " ".join(path.read_text(encoding="utf-8-sig", errors="replace").split()) or None
