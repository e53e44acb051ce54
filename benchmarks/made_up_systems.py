"""Ten made-up systems for `benchmarks.report`, given to the suite with `--plugin`: they hear nothing, and answer by lot with a skill each.

Their answers are as long as real ones: a FAS says two heads and 24 kept tokens, a language model writes a sentence.
"""

import hashlib

import numpy as np

from fas_core.labels import EMOTIONS
from fas_eval.systems.base import System, SystemAnswer
from fas_eval.systems.system_types import SYSTEMS, SystemType, register

KINDS = ("fas", "fas", "fas", "classifier", "classifier", "classifier", "alm", "alm", "endpoint", "cascade")
NAMES = tuple(f"made-up-{number}-{kind}" for number, kind in enumerate(KINDS))
SENTENCE = "I hear a voice that trembles, slow and low; given the pauses, I would say that the speaker is {}."
TRUTH = 3.0  # of the logits, times a system's skill; clips are named after their emotions: c00001-TONE-WORDS.wav


class MadeUp(System):
    """Answers depend on nothing but its name and the clip's id, which holds the solution."""

    def __init__(self, name: str):
        number = NAMES.index(name)
        self.name, self.title, self.kind = name, f"Made up {number} ({KINDS[number]})", KINDS[number]
        self.skill = 1 - number / len(NAMES)

    def identity(self) -> dict:
        return {"type": "made-up", "name": self.name}

    def describe(self) -> dict:
        return {"weights": "random", "parameters": 7, "source": "no model at all"}

    def answer(self, clips):
        for clip in clips:
            yield self._answer(clip.id)

    def _answer(self, clip: str) -> SystemAnswer:
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{self.name} {clip}".encode()).digest()[:8]))
        tone, words = (EMOTIONS.index(e) for e in clip.rsplit("/", 1)[-1].split(".")[0].split("-")[1:])
        heads = {"acoustic": self._probabilities(rng, tone), "semantic": self._probabilities(rng, words)}
        if self.kind in ("endpoint", "cascade"):
            label = EMOTIONS[int(np.argmax(heads["semantic"]))]
            return SystemAnswer(clip, label, "rules", text=SENTENCE.format(label), seconds=0.5)
        if self.kind != "fas":
            return SystemAnswer.from_probabilities(clip, heads["acoustic"], seconds=0.01)
        kept = [{"pathway": p, "start": round(0.1 * i, 1), "end": round(0.1 * i + 0.1, 1), "score": round(float(rng.random()), 3)}
                for p, number in (("acoustic", 8), ("semantic", 16)) for i in range(number)]  # fmt: skip
        conflict = float(rng.random() + (tone != words)) / 2
        return SystemAnswer.from_probabilities(
            clip, heads["acoustic"], seconds=0.01, conflict=conflict, heads=heads, kept=kept
        )

    def _probabilities(self, rng, emotion: int) -> list[float]:
        logits = rng.standard_normal(len(EMOTIONS)) + TRUTH * self.skill * np.eye(len(EMOTIONS))[emotion]
        return [round(float(p), 6) for p in np.exp(logits) / np.exp(logits).sum()]


if "made-up" not in SYSTEMS:
    register(SystemType("made-up", "answers by lot", lambda options, context: MadeUp(options["name"])))
