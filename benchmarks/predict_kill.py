"""`fas predict` stopped at random moments and resumed, against a run that is left alone: `python -m benchmarks.predict_kill AUDIO`.

A run is stopped by SIGKILL, SIGTERM or SIGINT, the signal and the moment drawn at random: while it loads, between two files,
within one. After each stop no answer that was finished may be gone; the output of the last run equals the undisturbed one (labels
and names to the letter, figures to 1e-5: other batches round otherwise).
"""

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import write_result
from fas_core.errors import FASError, reports_errors
from fas_core.sources import find_audio_files

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TOLERANCE = 1e-5


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.predict_kill", description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path, help="folder")
    parser.add_argument("--files", type=int, default=200, help="of it (%(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="last: more options of fas predict")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/predict_kill.json"))
    return parser.parse_args(argv)


def command(files: list[Path], output: Path, options: list[str]) -> list[str]:
    names = [str(file) for file in files]
    return [
        sys.executable,
        "-m",
        "fas_core",
        "predict",
        *names,
        "--format",
        "csv",
        "--output",
        str(output),
        *options,
    ]


def complete(run: list[str]) -> None:
    """A run that nobody stops; raises `FASError` where it fails."""
    done = subprocess.run(run, capture_output=True, text=True)
    if done.returncode:
        raise FASError(f"fas predict ended with {done.returncode}: {done.stderr[-500:]}")


def finished(output: Path) -> int:
    """Files that the journal calls finished."""
    journal = output.with_name(f".{output.name}.journal")
    return max(0, journal.read_text().count("\n") - 1) if journal.is_file() else 0


def rows(output: Path) -> list[dict]:
    with open(output, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stop_once(run: list[str], output: Path, generator: random.Random, left: int) -> dict:
    """Start a run, stop it at a random moment, and say when."""
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    start, before = time.monotonic(), finished(output)
    wanted = generator.randint(0, left)  # files more; 0: while it loads
    patience = generator.uniform(0, 0.5) if wanted else generator.uniform(0, 8)
    while process.poll() is None and finished(output) < before + wanted:
        time.sleep(0.01)
    time.sleep(patience)
    number = generator.choice(SIGNALS)
    process.send_signal(number)
    said = process.communicate()[1].decode()
    return {
        "signal": number.name, "seconds": round(time.monotonic() - start, 2), "exit_code": process.returncode,
        "finished": finished(output), "said": said.strip().splitlines()[-1:],
    }  # fmt: skip


def difference(found: list[dict], expected: list[dict]) -> float:
    """Largest difference of two figures; infinite where texts differ or a row is missing."""
    if len(found) != len(expected):
        return float("inf")
    largest = 0.0
    for a, b in ((x[name], y[name]) for x, y in zip(found, expected, strict=True) for name in y):
        try:
            largest = max(largest, abs(float(a) - float(b)))
        except ValueError:
            largest = largest if a == b else float("inf")
    return largest


def measure(arguments: argparse.Namespace, folder: Path) -> dict:
    files = find_audio_files(arguments.audio)
    generator = random.Random(arguments.seed)
    files = sorted(generator.sample(files, min(arguments.files, len(files))))
    alone, output = folder / "alone.csv", folder / "answers.csv"
    complete(command(files, alone, arguments.options))
    expected, stops, lost = rows(alone), [], 0
    run = [*command(files, output, arguments.options), "--resume"]
    for number in range(arguments.kills):
        kept = rows(output)[: finished(output)] if output.is_file() else []
        share = (len(files) - finished(output)) // (arguments.kills - number)
        stops.append(stop_once(run, output, generator, share))
        now = rows(output)[: finished(output)] if output.is_file() else []
        lost += sum(row not in now for row in kept)
    complete(run)
    return {
        "files": len(files), "options": arguments.options, "stops": stops, "answers_lost": lost,
        "largest_difference": difference(rows(output), expected),
        "stopped_midway": sum(stop["finished"] < len(files) and stop["exit_code"] != 0 for stop in stops),
    }  # fmt: skip


@reports_errors
def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores it, and so would its children
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    write_result(arguments.output, result)
    print(json.dumps({k: v for k, v in result.items() if k != "stops"}))
    if result["answers_lost"] or not result["largest_difference"] <= TOLERANCE:
        raise FASError("answers were lost, or those of the resumed run differ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
