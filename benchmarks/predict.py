"""Latency and memory of one warm prediction: `python -m benchmarks.predict [--checkpoint DIR] [--clip FILE] [--no-words]`.

What `fas predict` does for a file once everything is loaded: read, front end, encode, FAS, calibrate, and write the words down. With
words, calls without them are measured in turn with those that have them, so that the ratio holds on a busy machine, too; so does
processor time, but for what the others take of caches and memory. Memory is the peak of the whole process: `--no-words` says what
it is without. At last `--batch` copies of the clip are answered as one list.
"""

import argparse
import copy
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from benchmarks.measure import latency, machine, seconds_of, write_result
from fas_core.audio import SAMPLE_RATE
from fas_core.errors import FASError, MissingDependencyError
from fas_core.pipeline import EmotionPipeline

SECONDS = 4.0
SENTENCE = "I have been waiting for this letter all week, and now it lies on the table in the hall."
VOICE = "en-us+f2"


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.predict", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="directory or hub id, base or tiny.en; default: the shipped one")
    parser.add_argument("--clip", type=Path, help="audio file; default: a sentence read by espeak-ng, 4 s")
    parser.add_argument("--words", action=argparse.BooleanOptionalAction, default=True, help="write down what was said")
    parser.add_argument("--calls", type=int, default=100, help="calls measured (%(default)s)")
    parser.add_argument("--batch", type=int, default=200, help="copies answered as one list; 0: none (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=5, help="calls before them (%(default)s)")
    parser.add_argument("--device", help="cpu or cuda; default: a GPU when there is one")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/predict.json"))
    return parser.parse_args(argv)


def synthetic_clip(path: Path) -> Path:
    """A wav of 4 s: a sentence, or, without espeak-ng, a harmonic tone with noise that the front end does not shorten."""
    size = int(SECONDS * SAMPLE_RATE)
    try:
        from fas_core.synth.espeak import Synthesizer

        samples, rate = Synthesizer().speak(SENTENCE, VOICE, rate=165)
        spoken = soxr.resample(np.asarray(samples, np.float32), rate, SAMPLE_RATE)[:size]
        samples = np.pad(spoken, (0, size - len(spoken)))
    except MissingDependencyError:
        times = np.arange(size) / SAMPLE_RATE
        tone = sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 20))
        samples = 0.1 * tone + 0.01 * np.random.default_rng(0).standard_normal(size)
    soundfile.write(path, samples, SAMPLE_RATE)
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
    deaf = copy.copy(pipeline)
    deaf.words_reader = None
    modes = {"with_words": pipeline, "without_words": deaf} if pipeline.words_reader else {"without_words": deaf}
    found = in_turn({name: lambda each=each: each(clip) for name, each in modes.items()}, arguments, device)
    result = {
        "checkpoint": pipeline.name,
        "words": first.words.transcript if first.words else first.words_missing,
        "parameters": pipeline.model.num_parameters(),
        "clip_seconds": first.audio.seconds,
        "loading_and_first_answer_s": loading,
        **found,
        "x_real_time": first.audio.seconds / next(iter(found.values()))["median_ms"] * 1e3,
        "peak_memory_mb": peak_memory() / 2**20,
    }
    if len(found) == 2:
        result["times_the_processor_time_without"] = found["with_words"]["cpu_ms"] / found["without_words"]["cpu_ms"]
    return result | of_batch(pipeline, clip, arguments.batch) | {"machine": machine(device)}


def in_turn(
    calls: dict[str, Callable[[], object]], arguments: argparse.Namespace, device: torch.device
) -> dict[str, dict]:
    """Name -> wall times of the calls, and the median of their processor time, in milliseconds."""
    wall, cpu = ({name: [] for name in calls} for _ in range(2))
    for number in range(arguments.warm_up + arguments.calls):
        for name, call in calls.items():
            start = time.process_time()
            seconds = seconds_of(call, device)
            if number >= arguments.warm_up:
                wall[name].append(seconds)
                cpu[name].append(time.process_time() - start)
    return {name: latency(wall[name]) | {"cpu_ms": 1e3 * float(np.median(cpu[name]))} for name in calls}


def of_batch(pipeline: EmotionPipeline, clip: Path, size: int) -> dict:
    """Seconds of so many copies of a clip as one list."""
    if not size:
        return {}
    start, cpu = time.perf_counter(), time.process_time()
    pipeline([clip] * size)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"batch": {"clips": size, "seconds": wall, "cpu_seconds": cpu, "peak_memory_mb": peak_memory() / 2**20}}


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    torch.set_num_threads(arguments.threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            clip = arguments.clip or synthetic_clip(Path(folder) / "synthetic.wav")
            result = measure(arguments, clip)
    except FASError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in ("with_words", "without_words"):
        if name in result:
            print(f"{name}: " + ", ".join(f"{key} {value:.1f}" for key, value in result[name].items()))
    print(
        f"peak_memory_mb: {result['peak_memory_mb']:.0f}",
        *([f"batch: {result['batch']}"] if "batch" in result else []),
        sep="\n",
    )
    write_result(arguments.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
