"""The tasks: what is asked about a clip, and what is the right answer by its labels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fas_alm.conversations.wordings import AGREE, QUESTIONS, TONE_AND_WORDS, YES_NO
from fas_alm.prompts import (
    CHOICE,
    CONFLICT,
    EMOTION_NAMES,
    LANGUAGES,
    OPTION_LETTERS,
    choice_prompt,
    option_letter,
    options_line,
    question_content,
)
from fas_alm.transcript import Spoken
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

TASKS = ("choose", "words", "conflict", "name", "tone_words", "agree", "json", "json_words")
LETTERED = ("choose", "words", "conflict")  # answered by one letter
OF_WORDS = ("words", "conflict", "tone_words", "agree", "json_words")  # need the emotion of the words
OF_TONE = tuple(
    task for task in TASKS if task not in ("words", "conflict")
)  # whose answers name the emotion of the tone

_EMOTION = {"type": "string", "enum": list(EMOTIONS)}
# For `response_format` or `structured_outputs` of a request.
SCHEMAS = {
    "json": {
        "type": "object", "properties": {"emotion": _EMOTION}, "required": ["emotion"], "additionalProperties": False,
    },
    "json_words": {
        "type": "object", "properties": {"emotion": _EMOTION, "words": _EMOTION, "agree": {"type": "boolean"}},
        "required": ["emotion", "words", "agree"], "additionalProperties": False,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One way to ask about any clip.

    Attributes:
        task: one of `TASKS`.
        language: "en" or "zh".
        variant: number of the wording.
        order: the emotions as "choose" and "words" letter them; of no meaning for the other tasks.
        audio_first: the audio before the question. Otherwise after it, so that clips that are asked the same share all
            but the last few tokens of their prompts; lettered questions are always asked like that.
        with_transcript: tell the words of the clip where they are known. with_cues: tell its acoustic cues where they are known.

    Raises:
        FASError: an unknown task or language.
    """

    task: str
    language: str = "en"
    variant: int = 0
    order: tuple[str, ...] = EMOTIONS
    audio_first: bool = False
    with_transcript: bool = True
    with_cues: bool = True

    def __post_init__(self):
        check_names("tasks", [self.task], TASKS)
        check_names("languages", [self.language], LANGUAGES)

    @property
    def text(self) -> str:
        if self.task == "choose":
            return choice_prompt(self.order, self.language, self.variant)
        wordings = QUESTIONS[self.task][self.language]
        return wordings[self.variant % len(wordings)].format(emotions=", ".join(EMOTIONS), options=self._options())

    def _options(self) -> str:
        if self.task != "conflict":
            return options_line(self.order, self.language)
        pairs = zip(OPTION_LETTERS, YES_NO[self.language], strict=False)
        return ("，" if self.language == "zh" else ", ").join(f"{letter} {name}" for letter, name in pairs)

    def answer(self, emotion: str, words: str | None = None) -> str:
        """What a model should say.

        Args:
            emotion: of the tone.
            words: emotion of the words, for the tasks that ask for it.

        Raises:
            FASError: no `words` for a task that asks for them.
        """
        if self.task in OF_WORDS and words is None:
            raise FASError(
                f"task {self.task!r}: the clip has no semantic_emotion; expected one of {', '.join(EMOTIONS)}"
            )
        if self.task in LETTERED:
            return self._letter(emotion, words)
        if self.task.startswith("json"):
            extra = {"words": words, "agree": not conflicts(emotion, words)} if self.task == "json_words" else {}
            return json.dumps({"emotion": emotion} | extra)
        names = EMOTION_NAMES[self.language]
        templates = {"name": "{tone}", "tone_words": TONE_AND_WORDS[self.language]}
        if self.task == "agree":
            kind = "conflict" if conflicts(emotion, words) else "same" if emotion == words else "none"
            templates["agree"] = AGREE[self.language][kind]
        return templates[self.task].format(tone=names[emotion], words=names.get(words))

    def _letter(self, emotion: str, words: str | None) -> str:
        if self.task == "conflict":
            return OPTION_LETTERS[CONFLICT.index("yes" if conflicts(emotion, words) else "no")]
        return option_letter(emotion if self.task == "choose" else words, self.order)

    def content(self, audio: dict, spoken: Spoken = None, cues: Sequence[str] | None = None) -> list[dict]:
        """The user message's content: the question and the audio part with its words and cues behind it, in their order."""
        heard, cues = spoken if self.with_transcript else None, cues if self.with_cues else None
        return question_content(self.text, audio, self.audio_first, heard, self.language, cues)


def conflicts(tone: str, words: str) -> bool:
    """Whether the words carry an emotion and the tone another: a sentence without emotion contradicts no tone."""
    return words not in ("neutral", tone)


def possible_tasks(row: Mapping, tasks: Sequence[str]) -> list[str]:
    """The tasks that a clip's labels answer."""
    if row["emotion"] is None:
        return []
    return [task for task in tasks if task not in OF_WORDS or row["semantic_emotion"] is not None]


def draw_question(
    rng: np.random.Generator,
    tasks: Sequence[str],
    languages: Sequence[str],
    shuffled_options: float = 1.0,
    transcript_dropout: float = 0.0,
    cue_dropout: float = 0.0,
) -> Question:
    """A task, a language, a wording, an order of the options (shuffled with that probability) and a place for the audio.

    Args:
        transcript_dropout: probability that a question about the tone alone is asked without the transcript.
        cue_dropout: probability that a question is asked without the acoustic cues.
    """
    task, language = (names[rng.integers(len(names))] for names in (tasks, languages))
    wordings = CHOICE[language] if task == "choose" else QUESTIONS[task][language]
    order = tuple(EMOTIONS[i] for i in rng.permutation(len(EMOTIONS)))
    order = order if rng.random() < shuffled_options else EMOTIONS
    audio_first = task not in LETTERED and bool(rng.integers(2))
    variant = int(rng.integers(len(wordings)))
    is_dropped = transcript_dropout > 0 and rng.random() < transcript_dropout and task not in OF_WORDS
    with_cues = not (cue_dropout > 0 and rng.random() < cue_dropout)
    return Question(task, language, variant, order, audio_first, not is_dropped, with_cues)


def check_names(option: str, names: Sequence[str], valid: Sequence[str]) -> None:
    """Raises `FASError` for an empty list or a name that is not valid."""
    unknown = [name for name in names if name not in valid]
    if unknown or not names:
        raise FASError(f"{option}: {', '.join(map(str, unknown)) or 'none'}; expected some of {', '.join(valid)}")
