"""The comparison of docs/results.md: every system on the six RAVDESS folds, zero-shot on EmoDB and URDU.

`python -m experiments run --data-root DIR --output FILE --encoder offline:base --stage choose|test`

Stage "choose" trains on the training speakers and scores validation speakers and URDU (the development set of
zero-shot choices); nothing else is read. Stage "transfer" trains on RAVDESS's training speakers alone and scores TESS:
another corpus, other voices, other sentences, and no test set. Stage "leave-corpus-out" trains on all corpora but one and scores
that one, and URDU after all (experiments/left_out.py). Stage "test" trains on training and validation speakers, with the settings and
the number of epochs that are then fixed, and scores the fold's test speakers, EmoDB and URDU. One line of JSON is
appended for each run, so an interrupted study continues; `python -m experiments table` prints the tables.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from scipy.special import log_softmax

from experiments import left_out
from experiments.pooled import PooledBaseline
from experiments.tables import STAGES, read, tables
from fas_core.attempts import attempt
from fas_core.data import load_corpus
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import reports_errors
from fas_core.features.cache import FeatureCache
from fas_core.inference import Logits, predict_logits, with_statistics
from fas_core.paths import expanded
from fas_core.provenance import git_state
from fas_core.training.arguments import DataArguments, ModelArguments, fas_config, stream_config
from fas_core.training.clips import Clips, concatenate, label_indices
from fas_core.training.data import FeatureSource
from fas_core.training.fas import new_model
from fas_core.training.loop import Trainer
from fas_eval.statistics.metrics import point_figures
from fas_eval.systems.recipes import SYSTEMS, Recipe

TRAINING_CORPORA = ("ravdess", "tess")
ZERO_SHOT = ("emodb", "urdu")


@dataclass
class Material:
    """Features and labels of every corpus for one choice of encoders; what was worked out of them last is remembered."""

    extractor: FeatureExtractor
    streams: dict
    sources: dict[str, FeatureSource]
    datasets: dict
    remembered: dict = field(default_factory=dict)

    def clips(self, corpus: str, splits: dict[str, str], wanted: set[str], variants: tuple[str, ...] = ()) -> Clips:
        """Clips of a corpus whose split is wanted; `splits` maps ids to splits."""
        dataset, source = self.datasets[corpus], self.sources[corpus]
        ids = dataset["id"]
        chosen = [i for i in source.usable if splits[ids[i]] in wanted]
        labels = label_indices(dataset["emotion"])
        words = label_indices(dataset["semantic_emotion"])
        return source.clips(chosen, ids, labels, words, ["", *variants], dataset["speaker"], dataset["corpus"])


def load_material(arguments, acoustic_layer: str, variants: tuple[str, ...]) -> Material:
    """Extract (once) and load the features of all corpora; only training corpora have variants."""
    data = DataArguments(
        encoder=arguments.encoder, acoustic_layer=acoustic_layer, acoustic_encoder=arguments.acoustic_encoder,
        padding=arguments.padding,
    )  # fmt: skip
    streams = stream_config(data, ModelArguments())
    extractor = FeatureExtractor.from_config(streams)
    cache = FeatureCache(expanded(arguments.cache), extractor.identity())
    sources, datasets = {}, {}
    learn = getattr(arguments, "corpora", TRAINING_CORPORA)
    corpora = (*learn, *{"test": ZERO_SHOT, "choose": ("urdu",)}.get(arguments.stage, ()))
    if arguments.stage == left_out.STAGE:
        learn = {*arguments.corpora, *(name for system in arguments.systems for name in SYSTEMS[system].corpora)}
        corpora = dict.fromkeys((*sorted(learn), *arguments.left_out))
    for corpus in corpora:
        datasets[corpus] = load_corpus(corpus, arguments.data_root / corpus)
        own = list(variants) if corpus in learn else []
        sources[corpus] = FeatureSource(datasets[corpus], extractor, cache, ["", *own])
    return Material(extractor, streams, sources, datasets)


def sides(
    material: Material, data_root: Path, fold: int, stage: str, variants, corpora: tuple[str, ...] = TRAINING_CORPORA
) -> tuple[Clips, dict[str, Clips]]:
    """Training clips (of all corpora; "transfer": RAVDESS alone) and the sets to score, by name."""
    folds = load_corpus("ravdess", data_root / "ravdess", fold=fold)
    split = dict(zip(folds["id"], folds["split"], strict=True))
    learn = {"train", "validation"} if stage == "test" else {"train"}
    everything = {c: dict.fromkeys(material.datasets[c]["id"], "all") for c in material.datasets}
    train = material.clips("ravdess", split, learn, variants)
    tess = material.clips("tess", everything["tess"], {"all"}, () if stage == "transfer" else variants)
    if stage != "transfer":
        others = [name for name in corpora if name not in ("ravdess", "tess")]
        train = concatenate(
            [train, tess, *(material.clips(name, everything[name], {"all"}, variants) for name in others)]
        )
    scored = {"ravdess": {"test"}} if stage == "test" else {"validation": {"validation"}}
    tests = {name: material.clips("ravdess", split, wanted) for name, wanted in scored.items()}
    tests |= {"tess": tess} if stage == "transfer" else {}
    tests |= {c: material.clips(c, everything[c], {"all"}) for c in ZERO_SHOT if c in material.datasets}
    return train, tests


def logits_of(model, clips: Clips) -> Logits:
    """Logits of every head, (N, 7) each."""
    lengths = [len(clips.features(i, "").acoustic) for i in range(len(clips))]
    return predict_logits(model, lambda i: clips.features(i, ""), lengths)


def run_fas(system: Recipe, material: Material, train: Clips, tests: dict, seed: int, extra: dict, score) -> dict:
    """Train FAS and score it; returns scores by set, and by "set, own statistics" where the model standardises."""
    model_arguments = ModelArguments(**(system.model | extra.get("model", {})))
    arguments = left_out.training_arguments(
        system.training | extra.get("training", {}), train, seed=seed, keep="last", save_every=10**9,
        output_dir=extra["scratch"], cpu=not torch.cuda.is_available(),
    )  # fmt: skip
    config = fas_config(model_arguments, material.extractor.dimensions, material.streams, material.extractor.digest)
    model = new_model(config, train, seed, arguments)
    trainer = Trainer(model, arguments, train, tests.get("validation"), Accelerator(cpu=arguments.cpu))
    history = trainer.fit()
    scores = {}
    for name, clips in tests.items():
        logits = logits_of(model, clips)
        scores[name] = score(clips, logits.fused)
        if config.answer_from == "tone":
            scores |= {name: score(clips, logits.acoustic), f"{name}, fused alone": scores[name]}
        if config.pathway_heads:
            scores |= part_scores(name, clips, logits, config, score)
        if config.standardise and name in ZERO_SHOT:
            own = logits_of(with_statistics(model, clips.statistics()), clips)
            scores[f"{name}, own statistics"] = score(clips, own.fused)
    curve = [round(h["macro_f1"], 4) for h in history if "macro_f1" in h]
    return dict(scores=scores, curve=curve, parameters=model.num_parameters())


def part_scores(name: str, clips: Clips, logits: Logits, config, score) -> dict:
    """Scores of the acoustic head, and of the fused answer without it."""
    scores, ensemble = {f"{name}, acoustic head": score(clips, logits.acoustic)}, config.ensemble
    if config.residual:
        scores[f"{name}, fused alone"] = score(clips, logits.fused - logits.acoustic)
    if 0 < ensemble < 1:
        fused = (log_softmax(logits.fused, -1) - ensemble * log_softmax(logits.acoustic, -1)) / (1 - ensemble)
        scores[f"{name}, fused alone"] = score(clips, fused)
    return scores


def run_pooled(system: Recipe, train: Clips, tests: dict, seed: int, C: float, score) -> dict:
    """Logistic regression on pooled streams, probabilities averaged."""
    rows = [(i, v) for v in train.variants for i in range(len(train))]
    labels = train.labels[[i for i, _ in rows]]
    probabilities = dict.fromkeys(tests, 0.0)
    for stream, statistics in system.pooled:
        model = PooledBaseline("mean", C=C, seed=seed)
        model.fit([clip_vector(train.features(i, v), stream, statistics) for i, v in rows], labels)
        for name, clips in tests.items():
            features = [clip_vector(clips.features(i, ""), stream, statistics) for i in range(len(clips))]
            probabilities[name] = probabilities[name] + model.predict_proba(features) / len(system.pooled)
    return dict(scores={n: score(tests[n], np.log(p + 1e-12)) for n, p in probabilities.items()}, curve=[])


def clip_vector(features, stream: str, statistics: str) -> np.ndarray:
    """Mean over the patches and, where asked for, deviation over the frames, as one row: (1, D) or (1, 2 D)."""
    mean = np.asarray(getattr(features, stream), dtype=np.float64).mean(0)
    parts = [mean] + ([getattr(features, f"{stream}_deviation")] if statistics == "mean+deviation" else [])
    return np.concatenate(parts)[None]


def point_score(clips: Clips, logits: np.ndarray) -> dict:
    """Accuracy, UA and macro-F1 in per cent."""
    return {name: round(100 * value, 2) for name, value in point_figures(clips.labels, logits.argmax(-1)).items()}


def run(arguments) -> int:
    """All runs that the output does not hold yet; how many of them failed, which the next call tries again."""
    failed = 0
    done = {run_key(r) for r in read(arguments.output)}
    material: dict[str, Material] = {}
    for key in jobs(arguments):
        system = SYSTEMS[key["system"]]
        if run_key(key) in done:
            continue
        wanted = f"{key['layer']}, {len(system.augmentation) > 0}"
        if wanted not in material:
            material.clear()  # one at a time: features of one choice of encoders fill memory enough
            material[wanted] = load_material(arguments, key["layer"], system.augmentation)
        start = time.process_time()
        name = f"{key['system']}, {key.get('left_out') or 'fold ' + str(key['fold'])}, seed {key['seed']}"
        result, why = attempt(name, partial(run_one, system, material[wanted], arguments, key))
        if why is not None:
            failed += 1
            continue
        record = key | result | dict(cpu_seconds=round(time.process_time() - start, 1), **git_state())
        append(arguments.output, record)
        print(
            name,
            key["set"],
            {n: s["ua"] for n, s in result["scores"].items()},
            f"{record['cpu_seconds']} s",
            flush=True,
        )
    return failed


def jobs(arguments) -> list[dict]:
    """What makes each run one of its own; runs that need the same features follow each other, and those of one left-out corpus."""
    common = dict(
        stage=arguments.stage,
        encoder=arguments.encoder,
        acoustic_encoder=arguments.acoustic_encoder,
        padding=arguments.padding,
    )
    parts = [dict(fold=fold) for fold in arguments.folds]
    if arguments.stage == left_out.STAGE:
        parts = [dict(fold=None, left_out=name) for name in arguments.left_out]
    found = [
        common | part | _corpora(SYSTEMS[name], arguments) | dict(
            system=name, layer=arguments.stack if SYSTEMS[name].acoustic == "stack" else arguments.layer, seed=seed,
            C=arguments.C if SYSTEMS[name].pooled else None, set=changed,
        )
        for name in arguments.systems for part in parts for seed in arguments.seeds for changed in _settings(SYSTEMS[name], arguments)
    ]  # fmt: skip
    return sorted(
        found, key=lambda key: (key["layer"], len(SYSTEMS[key["system"]].augmentation) > 0, key.get("left_out", ""))
    )


def _corpora(system: Recipe, arguments) -> dict:
    if arguments.stage != left_out.STAGE and set(arguments.corpora) == set(TRAINING_CORPORA):
        return {}  # as of runs from before there was a choice
    return dict(corpora=sorted(system.corpora or arguments.corpora))


def _settings(system: Recipe, arguments) -> list[dict]:
    """`--set`, with each of the shrinkages where the system is a discriminant alone."""
    changed = json.loads(arguments.set)
    if not system.linear:
        return [changed]
    return [
        changed | {"model": changed.get("model", {}) | {"head_shrinkage": shrinkage}}
        for shrinkage in arguments.shrinkages
    ]


def run_one(system: Recipe, material: Material, arguments, key: dict) -> dict:
    extra = key["set"] | {"scratch": str(arguments.output) + ".scratch"}
    if arguments.stage == left_out.STAGE and not (system.linear or system.pooled):
        return left_out.once_for_all(
            material, system, key, arguments.left_out,
            lambda train, tests: run_fas(system, material, train, tests, key["seed"], extra, left_out.scored),
        )  # fmt: skip
    if arguments.stage == left_out.STAGE:
        train, tests = left_out.sides(material, key["corpora"], key["left_out"], system.augmentation)
        score = left_out.scored
    else:
        corpora = key.get("corpora", TRAINING_CORPORA)
        train, tests = sides(material, arguments.data_root, key["fold"], arguments.stage, system.augmentation, corpora)
        score = point_score
    if system.linear:
        return left_out.run_linear(system, material, train, tests, arguments.shrinkages, extra, score)
    if system.pooled:
        return run_pooled(system, train, tests, key["seed"], arguments.C, score)
    return run_fas(system, material, train, tests, key["seed"], extra, score)


def run_key(record: dict) -> str:
    """What makes a run one of its own."""
    names = (
        "stage",
        "system",
        "encoder",
        "acoustic_encoder",
        "padding",
        "layer",
        "fold",
        "left_out",
        "corpora",
        "seed",
        "C",
        "set",
    )
    return json.dumps([record.get(n) for n in names], sort_keys=True)


def append(path: Path, record: dict) -> None:
    """One line; written at once, so that a killed study loses nothing that was finished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m experiments", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    work = commands.add_parser("run", help="train and score systems; finished runs are skipped")
    work.add_argument(
        "--data-root", type=Path, required=True, help="folder with ravdess, tess and what else the stage reads"
    )
    work.add_argument("--output", type=Path, required=True, help="file of results, a line of JSON a run")
    work.add_argument("--stage", choices=STAGES, default="choose", help="what is trained on and scored")
    work.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS), metavar="NAME",
                      help=", ".join(SYSTEMS))  # fmt: skip
    work.add_argument("--folds", nargs="+", type=int, default=[1, 2, 3, 4, 5, 6], help="RAVDESS folds")
    work.add_argument("--left-out", nargs="+", default=[*left_out.CORPORA, left_out.DEVELOPMENT],
                      choices=[*left_out.CORPORA, left_out.DEVELOPMENT], help="corpora that are scored in turn (leave-corpus-out)")  # fmt: skip
    work.add_argument("--corpora", nargs="+", help="corpora to train on, RAVDESS among them but in leave-corpus-out; default: all five "
                      "that are left out in turn, in other stages RAVDESS and TESS")  # fmt: skip
    work.add_argument(
        "--shrinkages", nargs="+", type=float, default=[0.6], help="of systems that are a discriminant alone"
    )
    work.add_argument("--seeds", nargs="+", type=int, default=[42], help="seeds")
    work.add_argument("--encoder", default="offline:base", help="Whisper of both streams")
    work.add_argument("--acoustic-encoder", help="other acoustic encoder, e.g. a SoundStream .tflite")
    work.add_argument("--padding", default="clip", choices=("clip", "30s"), help="what Whisper encodes")
    work.add_argument("--layer", default="3", help="acoustic layer of systems with one")
    work.add_argument("--stack", default="1,2,3,4", help="acoustic layers of systems that stack them")
    work.add_argument("--C", type=float, default=0.003, help="inverse penalty of the pooled baselines")
    work.add_argument("--set", default="{}", help='JSON of changed settings: {"model": {...}, "training": {...}}')
    work.add_argument("--cache", default="~/.cache/fas_alm/features", help="feature cache")
    show = commands.add_parser("table", help="print the table of result files")
    show.add_argument("results", nargs="+", type=Path)
    show.add_argument("--stage", choices=STAGES, default="test")
    show.add_argument("--heads", action="store_true", help="with the acoustic head's own figures")
    arguments = parser.parse_args(argv)
    if arguments.command == "run" and arguments.corpora is None:
        arguments.corpora = list(left_out.CORPORA if arguments.stage == left_out.STAGE else TRAINING_CORPORA)
    return arguments


@reports_errors
def main(argv=None) -> int:
    arguments = parse_arguments(argv)
    if arguments.command == "run":
        return int(run(arguments) > 0)
    print(tables(arguments.results, arguments.stage, arguments.heads))
    return 0


if __name__ == "__main__":
    sys.exit(main())
