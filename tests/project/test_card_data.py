"""Metadata of cards: what huggingface_hub's own classes read, and the records that they come from."""

import json
import re
import warnings

import pytest
from huggingface_hub import DatasetCard, ModelCard
from repository import ROOT

from experiments.card import model_index
from fas_core import card_data
from fas_core.training.card import metadata
from fas_core.words import card as words_card
from fas_eval.case.card import data_card

SHIPPED = ["fas_core/pretrained/base", "fas_core/pretrained/tiny.en", "fas_core/words/pretrained"]
TASKS = {"audio-classification", "audio-text-to-text", "text-classification"}  # of the hub
LICENCES = {"other", "apache-2.0", "cc-by-4.0", "gpl-3.0"}  # its identifiers


def read(text: str) -> ModelCard:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ModelCard(text)


@pytest.mark.parametrize("folder", SHIPPED)
def test_a_shipped_card_is_what_the_hub_reads_and_its_records_say(folder):
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    data, record = read(text).data, json.loads((ROOT / folder / "training.json").read_text(encoding="utf-8"))
    assert data.pipeline_tag in TASKS and data.license in LICENCES and data.library_name == "fas-alm"
    assert data.datasets and all(re.fullmatch(r"[a-z]{2,3}", code) for code in data.language)
    assert all(result.metric_value <= 1 and result.task_type == data.pipeline_tag for result in data.eval_results)
    assert data.license != "other" or data.license_name
    if folder.endswith("words/pretrained"):
        expected = card_data.header(words_card.metadata(record))
    else:
        rows = json.loads((ROOT / folder / "figures.json").read_text(encoding="utf-8"))["corpora"]
        assert {(r.dataset_type, r.metric_value) for r in data.eval_results if r.metric_type == "accuracy"} == {
            (row["corpus"], round(row["accuracy"] / 100, 4)) for row in rows
        }
        expected = card_data.with_results(card_data.header(metadata(record)), model_index(rows))
    assert text.startswith(expected)


def test_results_are_replaced_and_the_text_stays():
    rows = [("ravdess", "ravdess, test", {"accuracy": 0.5, "clips": 7}), ("no id!", "left out", {"ua": 1.0})]
    found = card_data.results("audio-classification", rows)
    assert [(r.dataset_type, r.metric_type, r.metric_value) for r in found] == [("ravdess", "accuracy", 0.5)]
    card = "---\nlicense: other\n---\n# A\n\n| a |\n|---|\n"
    once = card_data.with_results(card, found)
    assert once.endswith("---\n# A\n\n| a |\n|---|\n") and once == card_data.with_results(once, found)
    assert read(once).data.eval_results[0].metric_value == 0.5
    assert card_data.with_results("# no metadata\n", found) == "# no metadata\n"


def test_names_and_codes_that_the_hub_would_refuse_are_left_out():
    assert card_data.codes(["en", "zh_cn", None, "pt-BR", "unknown", "en"]) == ["en", "pt", "zh"]
    assert card_data.names(["a/b", "my corpus", "a/b", "meld"]) == ["a/b", "meld"]
    assert card_data.codes([]) is card_data.names([]) is card_data.results("x", []) is None


@pytest.mark.parametrize(
    ("given", "licence", "name"), [("cc-by-4.0", "cc-by-4.0", None), ("Terms of X", "other", "terms-of-x")]
)
def test_a_data_card_says_its_licence_as_the_hub_knows_it(given, licence, name):
    row = dict(acoustic_emotion="sad", semantic_emotion="happy", speaker="a", gender="female", language="en",
               generator="g", text="t")  # fmt: skip
    data = DatasetCard(data_card([row], 1, 2.0, None, "set", given)).data
    assert data.license == licence and (name is None or name in data.license_name) and data.language == ["en"]
