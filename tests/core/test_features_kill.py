"""Extraction that is killed at random moments ends with the same bytes as one that is left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from synthetic import save_tiny_whisper, write_clips
from warm import KILL, PYTHON

from fas_core.encoders import FeatureExtractor, StreamConfig
from fas_core.features import FeatureCache, extract_features

KILLS = int(os.environ.get("FAS_TEST_ENDS", 4))
CLIPS, SHARD_CLIPS = 40 * KILLS, 8


def work(model: str, rows: str, root: str) -> None:
    extractor = FeatureExtractor.from_config(StreamConfig.whisper(model, acoustic_layer=1), device="cpu")
    cache = FeatureCache(Path(root), extractor.identity())
    print("ready", flush=True)
    report = extract_features(
        json.loads(Path(rows).read_text()), extractor, cache, shard_clips=SHARD_CLIPS, progress=False
    )
    print(report.done, report.cached)


class Worker:
    """A process that has begun to extract."""

    def __init__(self, *arguments: Path):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [PYTHON, __file__, *map(str, arguments)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def finish(self) -> tuple[int, ...]:
        return tuple(map(int, self.process.communicate(timeout=500)[0].split()))

    def kill(self) -> None:
        self.process.send_signal(KILL)
        assert self.process.wait(500) == -signal.SIGKILL
        self.process.stdout.close()


@pytest.mark.slow
def test_kills_leave_the_same_bytes(tmp_path):
    model, rows = save_tiny_whisper(tmp_path / "model"), tmp_path / "rows.json"
    rows.write_text(json.dumps(write_clips(tmp_path / "clips", [0.2 + 0.1 * (index % 9) for index in range(CLIPS)])))

    worker = Worker(model, rows, tmp_path / "undisturbed")
    began = time.perf_counter()
    assert worker.finish() == (CLIPS, 0)
    shard_seconds = (time.perf_counter() - began) * SHARD_CLIPS / CLIPS

    moments = random.Random(42)
    progress = [0]
    for _ in range(KILLS):
        worker = Worker(model, rows, tmp_path / "killed")
        wanted = progress[-1] + moments.randint(0, 2)
        while len(shards(tmp_path / "killed")) < wanted:
            time.sleep(shard_seconds / 10)
        time.sleep(moments.uniform(0, shard_seconds))
        worker.kill()
        progress.append(len(shards(tmp_path / "killed")))
    assert progress == sorted(progress)

    finished = SHARD_CLIPS * progress[-1]
    assert 0 < finished < CLIPS
    assert Worker(model, rows, tmp_path / "killed").finish() == (CLIPS - finished, finished)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def shards(root: Path) -> list[Path]:
    """All that is read; what was half-written at a kill has a name that is not."""
    return list(root.rglob("[!.]*.safetensors"))


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in shards(root)}


if __name__ == "__main__":
    work(*sys.argv[1:])
