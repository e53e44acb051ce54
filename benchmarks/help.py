"""How long every `--help` of the door takes: `python -m benchmarks.help`, written to docs/benchmarks/help.json.

Each is a process of its own; of several runs the median is kept. The record holds the load of the machine too.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from typer.main import get_command

from fas_core.atomic import write_json
from fas_core.cli.app import Group
from fas_core.cli.door import app
from fas_core.provenance import provenance


def every_command() -> list[list[str]]:
    """The words of the door itself, of each command and of those below it."""
    found: list[list[str]] = [[]]
    for name, lazy in get_command(app).commands.items():
        command = lazy.load()
        found += [[name]] + ([[name, below] for below in command.commands] if isinstance(command, Group) else [])
    return found


def seconds(words: list[str], repeats: int) -> dict[str, float]:
    """Of `fas WORDS --help`: median wall time, and median processor time, which other processes do not lengthen."""
    wall, processor = [], []
    for _ in range(repeats):
        start, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-m", "fas_core", *words, "--help"], check=True, stdout=subprocess.DEVNULL)
        wall.append(time.perf_counter() - start)
        after = os.times()
        processor.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return {"wall": round(statistics.median(wall), 3), "processor": round(statistics.median(processor), 3)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.help", description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each, of which the median counts (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/help.json"))
    arguments = parser.parse_args(argv)
    found = {" ".join(["fas", *words]): seconds(words, arguments.repeats) for words in every_command()}
    print("  wall  processor")
    for command, value in sorted(found.items(), key=lambda item: -item[1]["wall"]):
        print(f"{value['wall']:6.2f} s {value['processor']:6.2f} s  {command} --help")
    record = provenance() | {"load": [round(each, 2) for each in os.getloadavg()]}
    write_json(arguments.output, {"seconds": found, "repeats": arguments.repeats, "provenance": record})
    return 0


if __name__ == "__main__":
    sys.exit(main())
