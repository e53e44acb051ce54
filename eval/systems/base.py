"""The interface of every system that the suite compares, and what crosses its boundary: clips in, answers out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from fas_core.encoders.base import identity_digest
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

# How a label was found. "classifier", "options": from probabilities; "exact", "rules", "judge": read out of text;
# "unparsed": text that names no emotion, counted as wrong; "failed": no answer at all, the error says why.
HOW = ("classifier", "options", "exact", "rules", "judge", "unparsed", "failed")
LONGEST_TEXT = 10_000  # characters that are kept of what a model wrote
KINDS = ("fas", "classifier", "alm", "endpoint", "cascade")


@dataclass(frozen=True)
class BenchmarkClip:
    """What a system may know of a clip. The reference is not among it: no system can look at the solution.

    Attributes:
        id: of the benchmark's data set. audio: absolute path. digest: sha256 of the file.
        language: ISO code where the corpus says. speaker: for systems that normalise by speaker.
    """

    id: str
    audio: str
    digest: str
    language: str | None = None
    speaker: str | None = None


@dataclass
class SystemAnswer:
    """What a system says of a clip.

    Attributes:
        clip: its id.
        label: an emotion; None where `how` is "unparsed" or "failed".
        how: one of `HOW`.
        probabilities: (7,) in the order of `EMOTIONS`, or None for a system that only names one.
        text: what an ALM wrote. error: why it failed.
        seconds: time of this clip (its share of a batch), None where not measured. retries: of an endpoint.
        mass: probability on the seven letters, of lettered options.
        conflict, disagreement: 0 to 1, of systems that measure them (`fas_core.conflict`); None also where no words were heard.
        divergence: 0 to 1, of FAS's two heads, which is what the FAS of the paper has.
        transcript: what was heard said. words_missing: why nothing was, of systems that listen for words.
        heads: pathway -> (7,) probabilities; for FAS "acoustic" and "semantic", and "words" where it heard any.
        cues: of a system that was told acoustic cues, the symbols "told" and the levels "measured" (`fas_core.cues`).
        kept: kept tokens, {"pathway", "start", "end", "score"} each, in seconds and as a share of the largest score.
    """

    clip: str
    label: str | None
    how: str
    probabilities: list[float] | None = None
    text: str | None = None
    error: str | None = None
    seconds: float | None = None
    retries: int = 0
    mass: float | None = None
    conflict: float | None = None
    disagreement: float | None = None
    divergence: float | None = None
    transcript: str | None = None
    words_missing: str | None = None
    heads: dict[str, list[float]] = field(default_factory=dict)
    kept: list[dict] = field(default_factory=list)
    cues: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self):
        if self.how not in HOW:
            raise FASError(f"answer to {self.clip}: how {self.how!r}; expected one of {', '.join(HOW)}")
        if (self.label is None) != (self.how in ("unparsed", "failed")) or self.label not in (None, *EMOTIONS):
            raise FASError(f"answer to {self.clip}: label {self.label!r} with how {self.how!r}")
        for name, row in (("probabilities", self.probabilities), *self.heads.items()):
            if row is not None and not _are_probabilities(row):
                raise FASError(
                    f"answer to {self.clip}: {name} {row}; expected {len(EMOTIONS)} numbers of at least 0 that sum to 1"
                )
        for name in ("conflict", "disagreement", "divergence"):
            if (value := getattr(self, name)) is not None and not math.isfinite(value):
                raise FASError(f"answer to {self.clip}: {name} {value}; expected a number from 0 to 1")
        self.text, self.error, self.transcript = map(_writable, (self.text, self.error, self.transcript))

    @classmethod
    def from_probabilities(
        cls, clip: str, probabilities: Sequence[float], how: str = "classifier", **more
    ) -> SystemAnswer:
        """The most probable emotion; `probabilities` (7,) in the order of `EMOTIONS`."""
        rounded = [round(float(p), 6) for p in probabilities]
        return cls(clip, EMOTIONS[int(np.argmax(probabilities))], how, rounded, **more)

    @classmethod
    def failure(cls, clip: str, error: str, **more) -> SystemAnswer:
        return cls(clip, None, "failed", error=error, **more)

    def to_dict(self) -> dict:
        """JSON-ready; fields that say nothing are left out."""
        return {name: value for name, value in vars(self).items() if value not in (None, [], {}, 0) or name == "label"}

    @classmethod
    def from_dict(cls, values: dict) -> SystemAnswer:
        return cls(**values)


def _are_probabilities(row: Sequence[float]) -> bool:
    # written so that NaN is none; 1e-3 leaves room for half precision
    return len(row) == len(EMOTIONS) and min(row) >= 0 and abs(sum(row) - 1) < 1e-3


def _writable(text: str | None) -> str | None:
    """Cut where a model does not end, and without the halves of characters that JSON can hold and no file."""
    return text and text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


class System(ABC):
    """Something that answers clips.

    Attributes:
        name: short, unique in a run, as on the command line. title: how tables call it. kind: one of `KINDS`.
        seed: of a system that is trained here, else None; runs that differ only in it form one row of the tables.
        training_corpora: corpora that it was trained on, as far as known. fold: and which fold it holds out.
        whole_benchmark: its answers depend on which clips are asked together (the transductive protocol).
        told: clip -> the acoustic cues that its prompt tells, of systems that are asked in words (`fas_eval.systems.cues`).
    """

    name: str
    title: str
    kind: str
    seed: int | None = None
    training_corpora: tuple[str, ...] = ()
    fold: int | None = None
    whole_benchmark: bool = False
    told: Mapping[str, Sequence[str]] = MappingProxyType({})

    @abstractmethod
    def identity(self) -> dict:
        """JSON-ready description of everything that decides an answer (weights, prompt version, options), without
        paths of the machine: cached answers of another identity are not used.
        """

    @abstractmethod
    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        """One answer for each clip, in any order, as soon as it is there; a clip that fails is an answer too."""

    def describe(self) -> dict:
        """For the report: "weights" ("real" | "random"), "parameters", "parameters_trained", "training_seconds",
        "curve" (validation macro-F1 by epoch), "source", "licence"; whatever of it is known.
        """
        return {}

    def embed(self, clips: Sequence[BenchmarkClip]) -> np.ndarray | None:
        """(N, d) mean fused token of each clip, for the map of the report; None for systems without such."""
        return None

    def close(self) -> None:  # noqa: B027
        """Frees memory and connections; the suite holds one system at a time."""

    @property
    def digest(self) -> str:
        """sha256 (hex) of `identity()`. The names `model` and `revision` do not count beside `weights_sha256`, which says it better."""
        return identity_digest(_with_names(self.identity()))


def _with_names(value):
    """`identity_digest` leaves those names out everywhere; where they are all that tells two models apart they have to count."""
    if isinstance(value, list | tuple):
        return [_with_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = {} if "weights_sha256" in value else {"model": "named model", "revision": "named revision"}
    return {renamed.get(key, key): _with_names(item) for key, item in value.items()}
