"""The command `fas eval`, which is `python -m eval.suite`: compare speech emotion systems on benchmarks."""

import os
import sys
from pathlib import Path

# Threads that spin while they wait cost a factor of ten where other processes hold the cores; read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from fas_core.cli.app import INTERRUPTED, App, runner  # noqa: E402
from fas_core.cli.from_dataclasses import add_command, parse  # noqa: E402
from fas_core.errors import FASError  # noqa: E402
from fas_core.paths import is_file  # noqa: E402
from fas_core.text import printable  # noqa: E402
from fas_eval.benchmarks.entries import BENCHMARKS, Benchmark, register  # noqa: E402
from fas_eval.presets import Preset, load_preset  # noqa: E402
from fas_eval.suite.options import SuiteOptions  # noqa: E402

NAME = "python -m eval.suite"
HELP = """Compare speech emotion systems on benchmarks.

Writes report.html, report.md, results.json, scores.csv and answers.csv. Answers are kept as they come (--answers): a run that was stopped goes on, and a run with more systems or benchmarks asks only what is new. Systems are TYPE or TYPE:ARGUMENT, or entries of a YAML file (--systems-file); --list shows all types and benchmarks.

Examples:

  fas eval --preset paper --data-root data --output report

  fas eval --checkpoint runs/mine --benchmarks ravdess emodb --data-root data --output report

  fas eval --systems fas pooled:mean egemaps --train ravdess tess --fold 1 --benchmarks ravdess emodb --data-root data --output report

  accelerate launch --num_processes 4 -m eval.suite --preset paper --data-root data --output report

Exit code: 0; 1 where clips could not be read or answered, or a system could not be run (all are named in the report); 2 for bad input, or a folder that cannot be written; 130 where it was stopped with Ctrl-C.
"""


def parse_arguments(argv: list[str]) -> SuiteOptions:
    """The options of a command line. Raises as `from_dataclasses.parse`."""
    return parse((SuiteOptions,), argv, NAME, config=False)[0]


def run(arguments: SuiteOptions) -> dict:
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
            f"--corpora {text}: expected NAME=FOLDER, NAME one of {known}, or a name of your own and a FOLDER with a manifest"
        )
    return name, Path(folder)


def preset_of(arguments: SuiteOptions) -> Preset:
    """The preset with the flags on top.

    Raises:
        FASError: nothing to compare, or nothing to compare on.
    """
    preset = load_preset(arguments.preset) if arguments.preset else Preset()
    preset.systems = [*preset.systems, *[f"fas:{c}" for c in arguments.checkpoint], *arguments.systems]
    if arguments.systems_file:
        preset.systems += load_preset(str(arguments.systems_file)).systems
    if arguments.study:
        from fas_eval.systems.cues import study

        preset.systems = study(preset.systems)
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


def compare(arguments: SuiteOptions) -> int:
    """Do what the options ask for; gives the exit code.

    Raises:
        FASError: bad input.
    """
    try:
        load_plugins(arguments.plugin)
        if arguments.listing:
            print(listing())
            return 0
        found = run(arguments)
    except KeyboardInterrupt:
        kept = arguments.answers or f"{arguments.output}/answers"
        print(
            f"\nstopped; the answers so far are kept in {kept}, and the same command goes on from there",
            file=sys.stderr,
        )
        return INTERRUPTED
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


app = App()
add_command(app, (SuiteOptions,), compare, HELP, config=False)
main = runner(app, NAME)
