"""What a prediction says, and how it is told: JSON, CSV, a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from fas_core.audio import SAMPLE_RATE, Audio
from fas_core.labels import EMOTIONS
from fas_core.text import printable

if TYPE_CHECKING:  # `fas --help` does not wait for torch
    from fas_core.distillation import KeptTokens
    from fas_core.encoders.base import ClipFeatures


@dataclass
class Answer:
    """The answer to one clip or one window.

    Attributes:
        file: name of the source.
        label: most probable emotion; None where there was an error, or no speech.
        probabilities: emotion -> calibrated probability of the fused answer; without speech each is 0.
        acoustic, semantic: the same of each pathway alone; the acoustic head says the emotion of the tone, the semantic
            head that of the words. None without that head.
        conflict: divergence of the two, 0 to 1; of a long clip the mean over its windows, each by its duration.
        conflict_max: the largest of a long clip's windows.
        speech: share of the clip that is speech, 0 to 1; None where it was not checked.
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
    conflict_max: float | None = None
    speech: float | None = None
    kept_tokens: dict[str, list[dict]] = field(default_factory=dict)
    audio: dict = field(default_factory=dict)
    start: float | None = None
    end: float | None = None
    error: str | None = None
    exception: Exception | None = field(default=None, repr=False)

    @property
    def no_speech(self) -> bool:
        """No emotion is named, because nobody speaks."""
        return self.speech == 0

    def at(self, start: float, end: float) -> Answer:
        """Itself, as the answer of a window: `start` and `end` in seconds, its tokens timed in the whole."""
        self.start, self.end = start, end
        for token in (token for tokens in self.kept_tokens.values() for token in tokens):
            token.update({key: round(token[key] + start, 3) for key in ("start", "end")})
        return self

    def to_dict(self, tokens: bool = True) -> dict:
        """JSON-ready; what is None or empty is left out, as are the kept tokens unless `tokens`; names are `printable`."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "exception"}
        values = {k: v for k, v in values.items() if v not in (None, {}) or k == "label" and self.no_speech}
        if not self.error:
            values["no_speech"] = self.no_speech
        if not tokens:
            values.pop("kept_tokens", None)
        values |= {k: printable(values[k]) for k in ("file", "error") if k in values}
        if "source" in self.audio:
            values["audio"] = self.audio | {"source": printable(self.audio["source"])}
        return values

    def to_row(self) -> dict:
        """Flat, for CSV: label and probabilities of the fused answer and of each pathway, conflict, speech, error."""
        row = dict(
            file=printable(self.file),
            channel=self.audio.get("channel"),
            start=self.start,
            end=self.end,
            label=self.label,
        )
        row |= {f"p_{e}": (self.probabilities or {}).get(e) for e in EMOTIONS}
        for pathway in ("acoustic", "semantic"):
            probabilities = getattr(self, pathway) or {}
            row[pathway] = max(probabilities, key=probabilities.get, default=None)
            row |= {f"{pathway}.{e}": probabilities.get(e) for e in EMOTIONS}
        return row | dict(
            conflict=self.conflict, conflict_max=self.conflict_max, speech=self.speech,
            no_speech=None if self.error else self.no_speech, silent=self.audio.get("silent"),
            error=self.error and printable(self.error),
        )  # fmt: skip


def answer(
    audio: Audio, heads: dict[str, np.ndarray], kept: dict, features: ClipFeatures, speech: float | None = None
) -> Answer:
    """Put one clip's answer together from the calibrated probabilities (7,) of each head."""
    from fas_core.conflict import conflict  # here for the same reason

    named = {h: {e: float(p) for e, p in zip(EMOTIONS, x, strict=True)} for h, x in heads.items()}
    both = "acoustic" in heads and "semantic" in heads
    return Answer(
        file=audio.source,
        label=max(named["fused"], key=named["fused"].get),
        probabilities=named["fused"],
        acoustic=named.get("acoustic"),
        semantic=named.get("semantic"),
        conflict=float(conflict(heads["acoustic"], heads["semantic"])) if both else None,
        speech=speech,
        kept_tokens=kept,
        audio=audio.info() | {"trimmed_start": features.offset, "gain_db": features.front_end.get("gain_db")},
    )


def no_speech(audio: Audio) -> Answer:
    """The answer to a clip in which nobody speaks."""
    return Answer(file=audio.source, probabilities=dict.fromkeys(EMOTIONS, 0.0), speech=0.0, audio=audio.info())


def summarise(windows: Sequence[Answer]) -> Answer:
    """One answer for a long clip, from those of its windows (`Answer.at`).

    Each window counts by its duration, and those without speech do not count, but for the share of speech. A conflict within
    the windows stays one: conflicts are averaged, not the pathways that they come from.
    """
    heard = [w for w in windows if not w.no_speech]
    first, audio = windows[0], _whole_audio(windows)
    if not heard:
        return replace(first, speech=0.0, audio=audio, start=None, end=None)
    probabilities = {head: _mean_answer(heard, head) for head in ("probabilities", "acoustic", "semantic")}
    conflicts = [w.conflict for w in heard]
    is_known = None not in conflicts
    return Answer(
        file=first.file,
        label=max(probabilities["probabilities"], key=probabilities["probabilities"].get),
        **probabilities,
        conflict=_mean(heard, conflicts) if is_known else None,
        conflict_max=max(conflicts) if is_known else None,
        speech=None if first.speech is None else _mean(windows, [w.speech for w in windows]),
        kept_tokens={s: [t for w in heard for t in w.kept_tokens.get(s, [])] for s in heard[0].kept_tokens},
        audio=audio,
    )


def _whole_audio(windows: Sequence[Answer]) -> dict:
    """What was done to all of a long clip; where its windows were trimmed and how they were levelled is their own."""
    own = {"trimmed_start", "gain_db"}
    return {k: v for k, v in windows[0].audio.items() if k not in own} | {
        "duration": max(w.end for w in windows),
        "silent": all(w.audio["silent"] for w in windows),
        "windows": len(windows),
        "windows_without_speech": sum(w.no_speech for w in windows),
    }


def _mean_answer(windows: Sequence[Answer], head: str) -> dict[str, float] | None:
    rows = [getattr(w, head) for w in windows]
    return {e: _mean(windows, [row[e] for row in rows]) for e in EMOTIONS} if all(rows) else None


def _mean(windows: Sequence[Answer], values: list[float]) -> float:
    return float(np.average(values, weights=[w.end - w.start for w in windows]))


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
