"""Corpora of prompted speech with a table beside the clips: RESD (Russian), EMNS (English), JVNV (Japanese), Emozionalmente (Italian).

None of the releases was at hand: layouts are those of their pages and of public preparation scripts, as each reader says.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fas_core.data.reading import Clip, audio_files, by_name
from fas_core.data.splits import assign_speaker_splits
from fas_core.data.tables import Row, read_table, read_text
from fas_core.walk import walk_files

_JVNV = re.compile(r"([FM][12])_(([a-z]+)_(?:free|regular)_\d+)")


def resd(root: Path) -> Iterator[Clip]:
    """train.csv and test.csv with name, path, emotion, and text in RESD_Annotated; clips NAME.wav in any folder.

    Columns and the two sides are those of huggingface.co/datasets/Aniemore/resd, whose Parquet files have to be written out as
    audio and tables first. Nobody says who speaks: a voice may be on both sides.
    """
    audio = _audio_by_stem(root)
    for side in ("train", "test"):
        for table in walk_files(root, f"{side}.csv"):
            for row in read_table(table):
                name = _stem(row.need(("name", "path")))
                yield _clip(row, name, audio, row.need(("emotion",)), None, side, row.get(("text",)), "ru", drawn=True)


def emns(root: Path) -> Iterator[Clip]:
    """metadata.csv with columns separated by |: utterance, emotion, audio_recording, user_id and more; clips in any folder (openslr.org/136,
    Noriy et al. 2023; columns as in huggingface.co/datasets/ylacombe/emns). All "train", as an addition to other corpora: nearly all
    is one voice.
    """
    audio = _audio_by_stem(root)
    for table in walk_files(root, "metadata.csv"):
        for row in read_table(table):
            name = _stem(row.need(("audio_recording",)))
            text = row.get(("utterance", "text"))
            yield _clip(row, name, audio, row.need(("emotion",)), row.get(("user_id",)), "train", text, "en")


def jvnv(root: Path) -> Iterator[Clip]:
    """SPEAKER/emotion/session/SPEAKER_emotion_session_number, and transcription.csv without a header: emotion_session_number, the
    nonverbal part and all words, separated by | (Xin et al. 2023; public preparation scripts). Two women and two men, 2/1/1.
    """
    tables = walk_files(root, "transcription.csv")
    lines = [line.split("|") for table in tables for line in read_text(table).splitlines()]
    said = {fields[0].strip(): fields[-1].strip() for fields in lines if len(fields) > 1}
    side = assign_speaker_splits(("F1", "F2", "M1", "M2"))

    def parse(path: Path) -> Clip | None:
        match = _JVNV.fullmatch(path.stem)
        if match is None or match[1] not in side:
            return None
        return Clip(path.stem, path, match[3], match[1], side[match[1]], said.get(match[2]), "ja")

    return by_name(root, parse)


def emozionalmente(root: Path) -> Iterator[Clip]:
    """metadata/samples.csv with file_name, actor, emotion_expressed, and audio/FILE_NAME (Catania et al., zenodo.org/records/6569824; columns
    as a public script reads them, that of the sentence not seen). The 431 actors 70/15/15.
    """
    rows = [row for table in walk_files(root, "samples.csv") for row in read_table(table)]
    side, audio = assign_speaker_splits(row.need(("actor",)) for row in rows), _audio_by_stem(root)
    for row in rows:
        actor, text = row.need(("actor",)), row.get(("sentence", "transcription", "text"))
        yield _clip(
            row,
            _stem(row.need(("file_name",))),
            audio,
            row.need(("emotion_expressed",)),
            actor,
            side[actor],
            text,
            "it",
        )


def _audio_by_stem(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in reversed(audio_files(root))}


def _stem(written: str) -> str:
    return PurePosixPath(written.replace("\\", "/")).stem


def _clip(
    row: Row,
    name: str,
    audio: dict[str, Path],
    label: str,
    speaker: str | None,
    split: str,
    text,
    language: str,
    **more,
) -> Clip:
    problem = None if name in audio else "audio file missing"
    path = audio.get(name, Path(name))
    return Clip(name, path, label, speaker, split, text, language, where=row.where, problem=problem, **more)
