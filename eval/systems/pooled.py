"""Frozen encoders, statistics over time, a classifier: the paper's baselines; two pathways make late fusion."""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import FASError
from fas_core.training.arguments import ModelArguments, stream_config
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.classifier import Classifier
from fas_eval.systems.context import BuildContext
from fas_eval.systems.features import describe_encoders, read_features
from fas_eval.systems.options import check_options
from fas_eval.systems.training_set import UNREADABLE, TrainingSet, content_digest, training_set

CODE_VERSION = 1
STATISTICS = ("mean", "mean+deviation")
PATHWAYS = ("acoustic", "semantic")


class PooledSystem(System):
    """One classifier a pathway, their probabilities averaged.

    Args:
        extractor: the encoders. parts: pathway -> statistics over time, "mean" or "mean+deviation".
        training: what it is trained on, when the first clip without a cached answer comes.
        classifier: "mlp" or "logistic".
    """

    kind = "classifier"

    def __init__(self, extractor: FeatureExtractor, parts: dict[str, str], training: TrainingSet, classifier: str,
                 context: BuildContext, *, name: str, title: str, seed: int):  # fmt: skip
        for pathway, statistics in parts.items():
            if pathway not in PATHWAYS or statistics not in STATISTICS:
                raise FASError(f"{name}: {pathway}={statistics}; expected {PATHWAYS} with one of {STATISTICS}")
        self.extractor, self.parts, self.training, self.context = extractor, parts, training, context
        self.classifiers = {pathway: Classifier(classifier, seed) for pathway in parts}
        self.name, self.title, self.seed = name, title, seed
        self.training_corpora, self.fold = context.training, context.fold
        self.facts: dict = {}

    def identity(self) -> dict:
        return {
            "type": "pooled",
            "streams": self.extractor.identity(),
            "parts": self.parts,
            "classifier": next(iter(self.classifiers.values())).kind,
            "training_sha256": self.training.digest,
            "seed": self.seed,
            "code_version": CODE_VERSION,
        }

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        if not self.facts:
            self._fit()
        for heard in read_features(clips, self.extractor, self.context.features):
            yield from (SystemAnswer.failure(clip.id, error) for clip, error in heard.failed)
            if not heard.clips:
                continue
            start = time.perf_counter()
            each = {p: c.predict(self._vectors(heard.features, p)) for p, c in self.classifiers.items()}
            mean = np.mean(list(each.values()), axis=0)
            seconds = (time.perf_counter() - start) / len(heard.clips)
            for i, clip in enumerate(heard.clips):
                heads = (
                    {p: [round(float(x), 6) for x in probs[i]] for p, probs in each.items()} if len(each) > 1 else {}
                )
                total = None if heard.seconds is None else round(heard.seconds + seconds, 6)
                yield SystemAnswer.from_probabilities(clip.id, mean[i], seconds=total, heads=heads)

    def _fit(self) -> None:
        start = time.time()
        clips = [BenchmarkClip(row["id"], row["audio"], "") for row in self.training.rows]
        digests = {row["audio"]: i for i, row in enumerate(self.training.rows)}
        features: list[ClipFeatures] = []
        chosen: list[int] = []
        title = "" if self.context.quiet else f"{self.name}: training clips"
        for heard in read_features(_with_digests(clips), self.extractor, self.context.features, title=title):
            features += heard.features
            chosen += [digests[clip.audio] for clip in heard.clips]
        used = self.training.only(chosen)
        for pathway, classifier in self.classifiers.items():
            classifier.fit(self._vectors(features, pathway), used.labels, used.validation)
        self.facts = {
            "training_seconds": round(time.time() - start, 1),
            "parameters_trained": sum(c.parameters for c in self.classifiers.values()),
            "loss": next(iter(self.classifiers.values())).curve,
            "penalty": {p: c.chosen for p, c in self.classifiers.items()},
        }

    def _vectors(self, features: list[ClipFeatures], pathway: str) -> np.ndarray:
        rows = []
        for clip in features:
            parts = [np.asarray(getattr(clip, pathway), dtype=np.float32).mean(0)]
            if self.parts[pathway] == "mean+deviation":
                parts.append(getattr(clip, f"{pathway}_deviation"))
            rows.append(np.concatenate(parts))
        return np.stack(rows)

    def describe(self) -> dict:
        encoders = describe_encoders(self.extractor, list(self.parts))
        own = self.facts.get("parameters_trained")
        total = {} if own is None else {"parameters": own + (encoders["encoder_parameters"] or 0)}
        return encoders | total | self.facts


def _with_digests(clips: list[BenchmarkClip]) -> list[BenchmarkClip]:
    """The clips that can be opened; `python -m fas_core.data check` names the others."""
    known = [BenchmarkClip(clip.id, clip.audio, content_digest(clip.audio)) for clip in clips]
    return [clip for clip in known if clip.digest != UNREADABLE]


def build(options: dict, context: BuildContext) -> PooledSystem:
    """Options: `encoder` (TYPE:MODEL of a single encoder, as `--semantic_encoder` of train/fas.py, with `layer`), or `acoustic`,
    `semantic` (statistics of a pathway of the run's encoders, "mean" or "mean+deviation"); `statistics` of a single encoder ("mean"),
    `classifier` ("mlp", "logistic"), `encoders` (changed fields of `DataArguments`), `seed`.

    Raises:
        FASError: an unknown option, no training corpora. CheckpointError, MissingDependencyError: an encoder that is not there.
    """
    known = ("encoder", "layer", "statistics", "acoustic", "semantic", "classifier", "encoders", "seed")
    check_options(options, known)
    encoder = options.get("encoder")
    if encoder:  # both pathways are the same encoder, and it runs once
        parts = {"semantic": options.get("statistics", "mean")}
        layer = str(options.get("layer", -1))
        changed = dict(acoustic_encoder=encoder, semantic_encoder=encoder, acoustic_layer=layer, semantic_layer=layer)
        title = f"{encoder}, pooled"
    else:
        parts = {pathway: options[pathway] for pathway in PATHWAYS if options.get(pathway)} or {"semantic": "mean"}
        changed, title = {}, "late fusion" if len(parts) > 1 else f"{next(iter(parts))} only"
    data = context.data_arguments(changed | options.get("encoders", {}))
    extractor = FeatureExtractor.from_config(stream_config(data, ModelArguments()), device=context.device)
    return PooledSystem(
        extractor, parts, training_set(context), options.get("classifier", "mlp"), context, name=options["name"],
        title=options.get("title") or title, seed=options["seed"],
    )  # fmt: skip
