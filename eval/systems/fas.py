"""FAS as a system: a checkpoint as it is, or one that is trained for the run."""

import hashlib
import inspect
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import yaml

from fas_core.answers import Answer, Tone
from fas_core.atomic import write_text
from fas_core.checkpoint import learned_from, read_record
from fas_core.configuration_fas import FASConfig
from fas_core.conflict import divergence
from fas_core.errors import CheckpointError, FASError
from fas_core.features.cache import FeatureCache
from fas_core.inference import with_statistics
from fas_core.labels import EMOTIONS
from fas_core.paths import expanded
from fas_core.pipeline import EmotionPipeline
from fas_core.shipped import find_shipped, shipped_name
from fas_core.standardisation import feature_statistics
from fas_core.training.arguments import DataArguments, ModelArguments, TrainingArguments
from fas_core.words import text_model
from fas_core.words.kept_transcripts import KeptTranscripts
from fas_core.words.types import UNCLEAR, NoWords, Words
from fas_eval.suite.workers import Workers, environment_of_one_process
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer
from fas_eval.systems.context import BuildContext
from fas_eval.systems.features import GROUP, Heard, describe_encoders, read_features
from fas_eval.systems.model_digests import directory_digest
from fas_eval.systems.options import check_options
from fas_eval.systems.recipes import SYSTEMS as RECIPES
from fas_eval.systems.training_set import training_set

CODE_VERSION = 2


class FASSystem(System):
    """A trained FAS.

    Args:
        pipeline: the checkpoint; where it reads words, so does the system, and keeps transcripts beside the features. cache_dir: feature
            cache.
        own_statistics: standardise by the benchmark's own unlabelled statistics: the transductive protocol, another
            task than answering one clip, and never to be compared with it.
    """

    kind = "fas"

    def __init__(self, pipeline: EmotionPipeline, cache_dir: Path, *, name: str, title: str, seed: int | None = None,
                 own_statistics: bool = False):  # fmt: skip
        self.pipeline, self.cache_dir, self.name, self.title, self.seed = pipeline, cache_dir, name, title, seed
        if own_statistics and not pipeline.model.config.standardise:
            raise CheckpointError(
                f"{name}: does not standardise features, so it has no statistics of its own to replace"
            )
        self.own_statistics = self.whole_benchmark = own_statistics
        self.transcribe = None
        if pipeline.words_reader is not None and not own_statistics:
            kept = FeatureCache(cache_dir, pipeline.extractor.identity()).path
            self.transcribe = KeptTranscripts(kept, pipeline.extractor, pipeline.words_reader.transcriber)
        facts = pipeline.describe()
        self.training_corpora, self.fold = tuple(facts["training_corpora"]), facts["fold"]

    def identity(self) -> dict:
        config = self.pipeline.model.config
        return {
            "type": "fas",
            "weights_sha256": weights_digest(self.pipeline.model),
            "config": decisions(config),
            "streams": self.pipeline.extractor.identity(),
            "statistics": "benchmark" if self.own_statistics else "training",
            "words": self.transcribe
            and {"transcriber": self.transcribe.prefix, "text_model": directory_digest(text_model.SHIPPED)},
            "code_version": CODE_VERSION,
        }

    def answer(self, clips: Sequence[BenchmarkClip]) -> Iterator[SystemAnswer]:
        for heard in read_features(
            clips, self.pipeline.extractor, self.cache_dir, None if self.own_statistics else GROUP
        ):
            yield from (SystemAnswer.failure(clip.id, error) for clip, error in heard.failed)
            yield from self._answers(heard)

    def _answers(self, heard: Heard) -> Iterator[SystemAnswer]:
        if not heard.clips:
            return
        start = time.perf_counter()
        heads, kept, _ = self._pipeline(heard).hear(heard.features)
        words = self._words(heard.clips)
        seconds = (time.perf_counter() - start) / len(heard.clips)
        for i, clip in enumerate(heard.clips):
            each = {head: p[i] for head, p in heads.items()}
            probabilities, found = self._with_words(each, words[i])
            yield SystemAnswer.from_probabilities(
                clip.id,
                probabilities,
                seconds=None if heard.seconds is None else round(heard.seconds + seconds, 6),
                kept=_kept(kept[i]),
                **found,
            )

    def _words(self, clips: Sequence[BenchmarkClip]) -> list[Words | NoWords | None]:
        """Of each clip; None where nobody listens for words."""
        if self.transcribe is None:
            return [None] * len(clips)
        said = self.transcribe({clip.digest: clip.audio for clip in clips})
        read = dict(zip(said, self.pipeline.words_reader.read(list(said.values())), strict=True))
        return [read.get(clip.digest, NoWords(UNCLEAR)) for clip in clips]

    def _with_words(self, heads: dict[str, np.ndarray], words: Words | NoWords | None) -> tuple[list[float], dict]:
        """The probabilities of the answer, as the pipeline puts it together, and the other fields of it."""
        config, fused = self.pipeline.model.config, heads.pop("fused")
        spread = (
            round(float(divergence(heads["acoustic"], heads["semantic"])), 6)
            if {"acoustic", "semantic"} <= set(heads)
            else None
        )
        named = {
            head: dict(zip(EMOTIONS, map(float, p), strict=True)) for head, p in ({"fused": fused} | heads).items()
        }
        told = Answer("", tone=Tone.of(named.get("acoustic")), conflict_calibration=config.conflict_calibration)
        told.says(named["fused" if config.answer_from == "fused" else "acoustic"])
        if words is None:  # the FAS of the paper: what its heads make of one another is its conflict
            found = {"conflict": spread}
        else:
            told = told.hears(words) if config.gate is None else told.hears(words).gated(config.gate)
            found = {
                "conflict": _short(told.conflict),
                "disagreement": _short(told.disagreement),
                "words_missing": told.words_missing,
            }
        if told.words:
            found["transcript"], heads["words"] = (
                told.words.transcript,
                np.array([told.words.probabilities[e] for e in EMOTIONS]),
            )
        found["heads"] = {head: [round(float(x), 6) for x in p] for head, p in heads.items()}
        return [told.probabilities[e] for e in EMOTIONS], found | {"divergence": spread}

    def _pipeline(self, heard: Heard) -> EmotionPipeline:
        if not self.own_statistics:
            return self.pipeline
        statistics = {
            s: feature_statistics(
                (getattr(f, s) for f in heard.features), (getattr(f, f"{s}_deviation") for f in heard.features)
            )
            for s in ("acoustic", "semantic")
        }
        return EmotionPipeline(with_statistics(self.pipeline.model, statistics), self.pipeline.extractor)

    def embed(self, clips: Sequence[BenchmarkClip]) -> np.ndarray | None:
        if self.own_statistics:
            return None
        heard = read_features(clips, self.pipeline.extractor, self.cache_dir)
        rows = [self.pipeline.hear(each.features)[2] for each in heard if each.clips]
        return np.concatenate(rows) if rows else None

    def describe(self) -> dict:
        training = self.pipeline.training
        curve = [round(h["macro_f1"], 4) for h in training.get("history", []) if "macro_f1" in h]
        loss = [round(h["loss"], 4) for h in training.get("history", []) if "loss" in h]
        encoders, own = describe_encoders(self.pipeline.extractor), self.pipeline.model.num_parameters()
        return encoders | {
            "parameters": own + (encoders["encoder_parameters"] or 0),
            "parameters_trained": own,
            "training_seconds": training.get("seconds"),
            "curve": curve,
            "loss": loss,
        }

    def close(self) -> None:
        self.pipeline = None


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _kept(pathways: dict[str, list[dict]]) -> list[dict]:
    """Kept tokens in one list, scores as a share of the pathway's largest."""
    rows = []
    for pathway, tokens in pathways.items():
        largest = max((t["score"] for t in tokens), default=1.0) or 1.0
        rows += [{"pathway": pathway, "start": t["start"], "end": t["end"], "score": round(t["score"] / largest, 3)}
                 for t in tokens]  # fmt: skip
    return rows


def decisions(config: FASConfig) -> dict:
    """What a configuration decides beside the weights: how many tokens are kept, which answer is given, ..."""
    own = set(inspect.signature(FASConfig.__init__).parameters) - {"self", "kwargs", "streams", "streams_identity"}
    return {name: getattr(config, name) for name in sorted(own)}


def weights_digest(model) -> str:
    """sha256 (hex) over names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def build(options: dict, context: BuildContext) -> FASSystem:
    """A checkpoint. Options: `checkpoint` (directory, hub id, base or tiny.en; the shipped one by default), `own_statistics`,
    `words` (true: what is said is written down, and conflict is that of words and tone; false: conflict is the divergence of the
    heads, as in the paper).

    Raises:
        CheckpointError: no checkpoint there.
    """
    check_options(options, ("checkpoint", "own_statistics", "words"))
    checkpoint = options.get("checkpoint") or None
    pipeline = EmotionPipeline.from_pretrained(
        checkpoint, device=context.device, words=bool(options.get("words", True))
    )
    shipped = shipped_name(checkpoint)
    title = f"FAS, shipped checkpoint ({shipped})" if shipped else f"FAS, {Path(checkpoint).name}"
    return FASSystem(
        pipeline, context.features, name=options["name"], title=options.get("title") or title,
        own_statistics=bool(options.get("own_statistics")),
    )  # fmt: skip


def training_of(options: dict) -> tuple[tuple[str, ...], int | None]:
    """(training corpora, fold) of a checkpoint directory, before it is loaded; nothing known of a hub id."""
    return learned_from(read_record(expanded(find_shipped(options.get("checkpoint") or None))))


def build_trained(options: dict, context: BuildContext) -> FASSystem:
    """FAS trained on the run's training corpora, kept below the cache and trained once.

    Options: `recipe` (a system of fas_eval.systems.recipes: paper, fas, concat, gated, random, all, no-queries, shipped, ...; "fas"),
    `model`, `training`, `encoders` (changed fields of `ModelArguments`, `TrainingArguments`, `DataArguments`), `seed`.

    Raises:
        FASError: an unknown recipe or field, no training corpora.
    """
    check_options(options, ("recipe", "model", "training", "encoders", "seed", "own_statistics"))
    recipe = _recipe(options.get("recipe", "fas"))
    stacked = {"acoustic_layer": context.stacked_layers} if recipe.acoustic == "stack" else {}
    data = context.data_arguments(stacked | {"augmentation": list(recipe.augmentation)} | options.get("encoders", {}))
    model = _arguments(ModelArguments, recipe.model | options.get("model", {}))
    settings = dict(keep="last", refit=True, save_every=10**6, seed=options["seed"]) | recipe.training
    settings |= options.get("training", {})
    # the clips by content: neither where they lie, nor other clips at the same place, make another training the same
    learned = asdict(data) | {"cache_dir": "", "corpora": training_set(context).digest}
    named = json.dumps([learned, asdict(model), settings], sort_keys=True)
    place = expanded(context.cache_dir) / "trained" / hashlib.sha256(named.encode()).hexdigest()[:20]
    context.workers.wait()  # all have to look before one trains, or some would wait for what is there already
    if not (place / "config.json").is_file():
        _train(data, model, _arguments(TrainingArguments, settings | {"output_dir": str(place)}), context.workers)
    pipeline = EmotionPipeline.from_pretrained(place, device=context.device, words=False)
    return FASSystem(
        pipeline, context.features, name=options["name"], title=options.get("title") or recipe.title, seed=options["seed"],
        own_statistics=bool(options.get("own_statistics")),
    )  # fmt: skip


def _recipe(name: str):
    if name not in RECIPES or RECIPES[name].pooled:
        known = ", ".join(key for key, recipe in RECIPES.items() if not recipe.pooled)
        raise FASError(f"recipe {name!r}: expected one of {known}")
    return RECIPES[name]


def _arguments(kind, values: dict):
    try:
        return kind(**values)
    except TypeError as error:
        raise FASError(f"{kind.__name__}: {error}") from None


def _train(data: DataArguments, model: ModelArguments, arguments: TrainingArguments, workers: Workers) -> None:
    """Train here; of several processes one does, as a child outside the group, and the others wait.

    Raises:
        FASError: the training failed.
    """
    if workers.number == 1:
        from fas_core.training.fas import train

        train(data, model, arguments)
        return
    if workers.is_main:
        request = Path(arguments.output_dir).with_suffix(".yaml")
        write_text(request, yaml.safe_dump(asdict(data) | asdict(model) | asdict(arguments)))
        subprocess.run([sys.executable, "-m", "fas_core.training.fas", str(request)], env=environment_of_one_process())
    workers.wait()
    if not (Path(arguments.output_dir) / "config.json").is_file():
        raise FASError("the training of a FAS failed in its own process; its message stands above")
