"""Damaged files of sixty formats through the loader: audio or an AudioError, nothing else, and soon.

The decoders are native code, so the files are read in a process of its own. Before each one its description
is written down: if that process dies or hangs, the test names the file that did it. `python -m benchmarks.fuzz` reads 10,000.
Alone: `python tests/core/test_audio_fuzz.py FILE_FOR_THE_DESCRIPTION`.
"""

import faulthandler
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT
from test_audio import encoded

from benchmarks.audio_formats import NAMES, made_up
from benchmarks.fuzz import files
from benchmarks.mutations import BOMBS
from fas_core.audio import AudioLimits, load_audio, stream_audio
from fas_core.errors import AudioError

FILES = 600
SEED = 1
HANGS = 120  # seconds until the process is ended and the file named; benchmarks/fuzz measures the time of each


def check(data: bytes) -> str:
    """How the loader ends on these bytes; raises where it breaks its promise."""
    limits = AudioLimits(max_seconds=60)
    try:
        audio = load_audio(data, limits=limits)
        blocks = list(stream_audio(data, block_seconds=0.1, limits=limits))
        outcome = "audio"
    except AudioError as error:
        assert error.source == "<bytes>" and error.problem
        outcome = error.problem.partition(":")[0]
    else:
        assert audio.samples.dtype == np.float32 and audio.samples.ndim == 1
        assert 0.025 * 16000 - 1 <= len(audio.samples) <= 60 * 16000 + 1
        assert np.isfinite(audio.samples).all()
        np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), audio.samples)
    return outcome


def fuzz(now: Path) -> dict:
    """Reads every mutated file; its name lies in `now` before it is read."""
    outcomes = Counter()
    for name, data in files(len(BOMBS), FILES, SEED):
        now.write_text(name)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        outcomes[check(data)] += 1
    faulthandler.cancel_dump_traceback_later()
    return {"outcomes": outcomes, "megabytes": peak_megabytes()}


def peak_megabytes() -> int:
    """Of this process; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def test_damaged_files(tmp_path):
    pytest.importorskip("av")
    now = tmp_path / "now"
    command = [sys.executable, __file__, str(now)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, f"on {now.read_text()}, seed {SEED}:\n{run.stderr[-3000:]}"
    report = json.loads(run.stdout.splitlines()[-1])  # decoders may print, too
    assert sum(report["outcomes"].values()) >= FILES
    assert report["outcomes"]["audio"] > FILES / 20  # else the mutations only test the first check
    assert len(report["outcomes"]) > 5
    assert report["megabytes"] < 600


def test_there_are_forty_formats_and_each_is_read_or_refused_whole():
    pytest.importorskip("av")
    outcomes = Counter(check(made_up(name, 0.3)) for name in NAMES)
    assert outcomes.pop("audio") >= 40
    assert all(outcome.startswith("format ") for outcome in outcomes)


def test_every_byte_of_a_header_flipped():
    for container, subtype in (("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16")):
        data = encoded(container, subtype, 16000, seconds=0.1)
        for position in range(60):
            check(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])


if __name__ == "__main__":
    faulthandler.enable()
    print(json.dumps(fuzz(Path(sys.argv[1]))))
