"""The study on a GPU gives what the study gives: the same batches, the same weights, the same rows in the order that was asked for."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from test_training import largest_difference, tiny_config, weights
from test_training_invariance import EVERYTHING, RESIDUAL, several

from experiments import invariance, invariance_worker
from experiments.resident import Resident, ResidentTrainer, held
from experiments.stages import run_key
from experiments.tables import read
from fas_core.batching import collate
from fas_core.encoders.base import ClipFeatures
from fas_core.errors import FASError
from fas_core.training import fas as run
from fas_core.training.arguments import TrainingArguments
from fas_core.training.loop import Trainer


@pytest.fixture
def clips():
    """As the cache gives them: fp16, with deviations over frames."""
    found = several(30)
    found.variants, found.digests, features = [""], [f"d{i}" for i in range(30)], found.features

    def get(index, variant):
        clip = features(index, "")
        halves = [x.astype(np.float16) for x in (clip.acoustic, clip.semantic)]
        spread = [x.std(0).astype(np.float32) for x in halves]
        return ClipFeatures(
            *halves,
            clip.acoustic_frames,
            clip.semantic_frames,
            acoustic_deviation=spread[0],
            semantic_deviation=spread[1],
        )

    found.features = get
    return found


def test_a_batch_is_the_batch(clips):
    resident, rows = Resident(held([clips]), torch.device("cpu")), [3, 0, 29, 3]
    expected = collate([clips.features(i, "") for i in rows])
    found = resident.collate(resident.rows([f"d{i}" for i in rows]))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_training_there_is_training(tmp_path, clips):
    done = []
    for kind in (Trainer, ResidentTrainer):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / kind.__name__), epochs=2, global_batch_size=12, per_device_batch_size=12, cpu=True, pathway_dropout=0.2,
            **EVERYTHING,
        )  # fmt: skip
        trainer = kind(
            run.new_model(tiny_config(**RESIDUAL), clips, 0, arguments), arguments, clips, None, Accelerator(cpu=True)
        )
        if kind is ResidentTrainer:
            trainer.use(Resident(held([clips]), torch.device("cpu")))
        trainer.fit()
        done.append(weights(trainer))
    assert largest_difference(*done) == 0


def asked(*more):
    return invariance.parse_arguments(["--data-root", "d", "--output", "o", "--work", "w", *more])


def test_runs_come_seed_by_seed_and_each_once():
    keys = invariance.keys(
        asked(
            "--seeds", "7", "8", "--left-out", "tess", "urdu", "--systems", "lora", "lora-none", "balanced", "residual"
        )
    )
    assert [(k["system"], k["left_out"], k["seed"]) for k in keys] == [
        *[(s, n, 7) for s in ("lora", "lora-none", "balanced", "residual") for n in ("tess", "urdu")],
        *[
            (s, n, 8) for s in ("lora", "balanced", "residual") for n in ("tess", "urdu")
        ],  # without adaptation nothing is drawn
    ]
    assert len({run_key(k) for k in keys}) == len(keys)
    assert all(k["encoder"] == "offline:base" and k["corpora"] for k in keys)


def test_what_the_study_cannot_do_is_said(capsys):
    with pytest.raises(SystemExit):
        asked("--left-out", "emodb")
    with pytest.raises(FASError, match="--processes 0"):
        asked("--processes", "0")


class Pool(ThreadPoolExecutor):
    """Threads in the place of processes, which would read the corpora."""

    _processes = None

    def __init__(self, count, mp_context, initializer, initargs):
        super().__init__(1)


class Told:
    """What a worker is asked for, and in which order; one run fails."""

    def __init__(self, slow=0.0):
        self.asked, self.slow, self.broken = [], slow, True

    def prepare(self, part, parts):
        self.asked.append(("prepare", part, parts))

    def fit(self, key):
        self.asked.append(("fit", key["left_out"], invariance.kind(key)))

    def fas(self, key):
        self.asked.append((key["system"], key["left_out"]))
        time.sleep(self.slow)
        if self.broken and key["system"] == "residual":
            raise FASError("no")
        return dict(scores={key["left_out"]: dict(ua=50.0)})

    lora = fas


def test_what_shares_a_closed_form_is_fitted_once_before_it_is_trained(monkeypatch, tmp_path, capsys):
    worker = Told()
    monkeypatch.setattr(invariance, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(invariance, "_WORKER", worker)
    flags = [
        "--data-root",
        "d",
        "--output",
        str(tmp_path / "runs.jsonl"),
        "--work",
        str(tmp_path / "work"),
        "--seeds",
        "7",
        "--left-out",
        "tess",
    ]
    flags += ["--systems", "before-unaugmented", "balanced", "residual", "lora"]
    assert invariance.main(flags) == 1 and "failed: fas" in capsys.readouterr().out
    assert worker.asked == [
        ("prepare", 0, 2), ("prepare", 1, 2), ("lora", "tess"), ("fit", "tess", "before-unaugmented"), ("fit", "tess", "balanced"),
        ("before-unaugmented", "tess"), ("balanced", "tess"), ("residual", "tess"),
    ]  # fmt: skip
    records = read(tmp_path / "runs.jsonl")
    assert [r["system"] for r in records] == ["lora", "before-unaugmented", "balanced"]
    assert [r["corpora"] for r in records][1] == ["ravdess", "tess"] and "commit" in records[0]
    worker.asked.clear()
    worker.broken = False
    assert invariance.main(flags) == 0
    assert (
        worker.asked[2:] == [("fit", "tess", "balanced"), ("residual", "tess")]
        and len(read(tmp_path / "runs.jsonl")) == 4
    )


def test_when_the_time_is_up_what_is_done_is_kept(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(invariance, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(invariance, "_WORKER", Told(slow=0.5))
    flags = [
        "--data-root",
        "d",
        "--output",
        str(tmp_path / "runs.jsonl"),
        "--work",
        str(tmp_path / "work"),
        "--seeds",
        "7",
        "--systems",
        "balanced",
    ]
    assert invariance.main([*flags, "--max-minutes", "0.02"]) == 1
    assert " left" in capsys.readouterr().out and len(read(tmp_path / "runs.jsonl")) < 6


def test_a_clip_may_be_its_mean(monkeypatch, clips):
    class Cache(dict):
        def get(self, digest, variant):
            return self[digest]

    monkeypatch.setattr(invariance_worker, "audio_digest", lambda path: path)
    rows = [dict(audio=digest) for digest in ("d3", "d0", "unreadable")]
    whole, means = (invariance_worker.Held(rows, Cache(held([clips])), given) for given in (False, True))
    assert whole.usable == means.usable == [0, 1]
    for _ in range(2):  # read, and remembered
        clip, mean = whole.get("d3"), means.get("d3")
        assert (
            len(clip.acoustic) > 1
            and mean.acoustic.shape == (1, clip.acoustic.shape[1])
            and mean.acoustic.dtype == np.float16
        )
        np.testing.assert_allclose(mean.semantic[0], clip.semantic.astype(np.float32).mean(0), atol=2e-3)
        assert np.array_equal(clip.acoustic_deviation, mean.acoustic_deviation)


def test_means_are_remembered(tmp_path, clips):
    features = held([clips])
    worker = invariance_worker.Worker.__new__(invariance_worker.Worker)
    worker.folder = tmp_path

    class Source:
        def __init__(self):
            self.digests, self.usable, self.held = list(features), [0, 1, 5], {}

        def get(self, digest):
            clip = features[digest]
            one = {s: getattr(clip, s)[:1] for s in ("acoustic", "semantic")}
            return replace(clip, **one)

    worker._remember({"a": Source()})
    again = Source()
    worker._remember({"a": again})
    assert set(again.held) == {(d, "") for d in ("d0", "d1", "d5")}
    for (digest, _), clip in again.held.items():
        for name in invariance_worker.MEANS:
            np.testing.assert_array_equal(getattr(clip, name), getattr(Source().get(digest), name))
