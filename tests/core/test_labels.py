import doctest

import pytest

from fas_core import labels
from fas_core.errors import CorpusError
from fas_core.labels import CORPUS_LABELS, EMOTIONS, UNKNOWN, map_label, unplaced_reason

NAMED_IN_THE_PAPERS = (
    "meld iemocap cmu-mosei mer2024 ravdess esd case emo-emilia emovo emodb tess crema-d savee casia m3ed "
    "emov-db asvp-esd mesd fau-aibo urdu"
).split()


def test_order_of_the_logits():
    assert EMOTIONS == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def test_every_corpus_of_the_papers_has_a_table():
    assert set(NAMED_IN_THE_PAPERS) <= set(CORPUS_LABELS)


@pytest.mark.parametrize("corpus", CORPUS_LABELS)
def test_tables_hold_lower_case_labels_and_known_emotions(corpus):
    table = CORPUS_LABELS[corpus]
    assert all(raw == raw.strip().lower() for raw in table)
    assert set(table.values()) - {None} <= set(EMOTIONS)
    assert len(set(table.values()) - {None}) >= 3


@pytest.mark.parametrize(
    ("corpus", "raw", "emotion"),
    [
        ("ravdess", "02", "neutral"),  # calm
        ("ravdess", "08", "surprise"),
        ("tess", "ps", "surprise"),
        ("emodb", "W", "angry"),
        ("emodb", "A", "fear"),
        ("emovo", "gio", "happy"),
        ("emovo", "pau", "fear"),
        ("emovo", "rab", "angry"),
        ("iemocap", "exc", "happy"),
        ("meld", "Joy", "happy"),
        ("crema-d", "ANG", "angry"),
        ("savee", "sa", "sad"),
        ("savee", "a", "angry"),
        ("emov-db", "Amused", "happy"),
        ("mesd", "Anger", "angry"),
        ("fau-aibo", "Positive", "happy"),
        ("emo-emilia", "surprised", "surprise"),
        ("urdu", " Sad ", "sad"),
    ],
)
def test_places(corpus, raw, emotion):
    assert map_label(corpus, raw) == emotion
    assert unplaced_reason(corpus, raw) is None


@pytest.mark.parametrize(
    ("corpus", "raw", "reason"),
    [
        ("emodb", "L", "boredom has no place"),
        ("iemocap", "fru", "frustration has no place"),
        ("iemocap", "xxx", "no agreement (xxx) has no place"),
        ("iemocap", "oth", "other has no place"),
        ("mer2024", "worried", "worried has no place"),
        ("emov-db", "Sleepy", "sleepy has no place"),
        ("fau-aibo", "Emphatic", "emphatic has no place"),
        ("asvp-esd", "11", "pain has no place"),
        ("tess", "Bored", "unknown label: Bored"),
        ("urdu", "", "unknown label: "),
    ],
)
def test_without_a_place(corpus, raw, reason):
    assert unplaced_reason(corpus, raw) == reason
    if reason.startswith(UNKNOWN):
        with pytest.raises(CorpusError, match=f"{corpus}: unknown label"):
            map_label(corpus, raw)
    else:
        assert map_label(corpus, raw) is None


@pytest.mark.parametrize("corpus", CORPUS_LABELS)
@pytest.mark.parametrize("raw", ["Anger", " fearful ", "SURPRISED", "happiness", "Joy", "disgusted", "Sadness\u00a0"])
def test_plain_words_are_known_everywhere(corpus, raw):
    assert map_label(corpus, raw) in EMOTIONS
    with pytest.raises(CorpusError, match="unknown label 'contempt'"):
        map_label(corpus, "contempt")


@pytest.mark.parametrize(
    ("raw", "emotion"),
    [("Hate", "disgust"), ("tension", "fear"), ("excited", "happy"), ("surprised", "surprise"), ("angry", "angry")],
)
def test_words_of_case(raw, emotion):
    assert map_label("case", raw) == emotion


def test_asvp_esd_has_its_thirteen_codes():
    assert sorted(CORPUS_LABELS["asvp-esd"]) == [f"{code:02d}" for code in range(1, 14)]


@pytest.mark.parametrize("function", [map_label, unplaced_reason])
def test_unknown_corpus_lists_the_known_ones(function):
    with pytest.raises(CorpusError, match="'rvadess'.*emodb.*ravdess"):
        function("rvadess", "01")


def test_examples_run():
    assert doctest.testmod(labels).failed == 0
