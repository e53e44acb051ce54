"""What the gateway asks the language model about a clip: the lettered question, the words alone, and why."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fas_alm.conversations import Question
from fas_alm.prompts import (
    conflict_probability,
    option_letter,
    option_probabilities,
    option_token_ids,
    transcript_prompt,
)
from fas_alm.transcript import Spoken
from fas_core.cues.acoustic import CueReader, Levels
from fas_core.model_files import reads_checkpoint
from fas_serve.backend import Backend
from fas_serve.backend_audio import array_part

AT_ONCE = 8  # questions of all `/v1/emotion` requests together
RATIONALE_TOKENS = 96
WHY = {
    "en": "Why? Say in one or two sentences what in the tone and in the words points to it.",
    "zh": "为什么？用一两句话说明语气和话语中的依据。",
}


class LanguageModel:
    """Questions to a backend, answered as probabilities.

    Args:
        backend: who answers.
        token_ids: of the seven option letters.
        temperature: of the option probabilities, fitted on validation.
        transcripts: it has learned to read the words behind an audio (`fas_alm.transcript`).
        cues: measures the acoustic cues of clips, which are then told behind their audio (`fas_alm.cues`); None tells none.
    """

    def __init__(
        self,
        backend: Backend,
        token_ids: Sequence[int],
        temperature: float = 1.0,
        transcripts: bool = False,
        cues: CueReader | None = None,
    ):
        self.backend, self.token_ids, self.temperature = backend, list(token_ids), temperature
        self.transcripts, self.cues = transcripts, cues
        self._slots = asyncio.Semaphore(AT_ONCE)

    @classmethod
    def from_directory(cls, backend: Backend, directory: Path) -> "LanguageModel":
        """With tokenizer and temperature of a model directory. Raises `CheckpointError` where they are not there."""
        from transformers import AutoTokenizer

        from fas_alm.artifacts import read_audio_config

        config = read_audio_config(directory)
        with reads_checkpoint(directory, "the tokenizer of a FAS-ALM model"):
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
        return cls(backend, option_token_ids(tokenizer), config.option_temperature, config.transcripts)

    async def hear(self, samples: np.ndarray, language: str, spoken: Spoken = None) -> tuple[dict[str, float], float]:
        """Emotion probabilities of a clip, and the mass that the options hold. `spoken`: its words, to be told."""
        question = _question(samples, language, spoken, cues=await self.measure(samples))
        return self._probabilities(await self._letters([question]))

    async def measure(self, samples: np.ndarray) -> Levels | None:
        """The levels of a clip's acoustic cues, (n,) at 16 kHz; None where none are told."""
        return (await asyncio.to_thread(self.cues, [samples]))[0] if self.cues else None

    async def compare(self, samples: np.ndarray, language: str, spoken: Spoken) -> tuple[dict[str, float], float]:
        """Emotion probabilities of the words, and the probability that they contradict the tone, by letters."""
        cues = await self.measure(samples)
        words, conflict = [
            await self._letters([_question(samples, language, spoken, task, cues)]) for task in ("words", "conflict")
        ]
        return self._probabilities(words)[0], conflict_probability(conflict)[0]

    async def read(self, transcript: str, language: str) -> tuple[dict[str, float], float]:
        """The same of words alone."""
        content = transcript_prompt(transcript, language=language)
        return self._probabilities(await self._letters([{"role": "user", "content": content}]))

    async def explain(self, samples: np.ndarray, label: str, language: str, spoken: Spoken = None) -> str:
        """Why it is that emotion, in the model's own words."""
        messages = [
            _question(samples, language, spoken, cues=await self.measure(samples)),
            {"role": "assistant", "content": option_letter(label)},
            {"role": "user", "content": WHY[language]},
        ]
        async with self._slots:
            answer = await self.backend.chat({"messages": messages, "temperature": 0.0, "max_tokens": RATIONALE_TOKENS})
        return answer["choices"][0]["message"]["content"].strip()

    async def _letters(self, messages: list[dict]) -> list[float]:
        async with self._slots:
            return await self.backend.option_logprobs(messages, self.token_ids)

    def _probabilities(self, logprobs: list[float]) -> tuple[dict[str, float], float]:
        return option_probabilities(logprobs, temperature=self.temperature)


def _question(
    samples: np.ndarray, language: str, spoken: Spoken = None, task: str = "choose", cues: Levels | None = None
) -> dict:
    """As in training: the question before the audio, the words and the cues behind it."""
    return {"role": "user", "content": Question(task, language).content(array_part(samples), spoken, cues)}
