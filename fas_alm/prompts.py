"""Questions with lettered options, and how the answer's log-probabilities become seven probabilities.

Conversations, evaluation and serving all ask through here, so that they ask the same question. Names of emotions
share first tokens; single letters do not, so that one token's log-probabilities are those of the labels.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from fas_alm.cues import cue_parts
from fas_alm.transcript import Spoken, quotable, with_transcript
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

OPTION_LETTERS = "ABCDEFG"
EMOTION_NAMES = {
    "en": dict(zip(EMOTIONS, EMOTIONS, strict=True)),
    "zh": dict(zip(EMOTIONS, ("愤怒", "厌恶", "恐惧", "高兴", "中性", "悲伤", "惊讶"), strict=True)),
}
LANGUAGES = tuple(EMOTION_NAMES)
CONFLICT = ("yes", "no")  # the options A and B of the question whether words and tone contradict each other
# Short on purpose: on a CPU the prompt is most of the work.
CHOICE = {
    "en": (
        "Which emotion does the voice express?\n{options}\nAnswer with one letter.",
        "How does the speaker sound?\n{options}\nReply with the letter only.",
        "Listen to the tone of voice and choose the emotion.\n{options}\nGive one letter.",
    ),
    "zh": (
        "说话人的语气表达了什么情绪？\n{options}\n只回答一个字母。",
        "这段语音听起来是什么情绪？\n{options}\n请用一个字母回答。",
        "请根据语气选择情绪。\n{options}\n只写字母。",
    ),
}
TRANSCRIPT = {  # words alone, without an audio
    "en": 'Someone says: "{transcript}"\nWhich emotion do the words express?\n{options}\nAnswer with one letter.',
    "zh": "有人说：“{transcript}”\n这些话表达了什么情绪？\n{options}\n只回答一个字母。",
}


def choice_prompt(order: Sequence[str] = EMOTIONS, language: str = "en", variant: int = 0) -> str:
    """The question about the tone of voice; the answer is one letter.

    Args:
        order: the seven emotions; the first is option A.
        language: "en" or "zh".
        variant: wording, counted from 0, modulo how many there are.

    Raises:
        FASError: an order that is not one of the seven emotions, an unknown language.

    Examples:
        >>> print(choice_prompt())
        Which emotion does the voice express?
        A angry, B disgust, C fear, D happy, E neutral, F sad, G surprise
        Answer with one letter.
    """
    wordings = CHOICE[_known(language)]
    return wordings[variant % len(wordings)].format(options=options_line(order, language))


def transcript_prompt(transcript: str, order: Sequence[str] = EMOTIONS, language: str = "en") -> str:
    """The same question about the words alone. Raises as `choice_prompt`."""
    return TRANSCRIPT[_known(language)].format(transcript=quotable(transcript), options=options_line(order, language))


def question_content(
    question: str,
    audio: dict,
    audio_first: bool = False,
    spoken: Spoken = None,
    language: str = "en",
    cues: Sequence[str] | None = None,
) -> list[dict]:
    """Content of the user's message: a question, the audio part it is about, and behind that its words (`fas_alm.transcript`) and its
    acoustic cues (`fas_alm.cues`).

    Conversations, evaluation and serving put the lettered question first: whatever the audio, all but the last few tokens of
    the prompt are then the same. Training on a CPU computes them once a batch (5 times faster with SmolLM2), and vLLM's
    prefix cache once in all.
    """
    text = {"type": "text", "text": question}
    heard = [*with_transcript(audio, spoken, language), *cue_parts(cues, language)]
    return [*heard, text] if audio_first else [text, *heard]


def options_line(order: Sequence[str] = EMOTIONS, language: str = "en") -> str:
    """ "A angry, B disgust, ..." in this order."""
    names = EMOTION_NAMES[_known(language)]
    pairs = zip(OPTION_LETTERS, _checked(order), strict=True)
    return ("，" if language == "zh" else ", ").join(f"{letter} {names[emotion]}" for letter, emotion in pairs)


def option_letter(emotion: str, order: Sequence[str] = EMOTIONS) -> str:
    """The letter of an emotion in this order: the right answer to `choice_prompt`."""
    return OPTION_LETTERS[_checked(order).index(emotion)]


def option_token_ids(tokenizer) -> list[int]:
    """The id of each letter, as it follows the line break that ends a chat template's header.

    Raises:
        FASError: a letter that is not one token there, or two of the same token.
    """
    newline = tokenizer.encode("\n", add_special_tokens=False)
    ids = []
    for letter in OPTION_LETTERS:
        tokens = tokenizer.encode(f"\n{letter}", add_special_tokens=False)
        if len(tokens) != len(newline) + 1 or tokens[: len(newline)] != newline:
            raise FASError(f"tokenizer: option {letter!r} is tokens {tokens} after {newline}; expected one token each")
        ids.append(tokens[-1])
    if len(set(ids)) < len(ids):
        raise FASError(f"tokenizer: options {OPTION_LETTERS} are tokens {ids}; expected seven different ones")
    return ids


def option_probabilities(
    logprobs: Sequence[float], order: Sequence[str] = EMOTIONS, temperature: float = 1.0
) -> tuple[dict[str, float], float]:
    """Probabilities of the emotions from the log-probabilities of the letters.

    Args:
        logprobs: of the letters A to G, natural logarithm, over the whole vocabulary; -inf where not reported.
        order: the emotions as the prompt offered them.
        temperature: divides the log-probabilities (Guo et al. 2017).

    Returns:
        emotion -> probability, in the order of `EMOTIONS`, summing to 1; and the mass that the seven letters held
        before, at most 1: how much of the answer was an answer.

    Raises:
        FASError: not seven values, one that is NaN or above 0, none that is finite, or a temperature that is not positive.
    """
    values = np.asarray(logprobs, dtype=np.float64)
    is_valid = values.shape == (len(EMOTIONS),) and (values <= 1e-3).all() and np.isfinite(values).any()
    if not is_valid:
        raise FASError(f"option log-probabilities: {values.tolist()}; expected {len(EMOTIONS)} values of at most 0")
    if not (math.isfinite(temperature) and temperature > 0):
        raise FASError(f"option temperature: {temperature}; expected a positive number, 1 changes nothing")
    probabilities = dict(zip(_checked(order), softmax(values / temperature).tolist(), strict=True))
    return {emotion: probabilities[emotion] for emotion in EMOTIONS}, min(1.0, float(np.exp(values).sum()))


def conflict_probability(logprobs: Sequence[float]) -> tuple[float, float]:
    """Probability that words and tone contradict each other, by the letters of the question that asks it.

    Args:
        logprobs: of the letters from A on, as of `option_probabilities`; the first two are read.

    Returns:
        The probability, 0 to 1, and the mass that the two letters held.

    Raises:
        FASError: fewer than two values, one that is NaN or above 0, none that is finite.
    """
    values = np.asarray(logprobs, dtype=np.float64)[: len(CONFLICT)]
    if len(values) < len(CONFLICT) or not ((values <= 1e-3).all() and np.isfinite(values).any()):
        raise FASError(f"option log-probabilities: {values.tolist()}; expected {len(CONFLICT)} values of at most 0")
    return float(softmax(values)[0]), min(1.0, float(np.exp(values).sum()))


def _known(language: str) -> str:
    if language not in LANGUAGES:
        raise FASError(f"prompt language {language!r}: expected one of {', '.join(LANGUAGES)}")
    return language


def _checked(order: Sequence[str]) -> list[str]:
    if sorted(order) != sorted(EMOTIONS):
        raise FASError(f"order of options {list(order)}: expected each of {', '.join(EMOTIONS)} once")
    return list(order)
