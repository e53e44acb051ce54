"""eGeMAPS functionals (Eyben et al., 2016) with logistic regression: the classical baseline, no neural network."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from fas_core.cues.functionals import Functionals
from fas_core.errors import AudioError
from fas_core.paths import expanded
from fas_core.sources import audio_digest
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.classifier import Classifier
from fas_eval.systems.context import BuildContext
from fas_eval.systems.options import check_options
from fas_eval.systems.training_set import TrainingSet, training_set

CODE_VERSION = 1


class EgemapsSystem(System):
    """Logistic regression on the functionals."""

    kind = "classifier"

    def __init__(self, functionals: Functionals, training: TrainingSet, context: BuildContext, *, name: str, title: str,
                 seed: int):  # fmt: skip
        self.functionals, self.training, self.context = functionals, training, context
        self.name, self.title, self.seed = name, title, seed
        self.training_corpora, self.fold = context.training, context.fold
        self.classifier: Classifier | None = None
        self.facts: dict = {}

    def identity(self) -> dict:
        return {
            "type": "egemaps",
            "features": self.functionals.version,
            "training_sha256": self.training.digest,
            "seed": self.seed,
            "code_version": CODE_VERSION,
        }

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        if self.classifier is None:
            self._fit()
        try:
            for clip in clips:
                start = time.perf_counter()
                is_new = clip.digest not in self.functionals.held
                try:
                    vector = self.functionals.get(clip.audio, clip.digest)
                except AudioError as error:
                    yield SystemAnswer.failure(clip.id, str(error))
                    continue
                probabilities = self.classifier.predict(vector[None])[0]
                seconds = round(time.perf_counter() - start, 6) if is_new else None
                yield SystemAnswer.from_probabilities(clip.id, probabilities, seconds=seconds)
        finally:
            self.functionals.save()

    def _fit(self) -> None:
        start = time.time()
        vectors, chosen = [], []
        bar = tqdm(self.training.rows, desc="eGeMAPS of training clips", unit="clip", disable=self.context.quiet)
        for i, row in enumerate(bar):
            try:
                vectors.append(self.functionals.get(row["audio"], audio_digest(row["audio"])))
                chosen.append(i)
            except AudioError:
                continue  # reported by `python -m fas_core.data check`
        self.functionals.save()
        used = self.training.only(chosen)
        self.classifier = Classifier("logistic", self.seed).fit(np.stack(vectors), used.labels, used.validation)
        self.facts = {
            "training_seconds": round(time.time() - start, 1),
            "parameters_trained": self.classifier.parameters,
            "penalty": self.classifier.chosen,
        }

    def describe(self) -> dict:
        return {"weights": "real", "source": self.functionals.version, "licence": "openSMILE: research", **self.facts}


def build(options: dict, context: BuildContext) -> EgemapsSystem:
    """Options: `seed`. Raises as `Functionals`, and `FASError` without training corpora."""
    check_options(options, ("seed",))
    functionals = Functionals(expanded(context.cache_dir) / "egemaps")
    return EgemapsSystem(
        functionals, training_set(context), context, name=options["name"],
        title=options.get("title") or "eGeMAPS functionals, logistic regression", seed=options["seed"],
    )  # fmt: skip
