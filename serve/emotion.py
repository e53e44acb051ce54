"""`/v1/emotion`: from clips to answers, FAS and the language model side by side.

A clip is a stream of windows, decoded a little ahead of FAS, so that an hour costs no more memory than a minute and the
requests of a server take turns.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np

from fas_core.answers import summarise
from fas_core.audio import Audio, AudioLimits
from fas_core.conflict import conflict
from fas_core.labels import EMOTIONS
from fas_core.pipeline import LONG_SECONDS, WINDOW_SECONDS
from serve.audio_parts import AudioReader, Window
from serve.batching import Turn, gather
from serve.budget import Budgets, Share
from serve.errors import APIError, invalid
from serve.listening import Heard, Question
from serve.schemas import ClipEmotion, EmotionOptions, ErrorDetail, Tone, Words

AT_ONCE = 4  # clips of one request
AHEAD = 8  # windows of one clip that are decoded before they are answered, and no more seconds than:
AHEAD_SECONDS = 60.0
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


class EmotionService:
    """Answers clips.

    Args:
        listen: a question for FAS and a turn -> what it heard (a `Batcher` over a `Listener`).
        language: the language model, None with --fas-only.
        transcribe: (T, D) frames of Whisper and a turn -> the words (a `Batcher` over a `Transcriber`); None without one.
    """

    def __init__(
        self,
        listen: Callable[..., Awaitable[Heard]],
        language=None,
        transcribe: Callable[..., Awaitable[str]] | None = None,
    ):
        self.listen, self.language, self.transcribe = listen, language, transcribe

    def check(self, options: EmotionOptions) -> None:
        """Raises `APIError` 400 for what this server does not have."""
        if options.words and self.transcribe is None:
            text = "words: this server has no Whisper decoder for transcripts; leave it out to get FAS's semantic head"
            raise invalid(text, "words", "not_available")
        if options.rationale and self.language is None:
            text = "rationale: this server has no language model (--fas-only)"
            raise invalid(text, "rationale", "not_available")
        if options.stream and not options.timeline:
            raise invalid("stream: expected together with timeline", "stream")

    async def answer(
        self, clips: list[ClipSource], asked: Asked, reader: AudioReader, budgets: Budgets
    ) -> list[ClipEmotion]:
        """One answer a clip, in order; what is wrong with one clip of several stands in its place.

        Raises:
            APIError: for the only clip of a request, or when the server is at fault.
        """
        places = asyncio.Semaphore(AT_ONCE)

        async def one(index: int, clip: ClipSource) -> list[ClipEmotion]:
            async with places:
                return _with_timelines([e async for e in self._entry(index, clip, asked, reader, budgets, alone)])

        alone = len(clips) == 1
        return [each for answers in await gather(one(i, clip) for i, clip in enumerate(clips)) for each in answers]

    async def stream(
        self, clips: list[ClipSource], asked: Asked, reader: AudioReader, budgets: Budgets
    ) -> AsyncGenerator[ClipEmotion, None]:
        """Of each clip the windows of its timeline, with start and end, then the summary."""
        for index, clip in enumerate(clips):
            async with aclosing(self._entry(index, clip, asked, reader, budgets, len(clips) == 1)) as answers:
                async for answer in answers:
                    yield answer

    async def _entry(
        self, index: int, clip: ClipSource, asked: Asked, reader: AudioReader, budgets: Budgets, alone: bool
    ) -> AsyncGenerator[ClipEmotion, None]:
        try:
            file, channels = await clip.load(), deque([asked.options.first_channel])
            while channels:
                channel = channels.popleft()
                async with aclosing(self._answers(file, clip.where, channel, asked, reader, budgets)) as answers:
                    async for answer in answers:
                        answer.index, answer.name = index, clip.name
                        yield answer
                if asked.options.channels == "each" and channel == 1:  # now it is known how many there are
                    channels.extend(range(2, answer.audio["channels"] + 1))
        except APIError as error:
            if alone or error.status >= 500 or error.status == 429:
                raise
            yield ClipEmotion(index=index, name=clip.name, error=ErrorDetail(**error.to_dict()["error"]))

    async def _answers(
        self, file, where: str, channel: int | str, asked: Asked, reader: AudioReader, budgets: Budgets
    ) -> AsyncGenerator[ClipEmotion, None]:
        """The timeline of a channel, if it is asked for, and its summary."""
        options, limits = asked.options, reader.settings.recording
        window, hop = (options.window, options.hop) if options.timeline else (WINDOW_SECONDS, WINDOW_SECONDS)
        windows = reader.windows(file, where, limits, window, hop, channel, asked.turn.address)
        windows = _counted(windows, asked, where, limits)
        clip = _Clip(reader.settings.audio if self.language else None, asked.share, budgets)
        async with aclosing(windows), aclosing(self._heard(clip.kept(windows, not options.timeline), asked)) as heard:
            async for start, end, each in heard:
                each.answer.at(start, end)
                clip.heard.append(each)
                if options.timeline:
                    yield _from_fas(each, options.tokens, start, end)
        yield await self._summary(clip, asked)

    async def _heard(self, windows: AsyncIterator[Window], asked: Asked) -> AsyncGenerator:
        """(start, end, heard) of each window, in order."""
        waiting: deque = deque()
        try:
            async with aclosing(windows):
                async for start, end, audio in windows:
                    waiting.append((start, end, asyncio.ensure_future(self._listen(audio, asked))))
                    while len(waiting) > AHEAD or sum(e - s for s, e, _ in waiting) > AHEAD_SECONDS:
                        start, end, first = waiting.popleft()
                        yield start, end, await first
            while waiting:
                start, end, first = waiting.popleft()
                yield start, end, await first
        finally:
            for _, _, each in waiting:
                each.cancel()

    async def _listen(self, audio: Audio, asked: Asked) -> Heard:
        """Words are decoded in a thread of their own: they take longer, and most do not ask for them."""
        heard = await self.listen(Question(audio, asked.options.words), asked.turn)
        if heard.frames is not None:
            heard.transcript = await self.transcribe(heard.frames, asked.turn)
            heard.frames = None
        return heard

    async def _summary(self, clip: "_Clip", asked: Asked) -> ClipEmotion:
        heard = clip.together()
        answer = _from_fas(heard, asked.options.tokens)
        if self.language is not None and not answer.no_speech and (samples := clip.samples) is not None:
            await self._ask(answer, samples, heard, asked.options)
        if answer.tone and answer.words and answer.words.source == "language_model":
            p, q = ([each.probabilities[e] for e in EMOTIONS] for each in (answer.tone, answer.words))
            answer.conflict = float(conflict(p, q))
        return answer

    async def _ask(self, answer: ClipEmotion, samples: np.ndarray, heard: Heard, options: EmotionOptions) -> None:
        answer.probabilities, answer.option_mass = await self.language.hear(samples, options.language)
        answer.label, answer.source = _top(answer.probabilities), "language_model"
        if heard.transcript:
            read, _ = await self.language.read(heard.transcript, options.language)
            answer.words = Words(
                label=_top(read), probabilities=read, source="language_model", transcript=heard.transcript
            )
        if options.rationale:
            answer.rationale = await self.language.explain(samples, answer.label, options.language)


class _Clip:
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
        new = audio.samples[round((self._seconds - start) * 16_000) :]  # windows of a timeline overlap
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

    def together(self) -> Heard:
        """One answer for all windows."""
        if len(self.heard) == 1:
            return self.heard[0]
        texts = [each.transcript for each in self.heard if each.transcript]
        asked = any(each.transcript is not None for each in self.heard)
        answer = summarise([each.answer for each in self.heard])
        return Heard(answer, transcript=" ".join(texts) if asked else None)


def _with_timelines(answers: list[ClipEmotion]) -> list[ClipEmotion]:
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


async def _counted(windows, asked: Asked, where: str, limits: AudioLimits) -> AsyncGenerator[Window, None]:
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


def _from_fas(heard: Heard, tokens: bool, start: float | None = None, end: float | None = None) -> ClipEmotion:
    fas = heard.answer
    if fas.no_speech:
        heard = Heard(fas)
    tone = fas.acoustic and Tone(label=_top(fas.acoustic), probabilities=fas.acoustic)
    words = fas.semantic and Words(
        label=_top(fas.semantic), probabilities=fas.semantic, source="fas", transcript=heard.transcript
    )
    audio = {key: value for key, value in fas.audio.items() if key != "source"}
    return ClipEmotion(
        index=0, label=fas.label, probabilities=fas.probabilities, source="fas", tone=tone, words=words, audio=audio,
        kept_tokens=fas.kept_tokens if tokens else None, conflict=fas.conflict,
        conflict_max=fas.conflict_max, speech=fas.speech, no_speech=fas.no_speech, start=start, end=end,
    )  # fmt: skip


def _top(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=probabilities.get)
