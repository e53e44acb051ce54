"""From what a model wrote to one of the seven emotions, or to whether words and tone contradict each other."""

import json
import re

from fas_alm.conversations.naming import named_emotions, option_letters
from fas_alm.conversations.questions import Question, conflicts
from fas_alm.prompts import CONFLICT, OPTION_LETTERS
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

# Said of words and tone in free text; what denies is looked for first, because it holds what agrees.
DENIES = re.compile(
    r"\b(?:not|n['’]t|never)\s+(?:\w+\s+){0,2}(?:agree|match|fit|align|consistent|congruent|the same)|\bdisagree|\bcontradict|"
    r"\bconflict|\bmismatch|\bclash|\bdiffer|\bat odds|\binconsisten|\bincongru|不一致|不相符|不符|矛盾|冲突|不同|不匹配",
    re.IGNORECASE,
)
NO_CONFLICT = re.compile(
    r"\b(?:no|not|n['’]t|without|free of)\s+(?:(?:any|a|in|sign|of|each|other)\s+)*(?:conflict|contradict|mismatch|clash|differ)\w*"
    r"|(?:没有|不|并无|无)(?:任何)?(?:互相|相互)?(?:矛盾|冲突)",
    re.IGNORECASE,
)
AGREES = re.compile(
    r"\bagree|\bmatch|\bconsistent|\bcongruent|\balign|\bthe same\b|\bfit|一致|相符|相同|吻合", re.IGNORECASE
)
AGREE_FIELD = re.compile(r"[\"']?agree[\"']?\s*:\s*[\"']?(true|false)", re.IGNORECASE)
YES = re.compile(r"\W*(?:[AB]\W+)?(?:(yes|yeah|yep|是的?|对)|(no|nope|否|不是?的?))(?!\w)", re.IGNORECASE)


def read_answer(question: Question, text: str) -> tuple[str | None, bool]:
    """The emotion of the tone in a written answer.

    Args:
        question: that was answered, of a task in `OF_TONE`.
        text: what the model wrote.

    Returns:
        The emotion, None where none or several are named; and whether it had to be looked for, because the text is not
        exactly an answer of the form that was asked for.

    Examples:
        >>> read_answer(Question("choose"), "D")
        ('happy', False)
        >>> read_answer(Question("choose"), "The answer is D.")
        ('happy', True)
        >>> read_answer(Question("name"), "She is furious!")
        ('angry', True)
    """
    exact = _exact(question, text.strip())
    return (exact, False) if exact else (_letter(question, text) or _named(question, text), True)


def read_words(question: Question, text: str) -> tuple[str | None, bool]:
    """The emotion of the words in an answer to "words", as `read_answer` reads that of the tone."""
    letter = _of_letter(question, text.strip())
    return (letter, False) if letter else (_letter(question, text) or _named(question, text), True)


def read_conflict(question: Question, text: str) -> tuple[bool | None, bool]:
    """Whether words and tone contradict each other, in a written answer to "conflict", "agree", "json_words" or "tone_words".

    Two emotions that are named and nothing else count as what the definition makes of them, tone first.

    Returns:
        True for a conflict, None where the answer does not say; and whether it had to be looked for.

    Raises:
        FASError: another task.

    Examples:
        >>> read_conflict(Question("agree"), "No: the tone is sad, but the words are happy.")
        (True, False)
        >>> read_conflict(Question("conflict"), "B")
        (False, False)
        >>> read_conflict(Question("agree"), "Her words do not match how she sounds.")
        (True, True)
    """
    if question.task not in ("conflict", "agree", "json_words", "tone_words"):
        raise FASError(f"task {question.task!r}: its answers do not say whether words and tone agree")
    text = text.strip()
    exact = _exact_conflict(question, text)
    return (exact, False) if exact is not None else (_found_conflict(question, text), True)


def _exact_conflict(question: Question, text: str) -> bool | None:
    if question.task == "conflict":
        return _conflict_letter({text})
    if question.task == "json_words":
        try:
            value = json.loads(text)
        except ValueError:
            return None
        agrees = value.get("agree") if isinstance(value, dict) else None
        return not agrees if isinstance(agrees, bool) else None
    pairs = ((tone, words) for tone in EMOTIONS for words in EMOTIONS)
    return next((conflicts(*pair) for pair in pairs if question.answer(*pair) == text), None)


def _conflict_letter(letters: set[str]) -> bool | None:
    names = {option for letter, option in zip(OPTION_LETTERS, CONFLICT, strict=False) if letter in letters}
    return names == {"yes"} if len(names) == len(letters) == 1 else None


def _found_conflict(question: Question, text: str) -> bool | None:
    letter = _conflict_letter(option_letters(text)) if question.task == "conflict" else None
    if letter is not None:
        return letter
    if field := AGREE_FIELD.search(text):
        return field[1].lower() == "false"
    if NO_CONFLICT.search(text):
        return False
    if start := YES.match(text):  # to the question that was asked
        return bool(start[1]) == (question.task == "conflict")
    if DENIES.search(text):
        return True
    if AGREES.search(text):
        return False
    named = sorted((places := named_emotions(text)), key=places.get)
    return conflicts(*named) if len(named) == 2 else None


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
    letters = option_letters(text) if question.task in ("choose", "words") else set()
    return _of_letter(question, letters.pop()) if len(letters) == 1 else None


def _named(question: Question, text: str) -> str | None:
    """The only emotion that is named, or the first one where tone and words are both asked for."""
    places = named_emotions(text)
    several = len(places) > 1 and question.task not in ("tone_words", "agree", "json_words")
    return None if several or not places else min(places, key=places.get)
