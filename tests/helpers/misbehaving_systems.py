"""Systems that break the suite's contracts in one way each, given to it with `--plugin`: `does` says how, `at` says at which clip."""

import os
import time
from pathlib import Path

from fas_core.labels import EMOTIONS
from fas_eval.systems.base import System, SystemAnswer
from fas_eval.systems.system_types import SYSTEMS, SystemType, register

LOG = "FAKE_SYSTEMS_LOG"  # environment variable: file to which every clip that was asked about is written


def angry(clip: str, **more) -> SystemAnswer:
    return SystemAnswer.from_probabilities(clip, [0.4 if e == "angry" else 0.1 for e in EMOTIONS], seconds=0.01, **more)


class Misbehaving(System):
    """Says angry to everything, as long as it behaves."""

    kind = "classifier"

    def __init__(self, options):
        self.name, self.title, self.options = options["name"], options.get("title", options["name"]), options
        self.training_corpora = tuple(options.get("really", ()))

    def identity(self):
        return {"type": "misbehaves", "model": self.options.get("model")}

    def answer(self, clips):
        for number, clip in enumerate(clips):
            with Path(os.environ[LOG]).open("a") as file:
                file.write(f"{self.name} {clip.id}\n")
            yield from getattr(self, self.options.get("does", "nothing"))(clip, number == self.options.get("at", 2))

    def nothing(self, clip, now):
        yield angry(clip.id)

    def is_slow(self, clip, now):
        time.sleep(0.1)
        yield angry(clip.id)

    def is_interrupted(self, clip, now):
        if now:
            raise KeyboardInterrupt
        yield angry(clip.id)

    def answers_another(self, clip, now):
        yield angry("of-another-benchmark" if now else clip.id)

    def answers_twice(self, clip, now):
        yield angry(clip.id)
        if now:
            yield angry(clip.id)

    def forgets(self, clip, now):
        if not now:
            yield angry(clip.id)

    def is_not_sure(self, clip, now):
        yield SystemAnswer.from_probabilities(clip.id, [float("nan")] * 7) if now else angry(clip.id)

    def writes(self, clip, now):
        yield SystemAnswer(clip.id, "angry", "rules", text=self.options["text"])


def holds_out(options):
    return tuple(options["corpora"]), options.get("fold")


def cannot_be_built(options, context):
    raise ZeroDivisionError("a mistake of the plugin")


if "misbehaves" not in SYSTEMS:
    register(SystemType("misbehaves", "made up", lambda options, context: Misbehaving(options)))
    register(
        SystemType("folded", "made up, of a fold", lambda options, context: Misbehaving(options), training=holds_out)
    )
    register(SystemType("learns", "made up, trained here", lambda options, context: Misbehaving(options), trained=True))
    register(SystemType("unbuilt", "made up, with a mistake", cannot_be_built))
