"""`/v1/emotion`: from clips to answers, FAS and the language model side by side.

A clip is a stream of windows, decoded a little ahead of FAS, so that an hour costs no more memory than a minute and the
requests of a server take turns.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import numpy as np

from fas_core.audio import Audio
from fas_core.conflict import conflict
from fas_core.labels import EMOTIONS
from fas_core.pipeline import WINDOW_SECONDS
from serve.audio_parts import AudioReader, Window
from serve.batching import gather
from serve.budget import Budgets
from serve.clips import Asked, Clip, ClipSource, counted, with_timelines
from serve.errors import APIError, invalid
from serve.listening import Heard, Question
from serve.schemas import ClipEmotion, EmotionOptions, ErrorDetail, Tone, Words

AT_ONCE = 4  # clips of one request
AHEAD = 8  # windows of one clip that are decoded before they are answered, and no more seconds than:
AHEAD_SECONDS = 60.0


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
        windows = counted(windows, asked, where, limits)
        clip = Clip(reader.settings.audio if self.language else None, asked.share, budgets)
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

    async def _summary(self, clip: Clip, asked: Asked) -> ClipEmotion:
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
