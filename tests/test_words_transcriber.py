"""The words of a clip: their kinds, Whisper's decoder on FAS's frames, and what is refused."""

import pytest

from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.words.types import NoWords, Words


def test_words_have_a_label_and_named_probabilities():
    words = Words.read("Hello.", "en", 0.9, [0, 0.1, 0, 0.2, 0.7, 0, 0])
    assert words.label == "neutral" and list(words.probabilities) == list(EMOTIONS)
    assert words.probabilities["happy"] == 0.2


@pytest.mark.parametrize("reason", ["no speech", "unclear", "off", "language: ur", "language: unknown"])
def test_no_words_say_why(reason):
    assert NoWords(reason).reason == reason


@pytest.mark.parametrize("reason", ["", "noise", None, "language"])
def test_no_words_take_no_other_reason(reason):
    with pytest.raises(FASError, match="no reason"):
        NoWords(reason)
