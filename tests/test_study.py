"""The study's bookkeeping: a run is done once, and the table says what the lines say."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from eval.study import run as study
from eval.study.recipes import SYSTEMS
from fas_core.training.arguments import ModelArguments, TrainingArguments
from fas_core.training.clips import Clips, concatenate


def record(fold: int, ua: float, **changes) -> dict:
    scores = {"ravdess": {"accuracy": ua, "ua": ua, "macro_f1": ua}}
    base = dict(
        stage="test", system="fas", encoder="offline:base", acoustic_encoder=None, padding="clip", layer="3",
        fold=fold, seed=42, C=None, set={}, scores=scores, cpu_seconds=1.0,
    )  # fmt: skip
    return base | changes


def test_table_gives_mean_and_deviation_over_folds(tmp_path):
    path = tmp_path / "runs.jsonl"
    for row in (record(1, 70.0), record(2, 80.0), record(3, 0.0, stage="choose")):
        study.append(path, row)
    text = study.tables([path], "test")
    assert "75.0 / 75.0 / 75.0 (± 5.0)" in text
    assert "| 1, 2 | 1 |" in text and "(± 0.0)" not in text


def test_runs_differ_by_what_decides_them():
    first = record(1, 70.0)
    assert study.run_key(first) == study.run_key(json.loads(json.dumps(first)) | {"scores": {}, "cpu_seconds": 9})
    for change in ({"fold": 2}, {"seed": 1}, {"padding": "30s"}, {"set": {"model": {"k_acoustic": 4}}}):
        assert study.run_key(first) != study.run_key(first | change)


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_are_valid(name):
    system = SYSTEMS[name]
    if not system.pooled:
        ModelArguments(**system.model)
        TrainingArguments(**system.training)


def clips(names: list[str], value: float, variants: list[str]) -> Clips:
    labels = np.zeros(len(names), dtype=np.int64)
    return Clips(
        names, labels, labels, lambda i, v: SimpleNamespace(acoustic=np.full((2, 3), value), variant=v), variants
    )


def test_concatenated_clips_keep_their_own_features_and_variants():
    both = concatenate([clips(["a", "b"], 1.0, ["", "noise:15"]), clips(["c"], 2.0, [""])])
    assert both.ids == ["a", "b", "c"] and both.variants == ["", "noise:15"]
    assert both.features(1, "noise:15").variant == "noise:15" and both.features(1, "").acoustic[0, 0] == 1.0
    assert both.features(2, "noise:15").variant == "" and both.features(2, "").acoustic[0, 0] == 2.0
