"""What a model says and which emotion that is."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fas_alm.conversations.naming import TERMS, named_emotions
from fas_alm.prompts import EMOTION_NAMES, OPTION_LETTERS
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.prompts import load_prompt
from fas_eval.systems.extraction import extract_label, option_answer, text_answer

OPTIONS, FREE = load_prompt("options-en@1"), load_prompt("free-en@1")
emotions = st.sampled_from(EMOTIONS)
pairs = st.lists(emotions, min_size=2, max_size=2, unique=True)
terms = st.sampled_from([(emotion, term) for emotion in EMOTIONS for term in sorted(TERMS[emotion])])
fast = settings(max_examples=120, deadline=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", ("disgust", "exact")),
        (" b.\n", ("disgust", "exact")),
        ("**B**", ("disgust", "exact")),
        ("<think>A or C, hard to say</think>\nB", ("disgust", "exact")),
        ("(B)", ("disgust", "rules")),
        ("B. disgust", ("disgust", "rules")),
        ("B: disgust", ("disgust", "rules")),
        ("The answer is B", ("disgust", "rules")),
        ("I heard A, B and C at first. Final answer: B", ("disgust", "rules")),
        ("The answer is not B but D.", ("happy", "rules")),
        ("A) angry", ("angry", "rules")),
        ("The answer is A", ("angry", "rules")),
        ("A happy voice", ("happy", "rules")),
        ("答案是B", ("disgust", "rules")),
        ("选 F，悲伤", ("sad", "rules")),
        ("B angry", (None, "unparsed")),  # letter and word disagree
        ("B or D", (None, "unparsed")),
        ("A angry, B disgust, C fear, D happy, E neutral, F sad, G surprise", (None, "unparsed")),
        ("", (None, "unparsed")),
        ("I cannot tell emotions from audio.", (None, "unparsed")),
        ("<think>It may be B", (None, "unparsed")),  # thoughts without an end are no answer
    ],
)
def test_lettered_options(text, expected):
    assert extract_label(text, OPTIONS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sad", ("sad", "exact")),
        ("Sadness.", ("sad", "exact")),
        ("悲伤。", ("sad", "exact")),
        ("The speaker sounds furious!", ("angry", "rules")),
        ("not angry but sad", ("sad", "rules")),
        ("The voice isn't happy or calm; it is afraid.", ("fear", "rules")),
        ("It does not sound very happy. Surprised, rather.", ("surprise", "rules")),
        ("neither sad nor angry, but neutral", ("neutral", "rules")),
        ("He is no longer angry, he is sad", ("sad", "rules")),
        ("Sad rather than angry", ("sad", "rules")),
        ("unhappy", ("sad", "exact")),
        ("不是愤怒，而是悲伤", ("sad", "rules")),
        ("语气并不高兴，听起来很生气", ("angry", "rules")),
        ("她非常高兴", ("happy", "rules")),
        ('{"emotion": "fear"}', ("fear", "rules")),
        ('```json\n{"Emotion": "Joy", "why": "not sad, not angry"}\n```', ("happy", "rules")),
        ('{"reason": "the words are happy", "emotion": "sad"}', ("sad", "rules")),
        ('{"emotion": "bored"}', (None, "unparsed")),
        ('{"emotion": "fear"', ("fear", "rules")),
        ("The words are happy, the tone is sad", (None, "unparsed")),
        ("not only angry but also sad", (None, "unparsed")),
        ("not happy", (None, "unparsed")),
        ("不高兴", (None, "unparsed")),
        ("D", (None, "unparsed")),  # nobody lettered anything
        ("bananas", (None, "unparsed")),
    ],
)
def test_free_text(text, expected):
    assert extract_label(text, FREE) == expected


@given(terms, st.sampled_from(["{}", "The speaker is {}.", "I hear a {} voice", "Emotion: {}", "  {}!!", "说话人{}"]))
@fast
def test_every_name_of_an_emotion_is_read_in_any_frame_and_case(named, frame):
    emotion, term = named
    assert extract_label(frame.format(term), FREE)[0] == emotion
    assert extract_label(frame.format(term.upper()), FREE)[0] == emotion


@given(
    pairs,
    st.sampled_from(
        ["not {} but {}", "It isn't {}. It's {}.", "neither {} at all; {}", "不是{}，而是{}", "并不{}。{}"]
    ),
)
@fast
def test_what_is_denied_is_not_the_answer(pair, frame):
    chinese = not frame.isascii()
    names = [EMOTION_NAMES["zh" if chinese else "en"][emotion] for emotion in pair]
    assert extract_label(frame.format(*names), FREE) == (pair[1], "rules")


@given(pairs, st.sampled_from(["{} and {}", "{}, {}", "{} or {}", "mostly {} with some {}", "{}还是{}"]))
@fast
def test_two_emotions_are_no_answer(pair, frame):
    assert extract_label(frame.format(*pair), FREE) == (None, "unparsed")
    letters = [OPTION_LETTERS[EMOTIONS.index(emotion)] for emotion in pair]
    assert extract_label(frame.format(*[f"({letter})" for letter in letters]), OPTIONS) == (None, "unparsed")


@given(
    emotions,
    st.sampled_from(
        ["{}", "({})", "{}.", "{})", "[{}]", "Answer: {}", "The answer is {}.", "Option {}", "答案：{}", "{}: {name}"]
    ),
)
@fast
def test_every_letter_is_read_in_any_frame(emotion, frame):
    letter = OPTION_LETTERS[EMOTIONS.index(emotion)]
    assert extract_label(frame.format(letter, name=emotion), OPTIONS)[0] == emotion


@given(st.text(max_size=300))
@fast
def test_any_text_has_a_reading(text):
    for prompt in (OPTIONS, FREE):
        label, how = extract_label(text, prompt)
        assert (label in EMOTIONS and how in ("exact", "rules")) or (label is None and how == "unparsed")
        assert text_answer("c", text, prompt).text == text


@given(
    emotions,
    st.dictionaries(st.sampled_from(["reason", "confidence", "words"]), st.integers() | st.sampled_from(EMOTIONS)),
)
@fast
def test_json_is_read_by_its_field(emotion, more):
    assert extract_label("Here: " + json.dumps({**more, "emotion": emotion}), FREE) == (emotion, "rules")


def test_the_judge_is_asked_only_where_the_rules_find_nothing():
    asked = []

    def judge(text):
        asked.append(text)
        return "fear" if "trembl" in text else None

    assert extract_label("sad", FREE, judge) == ("sad", "exact") and not asked
    assert extract_label("a trembling voice", FREE, judge) == ("fear", "judge")
    assert extract_label("bananas", FREE, judge) == (None, "unparsed")
    assert extract_label(" ", FREE, judge) == (None, "unparsed") and len(asked) == 2


def test_unparsed_text_is_an_answer_that_is_wrong():
    answer = text_answer("c", "bananas", FREE)
    assert (answer.label, answer.how, answer.text) == (None, "unparsed", "bananas")


def test_denied_emotions_leave_the_place_of_the_others():
    assert named_emotions("not sad: happy, then angry") == {"happy": 9, "angry": 21}


def test_options_come_from_log_probabilities():
    answer = option_answer("c", [math.log(p) for p in (0.1, 0.05, 0.05, 0.5, 0.05, 0.03, 0.02)])
    assert (answer.label, answer.how, answer.mass) == ("happy", "options", 0.8)
    assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5) and answer.probabilities[3] == pytest.approx(0.625)
    with pytest.raises(FASError):
        option_answer("c", [-math.inf] * 7)
