"""`/v1/emotion`: from clips to answers, FAS and the language model side by side.

A clip is a stream of windows, decoded a little ahead of FAS, so that an hour costs no more memory than a minute and the
requests of a server take turns.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from fas_core.answers import Answer, Tone, top
from fas_core.audio import SAMPLE_RATE, Audio
from fas_core.pipeline import LONG_SECONDS, WINDOW_SECONDS
from fas_core.words.types import OFF, NoWords, Words
from fas_serve.audio_parts import AudioReader, Window
from fas_serve.batching import Turn, gather
from fas_serve.budget import Budgets
from fas_serve.clips import Asked, ClipSource, HeardClip, counted, with_timelines
from fas_serve.errors import APIError, invalid
from fas_serve.listening import Heard, Question
from fas_serve.schemas import ClipEmotion, EmotionOptions, LanguageModelAnswer

AT_ONCE = 4  # clips of one request
AHEAD = 8  # windows of one clip that are decoded before they are answered, and no more seconds than:
AHEAD_SECONDS = 60.0


class EmotionService:
    """Answers clips.

    Args:
        listen: a question for FAS and a turn -> what it heard (a `Batcher` over a `Listener`).
        language: the language model, None with --fas-only.
        read: (T, D) frames of Whisper and a turn -> `Words` or `NoWords` (a `Batcher` over a `WordsReader`); None without one.
        why: there is no reader.
    """

    def __init__(
        self,
        listen: Callable[..., Awaitable[Heard]],
        language=None,
        read: Callable[..., Awaitable[Words | NoWords]] | None = None,
        why: str | None = None,
    ):
        self.listen, self.language, self.read, self.why = listen, language, read, why

    def check(self, options: EmotionOptions) -> None:
        """Raises `APIError` 400 for what this server does not have."""
        if options.words and self.read is None:
            text = f"words: this server does not write them down: {self.why or 'it was told not to'}; leave it out"
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
                return with_timelines([e async for e in self._entry(index, clip, asked, reader, budgets, alone)])

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
                        answer.index, answer.file = index, clip.name
                        yield answer
                if asked.options.channels == "each" and channel == 1:  # now it is known how many there are
                    channels.extend(range(2, answer.audio.channels + 1))
        except APIError as error:
            if alone or error.status >= 500 or error.status == 429:
                raise
            yield ClipEmotion(index=index, file=clip.name, error=str(error), code=error.code)

    async def _answers(
        self, file, where: str, channel: int | str, asked: Asked, reader: AudioReader, budgets: Budgets
    ) -> AsyncGenerator[ClipEmotion, None]:
        """The timeline of a channel, if it is asked for, and its summary."""
        options, limits = asked.options, reader.settings.recording
        window, hop = (options.window, options.hop) if options.timeline else (WINDOW_SECONDS, WINDOW_SECONDS)
        windows = reader.windows(file, where, limits, window, hop, channel, asked.turn.address)
        windows = counted(windows, asked, where, limits)
        clip = HeardClip(reader.settings.audio if self.language else None, asked.share, budgets)
        async with aclosing(windows), aclosing(self._heard(clip.kept(windows, not options.timeline), asked)) as heard:
            async for start, end, each in heard:
                each.answer.at(start, end)
                clip.heard.append(each)
                if options.timeline:
                    yield _told(each.answer, options)
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
        """Words are decoded in a thread of their own: they take longer."""
        wanted = self.read is not None and asked.options.words is not False
        heard = await self.listen(Question(audio, wanted), asked.turn)
        if heard.frames is not None:
            heard.answer.hears(await self.read(heard.frames, asked.turn))
            heard.frames = None
        return heard

    async def _summary(self, clip: HeardClip, asked: Asked) -> ClipEmotion:
        answer = _told(clip.together(), asked.options)
        if self.language is not None and answer.label is not None and (samples := clip.samples) is not None:
            answer.language_model = await self._ask(samples, answer, asked.options)
        return answer

    async def _ask(self, samples: np.ndarray, answer: ClipEmotion, options: EmotionOptions) -> LanguageModelAnswer:
        spoken = (answer.words or NoWords(answer.words_missing or OFF)) if self.language.transcripts else None
        probabilities, mass = await self.language.hear(samples, options.language, spoken)
        heard = LanguageModelAnswer(label=top(probabilities), probabilities=probabilities, option_mass=mass)
        if answer.words and options.words and spoken:
            words, heard.conflict = await self.language.compare(samples, options.language, spoken)
            heard.words = Tone.of(words)
        elif answer.words and options.words:
            heard.words = Tone.of((await self.language.read(answer.words.transcript, options.language))[0])
        if options.rationale:
            heard.rationale = await self.language.explain(samples, heard.label, options.language, spoken)
        return heard

    @property
    def tells_words(self) -> bool:
        """Whether the language model is told the words of the audio that a chat is about."""
        return self.read is not None and self.language is not None and self.language.transcripts

    @property
    def cues(self) -> Callable[[np.ndarray], Awaitable] | None:
        """Samples -> the acoustic cues that the language model is told of them; None where it is told none."""
        return self.language.measure if self.language is not None and self.language.cues else None

    async def spoken(self, audio: Audio, address: str = "") -> Words | NoWords:
        """The words of an audio of a chat; of a long one its beginning, as much as a prompt shows."""
        some = replace(audio, samples=audio.samples[: round(LONG_SECONDS * SAMPLE_RATE)])
        turn = Turn(address)
        heard = await self.listen(Question(some, True), turn)
        if heard.frames is None:
            return NoWords(heard.answer.words_missing or OFF)
        return await self.read(heard.frames, turn)


def _told(answer: Answer, options: EmotionOptions) -> ClipEmotion:
    if answer.judge is not None:
        answer.judged(answer.judge.asked(options.unsure_below, options.label_sets))
    return ClipEmotion(**answer.to_dict(options.tokens), index=0)
