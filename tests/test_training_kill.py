"""The training command on a synthetic corpus: killed at random moments, or shared by two processes, it ends the same."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file
from synthetic import noise, save_tiny_whisper

ROOT = Path(__file__).resolve().parent.parent
EPOCHS, KILLS = 50, 10
EMOTIONS = ("angry", "happy", "neutral", "sad")
SETTINGS = """
acoustic_layer: 1
augmentation: ["noise:15"]
hidden_size: 16
k_acoustic: 3
summary: mean+deviation
standardise: true
class_weighting: true
mixup: 0.4
pathway_dropout: 0.2
learning_rate: 3.0e-3
global_batch_size: 8
per_device_batch_size: 4
cpu: true
refit: true
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A Whisper of random weights, settings, and a manifest of 16 clips of noise in four pitches, by four speakers."""
    folder = tmp_path_factory.mktemp("command")
    save_tiny_whisper(folder / "whisper")
    (folder / "corpus").mkdir()
    rows = ["audio,emotion,semantic_emotion,speaker,split"]
    for index in range(16):
        samples = noise(0.5 + index / 20, index)
        tone = 0.2 * np.sin(np.arange(len(samples)) * 0.05 * (1 + index % 4))
        soundfile.write(folder / "corpus" / f"{index:02}.wav", samples + tone, 16_000)
        split = "validation" if index >= 12 else "train"
        words = EMOTIONS[(index + 1) % 4]
        rows.append(f"{index:02}.wav,{EMOTIONS[index % 4]},{words},speaker{index // 4},{split}")
    (folder / "corpus" / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "settings.yaml").write_text(SETTINGS)
    return folder


def command(place: Path, run: Path, *flags: str, processes: int = 1) -> subprocess.Popen:
    """`train/fas.py` with a cache and an output folder of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    arguments = [
        *("--corpora", f"manifest={place / 'corpus'}", "--encoder", str(place / "whisper"), "--epochs", str(EPOCHS)),
        *("--cache_dir", str(run / "cache"), "--output_dir", str(run / "fas"), *flags),
    ]
    return subprocess.Popen(
        [sys.executable, *(launcher if processes > 1 else []), "train/fas.py", str(place / "settings.yaml"), *arguments],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> None:
    _, told = process.communicate(timeout=200)
    assert process.returncode == 0, told[-3000:]


def epochs_done(run: Path) -> int:
    """What a resume would start from; -1 before there is a cache."""
    try:
        return int(json.loads((run / "fas" / "resume.json").read_text())["state"].removeprefix("resume-"))
    except (FileNotFoundError, ValueError):
        return 0 if any(run.glob("cache/*/*.safetensors")) else -1


def kill_at(process: subprocess.Popen, run: Path, epoch: int, delay: float) -> None:
    """SIGKILL so many seconds after that epoch is saved, unless it ends before."""
    while process.poll() is None and epochs_done(run) < epoch:
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.wait()


@pytest.mark.slow
def test_kills_do_not_change_the_checkpoint(place, tmp_path):
    finish(command(place, tmp_path / "undisturbed"))
    moments = random.Random(42)
    # the first while features are written, the last while the checkpoint is
    epochs = [0, *sorted(moments.sample(range(1, EPOCHS), KILLS - 2)), EPOCHS]
    killed, reached = tmp_path / "killed", []
    for epoch in epochs:
        process = command(place, killed, "--resume")
        kill_at(process, killed, epoch, delay=moments.uniform(0, 0.05))
        reached.append((process.returncode, epochs_done(killed)))
    assert sum(code == -9 for code, _ in reached) >= KILLS - 1, reached
    assert [done for _, done in reached] == sorted(done for _, done in reached)
    finish(command(place, killed, "--resume"))
    for name in ("model.safetensors", "config.json"):
        ours, theirs = ((tmp_path / side / "fas" / name).read_bytes() for side in ("killed", "undisturbed"))
        assert ours == theirs, name
    told = [json.loads((tmp_path / side / "fas" / "training.json").read_text()) for side in ("killed", "undisturbed")]
    assert told[0]["history"] == told[1]["history"] and len(told[0]["history"]) == EPOCHS
    kept = {f.name for f in (killed / "fas").iterdir()}
    assert {n for n in kept if n.startswith(".") or "resume" in n} == set()


@pytest.mark.slow
def test_two_processes_of_the_command_equal_one(place, tmp_path):
    """A clip that cannot be used is in the account, whichever process met it."""
    broken = place / "corpus" / "05.wav"
    content = broken.read_bytes()
    broken.write_bytes(b"RIFF, and then nothing")
    try:
        finish(command(place, tmp_path / "one", "--epochs", "6"))
        finish(command(place, tmp_path / "two", "--epochs", "6", processes=2))
    finally:
        broken.write_bytes(content)
    results = [json.loads((tmp_path / side / "fas" / "training.json").read_text()) for side in ("one", "two")]
    for result in results:
        (corpus,) = result["data"]["corpora"]
        assert (corpus["train"], corpus["validation"]) == (11, 4)
        assert {Path(f["file"]).name for f in corpus["failed"]} == {"05.wav"}
    for ours, theirs in zip(*(r["history"] for r in results), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    one, two = (load_file(tmp_path / side / "fas" / "model.safetensors") for side in ("one", "two"))
    for name, values in one.items():
        if name.endswith("in_proj_bias"):  # attention ignores its keys' bias, and rounding moves it
            values, two[name] = (np.delete(v, np.s_[16:32]) for v in (values, two[name]))
        np.testing.assert_allclose(two[name], values, atol=1e-4, err_msg=name)
