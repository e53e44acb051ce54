"""Compare speech emotion systems on benchmarks: `python -m eval.suite --preset paper --data-root DIR --output report`.

    python -m eval.suite --checkpoint runs/mine --benchmarks ravdess emodb --data-root data --output report
    python -m eval.suite --systems fas pooled:mean egemaps --train ravdess tess --fold 1 --benchmarks ravdess emodb ...
    accelerate launch --num_processes 4 -m eval.suite --preset paper --data-root data --output report

Writes report.html, report.md, results.json, scores.csv and answers.csv. Answers are kept as they come (--answers): a run that was
stopped goes on, and a run with more systems or benchmarks asks only what is new. Exit code 0; 1 where clips could not be read or
answered, or a system could not be run (all are named in the report); 2 for bad input, or a folder that cannot be written; 130
where it was stopped with Ctrl-C.
"""

import argparse
import os
import sys
from pathlib import Path

# Threads that spin while they wait cost a factor of ten where other processes hold the cores; read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from fas_core.errors import INPUT_ERRORS, FASError, error_line  # noqa: E402
from fas_core.paths import is_file
from fas_core.text import printable  # noqa: E402
from fas_eval.benchmarks.entries import BENCHMARKS, Benchmark, register  # noqa: E402
from fas_eval.presets import PRESETS, Preset, load_preset  # noqa: E402

STOPPED = 130  # as shells say it of Ctrl-C
EPILOG = "systems: TYPE or TYPE:ARGUMENT, or entries of a YAML file (--systems-file); `--list` shows all types and benchmarks"


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m eval.suite", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, help="folder of the report; required unless --list")
    add(
        "--preset",
        metavar="NAME",
        help=f"{', '.join(PRESETS)}, or a YAML file of the same form; other flags win over it",
    )
    add("--list", action="store_true", help="show system types and benchmarks, and stop")
    what = parser.add_argument_group("what is compared")
    add = what.add_argument
    add(
        "--checkpoint",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="FAS checkpoints: the same as --systems fas:DIR",
    )
    add(
        "--systems",
        nargs="+",
        action="extend",
        default=[],
        metavar="TYPE[:ARGUMENT]",
        help="systems beside the preset's",
    )
    add("--systems-file", type=Path, help="YAML with a list `systems`, each an entry with type, name and options")
    add("--only", nargs="+", metavar="NAME", help="of all these systems only those")
    add("--benchmarks", nargs="+", metavar="NAME", help="benchmarks, or manifest:PATH; default: the preset's")
    add("--plugin", nargs="+", action="extend", default=[], type=Path, metavar="FILE.py", help="Python files that register own "
        "systems, benchmarks and encoders; they are run, so give none that you did not read")  # fmt: skip
    add("--reference", metavar="NAME", help="test the others against this system only; default: all pairs")
    data = parser.add_argument_group("data")
    add = data.add_argument
    add("--data-root", type=Path, help="folder with one folder a benchmark")
    add(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=DIR",
        help="those that lie elsewhere; any other NAME for a folder with a manifest, which --benchmarks NAME then takes",
    )
    add(
        "--exclude-labels",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="leave out clips of these labels; '*': of all that no table knows, which are an error otherwise",
    )
    add("--train", nargs="+", metavar="NAME", help="corpora that systems are trained on here")
    add("--fold", type=int, help="fold of corpora with folds: its speakers are tested, and held out of training")
    add("--seeds", nargs="+", type=int, help="of systems that are trained here; tables give mean and spread")
    add(
        "--limit",
        type=int,
        metavar="N",
        help="only N clips of each benchmark, the same ones each time (for a look, not for results)",
    )
    add("--encoder", default="offline:tiny.en", help="Whisper of trained systems that name none (%(default)s)")
    add("--acoustic-layer", default="2", help="its layer that is the acoustic stream (%(default)s)")
    add("--stacked-layers", default="1,2,3", help="its layers for recipes that stack several (%(default)s)")
    how = parser.add_argument_group("statistics")
    add = how.add_argument
    add("--protocol", nargs="+", choices=("inductive", "transductive"), default=["inductive"],
        help="transductive: each FAS once more, standardised by the benchmark's own unlabelled clips: another task")  # fmt: skip
    add("--bootstrap", type=int, default=1000, help="resamples of the intervals (%(default)s)")
    add("--resample", choices=("clips", "speakers"), default="clips", help="what the bootstrap draws (%(default)s)")
    add("--correction", choices=("holm", "bh"), default="holm", help="for many comparisons (%(default)s)")
    add("--seed", type=int, default=42, help="of the bootstrap (%(default)s)")
    run = parser.add_argument_group("the run")
    add = run.add_argument
    add("--cache", type=Path, default=Path("~/.cache/fas_alm"), help="features and trained systems (%(default)s)")
    add("--answers", type=Path, help="folder of answers; default: answers in --output")
    add("--audio", action=argparse.BooleanOptionalAction, help="copy the audio of the clips that have a page of their own; default: "
        "synthetic speech only, because the licences of corpora differ")  # fmt: skip
    add("--device", help="cpu, cuda, ...; default: what there is")
    add("--quiet", action="store_true", help="no progress bars")
    arguments = parser.parse_args(argv)
    if not arguments.list and arguments.output is None:
        parser.error("--output DIR is missing: where is the report to go?")
    return arguments


def run(arguments: argparse.Namespace) -> dict:
    """What the command does; returns results.json.

    Raises:
        FASError: bad input, before anything is asked.
    """
    from fas_eval.benchmarks.locations import DataLocations  # all here, so that --help does not wait for torch
    from fas_eval.suite.run import RunSettings, run_suite
    from fas_eval.suite.score import Statistics
    from fas_eval.systems.context import BuildContext

    preset = preset_of(arguments)
    context = BuildContext(
        locations=DataLocations(
            arguments.data_root, dict(_place(text) for text in arguments.data), tuple(arguments.exclude_labels)
        ),
        cache_dir=arguments.cache, encoder=arguments.encoder, acoustic_layer=arguments.acoustic_layer,
        stacked_layers=arguments.stacked_layers, device=arguments.device, quiet=arguments.quiet,
    )  # fmt: skip
    settings = RunSettings(
        output=arguments.output, answers=arguments.answers, protocols=arguments.protocol, reference=arguments.reference,
        statistics=Statistics(arguments.bootstrap, arguments.resample, 0.95, arguments.correction, arguments.seed),
        only=arguments.only or (), limit=arguments.limit, needs_benchmarks=arguments.benchmarks is not None,
        needs_training=arguments.train is not None, audio=arguments.audio, preset=arguments.preset,
    )  # fmt: skip
    return run_suite(preset, context, settings)


def _place(text: str) -> tuple[str, Path]:
    from fas_core.data.corpora import is_own_corpus

    name, separator, folder = text.partition("=")
    if separator and name not in BENCHMARKS and is_own_corpus(name, folder):
        register(Benchmark(name, name, own_test_side=True))
    if not separator or name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise FASError(
            f"--data {text}: expected NAME=DIR, NAME one of {known}, or a name of your own and a DIR with a manifest"
        )
    return name, Path(folder)


def preset_of(arguments: argparse.Namespace) -> Preset:
    """The preset with the flags on top.

    Raises:
        FASError: nothing to compare, or nothing to compare on.
    """
    preset = load_preset(arguments.preset) if arguments.preset else Preset()
    preset.systems = [*preset.systems, *[f"fas:{c}" for c in arguments.checkpoint], *arguments.systems]
    if arguments.systems_file:
        preset.systems += load_preset(str(arguments.systems_file)).systems
    for name in ("benchmarks", "train", "seeds", "fold"):
        if getattr(arguments, name) is not None:
            setattr(preset, name, getattr(arguments, name))
    preset.benchmarks = [b if isinstance(b, str) else register(Benchmark.from_dict(b)).name for b in preset.benchmarks]
    if not preset.systems:
        raise FASError("nothing to compare: give --preset, --checkpoint DIR or --systems (--list shows them)")
    if not preset.benchmarks:
        raise FASError("nothing to compare on: give --preset or --benchmarks (--list shows them)")
    if arguments.bootstrap < 1:
        raise FASError(f"--bootstrap {arguments.bootstrap}: expected at least 1 resample")
    if arguments.limit is not None and arguments.limit < 1:
        raise FASError(f"--limit {arguments.limit}: expected at least 1 clip")
    return preset


def listing() -> str:
    """System types and benchmarks."""
    from fas_eval.systems.system_types import SYSTEMS

    lines = ["systems (--systems TYPE or TYPE:ARGUMENT)"]
    lines += [f"  {s.name + (f':{s.argument.upper()}' if s.argument else ''):28}{s.title}" for s in SYSTEMS.values()]
    lines += ["", "benchmarks (--benchmarks NAME)"]
    lines += [f"  {b.name:28}{b.title or b.corpus}" for b in BENCHMARKS.values()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        load_plugins(arguments.plugin)
        if arguments.list:
            print(listing())
            return 0
        found = run(arguments)
    except INPUT_ERRORS as error:
        print(f"error: {error_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = arguments.answers or f"{arguments.output}/answers"
        print(
            f"\nstopped; the answers so far are kept in {kept}, and the same command goes on from there",
            file=sys.stderr,
        )
        return STOPPED
    if not found:  # another process than the main one
        return 0
    return summary(found, arguments.output)


def summary(found: dict, output: Path) -> int:
    """What failed, on stderr, and the exit code."""
    unreadable = [(name, clip) for name, b in found["benchmarks"].items() for clip in b["unreadable"]]
    failed = sum(len(score["failed"]) for score in found["scores"])
    for name, clip in unreadable:
        print(printable(f"unreadable: {name}: {clip['file']}: {clip['error']}"), file=sys.stderr)
    for entry in found["missing"]:
        print(printable(f"missing {entry['kind']} {entry['name']}: {entry['why']}"), file=sys.stderr)
    if failed:
        print(
            f"{failed} clips got no answer from a system; they count as wrong and are listed in the report",
            file=sys.stderr,
        )
    print(f"report: {output / 'report.html'}")
    return 1 if unreadable or failed or any(entry["kind"] == "system" for entry in found["missing"]) else 0


def load_plugins(files: list[Path]) -> None:
    """Run the user's own files, which register systems, benchmarks and encoders.

    Raises:
        FASError: no such file, or it fails.
    """
    import runpy

    for file in files:
        if not is_file(file):
            raise FASError(
                f"--plugin {file}: no such file; expected Python that registers something (docs/tutorial.md)"
            )
        try:
            runpy.run_path(str(file))
        except (Exception, SystemExit) as error:
            raise FASError(f"--plugin {file}: {type(error).__name__}: {error}") from error


def end(status: int) -> None:
    """Exit with this status; a stopped run at once, for threads that wait for an endpoint would hold the process for all their time-outs."""
    if status == STOPPED:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
