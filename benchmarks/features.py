"""Feature extraction, ours against the plain transformers way, side by side in one run.

`python benchmarks/features.py --data data/ravdess --clips 200 --model offline:tiny.en`

Plain: every clip padded to 30 s by `WhisperFeatureExtractor`, one clip at a time, the whole `WhisperModel` encoder.
Ours: `FeatureExtractor`, front end included, the clip's real frames only. Each side runs in a process of its own, with the
same number of threads, on audio that is already decoded; models are loaded before the clock starts. The two give
different features (docs/results.md compares what a FAS trained on each can do).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

SIDES = ("ours", "plain")


def load_clips(folder: Path, count: int) -> list:
    """The first clips of a folder, spread evenly over it."""
    from fas_core.audio import find_audio_files, load_audio

    files = find_audio_files([folder])
    step = max(1, len(files) // count)
    return [load_audio(f).samples for f in files[::step][:count]]


def plain(clips: list, model: str) -> float:
    """Seconds of the plain way."""
    import torch
    from transformers import WhisperFeatureExtractor, WhisperModel

    source = model
    if model.startswith("offline:"):
        from fas_core.encoders.offline import offline_whisper_dir

        source = str(offline_whisper_dir(model.removeprefix("offline:")))
    encoder = WhisperModel.from_pretrained(source, dtype=torch.float32).encoder.eval()
    extract = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
    start = time.perf_counter()
    with torch.inference_mode():
        for samples in clips:
            mel = extract(samples, sampling_rate=16_000, return_tensors="pt").input_features
            encoder(mel, output_hidden_states=True)
    return time.perf_counter() - start


def ours(clips: list, model: str) -> float:
    """Seconds of our way, both streams."""
    from fas_core.encoders.extractor import FeatureExtractor

    whisper = dict(type="whisper", model=model, padding="clip")
    extractor = FeatureExtractor.from_config(
        dict(acoustic=whisper | dict(layer=2), semantic=whisper | dict(layer=-1), front_end={})
    )
    start = time.perf_counter()
    extractor(clips)
    return time.perf_counter() - start


def measure(side: str, arguments) -> None:
    """One side, in this process; prints JSON."""
    import torch

    torch.set_num_threads(arguments.threads)
    clips = load_clips(arguments.data, arguments.clips)
    audio = sum(map(len, clips)) / 16_000
    seconds = {"ours": ours, "plain": plain}[side](clips, arguments.model)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(clips=len(clips), audio_seconds=round(audio, 1), seconds=round(seconds, 2),
                          x_real_time=round(audio / seconds, 1), peak_mb=round(peak))))  # fmt: skip


def run(side: str, argv: list[str], threads: int) -> dict:
    """One side in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, *argv, "--side", side]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with audio")
    parser.add_argument("--clips", type=int, default=200, help="clips to encode")
    parser.add_argument("--model", default="offline:tiny.en", help="Whisper: hub id, directory, offline:NAME")
    parser.add_argument("--threads", type=int, default=1, help="threads of each side")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, in turn; the median counts")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if arguments.side:
        return measure(arguments.side, arguments)
    from fas_core.atomic import write_text
    from fas_core.provenance import provenance

    runs = [(run("ours", argv, arguments.threads), run("plain", argv, arguments.threads)) for _ in range(arguments.repeats)]
    ratios = sorted(p["seconds"] / o["seconds"] for o, p in runs)
    result = {side: sorted((r[i] for r in runs), key=lambda r: r["seconds"])[len(runs) // 2] for i, side in enumerate(SIDES)}
    result |= dict(ratio=round(ratios[len(ratios) // 2], 1), ratios=[round(r, 1) for r in ratios], model=arguments.model,
                   threads=arguments.threads, provenance=provenance([Path(sys.argv[0]).name, "--clips", str(arguments.clips)]))  # fmt: skip
    print(json.dumps({k: v for k, v in result.items() if k != "provenance"}, indent=2))
    if arguments.output:
        write_text(arguments.output, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
