"""Corpora with a file of annotations and an official split by speaker: M3ED, FAU-Aibo."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fas_core.data.reading import Clip, audio_files
from fas_core.errors import CorpusError
from fas_core.walk import walk_files

_M3ED_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_AIBO_LABELS = "chunk_labels_5cl_corpus.txt"
_AIBO_CHUNK = re.compile(r"((Ohm|Mont)_\d\d)_\d{3}_\d\d")
# The challenge has no validation side; these two are that of Triantafyllopoulos et al., ICME 2021.
_AIBO_VALIDATION = {"Ohm_31", "Ohm_32"}


def m3ed(root: Path) -> Iterator[Clip]:
    """annotation.json, splitInfo/movie_list_{train,val,test}.txt and speaker_utterance.wav below any folder.

    The official split divides the 56 television series, so that nobody speaks on two sides. The label is that of
    the majority, `final_main_emo`; speakers are the characters of a series.

    Raises:
        CorpusError: annotations or split that are missing or of another form.
    """
    annotations = next(iter(walk_files(root, "annotation.json")), None)
    if annotations is None:
        return
    split = _m3ed_split(annotations.parent)
    audio = {path.stem: path for path in reversed(audio_files(root))}
    for series, dialogues in _m3ed_annotations(annotations).items():
        for dialogue in dialogues.values():
            for name, utterance in dialogue["Dialog"].items():
                yield _m3ed_clip(series, name, utterance, dialogue["SpeakerInfo"], split.get(series), audio)


def _m3ed_clip(
    series: str, name: str, utterance: dict, people: dict, split: str | None, audio: dict[str, Path]
) -> Clip:
    letter = utterance["Speaker"]
    path = audio.get(f"{letter}_{name}")
    problem = None if path else "audio file missing"
    return Clip(
        name=name,
        path=path or Path(),
        label=utterance["EmoAnnotation"]["final_main_emo"],
        speaker=f"{series}_{people.get(letter, {}).get('Name') or letter}",
        split=split or "",
        text=utterance["Text"],
        language="zh",
        problem=problem if split else "series in no list of splitInfo",
    )


def _m3ed_annotations(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """{series: {dialogue: {"SpeakerInfo": {letter: {...}}, "Dialog": {utterance: {...}}}}}, checked field by field."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CorpusError(f"{path.name}: not JSON in UTF-8 ({error})") from None
    try:
        for dialogues in content.values():
            for dialogue in dialogues.values():
                dialogue["SpeakerInfo"].items()
                for utterance in dialogue["Dialog"].values():
                    utterance["Speaker"], utterance["Text"], utterance["EmoAnnotation"]["final_main_emo"]
    except (AttributeError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{path.name}: {type(error).__name__} {error}; expected "
            "{series: {dialogue: {SpeakerInfo, Dialog: {utterance: {Speaker, Text, EmoAnnotation: {final_main_emo}}}}}}"
        ) from None
    return content


def _m3ed_split(folder: Path) -> dict[str, str]:
    """Series -> side."""
    lists = {side: folder / "splitInfo" / f"movie_list_{part}.txt" for part, side in _M3ED_SPLITS.items()}
    missing = [path.name for path in lists.values() if not path.is_file()]
    if missing:
        raise CorpusError(
            f"{folder}: splitInfo/{missing[0]} is missing; expected the folder splitInfo of the official repository "
            "beside annotation.json"
        )
    return {name: side for side, path in lists.items() for name in path.read_text(encoding="utf-8").split()}


def fau_aibo(root: Path) -> Iterator[Clip]:
    """wav/School_NN_NNN_NN.wav with chunk_labels_5cl_corpus.txt: chunk, letter, confidence (IS 2009 challenge).

    The split is the challenge's: the children of one school (Ohm) train, those of the other (Mont) test.

    Raises:
        CorpusError: a line of another form.
    """
    table = next(iter(walk_files(root, _AIBO_LABELS)), None)
    audio = {path.stem: path for path in reversed(audio_files(root))}
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines() if table else (), 1):
        fields = line.split()
        if not fields:
            continue
        match = _AIBO_CHUNK.fullmatch(fields[0])
        if match is None or len(fields) < 2:
            raise CorpusError(
                f"{table.name}, line {number}: {line!r}; expected a chunk and its label: Ohm_01_000_00 N 1"
            )
        path, speaker = audio.get(fields[0]), match[1]
        yield Clip(
            name=fields[0],
            path=path or Path(),
            label=fields[1],
            speaker=speaker,
            split=_aibo_split(speaker),
            language="de",
            problem=None if path else "audio file missing",
        )


def _aibo_split(speaker: str) -> str:
    if speaker.startswith("Mont"):
        return "test"
    return "validation" if speaker in _AIBO_VALIDATION else "train"
