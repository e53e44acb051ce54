"""Acted corpora of further languages whose file names say everything, divided by speaker: nEMO (Polish), ASED (Amharic), Korean, EmoTa
(Tamil), SUBESCO and BanglaSER (Bangla), AESDD (Greek), CaFE (French of Canada), ShEMO (Persian).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fas_core.data import sentences
from fas_core.data.reading import Clip, by_name
from fas_core.data.splits import assign_speaker_splits
from fas_core.data.tables import read_table
from fas_core.walk import walk_files

_NEMO = re.compile(r"([A-Z]{2}0)_([a-z]+)_\d+")
_NEMO_SPEAKERS = ("EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0")
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
    """EMOTIONn-sentence-repetition-gender-speaker; the 65 speakers 70/15/15.

    Most sentences belong to one emotion, so that words can tell it; they are not part of the release. The speaker is the number
    alone: one name gives a speaker the other gender.
    """
    return _coded(root, r"(?P<label>[nfhsaNFHSA]\d)-\d\d-\d\d-0[12]-(?P<speaker>\d\d)", "am", _numbers(65))


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
        clip = Clip(
            path.stem, path, _KOREAN_HUNDREDS[(number - 1) // 100], match[1], side[match[1]], said.get(path.stem), "ko"
        )
        return replace(clip, text=_text(texts[path.stem])) if clip.text is None and path.stem in texts else clip

    return by_name(root, parse)


def _text(path: Path) -> str | None:
    """The words of a clip, in one small file; None where it is empty."""
    return " ".join(path.read_text(encoding="utf-8-sig", errors="replace").split()) or None


def emota(root: Path) -> Iterator[Clip]:
    """emotion/SPEAKER_SENTENCE_emo, as in the README of github.com/aaivu/EmoTa; the 22 speakers 70/15/15.

    The README numbers speakers with two digits; that they are 01 to 22 is our reading of it, so another number is counted as a
    name of another form.
    """
    return _coded(root, r"(?P<speaker>\d\d)_\d\d_(?P<label>[a-z]{3})", "ta", _numbers(22))


def subesco(root: Path) -> Iterator[Clip]:
    """GENDER_SPEAKER_NAME_S_sentence_EMOTION_take, as in Sultana et al. (PLOS ONE 2021); ten women and ten men, 70/15/15."""
    speakers = [f"{gender}_{number}" for gender in "FM" for number in _numbers(10)]
    return _coded(root, r"(?P<speaker>[FM]_\d\d)_[A-Z]+_S_\d+_(?P<label>[A-Z]+)_\d+", "bn", speakers)


def banglaser(root: Path) -> Iterator[Clip]:
    """mode-type-emotion-intensity-statement-repetition-actor, as in Das et al. (Data in Brief 2022); 34 speakers, 70/15/15.

    Names have RAVDESS's form and other emotions: 01 happy, 02 sad, 03 angry, 04 surprise, 05 neutral. The numbers are from memory
    of the article and were not seen in the release: compare a few clips before you use it.
    """
    return _coded(root, r"\d\d-\d\d-(?P<label>\d\d)-\d\d-\d\d-\d\d-(?P<speaker>\d\d)", "bn", _numbers(34))


def aesdd(root: Path) -> Iterator[Clip]:
    """emotion/eNN (SPEAKER): the letter of the emotion, the utterance, the actor in brackets (Vryzas et al., J. AES 2018); six
    actors, 4/1/1. The database grows: actors beyond six are counted as names of another form.
    """
    return _coded(root, r"(?P<label>[adfhs])\d\d ?\((?P<speaker>[1-6])\)(?: ?[a-z])?", "el", "123456")


def cafe(root: Path) -> Iterator[Clip]:
    """ACTOR-EMOTION-INTENSITY-SENTENCE, as in Gournay et al. (MMSys 2018), zenodo.org/records/1478765; twelve actors, 8/2/2."""
    return _coded(
        root, r"(?P<speaker>\d\d)-(?P<label>[CDJNPST])-[12]-(?P<text>[1-6])", "fr", _numbers(12), sentences.CAFE
    )


def shemo(root: Path) -> Iterator[Clip]:
    """GENDERSPEAKEREMOTIONNUMBER such as F21A05, as in Mohamad Nezami et al. (LREV 2019); 31 women and 56 men, 70/15/15.

    That women are F01 to F31 and men M01 to M56 is our reading of the article's counts.
    """
    speakers = [f"F{number}" for number in _numbers(31)] + [f"M{number}" for number in _numbers(56)]
    return _coded(root, r"(?P<speaker>[FM]\d\d)(?P<label>[AFHNSW])\d{2,3}", "fa", speakers)


def _numbers(count: int) -> list[str]:
    """01, 02, ..."""
    return [f"{number:02d}" for number in range(1, count + 1)]


def _coded(
    root: Path, form: str, language: str, speakers: Iterable[str], texts: Mapping[str, str] | None = None
) -> Iterator[Clip]:
    """Clips whose names say speaker, label and sometimes text, by the groups of these names; speakers 70/15/15, the same division
    for a part of the corpus.
    """
    pattern, side = re.compile(form), assign_speaker_splits(speakers)

    def parse(path: Path) -> Clip | None:
        match = pattern.fullmatch(path.stem)
        if match is None or match["speaker"] not in side:
            return None
        speaker, text = match["speaker"], texts and texts.get(match["text"])
        return Clip(path.stem, path, match["label"], speaker, side[speaker], text, language)

    return by_name(root, parse)
