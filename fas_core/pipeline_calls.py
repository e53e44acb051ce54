"""What `EmotionPipeline` is called with and gives: options, one source or many, answers or the k most probable emotions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from fas_core.answers import Answer
from fas_core.audio import AudioLimits
from fas_core.audio_forms import AudioSource, is_pair, open_source
from fas_core.errors import FASError


class Options(TypedDict, total=False):
    """Options of a call, as `EmotionPipeline.__call__` explains them."""

    sampling_rate: int | None
    limits: AudioLimits
    batch_seconds: float
    batch_size: int | None


class GroupOptions(Options, total=False):
    """The same, and what `EmotionPipeline.groups` takes beside them."""

    channels: int | str
    on_window: Callable[[Answer], None]


class Score(TypedDict):
    """One of the most probable emotions, as transformers' pipeline for audio classification gives it."""

    label: str
    score: float


Scores = list[Score]


def is_list(sources: Any) -> bool:
    """Whether these are many sources: a list or tuple, but for an array with its rate."""
    return isinstance(sources, list | tuple) and not is_pair(sources)


def opened(source: AudioSource, sampling_rate: int | None) -> tuple[Any, int | None]:
    """The source that `load_audio` takes and the rate that belongs to it, as it was given where the source says none."""
    found, rate = open_source(source, sampling_rate)
    return found, sampling_rate if found is source else rate


def most_probable(answer: Answer, k: int) -> Scores:
    """The k most probable emotions of an answer, all of them where there are fewer.

    Raises:
        FASError: k below 1.
        AudioError: the one of an answer with an error.
    """
    if k < 1:
        raise FASError(f"top_k {k}: expected a number of emotions, 1 or more")
    if answer.exception is not None:
        raise answer.exception
    probabilities = answer.probabilities or {}
    ordered = sorted(probabilities, key=probabilities.__getitem__, reverse=True)
    return [Score(label=emotion, score=probabilities[emotion]) for emotion in ordered[:k]]
