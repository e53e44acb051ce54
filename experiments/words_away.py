"""Whether words move the label: those of a clip are taken away, or others put in their place (`python -m experiments.swap`).

The answer is put together as `fas predict` does: FAS's heads, the words that its Whisper heard, the gate of the checkpoint where it
has one. Words are taken away whole, with their semantic stream; and others are put in whole, with the semantic stream of the
clip that they were said in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fas_core.answers import Answer, Tone
from fas_core.configuration_fas import FASConfig
from fas_core.labels import EMOTIONS
from fas_core.markdown import table as table_of
from fas_core.words.types import UNCLEAR, NoWords, Words

NOBODY = -1  # in the place of a clip: no semantic stream
NEUTRAL = "neutral"

Hear = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Clips:
    """N clips: their set, the emotion of their tone (names), and the words that were heard in them."""

    sets: np.ndarray
    tone: np.ndarray
    words: Sequence[Words | NoWords]

    def said(self) -> np.ndarray:
        """(N,) label of the words; "" where none were heard."""
        return np.array([each.label if isinstance(each, Words) else "" for each in self.words])


def labels(config: FASConfig, heads: dict[str, np.ndarray], words: Sequence[Words | NoWords]) -> np.ndarray:
    """(P,) labels of answers.

    Args:
        heads: "fused", and "acoustic" where there is that head -> (P, 7) calibrated probabilities.
    """
    named = {head: [dict(zip(EMOTIONS, map(float, row), strict=True)) for row in p] for head, p in heads.items()}
    found = []
    for i, each in enumerate(words):
        answer = Answer("", tone=Tone.of(named["acoustic"][i] if "acoustic" in named else None))
        answer.says(named["fused" if config.answer_from == "fused" else "acoustic"][i]).hears(each)
        found.append((answer if config.gate is None else answer.gated(config.gate)).label)
    return np.array(found)


def contradictions(clips: Clips, tone_alone: np.ndarray, seed: int = 0) -> np.ndarray:
    """(P, 2): clips whose tone alone is right, and one at random whose words were heard to carry an emotion that is not that of the tone."""
    rng, said = np.random.default_rng(seed), clips.said()
    emotional = (said != "") & (said != NEUTRAL)
    donors = {tone: np.flatnonzero(emotional & (said != tone)) for tone in set(clips.tone)}
    right = np.flatnonzero(tone_alone == clips.tone)
    return np.array(
        [(i, rng.choice(donors[clips.tone[i]])) for i in right if donors[clips.tone[i]].size], dtype=np.int64
    ).reshape(-1, 2)


def study(config: FASConfig, clips: Clips, hear: Hear, seed: int = 0) -> dict:
    """Set -> figures.

    Args:
        hear: (P, 2), of each pair the clip of the acoustic and that of the semantic stream, or `NOBODY` -> head -> (P, 7).
    """
    every = np.arange(len(clips.tone))
    heads = hear(np.stack([every, every], 1))
    before = labels(config, heads, clips.words)
    alone = np.array(EMOTIONS)[heads["acoustic" if "acoustic" in heads else "fused"].argmax(1)]
    without = labels(config, hear(np.stack([every, np.full_like(every, NOBODY)], 1)), [NoWords(UNCLEAR)] * len(every))
    pairs = contradictions(clips, alone, seed)
    swapped = labels(config, hear(pairs), [clips.words[i] for i in pairs[:, 1]]) if len(pairs) else np.array([])
    return {name: _figures(clips, name, before, without, pairs, swapped) for name in dict.fromkeys(clips.sets)}


def _figures(
    clips: Clips, name: str, before: np.ndarray, without: np.ndarray, pairs: np.ndarray, swapped: np.ndarray
) -> dict:
    here, neutral = clips.sets == name, clips.said() == NEUTRAL
    moved = (before != without)[here & neutral]
    of_pairs = pairs[:, 0]
    kept = (swapped == clips.tone[of_pairs])[here[of_pairs]] if len(pairs) else np.array([])
    return {
        "clips": int(here.sum()),
        "neutral_words": len(moved),
        "changed_without": float(moved.mean()) if len(moved) else None,
        "tone_right": len(kept),
        "kept_against_words": float(kept.mean()) if len(kept) else None,
    }


HEADER = (
    "set",
    "clips",
    "with neutral words",
    "label changes without them",
    "tone alone right",
    "label stays against other words",
)


def markdown(sets: dict) -> str:
    """The figures as a table, shares in per cent."""
    rows = [
        [
            name,
            *map(str, (f["clips"], f["neutral_words"])),
            _percent(f["changed_without"]),
            str(f["tone_right"]),
            _percent(f["kept_against_words"]),
        ]
        for name, f in sets.items()
    ]
    return table_of(list(HEADER), rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
