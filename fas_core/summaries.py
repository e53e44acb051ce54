"""One answer for a long clip, out of those of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fas_core.answers import Answer, AudioFacts, Pathways, Tone, top
from fas_core.labels import EMOTIONS
from fas_core.words.types import Words

EDGE = 1e-6  # seconds that rounding may lay between the end of a window and the start of the next


def summarise(windows: Sequence[Answer]) -> Answer:
    """One answer for a long clip, from those of its windows (`Answer.at`), in order.

    Each window counts by its duration, and those without speech do not count, but for the share of speech. A conflict within
    the windows stays one: conflicts are averaged, not the tones and words that they come from. Words are those of the windows
    that have some; where none has, the reason that holds for the longest time.
    """
    heard = [w for w in windows if not w.no_speech]
    first, audio = windows[0], _whole_audio(windows)
    if not heard:
        return replace(first, speech=0.0, audio=audio, start=None, end=None)
    probabilities = _mean_of(heard, [w.probabilities for w in heard])
    said = [w for w in heard if w.words is not None]
    compared = [w for w in said if w.conflict is not None]
    return Answer(
        file=first.file,
        label=top(probabilities),
        probabilities=probabilities,
        tone=Tone.of(_mean_of(heard, [w.tone and w.tone.probabilities for w in heard])),
        words=_words(said) if said else None,
        words_missing=None if said else _longest(heard, [w.words_missing for w in heard]),
        conflict=_mean(compared, [w.conflict for w in compared]),
        conflict_max=max((w.conflict for w in compared), default=None),
        disagreement=_mean(compared, [w.disagreement for w in compared]),
        speech=None if first.speech is None else _mean(windows, [w.speech for w in windows]),
        audio=audio,
        kept_tokens=_tokens(heard),
        pathways=_pathways(heard),
        distance=_mean(heard, [w.distance for w in heard]) if all(w.distance is not None for w in heard) else None,
    ).judged(heard[0].judge)


def _words(said: Sequence[Answer]) -> Words:
    """Transcripts in a row, the language that is spoken longest, means of the rest."""
    words = [w.words for w in said]
    probabilities = _mean_of(said, [each.probabilities for each in words])
    return Words(
        transcript=" ".join(w.words.transcript for w in in_a_row(said) if w.words.transcript),
        language=_longest(said, [each.language for each in words]),
        confidence=_mean(said, [each.confidence for each in words]),
        label=top(probabilities),
        probabilities=probabilities,
    )


def in_a_row(windows: Sequence[Answer]) -> list[Answer]:
    """Of windows that overlap as few as cover what all cover, so that nothing is told twice."""
    row: list[Answer] = []
    for number, window in enumerate(windows):
        following = windows[number + 1] if number + 1 < len(windows) else None
        if not row or following is None or following.start > row[-1].end + EDGE:
            row += [window] if not row or window.end > row[-1].end + EDGE else []
    return row


def _pathways(heard: Sequence[Answer]) -> Pathways:
    pathways = [w.pathways for w in heard]
    heads = {h: _mean_of(heard, [getattr(p, h) for p in pathways]) for h in ("fused", "acoustic", "semantic")}
    divergences = [p.divergence for p in pathways]
    return Pathways(**heads, divergence=None if None in divergences else _mean(heard, divergences))


def _tokens(heard: Sequence[Answer]) -> dict[str, list[dict]] | None:
    if any(w.kept_tokens is None for w in heard):
        return None
    return {stream: [token for w in heard for token in w.kept_tokens[stream]] for stream in heard[0].kept_tokens}


def _whole_audio(windows: Sequence[Answer]) -> AudioFacts:
    """What was heard of a long clip; how its windows were levelled is their own."""
    starts, ends = ([t for w in windows if (t := getattr(w.audio, name)) is not None] for name in ("start", "end"))
    return replace(
        windows[0].audio,
        seconds=max(w.end for w in windows),
        start=min(starts, default=None),
        end=max(ends, default=None),
        gain_db=None,
        silent=all(w.audio.silent for w in windows),
        windows=len(windows),
        windows_without_speech=sum(w.no_speech for w in windows),
    )


def _longest(windows: Sequence[Answer], values: list[str | None]) -> str | None:
    """The value that holds for the longest time."""
    seconds = dict.fromkeys(values, 0.0)
    for window, value in zip(windows, values, strict=True):
        seconds[value] += window.end - window.start
    return max(seconds, key=seconds.get)


def _mean_of(windows: Sequence[Answer], rows: list[dict[str, float] | None]) -> dict[str, float] | None:
    return {e: _mean(windows, [row[e] for row in rows]) for e in EMOTIONS} if all(rows) else None


def _mean(windows: Sequence[Answer], values: list[float]) -> float | None:
    return float(np.average(values, weights=[w.end - w.start for w in windows])) if values else None
