"""How the acoustic cues of an audio stand in a prompt: six symbols on one line, behind the audio and its words.

Training, evaluation and both backends of the server write them here, so that the model reads what it has learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fas_alm.audio_parts import AUDIO_PARTS, message_parts
from fas_alm.transcript import behind_audios
from fas_core.cues.acoustic import CUES, Levels
from fas_core.errors import FASError

AUTO = "auto"  # as `cues`: measured, by the statistics of the model
BEGINS = {"en": "Acoustic cues: ", "zh": "声学线索："}
NAMES = {
    "en": {cue: cue for cue in CUES},
    "zh": dict(zip(CUES, ("能量", "音高", "动态", "明亮度", "共振峰", "音质"), strict=True)),
}
SYMBOLS = {"en": {}, "zh": {"low": "低", "medium": "中", "high": "高"}}


def cue_line(levels: Sequence[str] | None, language: str = "en") -> str | None:
    """What a prompt in English or Chinese says of the cues; None where none are told.

    Args:
        levels: of the six cues in the order of `CUES`; a symbol that is no level stands as it is.

    Raises:
        FASError: another number of symbols.

    Examples:
        >>> cue_line(("high", "high", "medium", "high", "medium", "low"))
        'Acoustic cues: energy=high pitch=high dynamics=medium brightness=high formants=medium voice_quality=low'
    """
    if levels is None:
        return None
    if isinstance(levels, str) or len(levels) != len(CUES):
        raise FASError(f"cues: {levels!r}; expected a level of each of {', '.join(CUES)}")
    symbols, names = SYMBOLS[language], NAMES[language]
    told = (f"{names[cue]}={symbols.get(level, level)}" for cue, level in zip(CUES, levels, strict=True))
    return BEGINS[language] + " ".join(told)


def is_cue_line(text: str) -> bool:
    """Whether a part of a message is what `cue_line` writes."""
    return text.startswith(tuple(BEGINS.values()))


def with_cue_line(question: str, levels: Sequence[str] | None, language: str = "en") -> str:
    """A question with the cues behind it, for models that are not ours."""
    line = cue_line(levels, language if language in BEGINS else "en")
    return question if line is None else f"{question}\n{line}"


def cue_parts(levels: Sequence[str] | None, language: str = "en") -> list[dict]:
    """The parts of a message that tell the cues: one, or none."""
    line = cue_line(levels, language)
    return [] if line is None else [{"type": "text", "text": line}]


def with_cues(messages: Sequence[Mapping], told: Iterator[Sequence[str] | None]) -> list[Mapping]:
    """Messages with the cues of each audio behind it, in the language of the message; words are told between the two afterwards.

    Args:
        told: the levels of the audios, in their order.
    """
    return behind_audios(messages, lambda audio, language: [audio, *cue_parts(next(told), language)])


def given_cues(
    cues: Sequence[Levels | None] | str, conversations: Sequence[Sequence[Mapping]]
) -> Iterator[Levels | None]:
    """The levels of each audio of conversations. Raises `FASError` for another number of them."""
    parts = (part for messages in conversations for message in messages for part in message_parts(message))
    audios = sum(part.get("type") in AUDIO_PARTS for part in parts)
    if isinstance(cues, str) or len(cues) != audios:
        problem = repr(cues) if isinstance(cues, str) else f"{len(cues)} for {audios} audios"
        raise FASError(f"cues: {problem}; expected the levels of each audio, in a list, '{AUTO}' or None")
    return iter(cues)
