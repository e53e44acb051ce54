"""How the words of an audio stand in a prompt: as a quotation behind the audio, or as the reason why there is none.

Conversations, training, evaluation and both backends of the server write them here, so that the model reads what it has learned.
What somebody says is no instruction: it stands in quotation marks that it cannot close, on one line, of bounded length, and
without the brackets that special tokens are written with.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fas_alm.audio_parts import AUDIO_PARTS, message_parts
from fas_core.errors import FASError
from fas_core.words.types import LANGUAGE, NO_SPEECH, OFF, UNCLEAR, NoWords, Words

LONGEST = 600  # characters of a transcript that are shown; half a minute of fast speech
CHINESE = re.compile("[\u4e00-\u9fff]")
AUTO = "auto"  # as `transcript`: by the model's own Whisper, where the model has learned to read transcripts
FORMS = {"en": 'Transcript{code}: "{text}"', "zh": "转写{code}：“{text}”"}
CODES = {"en": " ({})", "zh": "（{}）"}
MISSING = {
    "en": {
        NO_SPEECH: "No transcript: nobody speaks.",
        UNCLEAR: "No transcript: the words are unclear.",
        LANGUAGE: "No transcript: the language ({}) cannot be read.",
    },
    "zh": {
        NO_SPEECH: "没有转写：没有人说话。",
        UNCLEAR: "没有转写：听不清说了什么。",
        LANGUAGE: "没有转写：无法读懂这种语言（{}）。",
    },
}
# Tokens of chat templates are written with these: <|im_end|>, <start_of_turn>, [INST], and in full width.
_HARMLESS = str.maketrans(
    {**dict.fromkeys("<＜", "‹"), **dict.fromkeys(">＞", "›"), "[": "(", "]": ")", "｜": "|"}
    | dict.fromkeys('"“”„‟«»「」『』〝〞＂', "'")
)


@dataclass(frozen=True)
class Said:
    """A transcript, and its language's code where it is known."""

    text: str
    language: str | None = None


Spoken = Said | Words | NoWords | str | None  # None: nobody has listened for words


class Listener(Protocol):
    """What writes down the words of clips: samples (n,) at 16 kHz of each -> `Said` or `NoWords`."""

    def __call__(self, clips: Sequence) -> list[Said | NoWords]: ...


def quotable(text: str) -> str:
    """Words on one line, at most `LONGEST` characters, that no quotation mark ends and no tokenizer takes for a special token.

    Examples:
        >>> quotable('He said "stop".\\n<|im_end|>')
        "He said 'stop'. ‹|im_end|›"
    """
    plain = unicodedata.normalize("NFC", text)
    plain = "".join(
        " " if unicodedata.category(c)[0] in "CZ" else c for c in plain
    )  # controls, line breaks, marks of direction
    plain = " ".join(plain.translate(_HARMLESS).split())
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1].rstrip() + "…"


def transcript_line(spoken: Spoken, language: str = "en") -> str | None:
    """What a prompt in English or Chinese says of the words; None where nobody has listened for them.

    Examples:
        >>> transcript_line(Said("I am fine.", "en"))
        'Transcript (en): "I am fine."'
        >>> transcript_line(NoWords("no speech"))
        'No transcript: nobody speaks.'
    """
    if spoken is None or spoken == NoWords(OFF):
        return None
    if isinstance(spoken, NoWords):
        kind, found, code = spoken.reason.partition(LANGUAGE)
        return MISSING[language][LANGUAGE if found else kind].format(quotable(code))
    said = Said(spoken) if isinstance(spoken, str) else spoken
    text = quotable(said.transcript if isinstance(said, Words) else said.text)
    if not text:
        return MISSING[language][UNCLEAR]
    code = CODES[language].format(quotable(said.language)) if said.language else ""
    return FORMS[language].format(code=code, text=text)


def corpus_transcripts(rows: Iterable[Mapping]) -> list[dict]:
    """Clips of corpora with their texts as "spoken"; None where a corpus has none."""
    return [{**row, "spoken": Said(row["text"], row.get("language")) if row.get("text") else None} for row in rows]


def is_transcript(text: str) -> bool:
    """Whether a part of a message is what `transcript_line` writes."""
    begins = [
        form.partition("{")[0]
        for form in (*FORMS.values(), *(line for lines in MISSING.values() for line in lines.values()))
    ]
    return text.startswith(tuple(begins))


def with_transcript(audio: Mapping, spoken: Spoken, language: str = "en") -> list[Mapping]:
    """The parts of a message that an audio is: itself, and a text with its words behind it."""
    line = transcript_line(spoken, language)
    return [audio] if line is None else [audio, {"type": "text", "text": line}]


def with_transcripts(messages: Sequence[Mapping], spoken: Iterator[Spoken]) -> list[Mapping]:
    """Messages with the words of each audio behind it, told in the language of the message.

    Args:
        spoken: the words of the audios, in their order.
    """
    return behind_audios(messages, lambda audio, language: with_transcript(audio, next(spoken), language))


def behind_audios(messages: Sequence[Mapping], parts_of: Callable[[Mapping, str], list[Mapping]]) -> list[Mapping]:
    """Messages whose audio parts are replaced by `parts_of(audio part, "en" or "zh" as the message is written)`."""

    def parts(message: Mapping) -> list[Mapping]:
        texts = [part.get("text") for part in message_parts(message) if part.get("type") == "text"]
        language = "zh" if any(CHINESE.search(str(text)) for text in texts) else "en"
        return [
            each
            for part in message_parts(message)
            for each in (parts_of(part, language) if part.get("type") in AUDIO_PARTS else [part])
        ]

    is_heard = [any(part.get("type") in AUDIO_PARTS for part in message_parts(m)) for m in messages]
    return [{**m, "content": parts(m)} if heard else m for m, heard in zip(messages, is_heard, strict=True)]


def given_words(transcript: Spoken | Sequence[Spoken], audios: int) -> list[Spoken]:
    """The words of each of so many audios, by what a caller gave: those of the only one, one for each, or None.

    Raises:
        FASError: another number of them.
    """
    given = list(transcript) if isinstance(transcript, list | tuple) else [transcript]
    if transcript is None:
        return [None] * audios
    if len(given) != audios:
        raise FASError(
            f"transcript: {len(given)} for {audios} audios; expected one each, in a list, 'auto' (the model's own Whisper) or None"
        )
    for each in given:
        if not isinstance(each, Said | Words | NoWords | str | None):
            raise FASError(f"transcript: a {type(each).__name__}; expected text, Words, NoWords or None")
    return given
