"""From what a model says to one of the seven emotions, and how it was found.

Lettered options are read from log-probabilities where a system has them (`option_answer`), everything else out of text
(`extract_label`): as it was asked for ("exact"), by rules ("rules"), by an LLM (`judge`, "judge"). A text that names none, or
several without deciding, is "unparsed", and counts as wrong.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence

from fas_alm.conversations.naming import EMOTION_OF, named_emotions, option_letters
from fas_alm.prompts import OPTION_LETTERS, option_probabilities
from fas_core.labels import EMOTIONS
from fas_eval.prompts import Prompt
from fas_eval.systems.base import SystemAnswer

Judge = Callable[[str], str | None]  # a text -> one of `EMOTIONS`, or None

THOUGHTS = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)  # of models that think aloud; an answer comes after
MARKS = re.compile(r"[*_`#\"“”]+")
FIELDS = ("emotion", "label", "answer", "tone", "情绪", "答案")  # of JSON answers
# What announces an answer; the last one counts, up to the end of its sentence.
ANNOUNCED = re.compile(
    r"(?:\b(?:final\s+)?(?:answer|option|choice)\b\s*(?:is|would\s+be|[:=：])|(?:答案|选项|选择|我选|应选)\s*(?:是|为|[:：])?)\s*([^\n.;。；]+)",
    re.IGNORECASE,
)
LONGEST = 4000  # characters of a text that are read


def extract_label(text: str, prompt: Prompt, judge: Judge | None = None) -> tuple[str | None, str]:
    """The emotion that a text names.

    Args:
        text: what a model wrote.
        prompt: what it was asked; letters are read only where options were lettered.
        judge: asked where the rules find nothing.

    Returns:
        The emotion and one of "exact", "rules", "judge"; or None and "unparsed".

    Examples:
        >>> from fas_eval.prompts import load_prompt
        >>> extract_label("D", load_prompt("options-en@1")), extract_label("The answer is (B).", load_prompt("options-en@1"))
        (('happy', 'exact'), ('disgust', 'rules'))
        >>> extract_label("not angry but sad", load_prompt("free-en@1")), extract_label("sad or angry", load_prompt("free-en@1"))
        (('sad', 'rules'), (None, 'unparsed'))
    """
    text = THOUGHTS.sub(" ", text)[-LONGEST:]
    text = text if "{" in text else MARKS.sub(" ", text)  # quotes are part of JSON
    lettered = prompt.kind == "options"
    label = _exact(text, lettered)
    if label:
        return label, "exact"
    found = next((e for e in (_only(each) for each in _readings(text, lettered)) if e), None)
    if found:
        return found, "rules"
    label = judge(text) if judge and text.strip() else None
    return (label, "judge") if label else (None, "unparsed")


def option_answer(clip: str, logprobs: Sequence[float], temperature: float = 1.0, **more) -> SystemAnswer:
    """An answer from the log-probabilities of the letters A to G, in the order of `EMOTIONS`.

    Args:
        clip: its id.
        logprobs: (7,), natural logarithm, -inf where not reported.
        temperature: of the calibration. more: other fields of `SystemAnswer`.

    Raises:
        FASError: values that are no log-probabilities, or none that is finite.
    """
    probabilities, mass = option_probabilities(logprobs, EMOTIONS, temperature)
    return SystemAnswer.from_probabilities(
        clip, list(probabilities.values()), how="options", mass=round(mass, 6), **more
    )


def text_answer(clip: str, text: str, prompt: Prompt, judge: Judge | None = None, **more) -> SystemAnswer:
    """An answer from what a model wrote. Raises what the judge raises."""
    label, how = extract_label(text, prompt, judge)
    return SystemAnswer(clip, label, how, text=text, **more)


def _exact(text: str, lettered: bool) -> str | None:
    word = text.strip().rstrip(".。!！").strip()
    if lettered and len(word) == 1 and word.upper() in OPTION_LETTERS:
        return EMOTIONS[OPTION_LETTERS.index(word.upper())]
    return EMOTION_OF.get(word.lower())


def _readings(text: str, lettered: bool) -> Iterator[set[str]]:
    """Emotions by ever weaker signs: a field of JSON, what is announced as the answer, all that is said."""
    for value in _fields(text):
        exact = _exact(value, lettered)
        yield {exact} if exact else _mentioned(value, lettered)
    announced = ANNOUNCED.findall(text)
    if announced:
        exact = _exact(announced[-1].strip(" ()[]"), lettered)
        yield {exact} if exact else _mentioned(announced[-1], lettered)
    yield _mentioned(text, lettered)


def _fields(text: str) -> Iterator[str]:
    """The emotion that JSON in the text holds."""
    for start in (match.start() for match in re.finditer(r"\{", text)):
        try:
            value, _ = json.JSONDecoder().raw_decode(text[start:])
        except (ValueError, RecursionError):
            continue
        named = {str(key).lower(): item for key, item in value.items()}
        yield from (named[field] for field in FIELDS if isinstance(named.get(field), str))


def _mentioned(text: str, lettered: bool) -> set[str]:
    letters = option_letters(text) if lettered else set()
    return set(named_emotions(text)) | {EMOTIONS[OPTION_LETTERS.index(letter)] for letter in letters}


def _only(emotions: set[str]) -> str | None:
    return next(iter(emotions)) if len(emotions) == 1 else None
