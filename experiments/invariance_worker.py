"""One process of `experiments.invariance`: what it extracts, fits, trains and scores; everything that it loads it loads once."""

import argparse
import json
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from experiments import left_out
from experiments import stages as study
from experiments.resident import STREAMS, Resident, ResidentTrainer, held
from fas_core.audio import load_audio
from fas_core.data import load_corpus
from fas_core.discriminant import SPLITS, fit_discriminant
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.encoders.whisper import WhisperBackbone
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import extract_features
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.sources import audio_digest
from fas_core.training.arguments import DataArguments, ModelArguments, fas_config, parse_layer, stream_config
from fas_core.training.corpora import corpus_names, discriminant_corpora, held_out_groups, weights_of_clips
from fas_core.training.data import FeatureSource
from fas_core.training.encoder_lora import LoraArguments, adapt, pooled_all
from fas_core.training.fas import new_model
from fas_eval.systems.recipes import LORA, SYSTEMS

FITTED = ("fas.standardise", "fas.within_emotion", "pathway.acoustic")  # what does not depend on the seed
MEANS = ("acoustic", "semantic", "acoustic_deviation", "semantic_deviation")
SHRINKAGE, DEVIATION_WEIGHT = 0.6, 0.5  # of the recommended recipe


def kind(key: dict) -> str:
    """The system whose closed form a run shares."""
    return key["system"] if key["system"] in ("before-unaugmented", "unaugmented") else "balanced"


class Held(FeatureSource):
    """Features that are in the cache, without another look at every byte of it.

    Args:
        means: a clip is one patch in each stream, the mean of its patches; its statistics stay what they are.
    """

    def __init__(self, rows, cache: FeatureCache, means: bool = False):
        self.cache, self.variants, self.failed, self.held, self.means = cache, [""], [], {}, means
        self.digests = [audio_digest(row["audio"]) for row in rows]
        self.usable = [i for i, digest in enumerate(self.digests) if digest in cache]

    def get(self, digest: str, variant: str = ""):
        is_new = (digest, variant) not in self.held
        clip = super().get(digest, variant)
        if self.means and is_new:
            one = {s: getattr(clip, s).mean(0, keepdims=True, dtype=np.float32).astype(np.float16) for s in STREAMS}
            self.held[digest, variant] = clip = replace(clip, **one)
        return clip


class Worker:
    """What one process has loaded."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.folder = arguments.work
        self.data = DataArguments(encoder=arguments.encoder, acoustic_layer=arguments.stack, padding=arguments.padding)
        self.layers = parse_layer(arguments.stack)
        self.datasets = {name: load_corpus(name, arguments.data_root / name) for name in arguments.all_corpora}
        torch.set_num_threads(1)

    def prepare(self, part: int, parts: int) -> None:
        """This process's share of the features and of the log-mels."""
        rows = [row for dataset in self.datasets.values() for row in dataset]
        extractor, cache = self._extractor()
        if not all(audio_digest(row["audio"]) in cache for row in rows):
            extract_features(
                rows, extractor, cache, process_index=part, num_processes=parts, shard_clips=32, progress=False
            )
        file = self.folder / f"mels-{part}-of-{parts}.safetensors"
        if not file.exists() and set(self.arguments.systems) & set(LORA):
            mels = {}
            for row in rows[part::parts]:
                samples = extractor.front_end(load_audio(row["audio"]).samples).samples
                mels[audio_digest(row["audio"])] = (
                    extractor.whisper.backbone.mel(samples[: 30 * 16_000], "clip").half().contiguous()
                )
            save_file(mels, temporary := file.with_suffix(".tmp"))
            os.replace(temporary, file)

    def _extractor(self) -> tuple[FeatureExtractor, FeatureCache]:
        extractor = FeatureExtractor.from_config(stream_config(self.data, ModelArguments()), device=self.device)
        return extractor, FeatureCache(self.arguments.cache or self.folder / "features", extractor.identity())

    @lru_cache(1)  # noqa: B019  a worker lives as long as its process
    def material(self) -> study.Material:
        extractor, cache = self._extractor()
        sources = {name: Held(dataset, cache, self.arguments.means) for name, dataset in self.datasets.items()}
        if self.arguments.means:
            self._remember(sources)
        return study.Material(extractor, stream_config(self.data, ModelArguments()), sources, self.datasets)

    def _remember(self, sources: dict[str, Held]) -> None:
        """Means are few: they are read from one file of the next start, and not from the whole cache."""
        file = self.folder / "means.safetensors"
        digests = [source.digests[i] for source in sources.values() for i in source.usable]
        if not file.exists():
            clips = [source.get(source.digests[i]) for source in sources.values() for i in source.usable]
            tensors = {
                name: torch.from_numpy(np.stack([getattr(c, name).reshape(-1) for c in clips])) for name in MEANS
            }
            save_file(tensors, file, {"clips": json.dumps(digests)})
            return
        with safe_open(file, "np") as kept:
            row = {digest: i for i, digest in enumerate(json.loads(kept.metadata()["clips"]))}
            values = {name: kept.get_tensor(name) for name in MEANS}
        for source in sources.values():
            for digest in (source.digests[i] for i in source.usable):
                if (i := row.get(digest)) is not None:
                    mean = {name: values[name][i][None] for name in MEANS[:2]}
                    source.held[digest, ""] = ClipFeatures(
                        **mean, acoustic_frames=1, semantic_frames=1, **{n: values[n][i] for n in MEANS[2:]}
                    )

    @lru_cache(1)  # noqa: B019
    def resident(self) -> Resident:
        return Resident(
            held([left_out._whole(self.material(), name, ()) for name in self.arguments.corpora]), self.device
        )

    @lru_cache(1)  # noqa: B019
    def mels(self) -> dict[str, torch.Tensor]:
        files = sorted(self.folder.glob("mels-*.safetensors"))
        return {digest: mel.to(self.device) for file in files for digest, mel in load_file(file).items()}

    def sides(self, key: dict):
        return left_out.sides(self.material(), key["corpora"], key["left_out"], ())

    def fit(self, key: dict) -> None:
        """Keep what a recipe fits on all corpora but one: statistics, discriminant, directions, held-out logits."""
        if (file := self._fitted(key)).exists():
            return
        system, (train, _) = SYSTEMS[kind(key)], self.sides(key)
        arguments = left_out.training_arguments(system.training, train)
        model = new_model(
            self._config(ModelArguments(**system.model | dict(ensemble=0.0, residual=True))), train, 0, arguments
        )
        kept = {n: t.contiguous() for n, t in model.state_dict().items() if n.startswith(FITTED)}
        save_file(
            kept | {"tone_logits": torch.from_numpy(train.tone_logits[""])},
            temporary := file.with_suffix(f".{os.getpid()}"),
        )
        os.replace(temporary, file)

    def _fitted(self, key: dict) -> Path:
        return self.folder / f"fitted-{key['left_out']}-{kind(key)}.safetensors"

    def _config(self, model: ModelArguments):
        material = self.material()
        return fas_config(model, material.extractor.dimensions, material.streams, material.extractor.digest)

    def fas(self, key: dict) -> dict:
        """Train and score a FAS."""
        system, (train, tests) = SYSTEMS[key["system"]], self.sides(key)
        scratch = self.folder / f"run-{os.getpid()}"
        arguments = left_out.training_arguments(
            system.training | key["set"].get("training", {}), train, seed=key["seed"], keep="last", save_every=10**9, output_dir=str(scratch),
            cpu=self.device.type == "cpu",
        )  # fmt: skip
        config = self._config(ModelArguments(**system.model | key["set"].get("model", {})))
        kept = load_file(self._fitted(key))
        train.tone_logits = {"": kept.pop("tone_logits").numpy()}
        torch.manual_seed(key["seed"])
        model = FASForEmotionClassification(config)
        model.load_state_dict(kept, strict=False)
        model.pathway["acoustic"].linear.requires_grad_(False)
        trainer = ResidentTrainer(model, arguments, train, None, Accelerator(cpu=arguments.cpu)).use(self.resident())
        trainer.fit()
        trainer.finish()
        scores = {}
        for name, clips in tests.items():
            logits = study.logits_of(model, clips)
            scores[name] = left_out.scored(clips, logits.fused)
            scores |= study.part_scores(name, clips, logits, config, left_out.scored)
        return dict(scores=scores)

    def lora(self, key: dict) -> dict:
        """Adapt the encoder, or not, and score the discriminant of the statistics over frames."""
        train, tests = self.sides(key)
        arguments = left_out.training_arguments(SYSTEMS["balanced"].training, train)
        backbone = WhisperBackbone(self.arguments.encoder, device=self.device)
        mels = self.mels()
        if key["system"] == "lora":
            options = LoraArguments(**dict(seed=key["seed"]) | key["set"].get("lora", {}))
            corpora, weights = (
                np.unique(corpus_names(train), return_inverse=True)[1],
                weights_of_clips(train, arguments),
            )
            adapt(
                backbone,
                [mels[d] for d in train.digests],
                train.labels,
                corpora,
                train.class_weights(weights),
                self.layers,
                options,
            )
        x, *others = (
            pooled_all(backbone, [mels[d] for d in clips.digests], self.layers).numpy()
            for clips in (train, *tests.values())
        )
        mean, deviation = x.mean(0), x.std(0) + 1e-5
        rows = np.arange(len(train))
        groups, splits = held_out_groups(train, rows, arguments)
        found = fit_discriminant(
            (x - mean) / deviation,
            train.labels,
            groups,
            SHRINKAGE,
            DEVIATION_WEIGHT,
            discriminant_corpora(train, rows, arguments),
            splits or SPLITS,
        )
        pairs = zip(tests.items(), others, strict=True)
        return dict(scores={name: left_out.scored(clips, found((y - mean) / deviation)) for (name, clips), y in pairs})
