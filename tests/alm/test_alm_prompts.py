"""Lettered questions: what is asked, which tokens answer, and the probabilities of the answers."""

import math

import pytest
from alm_tiny import tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fas_alm.prompts import (
    CHOICE,
    LANGUAGES,
    choice_prompt,
    option_letter,
    option_probabilities,
    option_token_ids,
    transcript_prompt,
)
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

REVERSED = EMOTIONS[::-1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_wording_offers_the_options_in_the_order_given(language):
    prompts = [choice_prompt(REVERSED, language, variant) for variant in range(len(CHOICE[language]))]
    assert len(set(prompts)) == len(prompts)
    for prompt in prompts:
        positions = [prompt.index(f"{letter} ") for letter in "ABCDEFG"]
        assert positions == sorted(positions)
    assert choice_prompt(REVERSED, language, len(prompts)) == prompts[0]


def test_the_answer_follows_the_order():
    assert option_letter("angry") == "A" and option_letter("angry", REVERSED) == "G"
    assert "A surprise" in choice_prompt(REVERSED) and "A surprise" in transcript_prompt("hello", REVERSED)


def test_the_transcript_is_in_the_question_about_words():
    assert '"I am fine."' in transcript_prompt("  I am fine. ")
    assert "{transcript}" in transcript_prompt("{transcript}"), "braces of a speaker are words"


@pytest.mark.parametrize("bad", [EMOTIONS[:6], (*EMOTIONS[:6], "calm"), (*EMOTIONS[:6], "angry")])
def test_an_order_that_is_not_the_seven_emotions_is_refused(bad):
    with pytest.raises(FASError, match="each of angry"):
        choice_prompt(bad)


def test_an_unknown_language_is_refused():
    with pytest.raises(FASError, match="'fr': expected one of en, zh"):
        choice_prompt(language="fr")


def test_options_are_the_tokens_that_follow_the_header():
    tokenizer = tiny_tokenizer()
    ids = option_token_ids(tokenizer)
    assert [tokenizer.decode([i]) for i in ids] == list("ABCDEFG")
    header = "<|im_start|>assistant\n"
    for letter, token in zip("ABCDEFG", ids, strict=True):
        assert tokenizer.encode(f"{header}{letter}<|im_end|>")[-2] == token


def test_a_tokenizer_without_single_letters_is_refused():
    vocabulary = {"<unk>": 0, "\n": 1, "A": 2}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    with pytest.raises(FASError, match="seven different"):
        option_token_ids(PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>"))


def test_probabilities_follow_the_order_and_tell_the_mass():
    logprobs = [math.log(p) for p in (0.4, 0.2, 0.1, 0.05, 0.02, 0.02, 0.01)]
    probabilities, mass = option_probabilities(logprobs, REVERSED)
    assert mass == pytest.approx(0.8) and list(probabilities) == list(EMOTIONS)
    assert probabilities["surprise"] == pytest.approx(0.5) and probabilities["angry"] == pytest.approx(0.0125)
    assert sum(probabilities.values()) == pytest.approx(1)


def test_temperature_softens_and_keeps_the_answer():
    logprobs = [math.log(p) for p in (0.7, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03)]
    sharp, soft = (option_probabilities(logprobs, temperature=t)[0] for t in (1.0, 3.0))
    assert max(soft, key=soft.get) == "angry" and soft["angry"] < sharp["angry"]


def test_an_option_that_was_not_reported_has_no_probability():
    probabilities, mass = option_probabilities([math.log(0.5)] + [-math.inf] * 6)
    assert probabilities["angry"] == 1 and mass == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [[0.0] * 6, [math.nan] * 7, [1.0] * 7, [-math.inf] * 7])
def test_values_that_are_no_log_probabilities_are_refused(bad):
    with pytest.raises(FASError, match="log-probabilities"):
        option_probabilities(bad)


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(FASError, match="temperature"):
        option_probabilities([-2.0] * 7, temperature=temperature)
