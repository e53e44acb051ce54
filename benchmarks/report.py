"""Time and memory from results.json, answers.csv and clips.jsonl to the report: `python -m benchmarks.report [--output FILE]`.

The evaluation is made up (tests/report_fixture.py): by default 5,000 clips of four benchmarks and ten systems, some with three
seeds. The report is made in a process of its own, whose peak memory is its own too; the time is that of the whole process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fas_core.atomic import write_json
from fas_core.provenance import provenance
from tests.report_fixture import SYSTEMS, write_fixture


def measure(folder: Path, clip_pages: int) -> dict:
    """Make the report of `folder`; seconds, and peak resident memory (of the largest child so far) in MB."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "eval.report", str(folder), "--quiet", "--clip-pages", str(clip_pages)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent.parent)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    scale = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB here
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_memory_mb": round(used.ru_maxrss * scale / 1e6, 1),
        "html_mb": round((folder / "report.html").stat().st_size / 1e6, 2),
        "pages": len(list(folder.glob("clips/*/*.html"))),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--clips", type=int, default=5000, help="of all benchmarks together")
    parser.add_argument("--clip-pages", type=int, default=40, help="pages of clips, a benchmark")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = write_fixture(Path(place), clips=options.clips, audio=8)
        with (folder / "answers.csv").open() as file:
            answers = sum(1 for _ in file) - 1
        result = {"clips": options.clips, "systems": len(SYSTEMS), "answers": answers}
        result |= measure(folder, options.clip_pages)
    print(json.dumps(result, indent=1))
    if options.output:
        write_json(options.output, result | {"provenance": provenance()})


if __name__ == "__main__":
    main()
