"""What a prediction says, and how it is told: JSON, CSV, a table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from fas_core.audio import SAMPLE_RATE, Audio
from fas_core.labels import EMOTIONS

if TYPE_CHECKING:  # `fas --help` does not wait for torch
    from fas_core.distillation import KeptTokens
    from fas_core.encoders.base import ClipFeatures


@dataclass
class Answer:
    """The answer to one clip or one window.

    Attributes:
        file: name of the source.
        label: most probable emotion; None where there was an error.
        probabilities: emotion -> calibrated probability of the fused answer.
        acoustic, semantic: the same of each pathway alone; the acoustic head says the emotion of the tone, the semantic
            head that of the words. None without that head.
        conflict: divergence of the two, 0 to 1.
        kept_tokens: stream -> list of {start, end (seconds in the file), score} that the model listened to, in time.
        audio: what was done to the audio.
        start, end: seconds, in a timeline.
        error: what was wrong with the file.
    """

    file: str
    label: str | None = None
    probabilities: dict[str, float] | None = None
    acoustic: dict[str, float] | None = None
    semantic: dict[str, float] | None = None
    conflict: float | None = None
    kept_tokens: dict[str, list[dict]] = field(default_factory=dict)
    audio: dict = field(default_factory=dict)
    start: float | None = None
    end: float | None = None
    error: str | None = None
    exception: Exception | None = field(default=None, repr=False)

    def to_dict(self, tokens: bool = True) -> dict:
        """JSON-ready; what is None or empty is left out, as are the kept tokens unless `tokens`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "exception"}
        values = {k: v for k, v in values.items() if v not in (None, {})}
        if not tokens:
            values.pop("kept_tokens", None)
        return values

    def to_row(self) -> dict:
        """Flat, for CSV: the label, seven probabilities, each pathway's label, conflict, error."""
        top = {s: max(p, key=p.get) if (p := getattr(self, s)) else None for s in ("acoustic", "semantic")}
        probabilities = {f"p_{e}": (self.probabilities or {}).get(e) for e in EMOTIONS}
        return dict(
            file=self.file, start=self.start, end=self.end, label=self.label, **probabilities, **top,
            conflict=self.conflict, silent=self.audio.get("silent"), error=self.error,
        )  # fmt: skip


def answer(
    audio: Audio, heads: dict[str, np.ndarray], kept: dict, features: ClipFeatures | None, windows: int | None = None
) -> Answer:
    """Put one clip's answer together from the calibrated probabilities (7,) of each head."""
    from fas_core.conflict import conflict  # here for the same reason

    named = {h: {e: float(p) for e, p in zip(EMOTIONS, x, strict=True)} for h, x in heads.items()}
    both = "acoustic" in heads and "semantic" in heads
    info = audio.info()
    if features is not None:
        info |= {"trimmed_start": features.offset, "gain_db": features.front_end.get("gain_db")}
    if windows is not None:
        info["windows"] = windows
    return Answer(
        file=audio.source,
        label=max(named["fused"], key=named["fused"].get),
        probabilities=named["fused"],
        acoustic=named.get("acoustic"),
        semantic=named.get("semantic"),
        conflict=float(conflict(heads["acoustic"], heads["semantic"])) if both else None,
        kept_tokens=kept,
        audio=info,
    )


def kept_token_times(
    kept: KeptTokens, row: int, features: ClipFeatures, stream: str, frame_rate: float, patch_size: int
) -> list[dict]:
    """The kept tokens of one clip as {start, end, score}, seconds counted in the original file.

    Args:
        stream: "acoustic" or "semantic".
        frame_rate: of that stream's encoder, frames per second; encoders differ.
        patch_size: frames of a token. Nothing ends later than what the front end kept of the clip.
    """
    seconds = patch_size / frame_rate
    last = features.offset + getattr(features, f"{stream}_frames") / frame_rate
    last = min(last, features.front_end.get("end", math.inf) / SAMPLE_RATE)  # frames of slow encoders reach beyond it
    return [
        {
            "start": round(features.offset + i * seconds, 3),
            "end": round(min(features.offset + (i + 1) * seconds, last), 3),
            "score": round(s, 4),
        }
        for i, s, m in zip(kept.indices[row].tolist(), kept.scores[row].tolist(), kept.mask[row].tolist(), strict=True)
        if m
    ]
