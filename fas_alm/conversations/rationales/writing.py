"""Writers of rationales: templates with many wordings, and any LLM behind an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fas_alm.conversations.rationales.checking import problems_of
from fas_alm.conversations.rationales.wordings import (
    CONTENT,
    EXAMPLE,
    FEATURES,
    FRAMES,
    INSTRUCTION,
    JOINED,
    LEVEL_NAMES,
    PHRASES,
    QUOTED,
    SAID,
    SAYS,
)
from fas_alm.endpoint import ChatEndpoint
from fas_alm.prompts import EMOTION_NAMES
from fas_alm.transcript import quotable

TRIES = 3
LONGEST = 200  # tokens of a rationale
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Facts:
    """What a rationale is written from.

    Attributes:
        levels: attribute -> one of `LEVELS`, of those that were measured. emotion: of the tone.
        text: what is said, None where it is not known. language: "en" or "zh", of the rationale.
    """

    levels: Mapping[str, str]
    emotion: str
    text: str | None = None
    language: str = "en"


class Writer(Protocol):
    """Facts and the numbers that decide what is drawn -> a rationale that `problems_of` finds nothing wrong with."""

    def __call__(self, facts: Facts, seed: tuple[int, ...]) -> str: ...


def write_by_template(facts: Facts, seed: tuple[int, ...]) -> str:
    """A rationale of one of the wordings, drawn from the seed.

    Examples:
        >>> write_by_template(Facts({"rate": "low", "pitch": "high"}, "sad", "I am fine."), (2,)) != ""
        True
    """
    rng, language = np.random.default_rng(seed), facts.language

    def drawn(wordings: tuple[str, ...]) -> str:
        return wordings[rng.integers(len(wordings))]

    names = [list(facts.levels)[i] for i in rng.permutation(len(facts.levels))]
    phrases = [
        drawn(PHRASES[language][name]).format(level=drawn(SAID[language][name][facts.levels[name]])) for name in names
    ]
    said = drawn(SAYS[language]).format(text=_quoted(facts.text).rstrip(".。")) if facts.text else ""
    emotion = EMOTION_NAMES[language][facts.emotion]
    return drawn(FRAMES[language]).format(sound=_joined(phrases, language), said=said, emotion=emotion)


@dataclass
class EndpointWriter:
    """Rationales of an LLM, asked as C2SER asks (its Table I), until one names exactly its levels and emotion.

    Attributes:
        chat: the endpoint. tries: before a template is taken instead.
        replaced: ids of what templates wrote, by the numbers of their seed, with what was wrong last.
    """

    chat: ChatEndpoint
    tries: int = TRIES
    replaced: dict[tuple[int, ...], str] = field(default_factory=dict)

    def __call__(self, facts: Facts, seed: tuple[int, ...]) -> str:
        """Raises `EndpointError` where the endpoint does not answer."""
        problems: list[str] = []
        for attempt in range(self.tries):
            number = int(np.random.default_rng([*seed, attempt]).integers(2**31))
            said = self.chat.ask(
                [{"role": "user", "content": instruction(facts)}],
                max_tokens=LONGEST,
                temperature=TEMPERATURE,
                seed=number,
            )
            text = " ".join(said.text.split()).strip("‘’ ")
            problems = problems_of(text, facts.levels, facts.emotion)
            if not problems:
                return text
        self.replaced[seed] = "; ".join(problems)
        return write_by_template(facts, seed)


def instruction(facts: Facts) -> str:
    """What an LLM is asked."""
    language, names = facts.language, LEVEL_NAMES[facts.language]

    def parts(wordings: Mapping[str, Mapping[str, str]]) -> list[str]:
        return [w.format(level=names[facts.levels[a]]) for a, w in wordings[language].items() if a in facts.levels]

    features, text = parts(FEATURES), _quoted(facts.text or "")
    last = f"and {features[-1]}" if language == "en" and len(features) > 1 else features[-1]
    separator = JOINED[language][0]
    example = (separator if language == "zh" else " ").join(parts(EXAMPLE))
    return INSTRUCTION[language].format(
        features=separator.join([*features[:-1], last]), example=example, emotion=EMOTION_NAMES[language][facts.emotion],
        content=CONTENT[language].format(text=text) if text else "", quoted=QUOTED[language].format(text=text) if text else "",
    )  # fmt: skip


def _quoted(text: str) -> str:
    """Words that end no quotation of ours."""
    return quotable(text).translate(str.maketrans(dict.fromkeys("‘’'", "ʼ")))


def _joined(phrases: list[str], language: str) -> str:
    comma, last = JOINED[language]
    return last.join([comma.join(phrases[:-1]), phrases[-1]]) if len(phrases) > 1 else phrases[0]
