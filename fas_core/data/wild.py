"""Corpora of web videos and films with ratings beside them: CMU-MOSEI, MER2024. Both are training corpora of the FAS paper."""

import ast
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from fas_core.data.reading import Clip, audio_files
from fas_core.data.splits import assign_file_splits, assign_speaker_splits
from fas_core.data.tables import read_table
from fas_core.errors import CorpusError
from fas_core.segments import Segment
from fas_core.walk import walk_files

logger = logging.getLogger(__name__)

_RATED = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
_EMPTY_COLUMNS = ("approve", "reject")  # of Mechanical Turk's tables, whose rows end before them
_FOLDS = "cmu_mosei_std_folds.py"
_FOLD = re.compile(r"standard_(train|valid|test)_fold\s*=\s*(\[[^\]]*\])")
_FOLD_SIDES = {"train": "train", "valid": "validation", "test": "test"}
_MER_FRACTIONS = (0.85, 0.15, 0.0)


def cmu_mosei(root: Path) -> Iterator[Clip]:
    """The folder Raw of the release: Audio/Full/WAV_16000/VIDEO.wav, Transcript/Segmented/Combined/VIDEO.txt with lines
    VIDEO___SEGMENT___START___END___TEXT, and the annotators' tables in Labels. A clip is a segment of its video.

    Six emotions are rated from 0 to 3: the label is the one of the highest mean over the annotators, neutral where all are 0;
    segments with two highest ones are left out. A video is of one person, whose name is the video's.

    Sides are those of the SDK's `cmu_mosei_std_folds.py`, where it lies in the folder; without it videos are divided 70/15/15.

    Raises:
        CorpusError: a line or table of another form.
    """
    ratings = _mosei_ratings(root)
    audio = {path.stem: path for path in reversed(audio_files(root))}
    side = _mosei_sides(root, {video for video, _ in ratings})
    for transcript in walk_files(root, "Segmented/Combined/*.txt"):
        for number, line in enumerate(transcript.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if line.strip():
                yield _mosei_clip(f"{transcript.name}, line {number}", line, ratings, audio, side)


def _mosei_clip(where: str, line: str, ratings: dict, audio: dict[str, Path], side: dict[str, str]) -> Clip:
    fields = line.strip().split("___", 4)
    try:
        video, number, start, end, text = fields
        start, end = max(0.0, float(start)), float(end)  # some begin a little before their video
        segment = Segment(start, end) if end > start else None
    except ValueError:
        segment = None
    if segment is None:
        raise CorpusError(
            f"{where}: {line.strip()[:60]!r}; expected VIDEO___SEGMENT___START___END___TEXT with times in seconds"
        )
    label, path = ratings.get((video, number)), audio.get(video)
    problem = "no ratings" if label is None else "a tie of two emotions has no place" if label == "" else None
    return Clip(
        name=f"{video}_{number}",
        path=Path(segment.of(path or video)),
        label=label or "",
        speaker=video,
        split=side.get(video, "train"),
        text=text.strip() or None,
        language="en",
        where=where,
        problem=problem or (None if path else "audio file missing"),
    )


def _mosei_ratings(root: Path) -> dict[tuple[str, str], str]:
    """(video, segment) -> emotion; "" where two are rated alike."""
    ratings: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for table in walk_files(root, "Labels/*.csv"):
        for row in read_table(table, optional=_EMPTY_COLUMNS):
            key = row.need(("input.video_id",)), row.need(("input.clip",))
            written = [row.need((f"answer.{emotion}",)) for emotion in _RATED]
            try:
                ratings[key].append([float(rating) for rating in written])
            except ValueError:
                raise CorpusError(
                    f"{row.where}: ratings that are no numbers; expected 0 to 3 in Answer.anger and so on"
                ) from None
    return {key: _highest([sum(column) for column in zip(*rated, strict=True)]) for key, rated in ratings.items()}


def _highest(sums: list[float]) -> str:
    best = max(sums)
    if best == 0:
        return "neutral"
    return _RATED[sums.index(best)] if sums.count(best) == 1 else ""


def _mosei_sides(root: Path, videos: set[str]) -> dict[str, str]:
    folds = next(iter(walk_files(root, _FOLDS)), None)
    if folds is None:
        logger.warning(
            "cmu-mosei: no %s in %s: videos are divided 70/15/15, not by the SDK's standard folds", _FOLDS, root
        )
        return assign_speaker_splits(videos)
    text = folds.read_text(encoding="utf-8", errors="replace")
    try:
        found = {_FOLD_SIDES[part]: ast.literal_eval(videos) for part, videos in _FOLD.findall(text)}
    except (SyntaxError, ValueError):
        found = {}
    if len(found) < 3:
        raise CorpusError(
            f"{folds.name}: expected the lists standard_train_fold, standard_valid_fold and standard_test_fold"
        )
    return {str(video): side for side, listed in found.items() for video in listed}


def mer2024(root: Path) -> Iterator[Clip]:
    """label-disdim.csv with name, discrete and valence; label-transcription.csv with name and chinese, where it lies there; clips
    NAME.mp4 or NAME.wav in any folder, such as video-labeled.

    The labelled part is for training, and the challenge's test clips have no labels: clips are divided at random, emotion by
    emotion, 85 % train and 15 % validation. Nobody says who speaks.
    """
    labels = next(iter(walk_files(root, "label-disdim.csv")), None)
    rows = read_table(labels) if labels else []
    texts = next(iter(walk_files(root, "label-transcription.csv")), None)
    said = {row.need(("name",)): row.get(("chinese", "text")) for row in read_table(texts)} if texts else {}
    audio = {path.stem: path for path in reversed(audio_files(root))}
    names = [(row.need(("name",)), row.need(("discrete",))) for row in rows]
    side = assign_file_splits(((name, label.casefold()) for name, label in names), fractions=_MER_FRACTIONS)
    for row, (name, label) in zip(rows, names, strict=True):
        problem = None if name in audio else "audio file missing"
        path = audio.get(name, Path(name))
        yield Clip(
            name, path, label, None, side[name], said.get(name), "zh", where=row.where, drawn=True, problem=problem
        )  # fmt: skip
