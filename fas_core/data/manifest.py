"""Corpora that come as a table beside their audio: any manifest of the user's own, CASE, Emo-Emilia.

A row's audio is where the table says, from the table's folder or the one above, and nowhere else: a file of the same name in
another folder is another file.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.data.exclusions import relative_name
from fas_core.data.reading import Clip
from fas_core.data.splits import assign_file_splits, assign_speaker_splits, speakers_on_two_sides
from fas_core.data.tables import Row, find_table, read_table
from fas_core.data.times import segment_of
from fas_core.errors import CorpusError
from fas_core.paths import is_file
from fas_core.segments import Segment, file_of

logger = logging.getLogger(__name__)

MANIFESTS = ("manifest.jsonl", "manifest.csv", "manifest.tsv", "manifest.json")
_NO_EMOTION = "no emotion given"
_AUDIO = ("audio", "file", "path", "wav", "filename", "audio_path", "audio_filepath")
_EMOTION = ("emotion", "acoustic_emotion", "acoustic emotion", "label")
_SEMANTIC = ("semantic_emotion", "semantic emotion", "text_emotion")
_TEXT = ("text", "transcript", "sentence", "utterance")
_SPEAKER = ("speaker", "speaker_id", "voice")
_LANGUAGE = ("language", "lang")
_SPLIT = ("split", "subset")
_SYNTHESIZER = ("synthesizer", "tts")
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def manifest(root: Path, *, table: str | None = None, seed: int = 0) -> list[Clip]:
    """A CSV, TSV, JSON or JSONL table with columns audio and emotion, and optionally start, end, semantic_emotion, text,
    speaker, language, split, corpus, synthesizer, id; audio paths are relative to the table. With start and end a clip is that part of the
    file (`fas_core.data.times`).

    Without a split column the clips are divided 70/15/15: by speaker, and files that name no speaker at random, emotion by
    emotion, the segments of a file together. A voice may then be on two sides, which is said in the log.

    Args:
        table: file name of the table, for a folder that holds several.
        seed: of the random division.

    Raises:
        CorpusError: a table that cannot be read, or rows that contradict each other.
    """
    place = root / table if table else find_table(root, MANIFESTS)
    if not is_file(place):
        raise CorpusError(f"{place}: no such table; name one of the folder with table=...")
    rows = read_table(place)
    if not rows:
        raise CorpusError(f"{place.name}: no rows; expected columns audio and emotion, and one row a clip")
    clips = _with_splits(place.parent, rows, _clips(place.parent, rows), seed)
    mixed = speakers_on_two_sides(
        {"corpus": clip.corpus or "manifest", "speaker": clip.speaker, "split": clip.split} for clip in clips
    )
    if mixed:
        logger.warning("%s: %d speakers are on two sides, among them %s", place.name, len(mixed), min(mixed))
    return clips


def case(root: Path) -> list[Clip]:
    """CASE (Huang et al. 2026): file, text, acoustic emotion (the label), semantic emotion; all "test".

    The form of its table was not to be had: columns are taken in the spellings above.
    """
    return _clips(
        root, read_table(find_table(root, ("case.jsonl", "case.csv", "case.tsv", "metadata.jsonl", "metadata.csv")))
    )


def emo_emilia(root: Path) -> Iterator[Clip]:
    """Emo-Emilia (Zhao et al. 2025): Emo-Emilia-ALL.jsonl with index, emotion, wav, text; all "test".

    The index is an Emilia name such as EN_B00031_S08754_W000092: language, batch, speaker, utterance. It names one clip of the
    whole set, so that INDEX.wav beside the table is the file, too.
    """
    for row in read_table(find_table(root, ("emo-emilia-all.jsonl",))):
        name = row.need(("index",))
        clip = _clip(root, row)
        beside = root / f"{name}.wav"
        if clip.problem and is_file(beside):
            clip = replace(clip, path=beside, problem=None)
        yield replace(clip, name=name, speaker=name.rpartition("_W")[0] or None, language=name[:2].lower())


def _clips(folder: Path, rows: list[Row]) -> list[Clip]:
    """Rows that say two things about one clip, or give one name to two, are an error."""
    clips = [_clip(folder, row) for row in rows]
    if all(clip.problem == _NO_EMOTION for clip in clips) and rows:
        rows[0].need(_EMOTION)
    for same, what in ((lambda clip: str(clip.path), "audio"), (lambda clip: f"{clip.corpus}/{clip.name}", "id")):
        seen: dict[str, Clip] = {}
        for clip in clips:
            other = seen.setdefault(same(clip), clip)
            mine, theirs = (str(clip.path), clip.label.casefold()), (str(other.path), other.label.casefold())
            if mine != theirs and clip.problem is None and other.problem is None:
                raise CorpusError(
                    f"{clip.where}: {what} {clip.name!r} is that of {other.where}, too, with another "
                    f"{'emotion' if what == 'audio' else 'audio or emotion'}; expected one row a clip"
                )
    return clips


def _clip(folder: Path, row: Row) -> Clip:
    written, segment = row.need(_AUDIO), segment_of(row)
    path, label = _locate(folder, written), row.get(_EMOTION)
    file, part = path or folder / written, segment or Segment(0.0, None)
    # A segment that begins the file and has no end is called as the file, so that its features are the file's.
    return Clip(
        name=(row.get(("id",)) or written) + str(part),
        path=Path(part.of(file)),
        label=label or "",
        speaker=row.get(_SPEAKER),
        text=row.get(_TEXT),
        language=row.get(_LANGUAGE),
        semantic_label=row.get(_SEMANTIC),
        corpus=row.get(("corpus",)),
        synthesizer=row.get(_SYNTHESIZER),
        where=row.where,
        problem=_NO_EMOTION if label is None else None if path else "audio file missing",
    )


def _locate(folder: Path, written: str) -> Path | None:
    """From the table's folder, or from the one above, where a table lies in the folder that its paths begin with."""
    spellings = dict.fromkeys((written, written.replace("\\", "/")))  # Windows's
    candidates = (place / spelling for spelling in spellings for place in (folder, folder.parent))
    return next((path for path in candidates if is_file(path)), None)


def _with_splits(folder: Path, rows: list[Row], clips: list[Clip], seed: int) -> list[Clip]:
    if any(row.get(_SPLIT) for row in rows):
        return [replace(clip, split=_split(row)) for row, clip in zip(rows, clips, strict=True)]
    named, nameless = [c for c in clips if c.speaker is not None], [c for c in clips if c.speaker is None]
    side = assign_speaker_splits(_voice(clip) for clip in named)
    # by the path from the table: the division does not depend on where the corpus lies
    file = {clip.where: relative_name(file_of(clip.path), folder) for clip in clips}
    with_a_voice = {file[clip.where]: side[_voice(clip)] for clip in named}
    drawn = assign_file_splits([(file[c.where], c.label.casefold()) for c in nameless], seed) | with_a_voice
    if nameless:
        logger.warning(
            "%s: no split, and no speaker in %d of %d rows: those are divided at random (70/15/15, seed %d), so that a voice may be "
            "on two sides; give a column speaker or split to do better",
            rows[0].where.partition(",")[0], len(nameless), len(rows), seed,
        )  # fmt: skip
    return [
        replace(clip, split=drawn[file[clip.where]], drawn=True)
        if clip.speaker is None
        else replace(clip, split=side[_voice(clip)])
        for clip in clips
    ]


def _voice(clip: Clip) -> str:
    return f"{clip.corpus}/{clip.speaker}"


def _split(row: Row) -> str:
    written = row.need(_SPLIT).lower()
    if written not in _SPLIT_WORDS:
        raise CorpusError(f"{row.where}: split {written!r}; expected train, validation (val, dev) or test")
    return _SPLIT_WORDS[written]
