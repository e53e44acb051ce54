"""Score a checkpoint on benchmarks: `python -m eval.suite --checkpoint DIR --benchmarks ravdess emodb ...`.

Writes results.json, predictions.csv, report.md and plots. Exit code 0; 1 where clips failed (they are named
at the end and are in no figure); 2 for bad input.

Protocols: "inductive" standardises features by the statistics of the training set, as in use on one clip;
"transductive" by those of the benchmark's own clips, without labels. The second sees the test set as a
whole, so it is another task: its figures stand in columns of their own.
"""

import argparse
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset
from tqdm import tqdm

from eval.benchmarks.loading import BENCHMARKS, DataLocations, LoadedBenchmark, data_digest, load_benchmark
from eval.benchmarks.published import published_results
from eval.report.markdown import write_results
from eval.statistics.conflicts import conflict_report, conflict_scores
from eval.statistics.metrics import classification_report
from fas_core.calibration import apply_temperature, reliability_bins
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.provenance import provenance

STANDARDISE = {"inductive": "training", "transductive": "corpus"}


@dataclass
class Evaluation:
    """`results`: JSON-ready, the content of results.json. `predictions`: one dict a clip and protocol."""

    results: dict
    predictions: list[dict] = field(default_factory=list)

    @property
    def failed(self) -> list[dict]:
        """Clips that could not be scored: {"benchmark", "file", "error"}."""
        return self.results["failed"]


def evaluate(
    pipeline,
    benchmarks: list[LoadedBenchmark],
    *,
    protocols: tuple[str, ...] = ("inductive",),
    resamples: int = 1000,
    resample: str = "clips",
    seed: int = 42,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score a pipeline on benchmarks.

    Args:
        pipeline: `fas_core.pipeline.EmotionPipeline`, or anything with its `logits_for_dataset` and
            `describe`.
        benchmarks: from `eval.benchmarks.loading.load_benchmark`.
        protocols: keys of `STANDARDISE`.
        resamples, resample, seed: of the bootstrap; `resample` "clips" or "speakers".
        cache_dir: feature cache. progress: show bars.

    Raises:
        FASError: speakers to be resampled that are not known, or answers that do not fit the clips.
    """
    evaluation = Evaluation(
        {
            "checkpoint": pipeline.describe(),
            "labels": list(EMOTIONS),
            "bootstrap": {"resamples": resamples, "resample": resample, "seed": seed, "confidence": 0.95},
            "benchmarks": {},
            "failed": [],
            "provenance": provenance(),
        }
    )
    for loaded in tqdm(benchmarks, desc="benchmarks", unit="set", disable=not progress):
        name = loaded.benchmark.name
        entry = {**_facts(loaded, progress), "protocols": {}}
        failed: dict[str, str] = {}
        for protocol in protocols:
            outputs = pipeline.logits_for_dataset(
                loaded.dataset, cache_dir=cache_dir, progress=progress, standardise=STANDARDISE[protocol]
            )
            failed |= {clip["file"]: clip["error"] for clip in outputs.failed}
            clips = _scored_clips(name, loaded.dataset, outputs)
            entry["protocols"][protocol] = _score(name, clips, outputs, resample, resamples=resamples, seed=seed)
            evaluation.predictions += _predictions(name, protocol, clips, outputs)
        entry["failed"] = [{"file": file, "error": error} for file, error in failed.items()]
        evaluation.results["benchmarks"][name] = entry
        evaluation.results["failed"] += [{"benchmark": name, **clip} for clip in entry["failed"]]
    return evaluation


def _facts(loaded: LoadedBenchmark, progress: bool) -> dict:
    benchmark = loaded.benchmark
    emotions = loaded.dataset["emotion"]
    return {
        "corpus": benchmark.corpus,
        "setting": loaded.setting,
        "side": loaded.side,
        "fold": loaded.fold,
        "clips": len(loaded.dataset),
        "corpus_clips": loaded.corpus_clips,
        "speakers": len(set(loaded.dataset["speaker"]) - {None}),
        "emotions": {emotion: emotions.count(emotion) for emotion in EMOTIONS if emotion in emotions},
        "excluded": dict(loaded.excluded),
        "data_sha256": data_digest(loaded.dataset, progress),
        "published": [asdict(row) for row in published_results(benchmark.published)],
    }


def _scored_clips(name: str, dataset: Dataset, outputs) -> Dataset:
    """Rows of the clips that have an answer, in the order of the answers."""
    row_of = {clip: row for row, clip in enumerate(dataset["id"])}
    missing = len(row_of) - len(outputs.ids) - len(outputs.failed)
    if missing or len(set(outputs.ids)) != len(outputs.ids) or not set(outputs.ids) <= set(row_of):
        raise FASError(
            f"{name}: {len(outputs.ids)} answers and {len(outputs.failed)} failures for {len(row_of)} clips; "
            "expected one of either for every id of the benchmark"
        )
    return dataset.select([row_of[clip] for clip in outputs.ids])


def _score(name: str, clips: Dataset, outputs, resample: str, **bootstrap) -> dict | None:
    """Every figure of one protocol; None where no clip could be scored."""
    if not len(clips):
        return None
    labels, heads = _indices(clips["emotion"]), _heads(outputs)
    speakers = clips["speaker"] if resample == "speakers" else None
    if speakers is not None and None in speakers:
        raise FASError(f"{name}: {speakers.count(None)} clips have no speaker; use --resample clips")
    temperatures = {"fused": outputs.temperature}
    reports = {
        head: classification_report(
            labels, logits, temperature=temperatures.get(head), speakers=speakers, **bootstrap
        ).to_dict()
        for head, logits in heads.items()
    }
    return {
        "temperature": outputs.temperature,
        "heads": reports,
        "reliability": {
            "before calibration": _reliability(outputs.logits, 1.0, labels),
            "after calibration": _reliability(outputs.logits, outputs.temperature, labels),
        },
        "conflict": _conflict(clips, labels, heads, **bootstrap),
    }


def _conflict(clips: Dataset, labels: np.ndarray, heads: dict[str, np.ndarray], **bootstrap) -> dict | None:
    """On the clips whose words carry a known emotion; None where there are none."""
    known = np.array([emotion is not None for emotion in clips["semantic_emotion"]])
    if not known.any():
        return None
    words = _indices(emotion for emotion in clips["semantic_emotion"] if emotion is not None)
    return conflict_report(labels[known], words, {head: x[known] for head, x in heads.items()}, **bootstrap)


def _heads(outputs) -> dict[str, np.ndarray]:
    heads = {
        "fused": outputs.logits,
        "acoustic": outputs.acoustic_logits,
        "semantic": outputs.semantic_logits,
    }
    return {head: np.asarray(logits) for head, logits in heads.items() if logits is not None}


def _indices(emotions) -> np.ndarray:
    return np.array([EMOTIONS.index(emotion) for emotion in emotions], dtype=int)


def _reliability(logits: np.ndarray, temperature: float, labels: np.ndarray) -> dict[str, list]:
    bins = reliability_bins(apply_temperature(logits, temperature), labels)
    return {key: part.tolist() for key, part in zip(("counts", "accuracy", "confidence"), bins, strict=True)}


def _predictions(name: str, protocol: str, clips: Dataset, outputs) -> list[dict]:
    """One row a clip; audio paths stay out, the id says which clip it is."""
    if not len(clips):
        return []
    heads = _heads(outputs)
    labels = {head: [EMOTIONS[c] for c in logits.argmax(axis=1)] for head, logits in heads.items()}
    probabilities = apply_temperature(outputs.logits, outputs.temperature)
    both = "acoustic" in heads and "semantic" in heads
    conflict = conflict_scores(heads["acoustic"], heads["semantic"]) if both else [None] * len(clips)
    columns = {key: clips[key] for key in ("id", "speaker", "language", "emotion", "semantic_emotion")}
    return [
        {
            "benchmark": name,
            "protocol": protocol,
            **{key: values[i] for key, values in columns.items()},
            **{head: labels[head][i] if head in labels else None for head in ("fused", "acoustic", "semantic")},
            **{f"p_{emotion}": round(float(p), 6) for emotion, p in zip(EMOTIONS, probabilities[i], strict=True)},
            "conflict": None if conflict[i] is None else round(float(conflict[i]), 6),
        }
        for i in range(len(clips))
    ]


def load_pipeline(checkpoint: str, device: str | None):
    """The checkpoint as an `EmotionPipeline`, imported here so that `--help` does not load torch."""
    from fas_core.pipeline import EmotionPipeline

    return EmotionPipeline.from_pretrained(checkpoint, device=device)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m eval.suite", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True, help="directory that train/fas.py wrote")
    names = ", ".join(BENCHMARKS)
    parser.add_argument("--benchmarks", required=True, nargs="+", help=f"any of {names}, manifest:PATH")
    parser.add_argument("--data-root", type=Path, help="folder with one folder a benchmark")
    parser.add_argument("--data", nargs="+", action="extend", default=[], metavar="NAME=DIR", help="other places")
    parser.add_argument("--output", required=True, type=Path, help="folder for results.json, report.md and plots")
    parser.add_argument("--fold", type=int, help="test fold of corpora with folds; default: the checkpoint's")
    parser.add_argument("--protocol", nargs="+", choices=list(STANDARDISE), default=["inductive"])
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples of the intervals (%(default)s)")
    parser.add_argument("--resample", choices=("clips", "speakers"), default="clips", help="what is resampled")
    parser.add_argument("--seed", type=int, default=42, help="of the bootstrap (%(default)s)")
    parser.add_argument("--cache", type=Path, help="feature cache")
    parser.add_argument("--device", help="cpu, cuda, ...; default: what there is")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> Evaluation:
    """What the command does; every corpus is read before the first clip is encoded, so that errors come
    early.
    """
    if arguments.bootstrap < 1:
        raise FASError(f"--bootstrap {arguments.bootstrap}: expected at least 1 resample")
    locations = DataLocations(arguments.data_root, dict(_place(text) for text in arguments.data))
    pipeline = load_pipeline(arguments.checkpoint, arguments.device)
    checkpoint = pipeline.describe()
    benchmarks = [
        load_benchmark(
            name,
            locations,
            training_corpora=checkpoint["training_corpora"],
            trained_fold=checkpoint.get("fold"),
            fold=arguments.fold,
        )
        for name in dict.fromkeys(arguments.benchmarks)
    ]
    evaluation = evaluate(
        pipeline,
        benchmarks,
        protocols=tuple(dict.fromkeys(arguments.protocol)),
        resamples=arguments.bootstrap,
        resample=arguments.resample,
        seed=arguments.seed,
        cache_dir=arguments.cache,
        progress=not arguments.quiet,
    )
    write_results(evaluation.results, evaluation.predictions, arguments.output)
    return evaluation


def _place(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or name not in BENCHMARKS:
        raise FASError(f"--data {text}: expected NAME=DIR, NAME one of {', '.join(BENCHMARKS)}")
    return name, Path(folder)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        evaluation = run(arguments)
    except FASError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"report: {arguments.output / 'report.md'}")
    for clip in evaluation.failed:
        print(f"failed: {clip['benchmark']}: {clip['file']}: {clip['error']}", file=sys.stderr)
    if evaluation.failed:
        print(f"{len(evaluation.failed)} clips could not be scored and are in no figure", file=sys.stderr)
    return 1 if evaluation.failed else 0


if __name__ == "__main__":
    sys.exit(main())
