"""Corpora that come as a table beside their audio: any manifest of the user's own, CASE, Emo-Emilia."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.data.reading import Clip
from fas_core.data.splits import assign_speaker_splits, speakers_on_two_sides
from fas_core.data.tables import Row, find_table, read_table
from fas_core.errors import CorpusError

logger = logging.getLogger(__name__)

_AUDIO = ("audio", "file", "path", "wav", "filename", "audio_path")
_EMOTION = ("emotion", "acoustic_emotion", "acoustic emotion", "label")
_SEMANTIC = ("semantic_emotion", "semantic emotion", "text_emotion")
_TEXT = ("text", "transcript", "sentence", "utterance")
_SPEAKER = ("speaker", "speaker_id", "voice")
_LANGUAGE = ("language", "lang")
_SPLIT = ("split", "subset")
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def manifest(root: Path, *, table: str | None = None) -> list[Clip]:
    """A CSV, TSV, JSON or JSONL table with columns audio and emotion, and optionally semantic_emotion, text,
    speaker, language, split, corpus; audio paths are relative to the table.

    Without a split column the clips are divided by speaker (70/15/15), and without speakers all of them are
    "test", so that nothing that might be the same voice is trained on.

    Args:
        table: file name of the table, for a folder that holds several.
    """
    place = root / table if table else find_table(root, ("manifest.jsonl", "manifest.csv", "manifest.json"))
    if not place.is_file():
        raise CorpusError(f"{place}: no such table; name one of the folder with table=...")
    rows = read_table(place)
    if not rows:
        raise CorpusError(f"{place.name}: no rows; expected columns audio and emotion, and one row a clip")
    clips = _with_splits(rows, [_clip(place.parent, row) for row in rows])
    mixed = speakers_on_two_sides(
        {"corpus": clip.corpus or "manifest", "speaker": clip.speaker, "split": clip.split} for clip in clips
    )
    if mixed:
        logger.warning("%s: %d speakers are on two sides, among them %s", place.name, len(mixed), min(mixed))
    return clips


def case(root: Path) -> list[Clip]:
    """CASE (Huang et al. 2026): file, text, acoustic emotion (the label), semantic emotion; all "test".

    The form of its table was not to be had: columns are taken in the spellings above, audio is looked for
    where the table says and beside it.
    """
    table = find_table(root, ("case.jsonl", "case.csv", "case.tsv", "metadata.jsonl", "metadata.csv"))
    return [_clip(root, row) for row in read_table(table)]


def emo_emilia(root: Path) -> Iterator[Clip]:
    """Emo-Emilia (Zhao et al. 2025): Emo-Emilia-ALL.jsonl with index, emotion, wav, text; all "test".

    The index is an Emilia name such as EN_B00031_S08754_W000092: language, batch, speaker, utterance.
    """
    for row in read_table(find_table(root, ("emo-emilia-all.jsonl",))):
        name = row.need(("index",))
        clip = _clip(root, row)
        yield replace(clip, name=name, speaker=name.rpartition("_W")[0] or None, language=name[:2].lower())


def _clip(folder: Path, row: Row) -> Clip:
    written = row.need(_AUDIO)
    path = _locate(folder, written)
    return Clip(
        name=row.get(("id",)) or written,
        path=path or folder / written,
        label=row.need(_EMOTION),
        speaker=row.get(_SPEAKER),
        text=row.get(_TEXT),
        language=row.get(_LANGUAGE),
        semantic_label=row.get(_SEMANTIC),
        corpus=row.get(("corpus",)),
        problem=None if path else "audio file missing",
    )


def _locate(folder: Path, written: str) -> Path | None:
    """The file where the table says, or beside the table: tables often keep a folder of their makers."""
    candidates = (folder / written, folder.parent / written, folder / Path(written).name)
    return next((path for path in candidates if path.is_file()), None)


def _with_splits(rows: list[Row], clips: list[Clip]) -> list[Clip]:
    if any(row.get(_SPLIT) for row in rows):
        return [replace(clip, split=_split(row)) for row, clip in zip(rows, clips, strict=True)]
    nameless = [row for row, clip in zip(rows, clips, strict=True) if clip.speaker is None]
    if len(nameless) == len(rows):
        logger.info("no split and no speaker column: all %d clips are test", len(rows))
        return clips
    if nameless:
        raise CorpusError(f"{nameless[0].where}: no speaker; give one in every row or in none, or add a split")
    return _by_speaker(clips)


def _by_speaker(clips: list[Clip]) -> list[Clip]:
    def voice(clip: Clip) -> str:
        return f"{clip.corpus}/{clip.speaker}"

    side = assign_speaker_splits(voice(clip) for clip in clips)
    return [replace(clip, split=side[voice(clip)]) for clip in clips]


def _split(row: Row) -> str:
    written = row.need(_SPLIT).lower()
    if written not in _SPLIT_WORDS:
        raise CorpusError(f"{row.where}: split {written!r}; expected train, validation (val, dev) or test")
    return _SPLIT_WORDS[written]
