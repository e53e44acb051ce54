"""The comparison of FAS-ALM with its baselines: one RAVDESS fold and EmoDB, several seeds.

`python -m experiments.adapter run --data-root DIR --output FILE --scratch DIR --seeds 42 43 44`

| system | what |
|---|---|
| alm | the adapter, trained on RAVDESS's training speakers and TESS, with a FAS that was trained on the same with the same seed |
| no-audio | the same training with zeros in the place of FAS's tokens |
| cascade | the same LLM without any adapter, given Whisper's transcript; it has no seed |

The FAS classifier that an adapter carries is scored beside it. Settings come from `--config`, and were chosen on validation
speakers; `--set --transcripts none` is the same training without the words, into a file of its own. One line of JSON is appended for each run, so an interrupted study continues; `python -m experiments.adapter table FILE`
prints the table.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from experiments.adapter_scores import Wanted, evaluate, load_rows
from experiments.stages import append, read
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.scorer import Scorer
from fas_alm.training import adapter as alm
from fas_core.attempts import attempt
from fas_core.checkpoint import find_device
from fas_core.errors import reports_errors
from fas_core.markdown import cell, plain
from fas_core.pipeline import EmotionPipeline
from fas_core.precision import loading_dtype
from fas_core.provenance import git_state
from fas_core.training import fas
from fas_eval.statistics.comparison import summarise

SYSTEMS = ("alm", "no-audio", "cascade")
TRAINING = ("ravdess", "tess")
TESTED = {"ravdess": "test", "emodb": "all"}
CHOSEN_ON = {"ravdess": "validation", "urdu": "all"}  # URDU: the development set of zero-shot choices
KEY = ("system", "fold", "seed", "config", "set", "side")
FIGURES = ("accuracy", "ua", "macro_f1")


def run(arguments: argparse.Namespace) -> int:
    """All runs that the output does not hold yet; how many of them failed, which the next call tries again."""
    failed = 0
    done = {_key(record) for record in read(arguments.output)}
    seeds = {"cascade": [None]}
    jobs = [(system, seed) for system in arguments.systems for seed in seeds.get(system, arguments.seeds)]
    for system, seed in jobs:
        record = dict(
            system=system, fold=arguments.fold, seed=seed, config=arguments.config.name, set=arguments.set,
            side=arguments.side,
        )  # fmt: skip
        if _key(record) in done:
            continue
        start = time.time()
        work = partial(cascade, arguments) if system == "cascade" else partial(trained, arguments, system, seed)
        result, why = attempt(f"{system}, seed {seed}", work)
        if why is not None:
            failed += 1
            continue
        record |= result
        record |= dict(seconds=round(time.time() - start, 1), **git_state())
        append(arguments.output, record)
        figures = {name: round(100 * scores["alm"]["accuracy"], 1) for name, scores in record["scores"].items()}
        print(system, seed, figures, f"{record['seconds']} s", flush=True)
    return failed


def trained(arguments: argparse.Namespace, system: str, seed: int) -> dict:
    """Train an adapter and score it."""
    checkpoint = arguments.fas or train_fas(arguments, seed)
    output = arguments.scratch / f"{system}-fold{arguments.fold}-seed{seed}"
    flags = [str(arguments.config), *_corpora(arguments), "--fas", str(checkpoint), "--seed", str(seed)]
    flags += ["--output_dir", str(output), "--disable_tqdm", "true", "--no_audio", str(system == "no-audio")]
    record = alm.train(*alm.parse([*flags, *arguments.set]))
    scorer = Scorer.from_directory(output / alm.ADAPTER, arguments.cache, dtype=arguments.dtype)
    wanted = Wanted(free_text="choose", no_audio=system == "no-audio")
    stages = {name: stage["seconds"] for name, stage in record["stages"].items()}
    return dict(
        scores=score(scorer, arguments, wanted), validation=record["validation"], fas=record["fas"],
        train_seconds=record["seconds"], stage_seconds=stages,
    )  # fmt: skip


def train_fas(arguments: argparse.Namespace, seed: int) -> Path:
    """The classifier of a seed, trained on the same speakers; kept, because two systems need it.

    It is not trained again on its validation speakers: the adapter is chosen and calibrated on them.
    """
    output = arguments.scratch / f"fas-fold{arguments.fold}-seed{seed}"
    if not (output / "config.json").is_file():
        flags = [str(arguments.fas_config), *_corpora(arguments), "--seed", str(seed), "--output_dir", str(output)]
        fas.train(*fas.parse(flags))
    return output


def cascade(arguments: argparse.Namespace) -> dict:
    """The bare LLM and Whisper; any FAS does, because nothing is heard through it."""
    _, parts, training = alm.parse([str(arguments.config), *_corpora(arguments), *arguments.set])
    pipeline = EmotionPipeline.from_pretrained(*([arguments.fas] if arguments.fas else []), device="cpu", words=False)
    model, processor = FASAudioForConditionalGeneration.from_parts(
        pipeline,
        parts.language_model,
        revision=parts.revision,
        dtype=loading_dtype(arguments.dtype),
        seed=training.seed,
    )
    scorer = Scorer(model.to(find_device(None)), processor, pipeline.extractor, arguments.cache)
    found = score(scorer, arguments, Wanted(cascade=True))
    return dict(scores={name: scores | {"alm": scores.pop("cascade")} for name, scores in found.items()})


def score(scorer: Scorer, arguments: argparse.Namespace, wanted: Wanted) -> dict:
    """Figures by set, without the predictions."""
    sides = CHOSEN_ON if arguments.side == "validation" else TESTED
    scores = {}
    for name, side in sides.items():
        rows = load_rows([(name, arguments.data_root / name)], side, arguments.fold)[name]
        scores[name] = evaluate(scorer, rows, wanted)
        scores[name].pop("predictions")
    return scores


def _corpora(arguments: argparse.Namespace) -> list[str]:
    corpora = [f"{name}={arguments.data_root / name}" for name in TRAINING]
    return ["--corpora", *corpora, "--fold", str(arguments.fold), "--cache_dir", str(arguments.cache)]


def _key(record: dict) -> str:
    return json.dumps([record.get(name) for name in KEY])


COLUMNS = [
    "set", "system", "runs", "accuracy / UA / macro-F1", "FAS it carries", "mass", "free text repaired, by options", "training, s",
    "words", "conflict: accuracy / balanced / AUROC", "conflict in free text",  # of sets whose words carry emotions
]  # fmt: skip


def table(records: list[dict]) -> str:
    """Markdown: mean and deviation over the seeds, in per cent; free text as shares of all answers."""
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        for name, scores in record["scores"].items():
            groups.setdefault((name, record["system"]), []).append(record | scores)
    rows = []
    for (name, system), runs in sorted(groups.items(), key=lambda item: (item[0][0], SYSTEMS.index(item[0][1]))):
        hears = system == "alm"
        cells = [
            cell(plain(name)), system, str(len(runs)),
            " / ".join(_mean([100 * r["alm"][f] for r in runs]) for f in FIGURES),
            _mean([100 * r["fas_accuracy"] for r in runs]) if hears else "",
            f"{np.mean([r['alm']['mass'] for r in runs]):.3f}",
            _repairs(runs), f"{np.mean([r['train_seconds'] for r in runs]):.0f}" if "train_seconds" in runs[0] else "",
            _mean([100 * r["words"]["accuracy"] for r in runs]) if "words" in runs[0] else "",
            _conflict(runs, "conflict"), _conflict(runs, "conflict_text"),
        ]  # fmt: skip
        rows.append(cells)
    shown = len(COLUMNS) if any(row[len(COLUMNS) - 3 :] != [""] * 3 for row in rows) else len(COLUMNS) - 3
    lines = [COLUMNS[:shown], ["---"] * shown, *(row[:shown] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines).replace(
        "| --- " * shown + "|", "|---" * shown + "|"
    )


def _mean(values: list[float]) -> str:
    summary = summarise(values)
    return f"{summary['mean']:.1f}" + ("" if summary["spread"] is None else f" ± {summary['spread']:.1f}")


def _conflict(runs: list[dict], name: str) -> str:
    """Of sets whose words have emotions; figures that clips of one kind do not give are left out."""
    found = [r[name] for r in runs if name in r]
    figures = [f for f in ("accuracy", "balanced_accuracy", "auroc") if found and found[0].get(f) is not None]
    return " / ".join(_mean([100 * each[f] for each in found]) for f in figures)


def _repairs(runs: list[dict]) -> str:
    if "free_text" not in runs[0]:
        return ""
    shares = [np.mean([100 * r["free_text"][how] / r["clips"] for r in runs]) for how in ("repaired", "by_options")]
    return ", ".join(f"{share:.1f} %" for share in shares)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m experiments.adapter", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    work = commands.add_parser("run", help="train and score; finished runs are skipped")
    work.add_argument("--data-root", type=Path, required=True, help="folder with ravdess, tess, emodb")
    work.add_argument("--output", type=Path, required=True, help="file of results, a line of JSON a run")
    work.add_argument("--scratch", type=Path, required=True, help="folder of checkpoints and adapters, which stay")
    work.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    work.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    work.add_argument("--fold", type=int, default=1, help="RAVDESS fold (%(default)s)")
    work.add_argument(
        "--side",
        default="test",
        choices=("test", "validation"),
        help="validation, with URDU: for choices (%(default)s)",
    )
    work.add_argument(
        "--config", type=Path, default=Path("train/configs/alm_cpu.yaml"), help="of the adapter (%(default)s)"
    )
    work.add_argument(
        "--fas-config", type=Path, default=Path("train/configs/adapter_fas.yaml"), help="of FAS (%(default)s)"
    )
    work.add_argument("--fas", type=Path, help="one FAS for all seeds; default: one is trained for each")
    work.add_argument("--set", nargs=argparse.REMAINDER, default=[], help="last: further flags of train/alm_adapter.py")
    work.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="of the LLM in scoring (%(default)s: as its files)",
    )
    work.add_argument("--cache", type=Path, default=Path("~/.cache/fas_alm/features"), help="feature cache")
    show = commands.add_parser("table", help="print the table of result files")
    show.add_argument("results", nargs="+", type=Path)
    return parser.parse_args(argv)


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    if arguments.command == "run":
        return int(run(arguments) > 0)
    print(table([record for path in arguments.results for record in read(path)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
