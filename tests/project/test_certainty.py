"""Confidence, unsure and label sets: learned on what was left out, and told the same everywhere."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import noise
from tiny_fas import save_tiny_checkpoint
from tiny_transcriber import save_tiny_transcriber
from typer.testing import CliRunner

from experiments import unsure
from experiments.unsure import LEFT_OUT, UNSEEN, Answers, calibrated, figures, tabled
from fas_core import EmotionPipeline
from fas_core.answers import Answer, Judge, Pathways
from fas_core.certainty import LEVELS, STEPS, Certainty, conformal_score, fit_confidence
from fas_core.cli import door
from fas_core.configuration_fas import FASConfig
from fas_core.errors import CheckpointError, FASError
from fas_core.labels import EMOTIONS
from fas_core.summaries import summarise
from fas_serve.emotion import _told
from fas_serve.schemas import EmotionOptions

CERTAINTY = Certainty(
    (0.0, 1.0, 2.0), tuple(np.linspace(-1, 1, STEPS)), tuple(np.linspace(0.5, 0.95, len(LEVELS))), 0.5
)
PROBABILITIES = dict(zip(EMOTIONS, (0.6, 0.2, 0.1, 0.04, 0.03, 0.02, 0.01), strict=True))


def corpus(name, far, clips=800, seed=0, kind=LEFT_OUT):
    """A corpus `far` from training: the further, the more rarely a probability holds."""
    rng = np.random.default_rng([seed, len(name), *map(ord, name)])
    labels, distance = rng.integers(0, 7, clips), far + 0.2 * rng.normal(size=clips)
    logits = rng.normal(size=(clips, 7))
    logits[np.arange(clips), labels] += 3.0 * np.exp(-distance)
    p = np.exp(1.5 * np.exp(distance)[:, None] * logits)  # and the surer it is
    return Answers(name, kind, p / p.sum(1, keepdims=True), labels, distance)


CORPORA = [corpus(name, far) for name, far in (("near", 0.0), ("middle", 0.6), ("further", 1.0), ("away", 1.6))]


def answer(distance=0.0, **judged):
    parts = Pathways(dict(PROBABILITIES))
    return Answer("a.wav", distance=distance, judge=Judge(CERTAINTY, **judged), pathways=parts).says(
        dict(PROBABILITIES)
    )


def test_what_is_far_is_believed_less():
    near, far = answer(-0.5), answer(0.9)
    assert near.probabilities == far.probabilities and near.confidence > 0.6 > far.confidence
    assert near.familiarity > 0.5 > far.familiarity and not near.unsure and far.unsure


def test_the_threshold_is_the_users_if_there_is_one():
    assert answer(0.9, below=0.0).unsure is False and answer(-0.5, below=0.99).unsure is True
    bare = Answer("a.wav", judge=Judge(below=0.7)).says(dict(PROBABILITIES))  # a checkpoint that measures no distance
    assert bare.unsure and bare.confidence is None and bare.familiarity is None
    assert not Answer("a.wav", judge=Judge()).says(dict(PROBABILITIES)).unsure


def test_label_sets_grow_with_the_coverage_and_are_only_given_where_asked():
    assert answer().label_set is None
    few, many = answer(coverage=0.5).label_set, answer(coverage=0.95).label_set
    assert few[0] == many[0] == "angry" and set(few) < set(many)
    assert answer(coverage=0.95).to_row()["label_set"] == " ".join(many)


def test_a_long_clip_is_judged_as_a_whole():
    windows = [answer(d).at(i, i + 1.0) for i, d in enumerate((-0.9, 0.9))]
    whole = summarise(windows)
    assert whole.confidence == pytest.approx(answer(0.0).confidence) and whole.familiarity == pytest.approx(0.5)


def test_confidence_finds_back_what_made_the_answers():
    rng = np.random.default_rng(0)
    p, distance = rng.uniform(0.2, 0.99, 20_000), rng.normal(size=20_000)
    truth = replace(CERTAINTY, weights=(0.3, 0.8, 1.2)).confidence(p, distance)
    found = fit_confidence(p, distance, rng.random(20_000) < truth, np.ones(20_000), 0.0)
    np.testing.assert_allclose(found, (0.3, 0.8, 1.2), atol=0.1)


def test_a_conformal_score_covers_clips_of_the_same_kind():
    one, two = corpus("one", 0.5, 2000), corpus("two", 0.5, 2000)
    q = conformal_score(one.probabilities, one.labels, np.ones(2000), 0.9)
    covered = two.probabilities[np.arange(2000), two.labels] >= 1 - q
    assert 0.87 < covered.mean() < 0.93


def test_calibration_holds_better_for_corpora_that_it_has_not_met():
    rows = tabled(CORPORA, 0.9)
    by_p, by_confidence = (np.mean([row[f"ece_{name}"] for row in rows]) for name in ("probability", "confidence"))
    assert by_confidence < 0.6 * by_p
    assert np.mean([row["covered"] for row in rows[:3]]) >= 85  # the fourth is further away than any that it knows
    assert (
        rows[3]["right_not_unsure"] > rows[3]["right_unsure"]
        and rows[0]["familiarity"] > 90 > 10 > rows[3]["familiarity"]
    )


def test_of_the_corpora_that_it_was_fitted_on_so_many_are_unsure_and_their_labels_covered():
    certainty = calibrated(CORPORA)
    rows = [figures(each, certainty, 0.9) for each in CORPORA]
    assert np.mean([row["unsure"] for row in rows]) == pytest.approx(100 * unsure.MOST_UNSURE, abs=1)
    assert np.mean([row["covered"] for row in rows]) == pytest.approx(90, abs=1)


def test_test_sets_never_decide():
    test = replace(corpus("x", 3.0), name="emodb", kind=UNSEEN)
    assert tabled([*CORPORA, test], 0.9)[:-1] == tabled(CORPORA, 0.9)


def test_answers_are_kept_whole(tmp_path):
    unsure.save(CORPORA, tmp_path / "a.json")
    for before, after in zip(CORPORA, unsure.read(tmp_path / "a.json"), strict=True):
        assert (before.name, before.kind) == (after.name, after.kind) and (before.labels == after.labels).all()
        np.testing.assert_allclose(before.distance, after.distance, atol=1e-5)
    assert unsure.main(["table", str(tmp_path / "a.json"), "--json", str(tmp_path / "t.json")]) == 0
    assert len(json.loads((tmp_path / "t.json").read_text())["sets"]) == len(CORPORA)


@pytest.mark.parametrize(
    "broken",
    [{}, [], "x", {"weights": [1, 2, 3]}, CERTAINTY.to_dict() | {"below": 2}, CERTAINTY.to_dict() | {"scores": ["x"]}],
)
def test_settings_that_make_no_sense_are_named(broken):
    with pytest.raises(CheckpointError, match="certainty"):
        FASConfig(standardise=True, head_shrinkage=0.5, familiarity=4, certainty=broken)
    with pytest.raises(CheckpointError, match="familiarity is off"):
        FASConfig(certainty=CERTAINTY.to_dict())


@pytest.mark.parametrize("options", [dict(below=1.5), dict(coverage=0.2), dict(coverage=1.0)])
def test_no_probabilities_are_errors(options):
    with pytest.raises(FASError, match="unsure below|label sets"):
        Judge(CERTAINTY, **options)


def test_a_request_may_ask_for_more():
    told = _told(answer(0.0), EmotionOptions(unsure_below=0.99, label_sets=0.9))
    assert told.unsure and told.label_set and told.confidence == pytest.approx(0.6)
    assert _told(answer(0.0), EmotionOptions()).unsure is False


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certainty")
    settings = dict(head_shrinkage=0.5, familiarity=2, certainty=CERTAINTY.to_dict())
    return save_tiny_checkpoint(
        folder / "fas", save_tiny_transcriber(folder / "whisper", multilingual=False), **settings
    )


def test_python_and_command_say_it(checkpoint, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", noise(0.8, 1), 16_000, subtype="FLOAT")
    options = dict(device="cpu", speech_threshold=0, words=False)
    sure = EmotionPipeline.from_pretrained(checkpoint, unsure_below=0.0, label_sets=0.9, **options)(tmp_path / "a.wav")
    assert not sure.unsure and 0 <= sure.confidence <= 1 and sure.label in sure.label_set
    arguments = [
        "predict",
        str(tmp_path / "a.wav"),
        "--checkpoint",
        str(checkpoint),
        "--device",
        "cpu",
        "--speech-threshold",
        "0",
    ]
    table = CliRunner().invoke(door.app, [*arguments, "--no-words", "--unsure-below", "1"]).stdout
    assert f"{sure.label}, unsure" in table
    wrong = CliRunner().invoke(door.app, [*arguments, "--label-sets", "2"])
    assert wrong.exit_code == 2 and "--label-sets" in wrong.output
