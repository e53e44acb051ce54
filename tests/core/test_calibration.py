import numpy as np
import pytest
from scipy.special import softmax

from fas_core.calibration import (
    TEMPERATURE_RANGE,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)
from fas_core.conflict import conflict, conflict_auroc, disagreement, divergence, fit_calibration
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS


def calibrated_logits(clips=4000, seed=0):
    """Logits whose softmax is the true distribution that the labels are drawn from."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.standard_normal((clips, 7))
    labels = np.array([generator.choice(7, p=row) for row in softmax(logits, axis=1)])
    return logits, labels


@pytest.mark.parametrize("sharpening", [0.5, 1.0, 3.0])
def test_fit_recovers_the_factor_that_logits_were_sharpened_by(sharpening):
    logits, labels = calibrated_logits()
    assert fit_temperature(sharpening * logits, labels) == pytest.approx(sharpening, rel=0.05)


def test_calibration_lowers_ece_and_keeps_the_answers():
    logits, labels = calibrated_logits()
    sharp = 3 * logits
    temperature = fit_temperature(sharp, labels)
    before, after = apply_temperature(sharp, 1.0), apply_temperature(sharp, temperature)
    assert (before.argmax(1) == after.argmax(1)).all()
    assert expected_calibration_error(before, labels) > 0.15
    assert expected_calibration_error(after, labels) < 0.03


def test_separable_logits_stay_within_the_range():
    labels = np.arange(70) % 7
    low, high = TEMPERATURE_RANGE
    assert low <= fit_temperature(np.eye(7)[labels], labels) < 0.1
    assert 10 < fit_temperature(np.eye(7)[(labels + 1) % 7], labels) <= high


def test_ece_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    labels = np.array([0, 1, 0, 0])
    # bin of 0.9: accuracy 1/2, gap 0.4; bin of 0.6: accuracy 1/2, gap 0.1; two clips each
    assert expected_calibration_error(probabilities, labels, bins=5) == pytest.approx(0.25)


def test_ece_is_zero_when_sure_and_right_and_one_when_sure_and_wrong():
    labels = np.arange(7)
    assert expected_calibration_error(np.eye(7), labels) == 0
    assert expected_calibration_error(np.eye(7), (labels + 1) % 7) == 1


def test_reliability_bins_count_every_clip_once():
    logits, labels = calibrated_logits(500)
    counts, accuracy, confidence = reliability_bins(softmax(logits, axis=1), labels)
    assert counts.sum() == 500 and len(counts) == 15
    edges = np.linspace(0, 1, 16)
    filled = counts > 0
    assert (confidence[filled] > edges[:-1][filled]).all() and (confidence[filled] <= edges[1:][filled]).all()
    assert np.sum(counts * accuracy) == pytest.approx((logits.argmax(1) == labels).sum())


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (np.zeros((3, 7)), np.array([0, 1]), "expected"),
        (np.zeros((0, 7)), np.zeros(0, int), "at least 1"),
        (np.full((2, 7), np.nan), np.array([0, 1]), "2 of 2 rows"),
        (np.zeros((2, 7)), np.array([0, 7]), "0..6"),
        (np.zeros((2, 7)), np.array([0.0, 1.0]), "integers"),
    ],
)
def test_bad_input_is_named(logits, labels, said):
    with pytest.raises(FASError, match=said):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(FASError, match="temperature"):
        apply_temperature(np.zeros((1, 7)), temperature)


def distributions(shape, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(7), size=shape)


def test_conflict_needs_an_emotion_in_the_words_and_another_in_the_tone():
    certain = dict(zip(EMOTIONS, np.eye(7), strict=True))
    for tone in EMOTIONS:
        assert conflict(certain[tone], certain["neutral"]) == 0  # no emotion in the words contradicts none
        assert conflict(certain[tone], certain["happy"]) == (tone != "happy")  # said coldly too
        assert disagreement(certain[tone], certain["neutral"]) == (tone != "neutral")
        assert disagreement(certain[tone], certain["happy"]) == (tone != "happy")


def test_conflict_and_disagreement_match_their_definitions():
    tone, words = distributions((4, 30), 1), distributions((4, 30), 2)
    emotional = [i for i, e in enumerate(EMOTIONS) if e != "neutral"]
    expected = sum(words[..., e] * (tone.sum(-1) - tone[..., e]) for e in emotional)
    np.testing.assert_allclose(conflict(tone, words), expected, atol=1e-12)
    rng = np.random.default_rng(0)
    drawn = [[rng.choice(7, 20_000, p=p) for p in side[0, :3]] for side in (tone, words)]
    chances = [np.mean(t != w) for t, w in zip(*drawn, strict=True)]
    np.testing.assert_allclose(disagreement(tone, words)[0, :3], chances, atol=0.02)
    with pytest.raises(FASError, match="words: shape"):
        conflict(tone, words[:2])
    with pytest.raises(FASError, match="tone"):
        disagreement(tone * 2, words)


def test_conflict_is_calibrated_by_clips_whose_conflict_is_known():
    rng = np.random.default_rng(0)
    tone, words = distributions(4000, 1), distributions(4000, 2)
    sure = rng.uniform(0.4, 0.95, 4000)
    truth = rng.random(4000) < conflict(tone, words, sure, (-1.0, 2.0, 0.5))
    found = fit_calibration(conflict(tone, words), sure, truth)
    np.testing.assert_allclose(found, (-1.0, 2.0, 0.5), atol=0.15)
    fitted = conflict(tone, words, sure, found)
    assert abs(fitted.mean() - truth.mean()) < 1e-3
    assert 0 < conflict(tone[0], np.eye(7)[4], 0.9, found) < 0.01  # neutral words
    assert conflict(tone[0], words[0], 0.9, found) > conflict(tone[0], words[0], 0.5, found)
    assert fit_calibration(conflict(tone, words), 1 - sure, truth)[2] == 0
    with pytest.raises(FASError, match="rise"):
        fit_calibration(conflict(tone, words), sure, ~truth)
    with pytest.raises(FASError, match="are conflicting"):
        fit_calibration(conflict(tone, words), sure, np.ones(4000, bool))


def test_divergence_is_a_symmetric_score_between_0_and_1():
    p, q = distributions((5, 40), 1), distributions((5, 40), 2)
    scores = divergence(p, q)
    assert scores.shape == (5, 40)
    np.testing.assert_allclose(scores, divergence(q, p), atol=1e-15)
    assert ((scores > 0) & (scores < 1)).all()
    assert (divergence(p, p) == 0).all()


def test_divergence_is_one_without_a_common_emotion_and_matches_the_definition():
    assert divergence(np.eye(7)[0], np.eye(7)[3]) == pytest.approx(1.0)
    # p = (1, 0), q = (1/2, 1/2): H(3/4, 1/4) - H(1/2, 1/2) / 2
    mixture = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(mixture - 0.5)


def test_divergence_takes_half_precision_and_refuses_logits():
    p = distributions(10, 3)
    assert divergence(p.astype(np.float16), p).max() < 1e-5
    for bad in (np.full((1, 7), np.nan), np.array([[2.0, -1, 0, 0, 0, 0, 0]]), np.ones((1, 7))):
        with pytest.raises(FASError, match="p_semantic"):
            divergence(p[:1], bad)
    with pytest.raises(FASError, match="shape"):
        divergence(p, p[:3])


def test_conflict_auroc():
    kinds = np.array([True, True, False, False])
    assert conflict_auroc(np.array([0.9, 0.8, 0.2, 0.1]), kinds) == 1
    assert conflict_auroc(np.array([0.9, 0.1, 0.8, 0.2]), kinds) == 0.5
    with pytest.raises(FASError, match="4 of 4"):
        conflict_auroc(np.ones(4), np.ones(4, bool))
