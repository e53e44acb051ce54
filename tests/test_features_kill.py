"""Extraction that is killed at random moments ends with the same bytes as one that is left alone."""

import multiprocessing
import random
import time
from pathlib import Path

import pytest
from synthetic import save_tiny_whisper, write_clips

from fas_core.encoders import FeatureExtractor, StreamConfig
from fas_core.features import FeatureCache, extract_features

CLIPS, SHARD_CLIPS, KILLS = 480, 8, 10


def work(model: Path, rows: list[dict], root: Path, pipe) -> None:
    extractor = FeatureExtractor.from_config(StreamConfig.whisper(str(model), acoustic_layer=1), device="cpu")
    cache = FeatureCache(root, extractor.identity())
    pipe.send("ready")
    report = extract_features(rows, extractor, cache, shard_clips=SHARD_CLIPS, progress=False)
    pipe.send((report.done, report.cached))


class Worker:
    """A process that has begun to extract."""

    context = multiprocessing.get_context("forkserver")  # imports torch once, not a dozen times

    def __init__(self, *arguments):
        self.pipe, theirs = self.context.Pipe()
        self.process = self.context.Process(target=work, args=(*arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()
        assert self.pipe.recv() == "ready"

    def finish(self) -> tuple[int, int]:
        return self.pipe.recv()

    def kill(self) -> None:
        self.process.kill()  # SIGKILL
        self.process.join()
        assert self.process.exitcode == -9


@pytest.mark.slow
def test_ten_kills_leave_the_same_bytes(tmp_path):
    model = save_tiny_whisper(tmp_path / "model")
    rows = write_clips(tmp_path / "clips", [1.0 + 0.1 * (index % 9) for index in range(CLIPS)])
    preload = ["fas_core.features", "transformers.models.whisper.modeling_whisper"]
    Worker.context.set_forkserver_preload(preload)

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
