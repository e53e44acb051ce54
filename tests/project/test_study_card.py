"""A card says of each corpus what a checkpoint does there; how sure it is, it learns from corpora that it never heard."""

import json

import numpy as np
import pytest
from datasets import Dataset
from scipy.special import log_softmax

from experiments import card
from fas_core.errors import FASError


def heard(name, scored_on=card.FOREIGN, scale=4.0, clips=400, right=0.6):
    """Clips whose head is right in so many of them, and far too sure where the scale is large."""
    rng = np.random.default_rng(len(name))
    labels = rng.integers(0, 7, clips)
    named = np.where(rng.random(clips) < right, labels, (labels + 1 + rng.integers(0, 6, clips)) % 7)
    return card.Heard(
        name, scored_on, 3, labels, log_softmax(scale * np.eye(7)[named] + 0.1 * rng.normal(size=(clips, 7)), -1)
    )


def test_voices_that_were_kept_apart_are_scored_and_foreign_corpora_as_a_whole(monkeypatch):
    rows = Dataset.from_dict(dict(split=["train", "test", "test"], speaker=["a", "b", "b"]))
    monkeypatch.setattr(card, "load_corpus", lambda name, folder, **more: rows)
    found, what = card.scored_clips("nemo", "x", ("nemo",), None)
    assert found["speaker"] == ["b", "b"] and what == card.UNSEEN
    assert card.scored_clips("emodb", "x", ("nemo",), None) == (rows, card.FOREIGN)
    known = rows.select([0])
    monkeypatch.setattr(card, "load_corpus", lambda name, folder, **more: known)
    assert card.scored_clips("tess", "x", ("tess",), None) == (known, card.KNOWN)


def test_corpora_never_heard_say_how_sure_an_answer_may_be():
    each = [heard("korean"), heard("urdu", right=0.5), heard("ravdess", card.UNSEEN, right=0.9)]
    temperature = card.temperature_of(each, ["korean", "urdu"])
    assert each[0].row(temperature)["ece"] < 10 < each[0].row(1.0)["ece"]
    assert each[0].row(temperature)["ua"] == each[0].row(1.0)["ua"]
    assert [e.scored_on for e in each] == [card.CALIBRATED, card.CALIBRATED, card.UNSEEN]
    assert card.temperature_of(each, []) == 1.0
    with pytest.raises(
        FASError, match="--calibrate ravdess: expected one of the corpora given that the checkpoint was not trained on"
    ):
        card.temperature_of(each, ["ravdess"])


def test_corpora_weigh_alike_in_the_temperature():
    few, many = heard("korean", clips=100, right=0.3), heard("urdu", clips=2000, right=0.9)
    alone = card.temperature_of([heard("urdu", clips=2000, right=0.9)], ["urdu"])
    assert card.temperature_of([few, many], ["korean", "urdu"]) > 1.5 * alone


def test_the_table_stands_between_the_marks_and_the_temperature_in_the_configuration(tmp_path):
    rows = [heard("emodb").row(1.0)]
    (tmp_path / "README.md").write_text("no place")
    with pytest.raises(FASError, match="no place for the table"):
        card.write_card(tmp_path, rows)
    (tmp_path / "README.md").write_text("before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    card.write_card(tmp_path, rows)
    text = (tmp_path / "README.md").read_text()
    assert (
        "old" not in text
        and text.startswith("before")
        and text.endswith("after\n")
        and "| emodb | corpus never heard | 400 | 3 |" in text
    )
    (tmp_path / "config.json").write_text(json.dumps(dict(acoustic_temperature=2.0, temperature=3.0)))
    card.write_temperature(tmp_path, "acoustic", 0.5)
    assert json.loads((tmp_path / "config.json").read_text()) == dict(acoustic_temperature=1.0, temperature=3.0)
