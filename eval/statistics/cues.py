"""What telling acoustic cues does to a system's answers: how many change, move to neutral, and follow the cues against the audio."""

from collections.abc import Mapping, Sequence

import numpy as np

from fas_core.cues.acoustic import arousal
from fas_core.labels import EMOTIONS

NEUTRAL = EMOTIONS.index("neutral")
# The side of arousal of each emotion (Russell, 1980); disgust is on neither. The cues have no other side: they do not tell angry
# from happy.
AROUSAL = np.array(
    [{"angry": 1, "fear": 1, "happy": 1, "surprise": 1, "neutral": -1, "sad": -1}.get(e, 0) for e in EMOTIONS]
)


def cue_effect(
    labels: np.ndarray, without: np.ndarray, said: np.ndarray, cues: Sequence[Mapping[str, Sequence[str]] | None]
) -> dict:
    """Figures of a system with cues beside itself without.

    Args:
        labels: (N,) the reference. without, said: (N,) the answers without and with cues, -1 for none.
        cues: of each clip the symbols "told" and the levels "measured"; None where none were told.

    Returns:
        "changed": share of answers that differ. "to_neutral": of the answers that were not neutral, the share that is now.
        "neutral", "neutral_without": of the clips that are not neutral, the share that is called neutral.
        "follows": of the clips whose cues tell the other side of arousal than the audio measures: "clips", and the shares of answers
        on the side of the "cues", of the "audio" and on "neither"; "without", the share that was on the side of the cues before they were
        told. Shares are None where there is no clip.
    """
    emotional, moved = labels != NEUTRAL, (without != NEUTRAL) & (without >= 0)
    return {
        "clips": len(labels),
        "changed": _share(said != without),
        "to_neutral": _share(said[moved] == NEUTRAL),
        "neutral": _share(said[emotional] == NEUTRAL),
        "neutral_without": _share(without[emotional] == NEUTRAL),
        "follows": _follows(without, said, cues),
    }


def _follows(without: np.ndarray, said: np.ndarray, cues: Sequence[Mapping | None]) -> dict:
    sides = np.array([(0, 0) if c is None else (arousal(c["told"]), arousal(c["measured"])) for c in cues]).reshape(
        -1, 2
    )
    against = (sides[:, 0] == -sides[:, 1]) & (sides[:, 0] != 0)
    told = sides[against, 0]
    now, before = (np.where(each >= 0, AROUSAL[each], 0)[against] for each in (said, without))
    return {
        "clips": int(against.sum()),
        "cues": _share(now == told),
        "audio": _share(now == -told),
        "neither": _share(now == 0),
        "without": _share(before == told),
    }


def _share(which: np.ndarray) -> float | None:
    return round(float(which.mean()), 6) if len(which) else None
