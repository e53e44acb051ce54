"""Cues that are not the clip's own: shuffled, in conflict with it, or corrupted; drawn from a seed, the same each time."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fas_core.cues.acoustic import CUES, Levels
from fas_core.cues.levels import opposite
from fas_core.errors import FASError

MODES = ("none", "aligned", "shuffled", "conflict", "corrupted")
CHANGED = MODES[2:]
INVALID = ("zq", "##", "7x", "??", "~~", "%k")  # symbols that are no level


@dataclass(frozen=True)
class Perturbation:
    """What is told of the cues of a clip.

    Attributes:
        mode: one of `MODES`. "shuffled": the levels of another clip; "conflict": each level mirrored, medium stays;
            "corrupted": a symbol that is no level.
        share: of the six cues that are changed, drawn for each clip; the others stay aligned.
        seed: of everything that is drawn; a clip's draw depends on it, on the mode and on the clip's name, not on its place.

    Raises:
        FASError: another mode, or a share outside of 0 to 1.
    """

    mode: str = "aligned"
    share: float = 1.0
    seed: int = 42

    def __post_init__(self):
        if self.mode not in MODES:
            raise FASError(f"cues: {self.mode!r}; expected one of {', '.join(MODES)}")
        if not (isinstance(self.share, int | float) and 0 <= self.share <= 1):
            raise FASError(f"cue_share: {self.share!r}; expected a share of the cues, from 0 to 1")

    def donors(self, names: Sequence[str]) -> dict[str, str]:
        """Clip -> the clip whose levels it gets, never its own where there are two; depends on the set of names, not on its order."""
        order = sorted(names)
        cycle = [order[i] for i in np.random.default_rng([self.seed, len(order)]).permutation(len(order))]
        return {name: cycle[(place + 1) % len(cycle)] for place, name in enumerate(cycle)}

    def told(self, name: str, own: Levels, donor: Levels | None = None) -> Levels:
        """The symbols that are told of a clip.

        Args:
            name: of the clip. own: its levels. donor: those of the other clip, of "shuffled".
        """
        if self.mode not in CHANGED:
            return own
        rng = np.random.default_rng(self._seed(name))
        changed = set(rng.permutation(len(CUES))[: round(self.share * len(CUES))].tolist())
        others = self._others(rng, own, donor)
        return tuple(other if i in changed else level for i, (level, other) in enumerate(zip(own, others, strict=True)))

    def _others(self, rng: np.random.Generator, own: Levels, donor: Levels | None) -> Sequence[str]:
        if self.mode == "corrupted":
            return [INVALID[i] for i in rng.integers(len(INVALID), size=len(own))]
        if self.mode == "conflict":
            return [opposite(level) for level in own]
        if donor is None:
            raise FASError("shuffled cues: expected the levels of another clip")
        return donor

    def _seed(self, name: str) -> int:
        text = f"{self.seed} {self.mode} {name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
