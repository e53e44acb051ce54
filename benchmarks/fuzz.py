"""Damaged and hostile files through the loader: answers or our errors, within bounds of memory and time in this process.

usage: python -m benchmarks.fuzz [--files 10000] [--seed 0] [--output docs/benchmarks/fuzz.json]

Every format of `benchmarks.audio_formats` is mutated (`benchmarks.mutations`), and every bomb is read. The reading is done in
slices by a process of its own, whose memory and time are what is measured; should it die, the file that did it is named.
About 20 minutes for 10,000 files.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.audio_formats import NAMES, made_up
from benchmarks.mutations import BOMBS, mutated
from fas_core.audio import AudioLimits, load_audio
from fas_core.errors import AudioError

SECONDS, MEGABYTES = 5.0, 300.0  # of computing and of memory that a file may take of the process that loads it
SLICE = 500
LIMITS = AudioLimits(max_bytes=64 * 2**20, max_seconds=300, max_decoded_bytes=256 * 2**20)  # near those of the server


def files(first: int, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(what it is, bytes) of the files of these numbers; the first are the bombs."""
    bombs, bases = list(BOMBS), {}
    for number in range(first, first + count):
        if number < len(bombs):
            yield bombs[number], BOMBS[bombs[number]]()
            continue
        chance = random.Random(f"{seed} {number}")
        name, other = NAMES[number % len(NAMES)], chance.choice(NAMES)
        for each in (name, other):
            bases.setdefault(each, made_up(each, 0.5))
        yield f"{name} {number}", mutated(bases[name], bases[other], chance)


def outcome(source: bytes | Path) -> str:
    """ "audio", the problem that our error names, or the name of another exception."""
    try:
        load_audio(source, limits=LIMITS)
        return "audio"
    except AudioError as error:
        return re.sub(r"[\d.]+", "N", error.problem).partition(":")[0][:60]
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]


def read(first: int, count: int, seed: int, now: Path) -> dict:
    """Reads those files in this process; each is named in `now` before."""
    outcomes, rows, path = Counter(), [], now.with_name("file")
    load_audio(made_up("m4a", 0.5))  # what is imported and started once is nobody's
    for name, data in files(first, count, seed):
        now.write_text(name)
        path.write_bytes(data)
        source = path if len(rows) % 2 else data
        before, start, computed = memory_now(), time.perf_counter(), time.process_time()
        found = outcome(source)
        took = time.process_time() - computed
        rows.append((name, took, memory_peak() - before, len(data), found, time.perf_counter() - start))
        outcomes[found] += 1
    return {
        "outcomes": outcomes,
        "rows": [r for r in rows if r[1] > 1 or r[2] > 50 or r[5] > 5 or ": " in r[4]] + worst(rows),
    }


def worst(rows: list[tuple], few: int = 5) -> list[tuple]:
    return sorted(rows, key=lambda r: -r[1])[:few] + sorted(rows, key=lambda r: -r[2])[:few]


def memory_now() -> float:
    """MiB of this process; from now on `memory_peak` counts."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def memory_peak() -> float:
    """MiB at most since `memory_now`."""
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def slices(total: int, seed: int) -> Iterator[dict]:
    """What `read` found, slice by slice; of a process that died, the file that it read."""
    with tempfile.TemporaryDirectory() as folder:
        now = Path(folder) / "now"
        first = 0
        while first < total:
            count = min(SLICE, total - first)
            command = [
                sys.executable,
                "-m",
                "benchmarks.fuzz",
                "--slice",
                str(first),
                str(count),
                str(now),
                "--seed",
                str(seed),
            ]
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if run.returncode:
                yield {"outcomes": {"died": 1}, "rows": [], "died": now.read_text()}
            else:
                yield json.loads(run.stdout.splitlines()[-1])
            first += count


def report(total: int, seed: int) -> dict:
    outcomes, rows, died = Counter(), set(), []
    for found in slices(total, seed):
        outcomes.update(found["outcomes"])
        rows |= {tuple(row) for row in found["rows"]}
        died += [found["died"]] if "died" in found else []
        print(f"{sum(outcomes.values())} files", flush=True)
    keys = ("file", "seconds", "megabytes", "bytes", "outcome", "wall_seconds")
    return {
        "files": sum(outcomes.values()), "formats": len(NAMES), "bombs": len(BOMBS), "seed": seed,
        "slowest_seconds": max(row[1] for row in rows), "slowest_wall_seconds": max(row[5] for row in rows),
        "most_megabytes": max(row[2] for row in rows),
        "over_bounds": [dict(zip(keys, row, strict=True)) for row in sorted(rows) if row[1] > SECONDS or row[2] > MEGABYTES],
        "died": died, "other_exceptions": [dict(zip(keys, row, strict=True)) for row in sorted(rows) if ": " in row[4]],
        "outcomes": dict(outcomes.most_common()),
        "largest": [dict(zip(keys, row, strict=True)) for row in worst(list(rows))],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/fuzz.json"))
    parser.add_argument("--slice", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.slice:
        first, count, now = arguments.slice
        print("\n" + json.dumps(read(int(first), int(count), arguments.seed, Path(now))))
        return 0
    from benchmarks.measure import write_result

    found = report(arguments.files, arguments.seed)
    write_result(arguments.output, found)
    return int(bool(found["over_bounds"] or found["died"] or found["other_exceptions"]))


if __name__ == "__main__":
    sys.exit(main())
