"""Methods against differences of corpora, leave-one-corpus-out, on one GPU and many cores: `python -m experiments.invariance`.

The rows are those of `experiments run --stage leave-corpus-out`, from the same code, in a time that a lent GPU has: features are extracted
by all processes, lie on the GPU as a whole, and what is fitted in closed form is fitted once for all seeds and methods that share it.
"lora" adapts Whisper's shallow layers on the training corpora and fits the discriminant on the adapted statistics; "lora-none" is the
same without the adaptation. One line of JSON is appended for each run; a study that was stopped, or that ran out of its minutes, goes on.
"""

import argparse
import json
import logging
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from experiments import left_out
from experiments import stages as study
from experiments.invariance_worker import Worker, kind
from fas_core.errors import FASError, reports_errors
from fas_core.provenance import git_state
from fas_eval.systems.recipes import LORA

METHODS = (
    "before-unaugmented", "unaugmented", "balanced", "adversarial-corpus", "adversarial-corpus-even", "adversarial-speaker",
    "contrastive", "contrastive-across", "mixup-across", "residual", *LORA,
)  # fmt: skip
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
    asked = argparse.Namespace(**vars(arguments) | dict(systems=[s for s in arguments.systems if s not in LORA]))
    found = study.jobs(asked)
    for name in arguments.left_out:
        base = dict(
            stage=left_out.STAGE,
            encoder=arguments.encoder_name,
            acoustic_encoder=None,
            padding=arguments.padding,
            fold=None,
            left_out=name,
        )
        for system in set(arguments.systems) & set(LORA):
            for seed in arguments.seeds if system == "lora" else arguments.seeds[:1]:
                found.append(
                    base
                    | dict(
                        corpora=sorted(arguments.corpora),
                        system=system,
                        layer=arguments.stack,
                        seed=seed,
                        C=None,
                        set=json.loads(arguments.set),
                    )
                )
    for key in found:
        key["encoder"] = arguments.encoder_name
    order = [*LORA, *[s for s in arguments.systems if s not in LORA]]
    return sorted(found, key=lambda k: (arguments.seeds.index(k["seed"]), order.index(k["system"])))


def _pool(arguments: argparse.Namespace) -> Executor:
    """Processes; one is this one, which has loaded all already."""
    if arguments.processes == 1:
        return ThreadPoolExecutor(1, initializer=_start, initargs=(arguments,))
    return ProcessPoolExecutor(arguments.processes, get_context("spawn"), initializer=_start, initargs=(arguments,))


def run(arguments: argparse.Namespace) -> int:
    """All runs that the output does not hold yet; 0 where all were done, 1 where the time was up or some failed."""
    deadline = time.time() + 60 * arguments.max_minutes
    arguments.work.mkdir(parents=True, exist_ok=True)
    done = {study.run_key(r) for r in study.read(arguments.output)}
    wanted = [key for key in keys(arguments) if study.run_key(key) not in done]
    pool = _pool(arguments)
    begun, failed, waiting = time.time(), 0, {}

    def told(*what) -> None:
        print(f"{time.time() - begun:6.1f} s", *what, flush=True)

    def submit(what: str, key: dict, *given) -> None:
        waiting[pool.submit(_do, what, *(given or (key,)))] = what, key

    def finish(what: str, key: dict, result: dict | None, seconds: float) -> None:
        if result:
            study.append(arguments.output, key | result | dict(cpu_seconds=seconds, **git_state()))
        told(what, *key.values() if what == "prepare" else (key["system"], key["left_out"], key["seed"]),
             {n: s["ua"] for n, s in result["scores"].items()} if result else "", f"{seconds} s")  # fmt: skip

    def work(enough=lambda: False) -> None:
        """Until nothing waits, or there is enough, or the time is up."""
        nonlocal failed
        while waiting and not enough() and time.time() < deadline:
            for future in wait(waiting, timeout=max(0.0, deadline - time.time()), return_when=FIRST_COMPLETED).done:
                what, key = waiting.pop(future)
                try:
                    finish(what, key, *future.result())
                except Exception as error:  # one run's; the others go on
                    failed += 1
                    told("failed:", what, key, type(error).__name__, error)

    try:
        for part in range(arguments.processes):
            submit("prepare", {"part": part}, part, arguments.processes)
        work()
        adapted = [key for key in wanted if key["system"] in LORA]
        fitted = {(key["left_out"], kind(key)): key for key in wanted if key["system"] not in LORA}
        for key in [key for key in adapted if key["seed"] == arguments.seeds[0]]:  # longest first
            submit("lora", key)
        for key in fitted.values():
            submit("fit", key)
        work(lambda: not any(what == "fit" for what, _ in waiting.values()))
        for key in wanted:
            if key not in adapted or key["seed"] != arguments.seeds[0]:
                submit("lora" if key in adapted else "fas", key)
        work()
        left = len(waiting)
    finally:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # what runs still is done again by the next call
            process.terminate()
    told(f"{failed} failed, {left} left")
    return int(failed > 0 or left > 0)


def parse_arguments(argv=None) -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.invariance", description=__doc__, formatter_class=raw)
    parser.add_argument("--data-root", type=Path, required=True, help="folder with the corpora by name")
    parser.add_argument("--output", type=Path, required=True, help="file of results, a line of JSON a run")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of features and of what is fitted, which stays"
    )
    parser.add_argument("--encoder", default="offline:base", help="Whisper (%(default)s)")
    parser.add_argument("--encoder-name", default="offline:base", help="what the rows call it (%(default)s)")
    parser.add_argument("--stack", default="1,2,3,4", help="acoustic layers (%(default)s)")
    parser.add_argument(
        "--systems", nargs="+", default=list(METHODS), choices=METHODS, metavar="NAME", help=", ".join(METHODS)
    )
    every = [*left_out.CORPORA, left_out.DEVELOPMENT]
    parser.add_argument("--left-out", nargs="+", default=every, choices=every, help="corpora that are scored in turn")
    parser.add_argument("--corpora", nargs="+", default=list(left_out.CORPORA), help="corpora to train on")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43], help="seeds (%(default)s)")
    parser.add_argument(
        "--set", default="{}", help='JSON of changed settings: {"model": {...}, "training": {...}, "lora": {...}}'
    )
    parser.add_argument(
        "--means", action="store_true", help="each stream of a clip is one patch, its mean: what a few cores can train"
    )
    parser.add_argument("--cache", type=Path, help="feature cache; default: in --work")
    parser.add_argument("--processes", type=int, default=2, help="processes that share the GPU (%(default)s)")
    parser.add_argument("--max-minutes", type=float, default=1e6, help="then it stops, and goes on when called again")
    parser.set_defaults(
        stage=left_out.STAGE, acoustic_encoder=None, padding="clip", layer=None, C=None, shrinkages=[], folds=[]
    )
    arguments = parser.parse_args(argv)
    if arguments.means:
        arguments.set = json.dumps(json.loads(arguments.set) | {"means": True})
    arguments.all_corpora = list(dict.fromkeys((*arguments.corpora, *arguments.left_out)))
    if arguments.processes < 1:
        raise FASError(f"--processes {arguments.processes}: expected at least 1")
    return arguments


@reports_errors
def main(argv=None) -> int:
    return run(parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
