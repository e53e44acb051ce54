"""Who is trained on, who is validated on, who is tested on: never one speaker on two sides."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fas_core.errors import CorpusError

SPLITS = ("train", "validation", "test")


def ravdess_folds() -> dict[int, list[str]]:
    """The speakers held out in each of the six RAVDESS folds of EmoBox (Ma et al., Interspeech 2024)."""
    content = json.loads(Path(__file__).with_name("ravdess_folds.json").read_text(encoding="utf-8"))
    return {int(fold): speakers for fold, speakers in content["folds"].items()}


def fold_splits(folds: Mapping[int, Sequence[str]], fold: int) -> dict[str, str]:
    """Speaker -> split: the fold's speakers are the test side, those of the next fold (the last -> the first)
    validation, all others train.

    Raises:
        CorpusError: no such fold.
    """
    order = sorted(folds)
    if fold not in folds:
        raise CorpusError(f"fold={fold!r}: expected a whole number from {order[0]} to {order[-1]}")
    following = order[(order.index(fold) + 1) % len(order)]
    side = {fold: "test", following: "validation"}
    return {speaker: side.get(number, "train") for number in order for speaker in folds[number]}


def assign_speaker_splits(
    speakers: Iterable[str], fractions: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0
) -> dict[str, str]:
    """Speaker -> split, each speaker on one side, the same on every machine and in every run.

    Args:
        speakers: names; repeats do not matter.
        fractions: of the speakers, for train, validation and test; they add up to 1.
        seed: another seed gives another division.

    Every side with a fraction above 0 gets a speaker as long as there are enough: with two speakers
    validation stays empty, with one everything is train.

    Raises:
        CorpusError: fractions that are not three shares of 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise CorpusError(f"fractions={tuple(fractions)}: expected three (train, validation, test) that sum to 1")
    # The digest, not Python's hash or a shuffle: stable over versions, and independent of the other speakers.
    ordered = sorted(set(speakers), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    sizes = _side_sizes(len(ordered), fractions)
    sides = [split for split, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]
    return dict(zip(ordered, sides, strict=True))


def assign_file_splits(
    files: Iterable[tuple[str, str]], seed: int = 0, fractions: Sequence[float] = (0.7, 0.15, 0.15)
) -> dict[str, str]:
    """File -> split, these fractions of the files of each emotion, for clips of unknown speakers.

    Args:
        files: (name of the file, emotion) of each clip; a file of several clips counts once.
        seed: another seed gives another division.
        fractions: as `assign_speaker_splits` takes them.
    """
    emotion_of: dict[str, str] = {}
    for file, emotion in sorted(files):
        emotion_of.setdefault(file, emotion)
    groups: dict[str, list[str]] = defaultdict(list)
    for file, emotion in emotion_of.items():
        groups[emotion].append(file)
    splits: dict[str, str] = {}
    for group in groups.values():
        splits |= assign_speaker_splits(group, fractions, seed)
    return splits


def _side_sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Largest remainders, then one speaker for every side that wants some while another has two."""
    sizes = [int(count * fraction + 1e-9) for fraction in fractions]
    by_remainder = sorted(range(3), key=lambda side: sizes[side] - count * fractions[side])
    for side in by_remainder[: count - sum(sizes)]:
        sizes[side] += 1
    for side in (2, 1, 0):  # the test side first: without it nothing can be said
        if fractions[side] > 0 and sizes[side] == 0 and max(sizes) > 1:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[side] += 1
    return sizes


def speakers_on_two_sides(rows: Iterable[Mapping[str, str | None]]) -> dict[str, set[str]]:
    """Speakers ("corpus/speaker") in more than one split, with those splits; empty is what we want."""
    sides: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["speaker"] is not None:
            sides[f"{row['corpus']}/{row['speaker']}"].add(row["split"])
    return {speaker: splits for speaker, splits in sides.items() if len(splits) > 1}
