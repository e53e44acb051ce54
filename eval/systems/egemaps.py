"""eGeMAPS functionals (Eyben et al., 2016) with logistic regression: the classical baseline, no neural network."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from fas_core.atomic import atomic_path, locked
from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.errors import AudioError, MissingDependencyError
from fas_core.paths import expanded
from fas_core.sources import audio_digest
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.classifier import Classifier
from fas_eval.systems.context import BuildContext
from fas_eval.systems.options import check_options
from fas_eval.systems.training_set import TrainingSet, training_set

CODE_VERSION = 1
SAVE_EVERY = 200


class Functionals:
    """88 functionals of a clip's audio, kept by content.

    Raises:
        MissingDependencyError: opensmile is not installed.
    """

    def __init__(self, folder: Path):
        try:
            import opensmile
        except ImportError:
            raise MissingDependencyError("eGeMAPS needs opensmile: pip install 'fas-alm[egemaps]'") from None
        self.smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
        self.version = f"eGeMAPSv02, opensmile {opensmile.__version__}"
        self.file = folder / f"egemaps-{hashlib.sha256(self.version.encode()).hexdigest()[:12]}.safetensors"
        self.held: dict[str, np.ndarray] = self._stored()
        self.new = 0

    def _stored(self) -> dict[str, np.ndarray]:
        return dict(load_file(self.file)) if self.file.is_file() else {}

    def get(self, path: str, digest: str) -> np.ndarray:
        """(88,) float32. Raises `AudioError`."""
        if digest not in self.held:
            audio = load_audio(path)
            values = self.smile.process_signal(audio.samples, SAMPLE_RATE).to_numpy()[0]
            self.held[digest] = np.nan_to_num(values.astype(np.float32))
            self.new += 1
            if self.new == SAVE_EVERY:
                self.save()
        return self.held[digest]

    def save(self) -> None:
        """With what other processes have computed meanwhile."""
        if not self.new:
            return
        with locked(self.file):
            self.held = self._stored() | self.held
            with atomic_path(self.file) as temporary:
                save_file(self.held, temporary)
        self.new = 0


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
