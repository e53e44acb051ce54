"""Methods against differences of corpora, leave-one-corpus-out, on one GPU and many cores: `python -m eval.study.invariance`.

The rows are those of `eval.study run --stage leave-corpus-out`, from the same code, in a time that a lent GPU has: features are extracted
by all processes, lie on the GPU as a whole, and what is fitted in closed form is fitted once for all seeds and methods that share it.
"lora" adapts Whisper's shallow layers on the training corpora and fits the discriminant on the adapted statistics; "lora-none" is the
same without the adaptation. One line of JSON is appended for each run; a study that was stopped, or that ran out of its minutes, goes on.
"""

import argparse
import json
import logging
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from eval.study import left_out
from eval.study import run as study
from eval.study.recipes import LORA, SYSTEMS
from eval.study.resident import Resident, ResidentTrainer, held
from fas_core.audio import load_audio
from fas_core.data import load_corpus
from fas_core.discriminant import SPLITS, fit_discriminant
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.encoders.whisper import WhisperBackbone
from fas_core.errors import FASError, reports_errors
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import extract_features
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.provenance import git_state
from fas_core.sources import audio_digest
from fas_core.training.arguments import DataArguments, ModelArguments, fas_config, parse_layer, stream_config
from fas_core.training.corpora import corpus_names, discriminant_corpora, held_out_groups, weights_of_clips
from fas_core.training.data import FeatureSource
from fas_core.training.encoder_lora import LoraArguments, adapt, pooled_all
from fas_core.training.run import new_model

METHODS = (
    "unaugmented", "balanced", "adversarial-corpus", "adversarial-corpus-even", "adversarial-speaker", "contrastive", "contrastive-across",
    "mixup-across", "residual", *LORA,
)  # fmt: skip
FITTED = ("fas.standardise", "fas.within_emotion", "pathway.acoustic")  # what does not depend on the seed
SHRINKAGE, DEVIATION_WEIGHT = 0.6, 0.5  # of the recommended recipe


class Held(FeatureSource):
    """Features that are in the cache, without another look at every byte of it."""

    def __init__(self, rows, cache: FeatureCache):
        self.cache, self.variants, self.failed, self.held = cache, [""], [], {}
        self.digests = [audio_digest(row["audio"]) for row in rows]
        self.usable = [i for i, digest in enumerate(self.digests) if digest in cache]


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
        extract_features(rows, extractor, cache, process_index=part, num_processes=parts, shard_clips=32, progress=False)
        file = self.folder / f"mels-{part}-of-{parts}.safetensors"
        if not file.exists():
            mels = {}
            for row in rows[part::parts]:
                samples = extractor.front_end(load_audio(row["audio"]).samples).samples
                mels[audio_digest(row["audio"])] = extractor.whisper.backbone.mel(samples[: 30 * 16_000], "clip").half().contiguous()
            save_file(mels, temporary := file.with_suffix(".tmp"))
            os.replace(temporary, file)

    def _extractor(self) -> tuple[FeatureExtractor, FeatureCache]:
        extractor = FeatureExtractor.from_config(stream_config(self.data, ModelArguments()), device=self.device)
        return extractor, FeatureCache(self.folder / "features", extractor.identity())

    @lru_cache(1)  # noqa: B019  a worker lives as long as its process
    def material(self) -> study.Material:
        extractor, cache = self._extractor()
        sources = {name: Held(dataset, cache) for name, dataset in self.datasets.items()}
        return study.Material(extractor, stream_config(self.data, ModelArguments()), sources, self.datasets)

    @lru_cache(1)  # noqa: B019
    def resident(self) -> Resident:
        return Resident(held([left_out._whole(self.material(), name, ()) for name in self.arguments.corpora]), self.device)

    @lru_cache(1)  # noqa: B019
    def mels(self) -> dict[str, torch.Tensor]:
        files = sorted(self.folder.glob("mels-*.safetensors"))
        return {digest: mel.to(self.device) for file in files for digest, mel in load_file(file).items()}

    def sides(self, name: str):
        return left_out.sides(self.material(), self.arguments.corpora, name, ())

    def fit(self, name: str, kind: str) -> None:
        """Keep what a recipe fits on all corpora but one: statistics, discriminant, directions, held-out logits."""
        file = self.folder / f"fitted-{name}-{kind}.safetensors"
        if file.exists():
            return
        system, (train, _) = SYSTEMS[kind], self.sides(name)
        arguments = left_out.training_arguments(system.training, train)
        model = new_model(self._config(ModelArguments(**system.model | dict(ensemble=0.0, residual=True))), train, 0, arguments)
        kept = {n: t.contiguous() for n, t in model.state_dict().items() if n.startswith(FITTED)}
        save_file(kept | {"tone_logits": torch.from_numpy(train.tone_logits[""])}, temporary := file.with_suffix(f".{os.getpid()}"))
        os.replace(temporary, file)

    def _config(self, model: ModelArguments):
        material = self.material()
        return fas_config(model, material.extractor.dimensions, material.streams, material.extractor.digest)

    def fas(self, key: dict) -> dict:
        """Train and score a FAS."""
        system, (train, tests) = SYSTEMS[key["system"]], self.sides(key["left_out"])
        scratch = self.folder / f"run-{os.getpid()}"
        arguments = left_out.training_arguments(
            system.training | key["set"].get("training", {}), train, seed=key["seed"], keep="last", save_every=10**9, output_dir=str(scratch),
            cpu=self.device.type == "cpu",
        )  # fmt: skip
        config = self._config(ModelArguments(**system.model | key["set"].get("model", {})))
        kept = load_file(self.folder / f"fitted-{key['left_out']}-{_kind(key['system'])}.safetensors")
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
        train, tests = self.sides(key["left_out"])
        arguments = left_out.training_arguments(SYSTEMS["balanced"].training, train)
        backbone = WhisperBackbone(self.arguments.encoder, device=self.device)
        mels = self.mels()
        if key["system"] == "lora":
            options = LoraArguments(**dict(seed=key["seed"]) | key["set"].get("lora", {}))
            corpora, weights = np.unique(corpus_names(train), return_inverse=True)[1], weights_of_clips(train, arguments)
            adapt(backbone, [mels[d] for d in train.digests], train.labels, corpora, train.class_weights(weights), self.layers, options)
        x, *others = (pooled_all(backbone, [mels[d] for d in clips.digests], self.layers).numpy() for clips in (train, *tests.values()))
        mean, deviation = x.mean(0), x.std(0) + 1e-5
        rows = np.arange(len(train))
        groups, splits = held_out_groups(train, rows, arguments)
        found = fit_discriminant(
            (x - mean) / deviation, train.labels, groups, SHRINKAGE, DEVIATION_WEIGHT, discriminant_corpora(train, rows, arguments), splits or SPLITS
        )
        pairs = zip(tests.items(), others, strict=True)
        return dict(scores={name: left_out.scored(clips, found((y - mean) / deviation)) for (name, clips), y in pairs})


def _kind(system: str) -> str:
    return "unaugmented" if system == "unaugmented" else "balanced"


_WORKER: Worker | None = None


def _start(arguments: argparse.Namespace) -> None:
    global _WORKER
    logging.disable(logging.WARNING)
    _WORKER = Worker(arguments)


def _do(what: str, *given):
    start = time.time()
    result = getattr(_WORKER, what)(*given)
    return result, round(time.time() - start, 1)


def keys(arguments: argparse.Namespace) -> list[dict]:
    """Of the runs, seed by seed, so that a study that ends early has whole seeds; low-rank adaptation, which takes longest, first."""
    asked = replace_namespace(arguments, systems=[s for s in arguments.systems if s not in LORA])
    found = study.jobs(asked)
    for name in arguments.left_out:
        base = dict(stage=left_out.STAGE, encoder=arguments.encoder_name, acoustic_encoder=None, padding=arguments.padding, fold=None, left_out=name)
        for system in set(arguments.systems) & set(LORA):
            for seed in arguments.seeds if system == "lora" else arguments.seeds[:1]:
                found.append(base | dict(corpora=sorted(arguments.corpora), system=system, layer=arguments.stack, seed=seed, C=None, set=json.loads(arguments.set)))
    for key in found:
        key["encoder"] = arguments.encoder_name
    order = [*LORA, *[s for s in arguments.systems if s not in LORA]]
    return sorted(found, key=lambda k: (arguments.seeds.index(k["seed"]), order.index(k["system"])))


def replace_namespace(arguments: argparse.Namespace, **changed) -> argparse.Namespace:
    return argparse.Namespace(**vars(arguments) | changed)


def run(arguments: argparse.Namespace) -> int:
    """All runs that the output does not hold yet; 0 where all were done, 1 where the time was up or some failed."""
    deadline = time.time() + 60 * arguments.max_minutes
    arguments.work.mkdir(parents=True, exist_ok=True)
    done = {study.run_key(r) for r in study.read(arguments.output)}
    wanted = [key for key in keys(arguments) if study.run_key(key) not in done]
    context = get_context("spawn")
    pool = ProcessPoolExecutor(arguments.processes, mp_context=context, initializer=_start, initargs=(arguments,))
    failed, begun = 0, time.time()

    def told(*what) -> None:
        print(f"{time.time() - begun:6.1f} s", *what, flush=True)

    def all_of(jobs: dict, each) -> bool:
        """Wait for the jobs, future -> key; whether there was time for all of them."""
        nonlocal failed
        waiting = set(jobs)
        while waiting and time.time() < deadline:
            ready, waiting = wait(waiting, timeout=max(0.0, deadline - time.time()), return_when=FIRST_COMPLETED)
            for future in ready:
                try:
                    each(jobs[future], *future.result())
                except Exception as error:  # one run's; the others go on
                    failed += 1
                    told("failed:", jobs[future], type(error).__name__, error)
        return not waiting

    def keep(key: dict, result: dict, seconds: float) -> None:
        study.append(arguments.output, key | result | dict(cpu_seconds=seconds, **git_state()))
        told(key["system"], key["left_out"], key["seed"], {n: s["ua"] for n, s in result["scores"].items()}, f"{seconds} s")

    try:
        parts = {pool.submit(_do, "prepare", part, arguments.processes): part for part in range(arguments.processes)}
        in_time = all_of(parts, lambda part, _, seconds: told("prepared", part, f"{seconds} s"))
        fits = dict.fromkeys((k["left_out"], _kind(k["system"])) for k in wanted if k["system"] not in LORA)
        first = {pool.submit(_do, "fit", *fit): fit for fit in fits}
        first |= {pool.submit(_do, "lora", key): key for key in wanted if key["system"] in LORA and key["seed"] == arguments.seeds[0]}
        in_time = in_time and all_of(first, lambda key, result, s: keep(key, result, s) if result else told("fitted", key, f"{s} s"))
        seen = {id(key) for key in first.values()}
        rest = {pool.submit(_do, "lora" if k["system"] in LORA else "fas", k): k for k in wanted if id(k) not in seen}
        in_time = in_time and all_of(rest, keep)
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # what runs still is done again by the next call
            process.terminate()
    told(f"{failed} failed", "all done" if in_time else "time is up")
    return int(failed > 0 or not in_time)


def parse_arguments(argv=None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m eval.study.invariance", description=__doc__, formatter_class=raw)
    parser.add_argument("--data-root", type=Path, required=True, help="folder with the corpora by name")
    parser.add_argument("--output", type=Path, required=True, help="file of results, a line of JSON a run")
    parser.add_argument("--work", type=Path, required=True, help="folder of features and of what is fitted, which stays")
    parser.add_argument("--encoder", default="offline:base", help="Whisper (%(default)s)")
    parser.add_argument("--encoder-name", default="offline:base", help="what the rows call it (%(default)s)")
    parser.add_argument("--stack", default="1,2,3,4", help="acoustic layers (%(default)s)")
    parser.add_argument("--systems", nargs="+", default=list(METHODS), choices=METHODS, metavar="NAME", help=", ".join(METHODS))
    every = [*left_out.CORPORA, left_out.DEVELOPMENT]
    parser.add_argument("--left-out", nargs="+", default=every, choices=every, help="corpora that are scored in turn")
    parser.add_argument("--corpora", nargs="+", default=list(left_out.CORPORA), help="corpora to train on")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43], help="seeds (%(default)s)")
    parser.add_argument("--set", default="{}", help='JSON of changed settings: {"model": {...}, "training": {...}, "lora": {...}}')
    parser.add_argument("--processes", type=int, default=2, help="processes that share the GPU (%(default)s)")
    parser.add_argument("--max-minutes", type=float, default=1e6, help="then it stops, and goes on when called again")
    parser.set_defaults(stage=left_out.STAGE, acoustic_encoder=None, padding="clip", layer=None, C=None, shrinkages=[], folds=[])
    arguments = parser.parse_args(argv)
    arguments.all_corpora = list(dict.fromkeys((*arguments.corpora, *arguments.left_out)))
    if arguments.processes < 1:
        raise FASError(f"--processes {arguments.processes}: expected at least 1")
    return arguments


@reports_errors
def main(argv=None) -> int:
    return run(parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
