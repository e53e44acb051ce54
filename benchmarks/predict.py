"""Latency and memory of one warm prediction: `python -m benchmarks.predict [--checkpoint DIR] [--clip FILE]`.

What `fas predict` does for a file once everything is loaded: read, front end, encode, FAS, calibrate.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measure import latency, machine, seconds_of, write_result
from fas_core.errors import FASError
from fas_core.pipeline import EmotionPipeline

SECONDS = 3.0


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.predict", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="directory or hub id, base or tiny.en; default: the shipped one")
    parser.add_argument("--clip", type=Path, help="audio file; default: a synthetic one of 3 s")
    parser.add_argument("--words", action=argparse.BooleanOptionalAction, default=True, help="write down what was said")
    parser.add_argument("--calls", type=int, default=100, help="calls measured (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=5, help="calls before them (%(default)s)")
    parser.add_argument("--device", help="cpu or cuda; default: a GPU when there is one")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/predict.json"))
    return parser.parse_args(argv)


def synthetic_clip(path: Path) -> Path:
    """A wav of 3 s that the front end does not shorten: a harmonic tone with noise, no speech."""
    times = np.arange(int(SECONDS * 16_000)) / 16_000
    tone = sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(len(times))
    soundfile.write(path, 0.1 * tone + 0.01 * noise, 16_000)
    return path


def peak_memory() -> int:
    """Largest resident memory of this process so far, bytes (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(arguments: argparse.Namespace, clip: Path) -> dict:
    start = time.perf_counter()
    # the least threshold: the speech check runs, and the synthetic clip passes it
    pipeline = EmotionPipeline.from_pretrained(
        arguments.checkpoint, device=arguments.device, speech_threshold=1e-12, words=arguments.words
    )
    first = pipeline(clip)
    loading = time.perf_counter() - start
    device = pipeline.model.device
    for _ in range(arguments.warm_up):
        pipeline(clip)
    seconds = [seconds_of(lambda: pipeline(clip), device) for _ in range(arguments.calls)]
    found = latency(seconds)
    return {
        "checkpoint": pipeline.name,
        "words": pipeline.words_reader is not None,
        "parameters": pipeline.model.num_parameters(),
        "clip_seconds": first.audio.seconds,
        "loading_and_first_answer_s": loading,
        **found,
        "x_real_time": first.audio.seconds / found["median_ms"] * 1e3,
        "peak_memory_mb": peak_memory() / 2**20,
        "machine": machine(device),
    }


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            clip = arguments.clip or synthetic_clip(Path(folder) / "synthetic.wav")
            result = measure(arguments, clip)
    except FASError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for key in ("loading_and_first_answer_s", "median_ms", "p95_ms", "peak_memory_mb"):
        print(f"{key}: {result[key]:.1f}")
    write_result(arguments.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
