"""The study's bookkeeping: a run is done once, and the table says what the lines say."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from repository import ROOT
from scipy.special import log_softmax
from tqdm import tqdm

from experiments import discriminant
from experiments import stages as study
from fas_core.inference import Logits
from fas_core.training.arguments import ModelArguments, TrainingArguments
from fas_core.training.clips import Clips, concatenate
from fas_core.training.fas import parse
from fas_eval.systems.recipes import SYSTEMS


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
    assert "75.0 / 75.0 / 75.0 (± 7.1)" in text
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


def synthetic_clips(seed, clips=70):
    """Clips whose mean tells the emotion, in every variant."""
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % 7
    directions = np.random.default_rng(0).normal(size=(7, 6))

    def features(index, variant):
        patches = directions[labels[index]] + 0.3 * np.random.default_rng([seed, index, len(variant)]).normal(
            size=(5, 6)
        )
        return SimpleNamespace(acoustic=patches, acoustic_deviation=rng.random(6))

    return Clips([str(i) for i in range(clips)], labels, np.full(clips, -100), features, ["", "noise:15"])


def test_the_choice_of_the_discriminant_scores_every_setting_on_every_set():
    with tqdm(disable=True) as bar:
        found = discriminant.evaluate(
            synthetic_clips(1), {"urdu": synthetic_clips(2), "validation": synthetic_clips(3)}, bar
        )
    assert set(found) == {"urdu", "validation"}
    assert all(len(values) == len(discriminant.SETTINGS) and min(values) > 80 for values in found.values())
    rows = [setting | dict.fromkeys(discriminant.SETS, 50.0) for setting in discriminant.SETTINGS]
    lines = discriminant.table(rows).splitlines()
    assert len({line.split("|")[1] for line in lines[2:]}) == len(discriminant.SETTINGS)


def test_the_parts_of_an_answer_are_found_again():
    rng = np.random.default_rng(0)
    fused, acoustic = log_softmax(rng.normal(size=(2, 140, 7)) * 3, -1)
    clips = SimpleNamespace(labels=np.arange(140) % 7)
    logits = Logits(0.1 * fused + 0.9 * acoustic, acoustic, acoustic)
    scores = study.part_scores("emodb", clips, logits, SimpleNamespace(ensemble=0.9, residual=False), study.point_score)
    assert scores["emodb, fused alone"] == study.point_score(clips, fused)
    assert scores["emodb, acoustic head"] == study.point_score(clips, acoustic)
    alone = SimpleNamespace(ensemble=0.0, residual=False)
    assert set(study.part_scores("emodb", clips, logits, alone, study.point_score)) == {"emodb, acoustic head"}


@pytest.mark.parametrize(("file", "name"), [("recommended", "shipped"), ("adapter_fas", "gradient")])
def test_the_configuration_files_are_the_recipes_that_the_study_measured(file, name):
    data, model, training = parse([str(ROOT / "train" / "configs" / f"{file}.yaml")])
    assert model == ModelArguments(**SYSTEMS[name].model)
    assert training == TrainingArguments(**SYSTEMS[name].training)
    assert tuple(data.augmentation) == SYSTEMS[name].augmentation


@pytest.mark.parametrize(("file", "hidden_size"), [("shipped_base", 192), ("shipped_tiny_en", 256)])
def test_what_ships_is_trained_as_the_study_measured_it(file, hidden_size):
    data, model, training = parse([str(ROOT / "train" / "configs" / f"{file}.yaml")])
    assert model == ModelArguments(**SYSTEMS["many"].model | dict(hidden_size=hidden_size))
    assert training == TrainingArguments(**SYSTEMS["many"].training, keep="last", refit=True)
    assert tuple(data.augmentation) == SYSTEMS["many"].augmentation and data.fold == 1
