"""Both training commands on a tiny corpus: killed or interrupted at random moments, or shared by two processes, they end the same."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from alm_runs import flags
from repository import ROOT
from safetensors.numpy import load_file
from synthetic import noise, save_tiny_whisper
from warm import KILL, PYTHON

ENDS = int(os.environ.get("FAS_TEST_ENDS", 3))  # moments at which a training is ended
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


def fas_flags(place: Path, run: Path) -> list[str]:
    """`train/fas.py` with a cache and an output folder of its own."""
    return [
        str(place / "settings.yaml"), "--corpora", f"manifest={place / 'corpus'}", "--encoder", str(place / "whisper"), "--epochs",
        str(EPOCHS), "--cache_dir", str(run / "cache"), "--output_dir", str(run / "out"),
    ]  # fmt: skip


def alm_flags(place: Path, run: Path) -> list[str]:
    """`train/alm_adapter.py`, with dropout, answers of several kinds, and a shared feature cache that is filled already."""
    return flags(
        place, run / "out", "--stage1_epochs", "5", "--stage2_epochs", "7", "--tasks", "choose", "name", "json_words"
    )


def fas_done(run: Path) -> int:
    """Epochs that a resume would not do again; 0 while features are written, -1 before that."""
    try:
        return int(json.loads((run / "out" / "resume.json").read_text())["state"].removeprefix("resume-"))
    except (FileNotFoundError, ValueError):
        finished = (run / "out" / "config.json").is_file()
        return EPOCHS if finished else 0 if any(run.glob("cache/*/*.safetensors")) else -1


def alm_done(run: Path) -> int:
    """Steps that a resume would not do again."""
    if any((run / "out" / name).exists() for name in ("adapter", "stage2/done.json")):
        return ALM_STEPS
    done = 15 if (run / "out" / "stage1" / "done.json").is_file() else 0
    stage = run / "out" / ("stage2" if done else "stage1")
    whole = [int(path.parent.name.rpartition("-")[2]) for path in stage.glob("checkpoint-*/trainer_state.json")]
    return done + max(whole, default=0)


@dataclass
class Training:
    """A command, and what is looked at."""

    module: str
    flags: Callable[[Path, Path], list[str]]
    done: Callable[[Path], int]
    steps: int
    weights: tuple[str, ...]
    script: str


EPOCHS, ALM_STEPS = 20, 36
TRAININGS = {
    "fas": Training("fas_core.training.fas", fas_flags, fas_done, EPOCHS, ("model.safetensors", "config.json"), "train/fas.py"),
    "alm": Training(
        "fas_alm.training.adapter", alm_flags, alm_done, ALM_STEPS,
        ("adapter/adapter_model.safetensors", "adapter/projector.safetensors", "adapter/config.json"), "train/alm_adapter.py",
    ),
}  # fmt: skip
COMMAND = """
import importlib, pathlib, sys
module, begun, *arguments = sys.argv[1:]
main = importlib.import_module(module).main
pathlib.Path(begun).touch()
sys.exit(main(arguments))
"""


def start(training: Training, place: Path, run: Path, *more: str) -> subprocess.Popen:
    run.mkdir(exist_ok=True)
    (run / "begun").unlink(missing_ok=True)
    command = [PYTHON, "-c", COMMAND, training.module, str(run / "begun"), *training.flags(place, run), *more]
    with (run / "log").open("a") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def finish(process: subprocess.Popen, run: Path) -> None:
    assert process.wait(500) == 0, (run / "log").read_text()[-3000:]


def end_at(
    process: subprocess.Popen, training: Training, run: Path, step: int, delay: float, how: signal.Signals
) -> None:
    """A signal so many seconds after that step is saved, unless it ends before."""
    while process.poll() is None and (training.done(run) < step or not (run / "begun").exists()):
        time.sleep(0.002)
    time.sleep(0.02 + delay)
    process.send_signal(how)
    process.wait(500)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_that_is_ended_at_any_moment_loses_nothing_that_was_finished(material, place, tmp_path, kind):
    """SIGKILL, SIGTERM and Ctrl-C, the first while features are read, the last while the result is written."""
    training, place = TRAININGS[kind], place if kind == "fas" else material
    finish(start(training, place, tmp_path / "undisturbed"), tmp_path / "undisturbed")
    moments = random.Random(42)
    steps = [0, *sorted(moments.choices(range(1, training.steps), k=ENDS - 2)), training.steps]
    ended, reached = tmp_path / "ended", []
    for number, step in enumerate(steps):
        how = (KILL, signal.SIGTERM, signal.SIGINT)[number % 3]
        process = start(training, place, ended, "--resume", "true")
        end_at(process, training, ended, step, moments.uniform(0, 0.1), how)
        reached.append((how, process.returncode, training.done(ended)))
        if process.returncode not in (0, -signal.SIGKILL):
            assert "the same command with --resume goes on from there" in (ended / "log").read_text()
    done = [done for _, _, done in reached]
    assert done == sorted(done), reached
    codes = {code for _, code, _ in reached}
    assert codes <= {0, -signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT} and len(codes - {0}) >= 2, reached
    finish(start(training, place, ended, "--resume", "true"), ended)
    for name in training.weights:
        ours, theirs = ((tmp_path / side / "out" / name).read_bytes() for side in ("ended", "undisturbed"))
        assert ours == theirs, name
    told = [_record(tmp_path / side / "out") for side in ("ended", "undisturbed")]
    assert told[0]["validation"] == told[1]["validation"] and _losses(told[0]) == _losses(told[1])
    assert {path.name for path in (ended / "out").iterdir()} == {
        path.name for path in (tmp_path / "undisturbed" / "out").iterdir()
    }
    assert "Traceback" not in (ended / "log").read_text()
    finish(start(training, place, ended, "--resume", "true"), ended)
    assert "finished already" in (ended / "log").read_text()


def _record(output: Path) -> dict:
    (path,) = (p for p in (output / "training.json", output / "adapter" / "training.json") if p.is_file())
    return json.loads(path.read_text())


def _losses(record: dict) -> list:
    if "history" in record:
        return record["history"]
    return [row["loss"] for stage in record["stages"].values() for row in stage["history"] if "loss" in row]


def launch(place: Path, run: Path, processes: int) -> None:
    """`train/fas.py` on so many processes."""
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    )
    done = subprocess.run(
        [PYTHON, *launcher, "train/fas.py", *fas_flags(place, run), "--epochs", "6"],
        cwd=ROOT, env=os.environ | {"PYTHON_EXEC": PYTHON, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_of_the_command_equal_one(place, tmp_path):
    """A clip that cannot be used is in the account, whichever process met it."""
    broken = place / "corpus" / "05.wav"
    content = broken.read_bytes()
    broken.write_bytes(b"RIFF, and then nothing")
    try:
        launch(place, tmp_path / "one", 1)
        launch(place, tmp_path / "two", 2)
    finally:
        broken.write_bytes(content)
    results = [json.loads((tmp_path / side / "out" / "training.json").read_text()) for side in ("one", "two")]
    for result in results:
        (corpus,) = result["data"]["corpora"]
        assert (corpus["train"], corpus["validation"]) == (11, 4)
        assert {Path(f["file"]).name for f in corpus["failed"]} == {"05.wav"}
    for ours, theirs in zip(*(r["history"] for r in results), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    one, two = (load_file(tmp_path / side / "out" / "model.safetensors") for side in ("one", "two"))
    for name, values in one.items():
        if name.endswith("in_proj_bias"):  # attention ignores its keys' bias, and rounding moves it
            values, two[name] = (np.delete(v, np.s_[16:32]) for v in (values, two[name]))
        np.testing.assert_allclose(two[name], values, atol=1e-4, err_msg=name)
