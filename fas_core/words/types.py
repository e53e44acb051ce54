"""What the words of a clip are, or why there are none: never a guess."""

from collections.abc import Iterable
from dataclasses import dataclass

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

NO_SPEECH, UNCLEAR, OFF = "no speech", "unclear", "off"
LANGUAGE = "language: "  # followed by the code of a language that nothing here can read


@dataclass(frozen=True)
class Words:
    """What somebody says, and the emotion that the words carry.

    Attributes:
        transcript: the words in the language that was spoken.
        language: its ISO 639 code as Whisper has it, "en".
        confidence: of the transcript, 0 to 1 (see `fas_core.words.transcriber.Transcript`).
        label: the most probable emotion of the words.
        probabilities: calibrated, emotion -> 0 to 1, in the order of `EMOTIONS`.
    """

    transcript: str
    language: str
    confidence: float
    label: str
    probabilities: dict[str, float]

    @classmethod
    def read(cls, transcript: str, language: str, confidence: float, probabilities: Iterable[float]) -> "Words":
        """Words from the seven probabilities, in the order of `EMOTIONS`, that a text model gave."""
        named = dict(zip(EMOTIONS, map(float, probabilities), strict=True))
        return cls(transcript, language, float(confidence), max(named, key=named.__getitem__), named)


@dataclass(frozen=True)
class NoWords:
    """No words, and why.

    Attributes:
        reason: "no speech" (nobody speaks), "unclear" (what was said cannot be made out), "language: xx" (in a language
            that nothing here reads; "language: unknown" where it is none that is known) or "off" (nobody asked).

    Raises:
        FASError: another reason.
    """

    reason: str

    def __post_init__(self) -> None:
        if self.reason not in (NO_SPEECH, UNCLEAR, OFF) and not str(self.reason).startswith(LANGUAGE):
            expected = f"{NO_SPEECH!r}, {UNCLEAR!r}, {OFF!r} or '{LANGUAGE}xx'"
            raise FASError(f"words: no reason {self.reason!r}; expected {expected}")
