"""Time and memory of a run of the suite from cached answers to the report: `python -m benchmarks.report [--output FILE]`.

A synthetic conflict set (noise of 0.2 s, by default 5,000 clips) and ten systems that are made up (benchmarks/made_up_systems.py).
A first run keeps what the ten answer and what decoding found. The second, which asks nobody, is measured: a process of its own,
from its start to the report: clips, answers, scores, intervals, all 45 pairs tested, answers.csv, report, pages of clips.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import yaml

from benchmarks.made_up_systems import NAMES
from fas_core.atomic import write_json
from fas_core.cells import CellWriter
from fas_core.labels import EMOTIONS
from fas_core.provenance import provenance

ROOT = Path(__file__).parent.parent
BENCHMARK = "synthetic-conflict"
SAMPLES, RATE = 3200, 16_000
SPEAKERS = 24


def write_corpus(root: Path, clips: int) -> None:
    """Clips of noise; two thirds of them have words of another emotion than their tone."""
    rng, folder = np.random.default_rng(0), root / BENCHMARK
    folder.mkdir(parents=True)
    rows = [("audio", "emotion", "semantic_emotion", "speaker", "language", "split", "text")]
    for i in range(clips):
        tone = EMOTIONS[i % len(EMOTIONS)]
        words = tone if rng.random() < 1 / 3 else str(rng.choice([e for e in EMOTIONS if e != tone]))
        name = f"c{i:05}-{tone}-{words}.wav"
        soundfile.write(folder / name, 0.1 * rng.standard_normal(SAMPLES), RATE, subtype="PCM_16")
        rows.append(
            (name, tone, words, f"s{i % SPEAKERS:02}", "en", "test", f"They cancelled party {i}, and nobody told me.")
        )
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        CellWriter(file, rows[0]).writerows(rows[1:])


def run(root: Path, output: Path) -> dict:
    """One run of the suite, in a process of its own: seconds of wall and of CPU, peak resident memory in MB."""
    command = [
        sys.executable, "-m", "eval.suite", "--plugin", str(Path(__file__).with_name("made_up_systems.py")), "--systems-file",
        str(root / "systems.yaml"), "--benchmarks", BENCHMARK, "--data-root", str(root), "--cache", str(root / "cache"),
        "--answers", str(root / "answers"), "--output", str(output), "--quiet",
    ]  # fmt: skip
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}  # no network is part of it
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"the suite ended with status {os.waitstatus_to_exitcode(status)}; its message stands above")
    scale = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB here
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_memory_mb": round(used.ru_maxrss * scale / 1e6, 1),
    }


def measure(root: Path, clips: int) -> dict:
    """Of the run from cached answers; `filling`: of the run before it."""
    write_corpus(root, clips)
    (root / "systems.yaml").write_text(
        yaml.safe_dump({"systems": [{"type": "made-up", "name": name} for name in NAMES]})
    )
    filling, output = run(root, root / "first"), root / "report"
    before = _written(root / "answers")
    measured = run(root, output)
    if _written(root / "answers") != before:
        raise SystemExit("somebody was asked: these were no cached answers")
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    return {
        "clips": results["benchmarks"][BENCHMARK]["clips"],
        "systems": len(results["systems"]),
        "answers": sum(score["clips"] for score in results["scores"]),
        "pairs_tested": len(results["comparisons"]),
        **measured,
        "html_mb": round((output / "report.html").stat().st_size / 1e6, 2),
        "pages": len(list(output.glob("clips/*/*.html"))),
        "filling": filling,
    }


def _written(answers: Path) -> dict[str, int]:
    return {str(file): file.stat().st_size for file in answers.glob("*/answers-*.jsonl")}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--clips", type=int, default=5000, help="of the conflict set (%(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        result = measure(Path(place), options.clips)
    print(json.dumps(result, indent=1))
    if options.output:
        write_json(options.output, result | {"provenance": provenance()})


if __name__ == "__main__":
    main()
