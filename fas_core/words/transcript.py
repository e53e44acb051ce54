"""A transcript, how sure it is, and from where on it is refused."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from fas_core.words.types import NO_SPEECH, UNCLEAR


@dataclass(frozen=True)
class Transcript:
    """What was said in a clip, and how sure that is.

    Attributes:
        text: the words, in the language that was spoken.
        language: its code as Whisper has it, "en"; an English-only Whisper knows no other.
        confidence: 0 to 1, exp of the mean log-probability of the tokens, the end of the text counted.
        language_probability: 0 to 1, among the languages of a multilingual Whisper; 1 of an English-only one.
        no_speech: 0 to 1, probability of <|nospeech|>.
        compression_ratio: bytes of the text by bytes of its zlib compression; of a text in circles it is high.
        english: what a reader of English can read: the text, or Whisper's translation; None where there is none to rely on.
        unclear: why the transcript is not to be used, "no speech" or "unclear"; None where it is clear.
    """

    text: str
    language: str
    confidence: float
    language_probability: float
    no_speech: float
    compression_ratio: float
    english: str | None = None
    unclear: str | None = None


@dataclass(frozen=True)
class Limits:
    """From where on a transcript is refused; chosen in docs/words.md with Whisper base and tiny.en.

    Attributes:
        confidence: at least (Whisper: a mean log-probability of -1, which is 0.37; there other languages come out as English).
        compression_ratio: at most (Whisper: 2.4).
        no_speech: at most; what is above it and without text is no speech (Whisper refuses also a text of low confidence there,
            which is refused here anyway, as unclear: speech in other languages often looks like silence to it).
        language_probability: at least.
        translation: confidence of a translation, at least.
    """

    confidence: float = 0.5
    compression_ratio: float = 2.4
    no_speech: float = 0.6
    language_probability: float = 0.5
    translation: float = 0.4

    def why_unclear(self, said: Transcript) -> str | None:
        """ "no speech" or "unclear"; None for a transcript to rely on."""
        if not said.text and said.no_speech > self.no_speech:
            return NO_SPEECH
        is_sure = said.confidence >= self.confidence and said.language_probability >= self.language_probability
        return None if said.text and is_sure and said.compression_ratio <= self.compression_ratio else UNCLEAR


ENGLISH_ONLY = Limits(confidence=0.55)  # it writes English whatever it hears; a low confidence is the only sign


def compression_ratio(text: str) -> float:
    """Bytes of a text by bytes of its zlib compression."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
