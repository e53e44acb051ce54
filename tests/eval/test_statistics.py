"""The suite's statistics against scikit-learn and statsmodels, and in simulations where the truth is known.

All data are synthetic. Simulated rates of 600 data sets carry a standard error of 0.9 points at 95%.
"""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2, kstest, norm
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from fas_core.calibration import expected_calibration_error
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.statistics.abstention import risk_coverage
from fas_eval.statistics.classification import score_answers
from fas_eval.statistics.comparison import compare, correct, mcnemar_p, summarise
from fas_eval.statistics.conflicts import conflicting, detection, tone_or_words
from fas_eval.statistics.metrics import METRICS, confusion_metrics
from fas_eval.statistics.resampling import Bootstrap

SIMULATIONS = 600


def seeds(*parts):
    return np.random.default_rng(parts)


def draw_answers(generator, labels, right=0.6, unanswered=0.05):
    """Answers that are right with a probability (a number, or one a clip), else any emotion, and sometimes none."""
    answers = np.where(generator.random(len(labels)) < right, labels, generator.integers(7, size=len(labels)))
    return np.where(generator.random(len(labels)) < unanswered, -1, answers)


def draw_probabilities(generator, answers):
    """Rows whose largest probability is that of the answer."""
    rows = generator.dirichlet(np.ones(7), len(answers))
    top = rows.argmax(axis=1)
    named = np.maximum(answers, 0)
    clips = np.arange(len(answers))
    rows[clips, named], rows[clips, top] = rows[clips, top], rows[clips, named]
    return rows


@st.composite
def clips_and_answers(draw):
    """Labels of some of the emotions, and answers, unanswered ones among them."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = generator.permutation(7)[: draw(st.integers(1, 7))]
    labels = generator.choice(classes, draw(st.integers(1, 60)))
    return labels, draw_answers(generator, labels, draw(st.floats(0, 1)), draw(st.sampled_from([0, 0.2, 1])))


class TestScores:
    @settings(max_examples=60, deadline=None)
    @given(clips_and_answers())
    def test_figures_are_those_of_scikit_learn(self, drawn):
        labels, answers = drawn
        found = score_answers(labels, answers, resamples=3)
        present = np.unique(labels)
        options = {"labels": present, "zero_division": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that were answered and are not in the reference: as wanted
            assert found["ua"] == pytest.approx(balanced_accuracy_score(labels, answers))
        assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))
        assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro", **options))
        names = [EMOTIONS[c] for c in present]
        for key, score in (("recall", recall_score), ("precision", precision_score), ("f1", f1_score)):
            assert found[key] == pytest.approx(
                dict(zip(names, score(labels, answers, average=None, **options), strict=True))
            )
        confusion = confusion_matrix(labels, np.where(answers < 0, 7, answers), labels=range(8))
        np.testing.assert_array_equal(found["confusion"], confusion[:7])
        assert found["answered"] == len(labels) - confusion[:, 7].sum()
        assert found["support"] == {EMOTIONS[c]: int((labels == c).sum()) for c in present}

    @settings(max_examples=30, deadline=None)
    @given(clips_and_answers())
    def test_figures_of_the_bootstrap_are_the_same_functions(self, drawn):
        labels, answers = drawn
        found = score_answers(labels, answers, resamples=1)
        again = confusion_metrics(np.array([found["confusion"]]))
        assert {m: found[m] for m in METRICS} == pytest.approx({m: float(again[m][0]) for m in METRICS})

    @settings(max_examples=30, deadline=None)
    @given(clips_and_answers(), st.booleans())
    def test_order_of_clips_changes_nothing(self, drawn, by_speaker):
        labels, answers = drawn
        generator = seeds(1)
        probabilities = np.round(draw_probabilities(generator, answers), 1)  # ties
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        speakers = generator.integers(4, size=len(labels)).astype(str) if by_speaker else None
        order = generator.permutation(len(labels))
        first = score_answers(labels, answers, probabilities, speakers, resamples=20)
        moved = None if speakers is None else speakers[order]
        again = score_answers(labels[order], answers[order], probabilities[order], moved, resamples=20)
        for part in (first, again):
            part["reliability"] = part["reliability"] and part["reliability"]["counts"]
        curves = [part.pop("abstention") or {"risk": [], "aurc": 0} for part in (first, again)]
        eces = [part.pop("ece") or 0.0 for part in (first, again)]
        assert first == again
        assert eces[0] == pytest.approx(eces[1], abs=1e-9)
        assert curves[0]["risk"] == pytest.approx(curves[1]["risk"], abs=1e-9)
        assert curves[0]["aurc"] == pytest.approx(curves[1]["aurc"])

    def test_an_answer_that_names_nothing_is_wrong_and_never_dropped(self):
        labels = np.repeat(np.arange(7), 10)
        answers = labels.copy()
        answers[labels == 3] = -1
        found = score_answers(labels, answers, resamples=50)
        assert found["accuracy"] == found["ua"] == found["macro_f1"] == pytest.approx(6 / 7)
        assert found["recall"]["happy"] == found["precision"]["happy"] == found["f1"]["happy"] == 0
        assert found["confusion"][3] == [0] * 7 + [10]
        assert found["answered"] == 60 and found["clips"] == 70
        nothing = score_answers(labels, np.full(70, -1), resamples=5)
        assert nothing["accuracy"] == nothing["ua"] == nothing["macro_f1"] == 0

    def test_probabilities_of_unanswered_clips_are_not_read(self):
        labels = np.arange(7).repeat(5)
        answers = draw_answers(seeds(2), labels, unanswered=0.3)
        probabilities = draw_probabilities(seeds(3), answers)
        known = answers >= 0
        probabilities[~known] = np.nan
        found = score_answers(labels, answers, probabilities, resamples=5)
        assert found["ece"] == pytest.approx(expected_calibration_error(probabilities[known], labels[known]))
        assert sum(found["reliability"]["counts"]) == known.sum() == found["answered"]
        assert found["abstention"]["risk"][-1] == pytest.approx(1 - found["accuracy"])  # of all clips
        without = score_answers(labels, answers, resamples=5)
        assert without["ece"] is without["reliability"] is without["abstention"] is None
        assert score_answers(labels, answers, np.full((35, 7), np.nan), resamples=5) == without

    def test_is_json_ready_and_reproducible(self):
        labels = seeds(4).integers(7, size=100)
        answers = draw_answers(seeds(5), labels)
        arguments = (labels, answers, draw_probabilities(seeds(6), answers), ["a", "b", "c", "d"] * 25)
        found = score_answers(*arguments)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found == score_answers(*arguments) and found != score_answers(*arguments, seed=1)
        assert found["resampled"] == "speakers" and found["resamples"] == 1000 and found["confidence"] == 0.95

    def test_a_single_speaker_cannot_be_drawn(self):
        labels = np.arange(7).repeat(5)
        found = score_answers(labels, draw_answers(seeds(7), labels), speakers=["one"] * 35)
        assert found["resampled"] == "clips"
        assert found["intervals"]["accuracy"][0] < found["accuracy"] < found["intervals"]["accuracy"][1]

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (([], []), "labels"),
            (([0, 7], [0, 1]), "labels"),
            (([0, 1], [0, 1, 2]), "answers"),
            (([0, 1], [0, -2]), "answers"),
            (([0, 1], [0.0, 1.0]), "answers"),
            (([0, 1], [0, 1], np.zeros((2, 7))), "probabilities: 2 of 2"),
            (([0, 1], [0, 1], np.eye(3)), "probabilities: shape"),
            (([0, 1], [0, 1], None, ["a"]), "speakers: 1 for 2"),
            (([0, 1], [0, 1], None, ["a", None]), "speakers: 1 of 2"),
            (([0, 1], [0, 1], None, None, 0), "resamples"),
        ],
    )
    def test_bad_input_is_named(self, arguments, named):
        with pytest.raises(FASError, match=named):
            score_answers(*arguments)


class TestAbstention:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=12), st.integers(0, 99))
    def test_ties_are_the_mean_over_orders(self, clips, seed):
        correct, confidence = map(np.array, zip(*clips, strict=True))
        found = risk_coverage(correct, confidence)
        generator = np.random.default_rng(seed)
        risks = []
        for _ in range(400):
            order = np.lexsort((generator.random(len(clips)), -confidence))
            risks.append(np.cumsum(~correct[order]) / np.arange(1, len(clips) + 1))
        assert found["aurc"] == pytest.approx(np.mean(risks), abs=0.12)
        assert found["risk"][-1] == pytest.approx(1 - correct.mean())
        assert found["coverage"][-1] == 1 and len(found["coverage"]) == len(clips)

    def test_by_hand(self):
        confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1])
        correct = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 0], dtype=bool)
        found = risk_coverage(correct, confidence)
        wrong = np.array([0, 0, 0, 1, 1.5, 2, 2, 3, 4, 5])  # half an error for each of the two at 0.5
        np.testing.assert_allclose(found["risk"], wrong / np.arange(1, 11))
        assert found["aurc"] == pytest.approx((wrong / np.arange(1, 11)).mean())
        assert found["accuracy_at"] == {"0.8": pytest.approx(5 / 8), "0.9": pytest.approx(5 / 9)}

    def test_curve_is_thinned_and_aurc_is_not(self):
        generator = seeds(11)
        correct, confidence = generator.random(5000) < 0.7, generator.random(5000)
        found = risk_coverage(correct, confidence)
        assert found["coverage"] == pytest.approx(np.arange(1, 101) / 100)
        order = np.argsort(-confidence)
        assert found["aurc"] == pytest.approx((np.cumsum(~correct[order]) / np.arange(1, 5001)).mean())

    def test_clips_without_an_answer_abstain_first(self):
        labels = np.zeros(10, int)
        answers = np.array([0] * 8 + [-1] * 2)
        probabilities = np.tile(np.r_[0.4, np.full(6, 0.1)], (10, 1))
        probabilities[8:] = np.eye(7)[0]  # sure, and not answered
        found = score_answers(labels, answers, probabilities, resamples=5)["abstention"]
        assert found["accuracy_at"] == {"0.8": 1.0, "0.9": pytest.approx(8 / 9)}


POPULATION = seeds(12).dirichlet(np.r_[np.full(7, 0.4), 0.2], 7) * 0.5 + 0.5 * np.eye(7, 8)
SHARES = np.array([0.2, 0.1, 0.1, 0.2, 0.2, 0.1, 0.1])  # of the emotions in it


def speaker_world(generator, speakers, clips, spread=0.15, mean=0.6, systems=1):
    """Speakers whom the systems understand differently well, with independent recall for each speaker and system."""
    common = mean * (1 - mean) / spread**2 - 1
    recall = generator.beta(mean * common, (1 - mean) * common, (systems, speakers))
    names = np.repeat(np.arange(speakers), clips)
    labels = np.tile(np.arange(clips) % 7, speakers)
    chance = generator.random((systems, len(names)))
    wrong = (labels + generator.integers(1, 7, (systems, len(names)))) % 7
    return labels, np.where(chance < recall[:, names], labels, wrong), names.astype(str)


class TestCoverage:
    """95% intervals hold the truth in 95% of simulated data sets, give or take 2.5 points."""

    def test_metrics_of_independent_clips(self):
        truth = confusion_metrics(np.round(1e9 * SHARES[:, None] * POPULATION).astype(np.int64)[None])
        inside = dict.fromkeys(METRICS, 0)
        generator = seeds(13)
        for _ in range(SIMULATIONS):
            counts = generator.multinomial(350, (SHARES[:, None] * POPULATION).ravel())
            cells = np.repeat(np.arange(56), counts)
            answers = np.where(cells % 8 == 7, -1, cells % 8)
            found = score_answers(cells // 8, answers, resamples=500)["intervals"]
            for metric, (low, high) in found.items():
                inside[metric] += low <= truth[metric][0] <= high
        assert {m: n / SIMULATIONS for m, n in inside.items()} == pytest.approx(dict.fromkeys(METRICS, 0.95), abs=0.025)

    def test_ten_speakers_that_differ_need_speakers_drawn(self):
        generator = seeds(14)
        inside = {"clips": 0, "speakers": 0}
        for _ in range(SIMULATIONS):
            labels, (answers,), names = speaker_world(generator, 10, 42)
            for drawn in (None, names):
                found = score_answers(labels, answers, speakers=drawn, resamples=200 if drawn is None else 1000)
                low, high = found["intervals"]["ua"]
                inside[found["resampled"]] += low <= 0.6 <= high
        assert inside["clips"] / SIMULATIONS < 0.7
        assert inside["speakers"] / SIMULATIONS == pytest.approx(0.95, abs=0.025)

    def test_three_speakers_are_too_few_whatever_is_drawn(self):
        generator = seeds(15)
        inside = 0
        for _ in range(SIMULATIONS):
            labels, (answers,), names = speaker_world(generator, 3, 42)
            low, high = score_answers(labels, answers, speakers=names, resamples=100)["intervals"]["accuracy"]
            inside += low <= 0.6 <= high
        assert 0.6 < inside / SIMULATIONS < 0.85  # as docs/statistics.md says

    def test_paired_difference(self):
        inside = dict.fromkeys(METRICS, 0)
        generator = seeds(16)
        for _ in range(SIMULATIONS):
            labels = np.tile(np.arange(7), 50)
            a = draw_answers(generator, labels, 0.65, 0)
            b = np.where(generator.random(350) < 0.7, a, draw_answers(generator, labels, 0.45, 0))  # mostly the same
            found = compare(labels, a, b, resamples=400)
            # 0.65 + 0.35 / 7 = 0.7 against 0.7 * 0.7 + 0.3 * (0.45 + 0.55 / 7); errors are spread evenly: all three alike
            truth = 0.7 - (0.49 + 0.3 * (0.45 + 0.55 / 7))
            for metric, (low, high) in found.intervals.items():
                inside[metric] += low <= truth <= high
        assert {m: n / SIMULATIONS for m, n in inside.items()} == pytest.approx(dict.fromkeys(METRICS, 0.95), abs=0.025)

    def test_paired_difference_by_speaker(self):
        generator = seeds(17)
        rejected = {"clips": 0, "speakers": 0}
        for _ in range(SIMULATIONS):
            labels, (a, b), names = speaker_world(generator, 8, 42, systems=2)
            for drawn in (None, names):
                found = compare(labels, a, b, drawn, resamples=150)
                rejected[found.resampled] += found.p["ua"] < 0.05
        assert rejected["clips"] / SIMULATIONS > 0.2  # with no difference at all
        assert rejected["speakers"] / SIMULATIONS == pytest.approx(0.05, abs=0.025)

    @pytest.mark.parametrize(("conflicting", "congruent"), [(60, 60), (150, 40)])
    def test_auroc(self, conflicting, congruent):
        shift = 1.2
        truth = norm.cdf(shift / np.sqrt(2))
        generator = seeds(18, conflicting)
        kinds = np.arange(conflicting + congruent) < conflicting
        inside = 0
        for _ in range(SIMULATIONS):
            low, high = detection(generator.standard_normal(len(kinds)) + shift * kinds, kinds)["interval"]
            inside += low <= truth <= high
        assert inside / SIMULATIONS == pytest.approx(0.95, abs=0.025)

    def test_shares_and_gap_of_conflicting_clips(self):
        generator = seeds(19)
        labels, words = np.zeros(120, int), np.arange(120) % 2  # half say with their words what they do not sound like
        inside = dict.fromkeys(("tone", "words", "neither", "none", "gap"), 0)
        truth = {"tone": 0.5, "words": 0.3, "neither": 0.15, "none": 0.05, "gap": 0.3}
        for _ in range(SIMULATIONS):
            other = generator.choice([0, 1, 2, -1], 120, p=[0.5, 0.3, 0.15, 0.05])
            same = np.where(generator.random(120) < 0.8, 0, 4)
            found = tone_or_words(labels, words, np.where(words == 1, other, same), resamples=500)
            for name, (low, high) in {**found["intervals"], "gap": found["gap_interval"]}.items():
                inside[name] += low <= truth[name] <= high
        rates = {name: n / SIMULATIONS for name, n in inside.items()}
        # a share of 5% in 60 clips takes few values: Wilson's interval holds it exactly so often
        counts = np.arange(61)
        centre, half = (counts + 1.92) / 63.84, 1.96 / 63.84 * np.sqrt(counts * (60 - counts) / 60 + 0.96)
        exact = {
            n: binom.pmf(counts, 60, p)[(centre - half <= p) & (p <= centre + half)].sum() for n, p in truth.items()
        }
        assert rates == pytest.approx({**exact, "gap": 0.95}, abs=0.025)
        assert all(exact[name] == pytest.approx(0.95, abs=0.035) for name in inside)


class TestComparison:
    def test_p_is_uniform_where_nothing_differs(self):
        generator = seeds(20)
        p = {metric: [] for metric in METRICS}
        for _ in range(SIMULATIONS):
            labels = np.tile(np.arange(7), 40)
            a, b = draw_answers(generator, labels, 0.5), draw_answers(generator, labels, 0.5)
            found = compare(labels, a, b, resamples=300)
            for metric in METRICS:
                p[metric].append(found.p[metric])
        for metric in METRICS:
            assert kstest(p[metric], "uniform").pvalue > 0.01, metric
            assert np.mean(np.array(p[metric]) < 0.05) == pytest.approx(0.05, abs=0.02)

    @settings(max_examples=40, deadline=None)
    @given(clips_and_answers(), st.booleans(), st.integers(0, 9))
    def test_differences_agree_with_scores_and_turn_their_sign(self, drawn, by_speaker, seed):
        labels, a = drawn
        generator = seeds(21, seed)
        b = draw_answers(generator, labels)
        speakers = generator.integers(4, size=len(labels)).astype(str) if by_speaker else None
        found, turned = (compare(labels, *pair, speakers, resamples=100) for pair in ((a, b), (b, a)))
        one, two = (score_answers(labels, x, resamples=1) for x in (a, b))
        for metric in METRICS:
            assert found.difference[metric] == pytest.approx(one[metric] - two[metric])
            assert found.difference[metric] == pytest.approx(-turned.difference[metric])
            low, high = found.intervals[metric]
            assert low - 1e-12 <= found.difference[metric] <= high + 1e-12
            assert 0 <= found.p[metric] <= 1
            if high - low > 1e-9 and abs(found.p[metric] - 0.05) > 1e-6:
                assert (found.p[metric] < 0.05) == (not low <= 0 <= high)
        assert (found.only_a, found.only_b, found.mcnemar_p) == (turned.only_b, turned.only_a, turned.mcnemar_p)
        order = generator.permutation(len(labels))
        moved = compare(labels[order], a[order], b[order], None if speakers is None else speakers[order], resamples=100)
        assert moved == found

    def test_pairing_makes_the_interval_short(self):
        labels = seeds(22).integers(7, size=500)
        a = draw_answers(seeds(23), labels, unanswered=0)
        b = a.copy()
        b[:10] = (labels[:10] + 1) % 7
        low, high = compare(labels, a, b).intervals["accuracy"]
        alone = score_answers(labels, a)["intervals"]["accuracy"]
        assert high - low < (alone[1] - alone[0]) / 3

    def test_the_same_answers_do_not_differ(self):
        labels = seeds(24).integers(7, size=50)
        a = draw_answers(seeds(25), labels)
        found = compare(labels, a, a)
        assert set(found.difference.values()) == {0.0} and set(found.p.values()) == {1.0} and found.mcnemar_p == 1

    def test_two_speakers_who_agree_prove_nothing(self):
        labels = np.tile(np.arange(7), 4)
        found = compare(labels, labels, (labels + 1) % 7, ["s"] * 14 + ["t"] * 14)
        assert found.difference["ua"] == 1 and found.p["ua"] == 0.5  # of two coins, both on one side
        assert compare(labels, labels, (labels + 1) % 7).p["accuracy"] == pytest.approx(mcnemar_p(28, 0), abs=1e-6)

    def test_mcnemar_by_hand(self):
        assert mcnemar_p(2, 9) == pytest.approx(2 * binom.cdf(2, 11, 0.5))
        assert mcnemar_p(5, 19) == pytest.approx(2 * binom.cdf(5, 24, 0.5))  # 24 discordant: exact
        assert mcnemar_p(5, 20) == pytest.approx(chi2.sf((15 - 1) ** 2 / 25, 1))  # 25: chi-squared
        assert mcnemar_p(0, 0) == 1
        labels = np.zeros(30, int)
        a, b = np.r_[np.zeros(20), np.ones(10)].astype(int), np.r_[np.zeros(15), np.full(15, -1)].astype(int)
        found = compare(labels, a, b)
        assert (found.only_a, found.only_b) == (5, 0) and found.mcnemar_p == pytest.approx(2 * 0.5**5)

    def test_correction_over_all_comparisons(self):
        generator = seeds(26)
        labels = generator.integers(7, size=300)
        right = (0.3, 0.5, 0.52, 0.55, 0.6, 0.7)
        base = draw_answers(generator, labels, 0.5)
        raw = [compare(labels, draw_answers(generator, labels, r), base, resamples=200) for r in right]
        holm, bh = correct(raw), correct(raw, "bh")
        p = np.array([c.p["ua"] for c in raw])
        order = np.argsort(p)
        by_hand = np.empty(6)
        by_hand[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(6, 0, -1)), 1)
        np.testing.assert_allclose([c.p_corrected["ua"] for c in holm], by_hand)
        assert [c.significant["ua"] for c in holm] == list(by_hand <= 0.05)
        assert any(c.significant["ua"] for c in holm) and not all(c.significant["ua"] for c in holm)
        assert (np.diff(by_hand[order]) >= 0).all() and (by_hand >= p).all()
        for one, other, before in zip(holm, bh, raw, strict=True):
            assert before.p_corrected is None and before.p == one.p
            assert all(other.p_corrected[m] <= one.p_corrected[m] + 1e-12 for m in METRICS)
            assert one.mcnemar_p_corrected >= one.mcnemar_p
            assert json.loads(json.dumps(one.to_dict(), allow_nan=False)) == one.to_dict()
        assert correct([]) == []
        with pytest.raises(FASError, match="'bonferroni'; expected one of holm, bh"):
            correct(raw, "bonferroni")

    def test_a_real_difference_survives_nine_hundred_comparisons(self):
        labels = seeds(27).integers(7, size=1000)
        a, b = draw_answers(seeds(28), labels, 0.7), draw_answers(seeds(29), labels, 0.5)
        null = compare(labels, a, a)
        assert correct([compare(labels, a, b), *[null] * 899])[0].significant["ua"]

    def test_seeds(self):
        assert summarise([0.5, 0.6, 0.7]) == {"mean": pytest.approx(0.6), "spread": pytest.approx(0.1), "n": 3}
        assert summarise([0.5]) == {"mean": 0.5, "spread": None, "n": 1}
        with pytest.raises(FASError, match="no values"):
            summarise([])


class TestConflicts:
    def test_words_without_emotion_contradict_no_tone(self):
        tones = ("angry", "neutral", "happy", "neutral", "sad")
        words = ("neutral", "happy", "happy", "neutral", "happy")
        indices = (np.array([EMOTIONS.index(emotion) for emotion in of]) for of in (tones, words))
        assert conflicting(*indices).tolist() == [False, True, False, False, True]

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60))
    def test_auroc_is_that_of_scikit_learn(self, clips):
        kinds, scores = map(np.array, zip(*clips, strict=True))
        if kinds.all() or not kinds.any():
            with pytest.raises(FASError, match="is_conflicting"):
                detection(scores, kinds)
            return
        found = detection(scores, kinds)
        assert found["auroc"] == pytest.approx(roc_auc_score(kinds, scores))
        low, high = found["interval"]
        assert 0 <= low <= found["auroc"] <= high <= 1
        swapped = detection(-scores, kinds)["interval"]
        assert swapped == pytest.approx([1 - high, 1 - low])

    def test_auroc_interval_agrees_with_the_bootstrap(self):
        generator = seeds(31)
        kinds = np.arange(300) < 120
        scores = np.round(generator.standard_normal(300) + kinds, 1)
        positive, negative = scores[kinds], scores[~kinds]
        drawn = [
            roc_auc_score(kinds, np.r_[generator.choice(positive, 120), generator.choice(negative, 180)])
            for _ in range(1000)
        ]
        assert detection(scores, kinds)["interval"] == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.01)

    def test_auroc_where_little_is_known(self):
        assert detection([0.9, 0.8, 0.1, 0.2], [True, True, False, False])["interval"] == [1.0, 1.0]
        assert detection([0.9, 0.1, 0.2], [True, False, False])["interval"] == [0.0, 1.0]
        with pytest.raises(FASError, match="1 not finite"):
            detection([0.9, np.nan], [True, False])

    @settings(max_examples=40, deadline=None)
    @given(clips_and_answers(), st.integers(0, 9))
    def test_shares_add_up_and_follow_their_definitions(self, drawn, seed):
        labels, answers = drawn
        words = seeds(32, seed).choice(labels, len(labels))
        found = tone_or_words(labels, words, answers, resamples=20)
        assert found["congruent"] + found["conflicting"] == found["clips"] == len(labels)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        other = labels != words
        assert (found["shares"] is None) == (found["gap"] is None and not other.any())
        if other.any():
            assert sum(found["shares"].values()) == pytest.approx(1)
            assert found["shares"]["tone"] == pytest.approx(found["accuracy"]["conflicting"])
            assert found["shares"]["words"] == pytest.approx((answers == words)[other].mean())
            for kind, (low, high) in found["intervals"].items():
                assert (
                    -1e-12 <= low <= found["shares"][kind] + 1e-12 and found["shares"][kind] <= high + 1e-12 <= 1 + 1e-9
                )

    def test_tone_words_neither_none(self):
        labels, words = np.array([0, 0, 0, 0, 3, 3]), np.array([3, 3, 3, 3, 3, 3])
        found = tone_or_words(labels, words, np.array([0, 3, 5, -1, 3, -1]), resamples=200)
        assert found["shares"] == {"tone": 0.25, "words": 0.25, "neither": 0.25, "none": 0.25}
        assert found["accuracy"] == {"congruent": 0.5, "conflicting": 0.25} and found["gap"] == 0.25
        assert found["intervals"]["tone"] == pytest.approx([0.0456, 0.6994], abs=1e-4)  # Wilson, 1 of 4
        assert found["gap_interval"][0] < 0.25 < found["gap_interval"][1]

    def test_one_kind_of_clip_has_no_gap(self):
        found = tone_or_words(np.array([0, 1]), np.array([0, 1]), np.array([0, -1]))
        assert found["shares"] is found["gap"] is found["gap_interval"] is None
        assert found["accuracy"] == {"congruent": 0.5, "conflicting": None}
        with pytest.raises(FASError, match="words"):
            tone_or_words(np.array([0, 1]), np.array([0, -1]), np.array([0, 1]))


def test_levels_move_out_for_few_units_only():
    values = np.arange(100_001) / 100_000
    assert Bootstrap(5000).interval(values, 0.95) == pytest.approx([0.025, 0.975], abs=1e-4)
    assert Bootstrap(10, [str(i) for i in range(10)]).interval(values, 0.95) == pytest.approx(
        [0.00856, 0.99144], abs=1e-4
    )
    assert Bootstrap(1).interval(values, 0.95) == [0, 1]
