"""Feature extraction, ours against the plain transformers way, on the same clips.

    python -m benchmarks.features --data DIR --model offline:tiny.en --clips 200

Each side runs in a process of its own, so that its peak memory is its own, with the same number of threads.
Plain: every clip padded to 30 s by `WhisperFeatureExtractor`, one after the other through the encoder of
`WhisperModel`; the frames are thrown away. Ours: `extract_features` into an empty cache: checksums, front
end, real frames only, packed batches, two layers from one pass, patches written to disk; once more without
trimming, to tell what the front end's cut of silence contributes. Reading and decoding the files is timed on
all sides, loading the model on none. CPU time stands beside wall time: it does not count a busy machine.
"""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import transformers
import typer

from benchmarks.measure import exit_code, run_modes
from fas_core.atomic import write_text
from fas_core.audio import load_audio
from fas_core.encoders import FeatureExtractor, StreamConfig
from fas_core.features import FeatureCache, extract_features
from fas_core.markdown import plain
from fas_core.sources import find_audio_files

SIDES = {
    "plain": "transformers, padded to 30 s",
    "untrimmed": "extract_features, trim off",
    "ours": "extract_features",
}
GOAL = 10  # times faster
OUT = Path("docs/benchmarks/features.json")


def main(
    data: Annotated[Path, typer.Option(help="Folder of audio files, such as RAVDESS.")],
    model: Annotated[str, typer.Option(help="Whisper: hub id, directory, offline:NAME.")] = "offline:tiny.en",
    clips: Annotated[int, typer.Option(help="Taken evenly over the folder's files.")] = 200,
    threads: Annotated[int, typer.Option(help="torch threads, the same on all sides.")] = 1,
    repeats: Annotated[int, typer.Option(help="Runs of each side in turn; the fastest counts.")] = 3,
    out: Annotated[Path, typer.Option(help="JSON; the table lies beside it.")] = OUT,
    side: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure x real time and peak memory of both sides."""
    if side:
        measure = {"plain": run_plain, "ours": run_ours, "untrimmed": run_untrimmed}[side]
        torch.set_num_threads(threads)
        typer.echo(json.dumps(measure(evenly(find_audio_files(data), clips), model)))
        return
    options = {"data": data.resolve(), "model": model, "clips": clips, "threads": threads}
    settings = {**options, "data": data.name, "model": Path(model).name, "repeats": repeats}
    jobs = {f"{name} {n}": partial(in_own_process, name, options) for n in range(1, repeats + 1) for name in SIDES}

    def save(found: dict[str, dict]) -> None:
        result = summary(found) | {"settings": settings, "machine": machine()}
        write_text(out, json.dumps(result, indent=2) + "\n")
        write_text(out.with_suffix(".md"), markdown(result))

    found = run_modes(jobs, save)
    typer.echo(out.with_suffix(".md").read_text())
    raise typer.Exit(exit_code(found))


def summary(found: dict[str, dict]) -> dict:
    """The fastest run of each side that has one, how much faster than plain it is, and what failed."""
    runs = {
        side: [run for name, run in found.items() if name.split()[0] == side and "error" not in run] for side in SIDES
    }
    best = {side: min(done, key=lambda run: run["seconds"]) for side, done in runs.items() if done}
    return {
        **best,
        "times_faster": {side: ratios(best["plain"], run) for side, run in best.items()} if "plain" in best else {},
        "all_seconds": {side: [run["seconds"] for run in done] for side, done in runs.items()},
        "failed": {name: run["error"] for name, run in found.items() if "error" in run},
    }


def run_plain(files: list[Path], model: str) -> dict:
    source = model
    if model.startswith("offline:"):
        from fas_core.encoders.offline import offline_whisper_dir

        source = offline_whisper_dir(model.removeprefix("offline:"))
    whisper = transformers.WhisperModel.from_pretrained(source, dtype=torch.float32, use_safetensors=True).eval()
    log_mel = transformers.WhisperFeatureExtractor(feature_size=whisper.config.num_mel_bins)
    seconds, began = 0.0, clocks()
    for file in files:
        audio = load_audio(file)
        inputs = log_mel(audio.samples, sampling_rate=16_000, return_tensors="pt").input_features
        with torch.no_grad():
            frames = whisper.encoder(inputs).last_hidden_state
        assert frames.isfinite().all()
        seconds += audio.duration
    return measured(seconds, began)


def run_untrimmed(files: list[Path], model: str) -> dict:
    return run_ours(files, model, trim=False)


def run_ours(files: list[Path], model: str, trim: bool = True) -> dict:
    streams = replace(StreamConfig.whisper(model), front_end={"trim": trim})
    extractor = FeatureExtractor.from_config(streams, device="cpu")
    rows = [{"audio": str(file)} for file in files]
    with tempfile.TemporaryDirectory() as root:
        began = clocks()
        report = extract_features(rows, extractor, FeatureCache(root, extractor.identity()), progress=False)
        assert report.done == len(files)
        return measured(report.audio_seconds, began)


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def measured(audio_seconds: float, began: tuple[float, float]) -> dict:
    seconds, cpu_seconds = (now - then for now, then in zip(clocks(), began, strict=True))
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return {
        "audio_seconds": audio_seconds,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "x_real_time": audio_seconds / seconds,
        "peak_memory_mb": peak,
    }


def in_own_process(side: str, options: dict) -> dict:
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "benchmarks.features", *flags, "--side", side]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"the process of {side} ended with status {done.returncode}: {last}")
    return json.loads(done.stdout)


def evenly(files: list[Path], number: int) -> list[Path]:
    step = max(1, len(files) // number)
    return files[::step][:number]


def ratios(plain: dict, run: dict) -> dict:
    return {clock: plain[clock] / run[clock] for clock in ("seconds", "cpu_seconds")}


def machine() -> dict:
    return {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def markdown(result: dict) -> str:
    settings = result["settings"]
    heard = next((result[side]["audio_seconds"] for side in SIDES if side in result), 0.0)
    title = (
        f"{settings['clips']} clips of {settings['data']} ({heard:.0f} s), "
        f"{settings['model']}, CPU, {settings['threads']} thread(s) on all sides, "
        f"the best of {settings['repeats']} runs in turn.\n"
    )
    head = ("", "x real time", "seconds", "CPU seconds", "peak memory, MB", "times faster", "by CPU time")
    lines = [title, f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for side, label in ((side, label) for side, label in SIDES.items() if side in result):
        run, faster = result[side], result["times_faster"].get(side, {})
        numbers = (
            run["x_real_time"],
            run["seconds"],
            run["cpu_seconds"],
            run["peak_memory_mb"],
            *(faster.get(clock) for clock in ("seconds", "cpu_seconds")),
        )
        lines.append(f"| {label} | {' | '.join('-' if number is None else f'{number:.1f}' for number in numbers)} |")
    failed = [f"- failed: {name}: {plain(why)}" for name, why in result["failed"].items()]
    return "\n".join([*lines, *([""] if failed else []), *failed, f"\nGoal: {GOAL} times faster.\n"])


if __name__ == "__main__":
    typer.run(main)
