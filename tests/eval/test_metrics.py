import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from experiments.pooled import PooledBaseline, pool
from fas_core.errors import FASError
from fas_eval.benchmarks.published import METRIC_OF, published_results
from fas_eval.statistics.classification import score_answers
from fas_eval.statistics.conflicts import auroc_interval, halves
from fas_eval.statistics.metrics import confusion_metrics, point_figures, resample_confusions
from fas_eval.statistics.resampling import Bootstrap


def noisy_answers(clips=300, classes=7, right=0.6, seed=0):
    """Synthetic labels and answers, about `right` of them right."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=clips)
    return labels, np.where(generator.random(clips) < right, labels, generator.integers(7, size=clips))


def test_point_figures_are_those_of_scikit_learn():
    labels, answers = noisy_answers()
    found = point_figures(labels, answers)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, answers))
    assert found["ua"] == pytest.approx(balanced_accuracy_score(labels, answers))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
    whole = score_answers(labels, answers, resamples=10)
    assert found == pytest.approx({name: whole[name] for name in found})


def test_only_classes_of_the_reference_count_and_answers_outside_them_are_errors():
    labels = np.array([0, 0, 3, 3])  # angry, angry, happy, happy
    found = point_figures(labels, np.array([0, 1, 3, 1]))
    assert found["ua"] == 0.5
    assert found["macro_f1"] == pytest.approx(2 / 3)  # precision 1, recall 1/2, twice; disgust has no say
    assert point_figures(labels, np.array([0, -1, 3, -1])) == found  # naming nothing is as wrong


def test_metrics_of_confusions_equal_scikit_learn_on_every_resample():
    labels, answers = noisy_answers(40, classes=4)
    drawn = resample_confusions(labels, answers, Bootstrap(40, resamples=20, seed=3))
    for i, confusion in enumerate(drawn):
        y = np.repeat(np.arange(7), confusion.sum(1))
        x = np.concatenate([np.repeat(np.arange(8), row) for row in confusion])
        metrics = {name: values[i] for name, values in confusion_metrics(drawn).items()}
        assert metrics["accuracy"] == pytest.approx(accuracy_score(y, x))
        present = np.unique(y)
        assert metrics["macro_f1"] == pytest.approx(f1_score(y, x, labels=present, average="macro"))
        assert metrics["ua"] == pytest.approx(np.mean([(x[y == c] == c).mean() for c in present]))


def test_intervals_agree_with_resampling_clips_one_by_one():
    labels, answers = noisy_answers()
    report = score_answers(labels, answers, resamples=4000)
    correct = (answers == labels).astype(float)
    slow = bootstrap((correct,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert report["intervals"]["accuracy"] == pytest.approx((slow.low, slow.high), abs=0.01)
    for metric in ("accuracy", "ua", "macro_f1"):
        low, high = report["intervals"][metric]
        assert low < report[metric] < high


def test_same_seed_same_interval():
    labels, answers = noisy_answers()
    first, again, other = (score_answers(labels, answers, seed=seed)["intervals"] for seed in (1, 1, 2))
    assert first == again != other


def test_speakers_that_differ_widen_the_interval():
    labels = np.tile(np.arange(7), 20)
    speakers = np.repeat([f"s{i}" for i in range(10)], 14)
    right = np.repeat(np.arange(10) % 2 == 0, 14)  # every other speaker is always understood, the rest never
    answers = np.where(right, labels, (labels + 1) % 7)
    clips = score_answers(labels, answers)["intervals"]["accuracy"]
    voices = score_answers(labels, answers, speakers=list(speakers))
    low, high = voices["intervals"]["accuracy"]
    assert voices["resampled"] == "speakers"
    assert high - low > 2 * (clips[1] - clips[0])


def test_halves_tell_what_a_pathway_is_worth_where_tone_and_words_differ():
    tone = np.array([0, 0, 5, 5, 3, 3])
    words = np.array([0, 3, 5, 3, 3, 5])
    found = halves(tone, words, {"answer": tone, "semantic": words, "mute": np.full(6, -1)}, resamples=50)
    assert found["congruent"]["clips"] == found["conflicting"]["clips"] == 3
    accuracy = {half: {n: a["accuracy"] for n, a in part["answers"].items()} for half, part in found.items()}
    assert accuracy["congruent"] == {"answer": 1.0, "semantic": 1.0, "mute": 0.0}
    assert accuracy["conflicting"] == {"answer": 1.0, "semantic": 0.0, "mute": 0.0}
    semantic = found["conflicting"]["answers"]["semantic"]
    assert semantic["intervals"]["ua"] == [0.0, 0.0] and semantic["confusion"][0][3] == 1
    assert sum(row[7] for row in found["congruent"]["answers"]["mute"]["confusion"]) == 3


def test_halves_agree_with_scores_of_the_chosen_clips_and_draw_their_speakers():
    (tone, answers), (words, _) = noisy_answers(200), noisy_answers(200, seed=1)
    speakers = [f"s{i % 8}" for i in range(200)]
    found = halves(tone, words, {"answer": answers}, speakers, resamples=100)["conflicting"]
    chosen = tone != words
    alone = score_answers(
        tone[chosen], answers[chosen], speakers=[s for s, c in zip(speakers, chosen, strict=True) if c], resamples=100
    )
    assert found["answers"]["answer"] == {key: alone[key] for key in found["answers"]["answer"]}


def test_a_half_without_clips_has_no_answers_and_bad_answers_are_named():
    tone = np.array([0, 1])
    found = halves(tone, tone, {"answer": tone}, resamples=10)
    assert found["conflicting"] == {"clips": 0, "answers": {}} and found["congruent"]["clips"] == 2
    with pytest.raises(FASError, match="acoustic: shape"):
        halves(tone, tone, {"acoustic": np.array([0])})


def test_auroc_interval_holds_the_auroc_ties_included():
    generator = np.random.default_rng(0)
    kinds = np.arange(200) % 2 == 0
    scores = np.round(kinds * 0.5 + generator.standard_normal(200), 1)
    low, high = auroc_interval(scores, kinds)
    assert 0.5 < low < roc_auc_score(kinds, scores) < high < 0.85


def test_published_figures_of_the_paper():
    rows = published_results("ravdess")
    main = next(row for row in rows if (row.table, row.system) == ("Table 2", "FAS"))
    assert main.metrics == pytest.approx({"accuracy": 0.7661, "macro_f1": 0.7619})
    assert main.setting == "in-domain"
    accuracies = [row.metrics.get("accuracy", 0) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)


def test_published_rows_are_of_human_recordings_of_that_corpus_only():
    assert {row.dataset for row in published_results("TESS")} <= {"TESS", "TESS human"}
    assert published_results("CREMA-D") and published_results("nowhere") == []
    with_ua = published_results("Emo-Emilia", "ua")
    assert with_ua and all("ua" in row.metrics for row in with_ua)
    assert METRIC_OF["ACC"] == METRIC_OF["WA"] == "accuracy"


def clips_by_spread(clips=140, seed=0):
    """Synthetic patches whose mean says nothing and whose deviation over time gives the class away."""
    generator = np.random.default_rng(seed)
    labels = np.arange(clips) % 2 * 3
    scale = 1 + labels
    lengths = generator.integers(20, 40, size=clips)
    patches = [s * generator.standard_normal((n, 4)) for s, n in zip(scale, lengths, strict=True)]
    return [p.astype(np.float16) for p in patches], labels


def test_baseline_hears_what_its_statistics_hold():
    (train, y), (test, z) = clips_by_spread(), clips_by_spread(seed=1)
    accuracy = {}
    for statistics in ("mean", "mean+deviation"):
        probabilities = PooledBaseline(statistics).fit(train, y).predict_proba(test)
        accuracy[statistics] = (probabilities.argmax(1) == z).mean()
    assert accuracy["mean+deviation"] > 0.95 and accuracy["mean"] < 0.7
    assert probabilities.shape == (len(test), 7)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (probabilities[:, [1, 2, 4, 5, 6]] == 0).all()


def test_pool_checks_its_input():
    good = np.zeros((3, 4))
    assert pool([good, np.ones((1, 4))], "mean+deviation").shape == (2, 8)
    with pytest.raises(FASError, match="median"):
        pool([good], "median")
    with pytest.raises(FASError, match=r"features\[1\]"):
        pool([good, np.zeros((0, 4))])
    with pytest.raises(FASError, match=r"features\[1\]"):
        pool([good, np.zeros((3, 5))])
    with pytest.raises(FASError, match="no clips"):
        pool([])
