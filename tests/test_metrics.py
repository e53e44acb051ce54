import json
import time

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from eval.benchmarks.published import METRIC_OF, published_results
from eval.statistics.conflicts import auroc_interval, conflict_report
from eval.statistics.metrics import classification_report, confusion_metrics, resample_confusions
from eval.statistics.resampling import Bootstrap
from eval.study.pooled import PooledBaseline, pool
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS


def noisy_answers(clips=300, classes=7, right=0.6, seed=0):
    """Synthetic labels and logits with about `right` of the answers right."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=clips)
    answers = np.where(generator.random(clips) < right, labels, generator.integers(7, size=clips))
    return labels, 3 * np.eye(7)[answers] + 0.1 * generator.standard_normal((clips, 7))


def test_point_estimates_are_those_of_scikit_learn():
    labels, logits = noisy_answers()
    answers = logits.argmax(1)
    report = classification_report(labels, logits, resamples=10)
    assert report.accuracy == pytest.approx(accuracy_score(labels, answers))
    assert report.ua == pytest.approx(balanced_accuracy_score(labels, answers))
    assert report.macro_f1 == pytest.approx(f1_score(labels, answers, average="macro"))
    assert np.sum(report.confusion) == report.clips == 300
    assert sum(report.support.values()) == 300 and list(report.recall) == list(EMOTIONS)


def test_only_classes_of_the_reference_count_and_answers_outside_them_are_errors():
    labels = np.array([0, 0, 3, 3])  # angry, angry, happy, happy
    report = classification_report(labels, np.eye(7)[[0, 1, 3, 1]], resamples=10)
    assert set(report.recall) == {"angry", "happy"}
    assert report.ua == 0.5
    assert report.macro_f1 == pytest.approx(2 / 3)  # precision 1, recall 1/2, twice; disgust has no say
    assert report.confusion[0][1] == report.confusion[3][1] == 1


def test_metrics_of_confusions_equal_scikit_learn_on_every_resample():
    labels, logits = noisy_answers(40, classes=4)
    answers = logits.argmax(1)
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
    labels, logits = noisy_answers()
    report = classification_report(labels, logits, resamples=4000)
    correct = (logits.argmax(1) == labels).astype(float)
    slow = bootstrap((correct,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert report.intervals["accuracy"] == pytest.approx((slow.low, slow.high), abs=0.01)
    for metric in ("accuracy", "ua", "macro_f1"):
        low, high = report.intervals[metric]
        assert low < getattr(report, metric) < high


def test_same_seed_same_interval():
    labels, logits = noisy_answers()
    first, again, other = (classification_report(labels, logits, seed=seed).intervals for seed in (1, 1, 2))
    assert first == again != other


def test_speakers_that_differ_widen_the_interval():
    labels = np.tile(np.arange(7), 20)
    speakers = np.repeat([f"s{i}" for i in range(10)], 14)
    right = np.repeat(np.arange(10) % 2 == 0, 14)  # every other speaker is always understood, the rest never
    logits = np.eye(7)[np.where(right, labels, (labels + 1) % 7)]
    clips = classification_report(labels, logits).intervals["accuracy"]
    voices = classification_report(labels, logits, speakers=list(speakers))
    low, high = voices.intervals["accuracy"]
    assert voices.resampled == "speakers"
    assert high - low > 2 * (clips[1] - clips[0])


def test_thousand_resamples_of_a_large_set_are_fast():
    labels, logits = noisy_answers(20_000)
    start = time.perf_counter()
    classification_report(labels, logits, speakers=[str(i % 50) for i in range(20_000)])
    assert time.perf_counter() - start < 5


def test_ece_before_and_after():
    labels, logits = noisy_answers(2000)
    report = classification_report(labels, 4 * logits, temperature=8.0, resamples=10)
    assert report.ece_after < report.ece_before
    assert classification_report(labels, logits, resamples=10).ece_after is None


def test_to_dict_is_json_ready():
    report = classification_report(*noisy_answers(), temperature=1.5, resamples=10).to_dict()
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_bad_input_is_named():
    with pytest.raises(FASError, match="logits"):
        classification_report(np.array([0, 1]), np.zeros((2, 4)))
    with pytest.raises(FASError, match="at least 1"):
        classification_report(np.zeros(0, int), np.zeros((0, 7)))


def test_conflict_report_splits_the_halves():
    tone = np.array([0, 0, 5, 5, 3, 3])
    words = np.array([0, 3, 5, 3, 3, 5])
    heads = {name: 8 * np.eye(7)[x] for name, x in (("fused", tone), ("acoustic", tone), ("semantic", words))}
    report = conflict_report(tone, words, heads, resamples=50)
    assert report["auroc"] == 1.0 and report["auroc_interval"] == [1.0, 1.0]
    assert report["halves"]["congruent"]["semantic"]["accuracy"] == 1.0
    assert report["halves"]["conflicting"]["semantic"]["accuracy"] == 0.0
    assert report["halves"]["conflicting"]["fused"]["accuracy"] == 1.0
    assert report["halves"]["conflicting"]["clips"] == 3
    assert report["semantic_head_on_words"]["accuracy"] == 1.0


def test_conflict_report_says_why_there_is_no_auroc():
    tone = np.array([0, 1])
    heads = {"fused": np.eye(7)[tone], "acoustic": np.eye(7)[tone]}
    assert "no semantic head" in conflict_report(tone, tone[::-1], heads)["auroc_missing"]
    heads["semantic"] = heads["fused"]
    report = conflict_report(tone, tone, heads)
    assert report["auroc"] is None and "0 of 2" in report["auroc_missing"]
    assert report["halves"]["conflicting"] == {"clips": 0}


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
