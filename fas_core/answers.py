"""What is said about a clip, in one vocabulary: that of Python, command, CSV, HTTP, client and page.

Every field is always there; what is not known is None, and where words are missing `words_missing` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fas_core.audio import SAMPLE_RATE, Audio
from fas_core.certainty import Certainty, checked_coverage, checked_threshold
from fas_core.labels import EMOTIONS
from fas_core.text import printable
from fas_core.words.types import NO_SPEECH, OFF, NoWords, Words

if TYPE_CHECKING:  # `fas --help` does not wait for torch
    import pandas
    from matplotlib.axes import Axes

    from fas_core.encoders.base import ClipFeatures


@dataclass(frozen=True)
class Tone:
    """What the tone of the voice says, whatever the words.

    Attributes:
        label: the most probable emotion.
        probabilities: calibrated, emotion -> 0 to 1.
    """

    label: str
    probabilities: dict[str, float]

    @classmethod
    def of(cls, probabilities: dict[str, float] | None) -> Tone | None:
        return cls(top(probabilities), probabilities) if probabilities else None


@dataclass(frozen=True)
class Pathways:
    """FAS's own heads, for those who study it; what the words say is `Answer.words`.

    Attributes:
        fused, acoustic, semantic: calibrated, emotion -> 0 to 1; None without that head.
        divergence: Jensen-Shannon divergence of the acoustic and the semantic head, 0 to 1; of a long clip the mean over its
            windows, each by its duration. The conflict score of the FAS of the paper.
    """

    fused: dict[str, float]
    acoustic: dict[str, float] | None = None
    semantic: dict[str, float] | None = None
    divergence: float | None = None


@dataclass(frozen=True)
class AudioFacts:
    """What was heard of a file.

    Attributes:
        seconds: of the clip or window. rate: Hz, before resampling. channels: of the file.
        channel: of several, the one that was taken, from 1, or "mix"; None where there is one.
        start, end: seconds in the file, of what FAS heard: silence before and behind is trimmed. None without speech.
        gain_db: by which the level was changed; of a window or a short clip.
        silent: digital silence.
        windows, windows_without_speech: of a long clip.
    """

    seconds: float | None = None
    rate: int | None = None
    channels: int | None = None
    channel: int | str | None = None
    start: float | None = None
    end: float | None = None
    gain_db: float | None = None
    silent: bool | None = None
    windows: int | None = None
    windows_without_speech: int | None = None

    @classmethod
    def of(cls, audio: Audio, **heard: Any) -> AudioFacts:
        """Args: heard: start, end, gain_db, where somebody speaks."""
        return cls(
            seconds=audio.duration, rate=audio.original_rate, channels=audio.original_channels, channel=audio.channel,
            silent=audio.is_silent, **heard,
        )  # fmt: skip


@dataclass(frozen=True)
class Judge:
    """By what it is said whether an answer is unsure.

    Attributes:
        certainty: of the checkpoint; None: the largest probability is all that is known.
        below: confidence below which an answer is unsure; None: what the checkpoint says, nothing without `certainty`.
        coverage: of label sets; None: none are given.

    Raises:
        FASError: no probabilities.
    """

    certainty: Certainty | None = None
    below: float | None = None
    coverage: float | None = None

    def __post_init__(self) -> None:
        checked_threshold(self.below), checked_coverage(self.coverage)

    def asked(self, below: float | None, coverage: float | None) -> Judge:
        """The same, with what a request asks for; None leaves it as it is."""
        return replace(
            self, below=self.below if below is None else below, coverage=self.coverage if coverage is None else coverage
        )

    @property
    def threshold(self) -> float:
        return self.below if self.below is not None else self.certainty.below if self.certainty else 0.0


@dataclass(repr=False)
class Answer:
    """The answer to one clip or one window.

    Its `repr` is one line, in a notebook a small table (`fas_core.answer_views`).

    Attributes:
        file: name of the source.
        label: the emotion of the voice; None where there was an error, or no speech.
        unsure: do not rely on the label: `confidence` is below what `judged` was told.
        confidence: probability, 0 to 1, that the label is right, learned on voices and corpora that were left out; None where the
            checkpoint was not calibrated so.
        familiarity: how near the clip is to those of the training: the share, 0 to 1, of left-out clips that are further away.
        label_set: emotions that hold the right one with the coverage that was asked for; None where nobody asked.
        probabilities: those of the label, calibrated, emotion -> 0 to 1; without speech each is 0.
        tone: what the acoustic head says; None without that head.
        words: what was said, and what that says by itself; None where it is not known.
        words_missing: why there are no words: "no speech", "unclear", "language: xx" or "off"; None where there are.
        conflict: probability that the words carry an emotion and the tone another, 0 to 1 (`fas_core.conflict`); None
            without words or tone. Of a long clip the mean over its windows with words, each by its duration.
        conflict_max: the largest of a long clip's windows.
        disagreement: probability that the labels of tone and words differ, neutral counted; as `conflict`.
        speech: share of the clip that is speech, 0 to 1; None where it was not checked.
        audio: what was heard of the file.
        kept_tokens: stream -> list of {start, end (seconds in the file), score} that the model listened to, in time; None of
            a model that selects no tokens.
        start, end: seconds, in a timeline.
        pathways: FAS's own heads; None without speech.
        error: what was wrong with the file.
        conflict_calibration: of the checkpoint (`fas_core.conflict.conflict`); no part of what is told.
        distance: to the training clips (`fas_core.familiarity`); judge: of the checkpoint, what `judged` goes by. Not told either.
    """

    file: str
    label: str | None = None
    unsure: bool = False
    confidence: float | None = None
    familiarity: float | None = None
    label_set: list[str] | None = None
    probabilities: dict[str, float] | None = None
    tone: Tone | None = None
    words: Words | None = None
    words_missing: str | None = None
    conflict: float | None = None
    conflict_max: float | None = None
    disagreement: float | None = None
    speech: float | None = None
    audio: AudioFacts = AudioFacts()
    kept_tokens: dict[str, list[dict]] | None = None
    start: float | None = None
    end: float | None = None
    pathways: Pathways | None = None
    error: str | None = None
    exception: Exception | None = field(default=None, repr=False)
    conflict_calibration: Sequence[float] = field(default=(0.0, 1.0, 0.0), repr=False)
    distance: float | None = field(default=None, repr=False)
    judge: Judge | None = field(default=None, repr=False)

    @property
    def no_speech(self) -> bool:
        """No emotion is named, because nobody speaks."""
        return self.speech == 0

    @property
    def probability(self) -> float | None:
        """That of the label, calibrated; None where there is none."""
        return None if self.label is None or self.probabilities is None else self.probabilities[self.label]

    def hears(self, words: Words | NoWords) -> Answer:
        """Itself, with the words of the clip or why there are none, and with what their meaning is beside the tone."""
        if isinstance(words, NoWords):
            self.words, self.words_missing, self.conflict, self.disagreement = None, words.reason, None, None
            return self
        from fas_core.conflict import conflict, disagreement  # here for the same reason

        self.words, self.words_missing = words, None
        if self.tone is not None:
            p, q = _in_order(self.tone), _in_order(words)
            self.conflict = float(conflict(p, q, words.confidence, self.conflict_calibration))
            self.disagreement = float(disagreement(p, q))
        return self

    def says(self, probabilities: dict[str, float]) -> Answer:
        """Itself, with these probabilities of the voice's emotion, and the label that follows."""
        self.label, self.probabilities = top(probabilities), probabilities
        return self.judged(self.judge)

    def judged(self, judge: Judge | None) -> Answer:
        """Itself, with what `judge` says of how far its label is to be relied on."""
        self.judge = judge
        if judge is None or self.label is None or self.probabilities is None:
            return self
        certainty, largest = judge.certainty, self.probabilities[self.label]
        if certainty is not None and self.distance is not None:
            self.confidence = float(certainty.confidence(largest, self.distance))
            self.familiarity = certainty.familiarity(self.distance)
            covers = judge.coverage
            self.label_set = None if covers is None else certainty.label_set(self.probabilities, covers)
        self.unsure = (largest if self.confidence is None else self.confidence) < judge.threshold
        return self

    def gated(self, weights: Sequence[float]) -> Answer:
        """Itself, with tone and words mixed by the gate of these weights (`fas_core.gate`); as it is without either."""
        if self.tone is None or self.words is None:
            return self
        from fas_core.gate import Gate  # here for the same reason

        tone, words = _in_order(self.tone), _in_order(self.words)
        mixed = Gate(tuple(weights))(tone[None], words[None], np.array([self.words.confidence]))[0]
        return self.says(dict(zip(EMOTIONS, map(float, mixed), strict=True)))

    def at(self, start: float, end: float) -> Answer:
        """Itself, as the answer of a window: `start` and `end` in seconds, its audio and tokens timed in the whole."""
        self.start, self.end = start, end
        for token in (token for tokens in (self.kept_tokens or {}).values() for token in tokens):
            token.update({key: round(token[key] + start, 3) for key in ("start", "end")})
        if self.audio.start is not None and self.audio.end is not None:
            self.audio = replace(self.audio, start=self.audio.start + start, end=self.audio.end + start)
        return self

    def to_dict(self, tokens: bool = True) -> dict:
        """JSON-ready: every field; no `kept_tokens` unless `tokens`; file and error are `printable`."""
        values = asdict(replace(self, exception=None, judge=None, kept_tokens=self.kept_tokens if tokens else None))
        for name in ("exception", "conflict_calibration", "distance", "judge"):
            del values[name]
        return values | {"file": printable(self.file), "error": self.error and printable(self.error)}

    def to_row(self) -> dict[str, Any]:
        """Flat, for CSV: the same names with dots ("words.transcript", "tone.angry"); kept tokens are left out."""
        row: dict[str, Any] = {}
        for name, value in self.to_dict(tokens=False).items():
            if name in COLUMNS:
                known = dict(_flat(value or {}))
                row |= {f"{name}.{column}": known.get(column) for column in COLUMNS[name]}
            elif name != "kept_tokens":
                row[name] = " ".join(value) if isinstance(value, list) else value
        return row

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw what the tone says against what the words say; gives the axes, by default of a new figure of pyplot."""
        from fas_core.answer_views import draw

        return draw(self, axes)

    def __repr__(self) -> str:
        from fas_core.answer_views import as_line

        return as_line(self)

    def _repr_html_(self) -> str:
        from fas_core.answer_views import as_html

        return as_html(self)


def answers_to_frame(answers: Iterable[Answer]) -> pandas.DataFrame:
    """A row an answer, with the columns of `fas predict --format csv`; what is not known is missing there, too.

    Examples:
        >>> answers_to_frame([Answer("a.wav", label="sad")])[["file", "label"]].to_dict("records")
        [{'file': 'a.wav', 'label': 'sad'}]
    """
    import pandas

    columns = list(Answer("").to_row())
    return pandas.DataFrame([answer.to_row() for answer in answers], columns=columns)


COLUMNS = {
    "probabilities": EMOTIONS,
    "tone": ("label", *EMOTIONS),
    "words": ("transcript", "language", "confidence", "label", *EMOTIONS),
    "audio": tuple(f.name for f in fields(AudioFacts)),
    "pathways": ("divergence", *(f"{head}.{e}" for head in ("fused", "acoustic", "semantic") for e in EMOTIONS)),
}


def top(probabilities: dict[str, float]) -> str:
    """The most probable emotion."""
    return max(probabilities, key=probabilities.__getitem__)


def answer(
    audio: Audio,
    heads: dict[str, np.ndarray],
    kept: dict | None,
    features: ClipFeatures,
    speech: float | None = None,
    conflict_calibration: Sequence[float] = (0.0, 1.0, 0.0),
    distance: float | None = None,
    judge: Judge | None = None,
) -> Answer:
    """Put one clip's answer together from the calibrated probabilities (7,) of each head; its words may follow (`hears`)."""
    from fas_core.conflict import divergence  # here for the same reason

    named = {h: {e: float(p) for e, p in zip(EMOTIONS, x, strict=True)} for h, x in heads.items()}
    both = "acoustic" in heads and "semantic" in heads
    return Answer(
        file=audio.source,
        label=top(named["fused"]),
        probabilities=named["fused"],
        tone=Tone.of(named.get("acoustic")),
        words_missing=OFF,
        speech=speech,
        audio=AudioFacts.of(audio, **_heard(audio, features)),
        kept_tokens=kept,
        conflict_calibration=conflict_calibration,
        pathways=Pathways(
            **named, divergence=float(divergence(heads["acoustic"], heads["semantic"])) if both else None
        ),
        distance=distance,
    ).judged(judge)


def no_speech(audio: Audio) -> Answer:
    """The answer to a clip in which nobody speaks."""
    silence = dict.fromkeys(EMOTIONS, 0.0)
    return Answer(
        file=audio.source, probabilities=silence, words_missing=NO_SPEECH, speech=0.0, audio=AudioFacts.of(audio)
    )


def _heard(audio: Audio, features: ClipFeatures) -> dict:
    """Seconds in the clip, and what was done to its level."""
    end = features.front_end.get("end")
    return {
        "start": features.offset,
        "end": audio.duration if end is None else end / SAMPLE_RATE,
        "gain_db": features.front_end.get("gain_db"),
    }


def _in_order(side: Tone | Words) -> np.ndarray:
    """(7,) probabilities, in the order of `EMOTIONS`."""
    return np.array([side.probabilities[emotion] for emotion in EMOTIONS])


def _flat(values: dict) -> Iterator[tuple[str, object]]:
    """Names with dots; "probabilities" of a part is no name of its own."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((key if name == "probabilities" else f"{name}.{key}", each) for key, each in _flat(value))
        else:
            yield name, value
