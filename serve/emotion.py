"""`/v1/emotion`: from clips to answers, FAS and the language model side by side."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fas_core.audio import Audio
from fas_core.conflict import conflict
from fas_core.labels import EMOTIONS
from serve.batching import gather
from serve.errors import APIError, invalid
from serve.listening import Heard, Question
from serve.schemas import ClipEmotion, EmotionOptions, ErrorDetail, Tone, Words


@dataclass
class ClipSource:
    """A clip of a request: how to get its audio, and how errors name it."""

    where: str
    read: Callable[[], Awaitable[Audio]]
    name: str | None = None


class EmotionService:
    """Answers clips.

    Args:
        listen: a question for FAS -> what it heard (a `Batcher` over a `Listener`).
        language: the language model, None with --fas-only.
        transcribes: whether there is a decoder for the words.
    """

    def __init__(self, listen: Callable[[Question], Awaitable[Heard]], language=None, transcribes: bool = False):
        self.listen, self.language, self.transcribes = listen, language, transcribes

    def check(self, options: EmotionOptions) -> None:
        """Raises `APIError` 400 for what this server does not have."""
        if options.words and not self.transcribes:
            text = "words: this server has no Whisper decoder for transcripts; leave it out to get FAS's semantic head"
            raise invalid(text, "words", "not_available")
        if options.rationale and self.language is None:
            text = "rationale: this server has no language model (--fas-only)"
            raise invalid(text, "rationale", "not_available")

    async def answer(self, clips: list[ClipSource], options: EmotionOptions) -> list[ClipEmotion]:
        """One answer a clip, in order; what is wrong with one clip of several stands in its place.

        Raises:
            APIError: for the only clip of a request, or when the server is at fault.
        """
        return await gather(self._entry(i, clip, options, len(clips) == 1) for i, clip in enumerate(clips))

    async def _entry(self, index: int, clip: ClipSource, options: EmotionOptions, alone: bool) -> ClipEmotion:
        try:
            answer = await self._answer(await clip.read(), options)
        except APIError as error:
            if alone or error.status >= 500:
                raise
            return ClipEmotion(index=index, name=clip.name, error=ErrorDetail(**error.to_dict()["error"]))
        answer.index, answer.name = index, clip.name
        return answer

    async def _answer(self, audio: Audio, options: EmotionOptions) -> ClipEmotion:
        choice = self.language and asyncio.ensure_future(self.language.hear(audio.samples, options.language))
        try:
            heard = await self.listen(Question(audio, options.words))
            answer = _from_fas(heard, options.tokens)
            if self.language is not None:
                answer.probabilities, answer.option_mass = await choice
                answer.label, answer.source = _top(answer.probabilities), "language_model"
                await self._ask_more(answer, audio, heard, options)
        finally:
            if choice:
                choice.cancel()
        if answer.tone and answer.words:
            p, q = ([each.probabilities[e] for e in EMOTIONS] for each in (answer.tone, answer.words))
            answer.conflict = float(conflict(p, q))
        return answer

    async def _ask_more(self, answer: ClipEmotion, audio: Audio, heard: Heard, options: EmotionOptions) -> None:
        if heard.transcript:
            read, _ = await self.language.read(heard.transcript, options.language)
            answer.words = Words(
                label=_top(read), probabilities=read, source="language_model", transcript=heard.transcript
            )
        if options.rationale:
            answer.rationale = await self.language.explain(audio.samples, answer.label, options.language)


def _from_fas(heard: Heard, tokens: bool) -> ClipEmotion:
    fas = heard.answer
    tone = fas.acoustic and Tone(label=_top(fas.acoustic), probabilities=fas.acoustic)
    words = fas.semantic and Words(
        label=_top(fas.semantic), probabilities=fas.semantic, source="fas", transcript=heard.transcript
    )
    audio = {key: value for key, value in fas.audio.items() if key != "source"}
    return ClipEmotion(
        index=0, label=fas.label, probabilities=fas.probabilities, source="fas", tone=tone, words=words, audio=audio,
        kept_tokens=fas.kept_tokens if tokens else None,
    )  # fmt: skip


def _top(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=probabilities.get)
