"""The clips of a request while they are answered: what was asked, what was heard so far, one answer out of many windows."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np

from fas_core.answers import Answer
from fas_core.audio import SAMPLE_RATE, Audio, AudioLimits
from fas_core.pipeline import LONG_SECONDS
from fas_core.summaries import summarise
from fas_serve.audio_parts import Window
from fas_serve.batching import Turn
from fas_serve.budget import Budgets, Share
from fas_serve.errors import invalid
from fas_serve.listening import Heard
from fas_serve.schemas import ClipEmotion, EmotionOptions

COPIES = 4  # of audio on its way to the language model: samples, wav, base64, the request


@dataclass
class ClipSource:
    """A clip of a request: how to get its file, and how errors name it."""

    where: str
    load: Callable[[], Awaitable[bytes | BinaryIO]]
    name: str | None = None


@dataclass
class Asked:
    """What one request asks.

    Attributes:
        options: of the request.
        turn: its place among those who wait.
        share: what it has taken of what all share.
        seconds: of audio that were decoded for it.
    """

    options: EmotionOptions
    turn: Turn = field(default_factory=Turn)
    share: Share = field(default_factory=Share)
    seconds: float = 0.0


class HeardClip:
    """What is known of a clip when its last window is answered.

    Args:
        limits: of what the language model hears, None where there is none; a longer clip is answered by FAS alone.

    Attributes:
        samples: of all of it, for the language model; None where it is too long, or not asked.
    """

    def __init__(self, limits: AudioLimits | None, share: Share, budgets: Budgets):
        self.limits, self._share, self._memory = limits, share, budgets.memory
        self.heard: list[Heard] = []
        self._pieces: list[np.ndarray] | None = [] if limits else None
        self._first: Audio | None = None
        self._seconds, self._silent = 0.0, True

    async def kept(self, windows: AsyncIterator[Window], join: bool) -> AsyncGenerator[Window, None]:
        """The windows; with `join` those of a clip that FAS answers whole are one."""
        held: list[Window] = []
        async for start, end, audio in windows:
            self._remember(start, end, audio)
            held.append((start, end, audio))
            if join and end <= LONG_SECONDS:
                continue
            for each in held:
                yield each
            held = []
        if held:
            samples = np.concatenate([audio.samples for _, _, audio in held])
            yield 0.0, self._seconds, self._whole(samples)

    def _remember(self, start: float, end: float, audio: Audio) -> None:
        self._first = self._first or audio
        self._silent = self._silent and audio.is_silent
        new = audio.samples[round((self._seconds - start) * SAMPLE_RATE) :]  # windows of a timeline overlap
        self._seconds = end
        if self._pieces is None:
            return
        if end > self.limits.max_seconds:
            self._pieces = None
            return
        self._share.take(self._memory, COPIES * new.nbytes)
        self._pieces.append(new)

    @property
    def samples(self) -> np.ndarray | None:
        return np.concatenate(self._pieces) if self._pieces else None

    def _whole(self, samples: np.ndarray) -> Audio:
        return replace(self._first, samples=samples, duration=self._seconds, is_silent=self._silent)

    def together(self) -> Answer:
        """One answer for all windows."""
        answers = [each.answer for each in self.heard]
        return summarise(answers) if len(answers) > 1 else replace(answers[0], start=None, end=None)


def with_timelines(answers: list[ClipEmotion]) -> list[ClipEmotion]:
    """The summaries of one clip's channels, each with the windows that came before it."""
    summaries, windows = [], []
    for answer in answers:
        if answer.start is not None:
            windows.append(answer)
            continue
        answer.timeline = windows if windows and not answer.error else None
        summaries.append(answer)
        windows = []
    return summaries


async def counted(windows, asked: Asked, where: str, limits: AudioLimits) -> AsyncGenerator[Window, None]:
    """The windows, as long as the request has seconds left."""
    before = 0.0
    async with aclosing(windows):
        async for start, end, audio in windows:
            asked.seconds += end - before
            before = end
            if asked.seconds > limits.max_seconds:
                text = f"{where}: too long: the clips of a request may last {limits.max_seconds:g} s together"
                raise invalid(text, where, "invalid_audio")
            yield start, end, audio
