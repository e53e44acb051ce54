"""From what a model wrote to one of the seven emotions."""

import json

from fas_alm.conversations.naming import named_emotions, option_letters
from fas_alm.conversations.questions import Question
from fas_alm.prompts import OPTION_LETTERS
from fas_core.labels import EMOTIONS


def read_answer(question: Question, text: str) -> tuple[str | None, bool]:
    """The emotion of the tone in a written answer.

    Args:
        question: that was answered.
        text: what the model wrote.

    Returns:
        The emotion, None where none or several are named; and whether it had to be looked for, because the text is not
        exactly an answer of the form that was asked for.

    >>> read_answer(Question("choose"), "D")
    ('happy', False)
    >>> read_answer(Question("choose"), "The answer is D.")
    ('happy', True)
    >>> read_answer(Question("name"), "She is furious!")
    ('angry', True)
    """
    exact = _exact(question, text.strip())
    return (exact, False) if exact else (_letter(question, text) or _named(question, text), True)


def _exact(question: Question, text: str) -> str | None:
    if question.task == "choose":
        return _of_letter(question, text)
    if question.task.startswith("json"):
        return _of_json(text)
    return next((e for e in EMOTIONS for words in _words(question) if question.answer(e, words) == text), None)


def _words(question: Question) -> tuple[str, ...]:
    return EMOTIONS if question.task in ("tone_words", "agree") else EMOTIONS[:1]


def _of_letter(question: Question, text: str) -> str | None:
    is_letter = len(text) == 1 and text in OPTION_LETTERS
    return question.order[OPTION_LETTERS.index(text)] if is_letter else None


def _of_json(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    emotion = value.get("emotion") if isinstance(value, dict) else None
    return emotion if emotion in EMOTIONS else None


def _letter(question: Question, text: str) -> str | None:
    letters = option_letters(text) if question.task == "choose" else set()
    return _of_letter(question, letters.pop()) if len(letters) == 1 else None


def _named(question: Question, text: str) -> str | None:
    """The only emotion that is named, or the first one where tone and words are both asked for."""
    places = named_emotions(text)
    several = len(places) > 1 and question.task not in ("tone_words", "agree", "json_words")
    return None if several or not places else min(places, key=places.get)
