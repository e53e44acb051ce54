"""Acted clips as tones: who says what how, and the neutral speech of the same actor that a tone differs from."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from fas_core.audio import load_audio
from fas_core.data import load_corpus
from fas_core.data.splits import SPLITS, assign_speaker_splits
from fas_core.errors import FASError
from fas_core.synth.transplant import Delivery, Neutral, analyse

NEUTRAL_CLIPS = 12  # of an actor: more than that changes medians and means little
_KEPT = 4096  # deliveries in memory, some 20 kB each


@dataclass(frozen=True)
class Tone:
    """An acted clip: `id` as of `load_corpus`, `actor` with the corpus before it, `text` where the corpus gives it."""

    id: str
    path: str
    emotion: str
    corpus: str
    actor: str
    split: str
    text: str | None


def load_tones(folders: Mapping[str, str | Path]) -> list[Tone]:
    """The clips of corpora that can lend tones: with a speaker, who also speaks neutrally. By id.

    A corpus's own sides are kept; where it has but one, its speakers are divided 70/15/15 (of two, one trains and one tests).

    Raises:
        CorpusError: as `load_corpus`. FASError: a corpus without such clips.
    """
    tones = []
    for corpus, folder in folders.items():
        rows = [row for row in load_corpus(corpus, folder) if row["speaker"]]
        neutral = {row["speaker"] for row in rows if row["emotion"] == "neutral"}
        rows = [row for row in rows if row["speaker"] in neutral]
        if not rows:
            raise FASError(f"--tones {corpus}={folder}: no clip of a speaker who is known and also speaks neutrally")
        tones += _of_rows(corpus, rows)
    return sorted(tones, key=lambda tone: tone.id)


def _of_rows(corpus: str, rows: Sequence[Mapping]) -> list[Tone]:
    side = {row["speaker"]: row["split"] for row in rows}
    if len(set(side.values())) == 1:
        side = assign_speaker_splits(side)
    return [
        Tone(
            row["id"],
            row["audio"],
            row["emotion"],
            corpus,
            f"{corpus}-{row['speaker']}",
            side[row["speaker"]],
            row["text"],
        )
        for row in rows
    ]


@lru_cache(maxsize=_KEPT)
def delivery_of(path: str, name: str) -> Delivery:
    """How a clip was said; raises AudioError where it cannot be used."""
    return analyse(load_audio(path).samples, name)


@dataclass
class Actors:
    """The neutral speech of each actor, analysed when it is first asked for.

    Args:
        tones: all clips. seed: of which neutral clips are taken where there are many.
    """

    tones: Sequence[Tone]
    seed: int = 0
    _of: dict[str, list[Tone]] = field(default_factory=lambda: defaultdict(list), init=False)

    def __post_init__(self):
        for tone in self.tones:
            if tone.emotion == "neutral":
                self._of[tone.actor].append(tone)

    def neutral(self, tone: Tone) -> Neutral:
        """Of the actor of a tone; duration and spectrum from the same sentence where the actor says it neutrally."""
        own = self._of[tone.actor]
        drawn = np.random.default_rng(self.seed).permutation(len(own))[:NEUTRAL_CLIPS]
        same = [other for other in own if tone.text and other.text == tone.text]
        return Neutral.of(self._heard(own[i] for i in sorted(drawn)), self._heard(same[:NEUTRAL_CLIPS]))

    @staticmethod
    def _heard(tones) -> list[Delivery]:
        return [delivery_of(tone.path, tone.id) for tone in tones]


def by_emotion(tones: Sequence[Tone], split: str) -> dict[str, dict[str, list[Tone]]]:
    """Emotion -> corpus -> clips, of one split."""
    if split not in SPLITS:
        raise FASError(f"split {split!r}; expected one of {', '.join(SPLITS)}")
    found: dict[str, dict[str, list[Tone]]] = defaultdict(lambda: defaultdict(list))
    for tone in tones:
        if tone.split == split:
            found[tone.emotion][tone.corpus].append(tone)
    return found
