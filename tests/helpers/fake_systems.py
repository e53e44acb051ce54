"""Systems made up for the tests of the suite, given to it with `--plugin`: they count whom they answered."""

import os
from pathlib import Path

import numpy as np

from fas_core.audio import load_audio
from fas_core.errors import MissingDependencyError
from fas_core.labels import EMOTIONS
from fas_eval.systems.base import System, SystemAnswer
from fas_eval.systems.system_types import SYSTEMS, SystemType, register

LOG = "FAKE_SYSTEMS_LOG"  # environment variable: file to which every clip that was asked about is written


class Fake(System):
    """Loud is angry, quiet is sad; `options` make it fail in the ways that systems fail."""

    kind = "classifier"

    def __init__(self, options):
        self.name, self.title, self.options = options["name"], options["name"], options
        self.seed, self.whole_benchmark = options.get("seed"), options.get("whole", False)

    def identity(self):
        return {"type": "fake", "options": {k: v for k, v in self.options.items() if k not in ("dies_after", "name")}}

    def answer(self, clips):
        random = np.random.default_rng(self.seed)
        for number, clip in enumerate(clips):
            if number == self.options.get("dies_after", -1):
                raise RuntimeError("out of memory")
            with Path(os.environ[LOG]).open("a") as file:
                file.write(f"{self.name} {self.seed} {clip.id}\n")
            if clip.id.endswith(self.options.get("refuses", "nothing")):
                yield SystemAnswer.failure(clip.id, "timed out after 3 tries", retries=3)
            elif clip.id.endswith(self.options.get("babbles", "nothing")):
                yield SystemAnswer(clip.id, None, "unparsed", text="I am only a language model")
            else:
                loud = np.abs(load_audio(clip.audio).samples).mean() > 0.05
                if self.options.get("wrong_share", 0) > random.random():
                    loud = not loud
                p = [0.6 if e == ("angry" if loud else "sad") else 0.4 / 6 for e in EMOTIONS]
                yield SystemAnswer.from_probabilities(clip.id, p, seconds=0.01, conflict=0.9 if loud else 0.1)

    def describe(self):
        return {"weights": "random", "parameters": 7}


def absent(options, context):
    raise MissingDependencyError("needs a package that is not here: pip install nothing")


if "fake" not in SYSTEMS:
    register(SystemType("fake", "made up", lambda options, context: Fake(options)))
    register(SystemType("fake-trained", "made up, of a seed", lambda options, context: Fake(options), trained=True))
    register(SystemType("absent", "not there", absent))
    register(SystemType("absent-trained", "not there, of a seed", absent, trained=True))
