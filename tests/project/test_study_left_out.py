"""Stage leave-corpus-out: nothing of the left-out corpus is trained on, runs are resumed, the table says what the lines say."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import left_out
from experiments import stages as study
from fas_core.encoders.base import ClipFeatures
from fas_core.training.clips import Clips
from fas_eval.systems.recipes import SYSTEMS

NAMES = ("ravdess", "tess", "urdu")


class Source:
    """Clips of a corpus with 3 speakers: feature 0 tells the emotion, feature 1 the corpus."""

    def __init__(self, number: int):
        self.number, self.usable, self.asked = number, list(range(42)), 0

    def clips(self, chosen, ids, labels, words, variants, speakers, corpora):
        labels = np.asarray(labels)[chosen]

        def features(index, variant):
            self.asked += 1
            rng = np.random.default_rng([self.number, index, len(variant)])
            acoustic = rng.normal(size=(5, 6)).astype(np.float32)
            acoustic[:, 0] += 2.0 * labels[index]
            acoustic[:, 1] += 3.0 * self.number
            return ClipFeatures(acoustic, rng.normal(size=(5, 4)).astype(np.float32), 25, 25)

        keep = [[values[i] for i in chosen] for values in (ids, speakers, corpora)]
        return Clips(keep[0], labels, np.full(len(chosen), -100), features, variants, keep[1], None, keep[2])


@pytest.fixture
def material():
    emotions = ("angry", "disgust", "fear")
    datasets = {
        name: dict(
            id=[f"{name}/{i}" for i in range(42)], emotion=[emotions[i % 3] for i in range(42)], semantic_emotion=[None] * 42,
            speaker=[f"s{i % 4}" for i in range(42)], corpus=[name] * 42,
        )
        for name in NAMES
    }  # fmt: skip
    extractor = SimpleNamespace(dimensions=dict(acoustic=6, semantic=4), digest="x")
    sources = {name: Source(number) for number, name in enumerate(NAMES)}
    return study.Material(extractor, {}, sources, datasets)


def arguments(tmp_path, *more):
    return study.parse_arguments(
        ["run", "--data-root", str(tmp_path), "--output", str(tmp_path / "runs.jsonl"), "--stage", "leave-corpus-out",
         "--corpora", "ravdess", "tess", "--left-out", "tess", "urdu", *more]
    )  # fmt: skip


def run(monkeypatch, material, asked):
    loads = []
    monkeypatch.setattr(study, "load_material", lambda *_: loads.append(1) or material)
    failed = study.run(asked)
    return failed, len(loads)


def test_nothing_of_the_left_out_corpus_is_trained_on(material):
    train, tests = left_out.sides(material, ["ravdess", "tess"], "tess", ("noise:15",))
    assert set(train.corpora) == {"ravdess"} and train.variants == ["", "noise:15"]
    assert set(tests) == {"tess"} and tests["tess"].variants == [""] and len(tests["tess"]) == 42
    train, tests = left_out.sides(material, ["ravdess", "tess"], "urdu", ())
    assert set(train.corpora) == {"ravdess", "tess"} and set(tests) == {"urdu"}


def test_emodb_cannot_be_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit):
        arguments(tmp_path, "--left-out", "emodb")
    assert "invalid choice: 'emodb'" in capsys.readouterr().err


def test_runs_are_written_once_and_tell_speakers_apart(monkeypatch, tmp_path, material):
    asked = arguments(tmp_path, "--systems", "linear", "linear-between", "--shrinkages", "0.3", "0.8")
    assert run(monkeypatch, material, asked) == (0, 1)
    records = study.read(tmp_path / "runs.jsonl")
    assert len(records) == 8 and {r["left_out"] for r in records} == {"tess", "urdu"}
    for record in records:
        (scores,) = record["scores"].values()
        assert record["corpora"] == ["ravdess", "tess"] and scores["ua"] > 40 and 0 <= scores["ece"] <= 100
        assert set(scores["answers"]) == {"s0", "s1", "s2", "s3"}
        truth, answers = ("".join(values) for values in zip(*scores["answers"].values(), strict=True))
        assert len(truth) == len(answers) == 42
        assert scores["accuracy"] == pytest.approx(
            100 * np.mean([a == b for a, b in zip(truth, answers, strict=True)]), abs=0.01
        )
    calls = sum(source.asked for source in material.sources.values())
    assert run(monkeypatch, material, asked) == (0, 0)
    assert run(monkeypatch, material, arguments(tmp_path, "--systems", "linear", "--shrinkages", "0.3", "0.5"))[0] == 0
    assert len(study.read(tmp_path / "runs.jsonl")) == 10
    assert sum(source.asked for source in material.sources.values()) > calls


def test_one_fit_serves_all_shrinkages_and_each_has_its_own(monkeypatch, tmp_path, material):
    count, fit = [], left_out.fit_discriminants
    monkeypatch.setattr(left_out, "fit_discriminants", lambda *a: count.append(a) or fit(*a))
    asked = arguments(tmp_path, "--systems", "linear-balance", "--shrinkages", "0.01", "1", "--left-out", "tess")
    run(monkeypatch, material, asked)
    assert len(count) == 1
    few, many = (r["scores"]["tess"]["ece"] for r in study.read(tmp_path / "runs.jsonl"))
    assert few != many


def test_trust_is_for_corpora_that_are_trained_on(material):
    train, _ = left_out.sides(material, ["ravdess", "tess"], "tess", ())
    found = left_out.training_arguments(dict(corpus_weights=["tess=0.5", "ravdess=0.2"]), train)
    assert found.corpus_weights == ["ravdess=0.2"]


def test_a_fas_is_trained_and_scored_with_its_parts(monkeypatch, tmp_path, material):
    changed = {
        "model": {"hidden_size": 16, "num_queries": 1, "whitening": 4},
        "training": {"epochs": 1, "corpus_balance": True},
    }
    asked = arguments(tmp_path, "--systems", "unaugmented", "--left-out", "tess", "--set", json.dumps(changed))
    assert run(monkeypatch, material, asked)[0] == 0
    (record,) = study.read(tmp_path / "runs.jsonl")
    assert {"tess", "tess, acoustic head"} <= set(record["scores"]) and record["set"] == changed
    assert "answers" in record["scores"]["tess"]


def test_one_training_serves_all_corpora_that_it_never_heard(monkeypatch, tmp_path, material):
    trained, fas = [], study.run_fas
    monkeypatch.setattr(
        study, "run_fas", lambda s, m, train, *rest: trained.append(set(train.corpora)) or fas(s, m, train, *rest)
    )
    changed = {"model": {"hidden_size": 16, "num_queries": 1, "whitening": 4}, "training": {"epochs": 1}}
    asked = arguments(
        tmp_path, "--systems", "unaugmented", "--corpora", "ravdess", "--left-out", "tess", "urdu", "--set", json.dumps(changed)
    )  # fmt: skip
    assert run(monkeypatch, material, asked)[0] == 0
    records = study.read(tmp_path / "runs.jsonl")
    assert trained == [{"ravdess"}] and [r["left_out"] for r in records] == ["tess", "urdu"]
    for record in records:
        name = record["left_out"]
        assert {name, f"{name}, acoustic head"} <= set(record["scores"])
        assert all(each.split(",")[0] == name for each in record["scores"])
    both = arguments(tmp_path, "--systems", "unaugmented", "--left-out", "tess", "urdu", "--set", json.dumps(changed))
    assert run(monkeypatch, material, both)[0] == 0 and trained[1:] == [{"ravdess"}, {"ravdess", "tess"}]


@pytest.mark.parametrize("system", ["adversarial-corpus-even", "contrastive-across", "mixup-across", "residual"])
def test_each_method_is_a_row(monkeypatch, tmp_path, material, system):
    changed = {"model": {"hidden_size": 16, "num_queries": 1, "whitening": 4}, "training": {"epochs": 1}}
    asked = arguments(tmp_path, "--systems", system, "--left-out", "urdu", "--set", json.dumps(changed))
    assert run(monkeypatch, material, asked)[0] == 0
    (record,) = study.read(tmp_path / "runs.jsonl")
    assert {"urdu", "urdu, acoustic head", "urdu, fused alone"} <= set(record["scores"])


def line(system, name, answers, seed=42, **more):
    truth = "012" * 4
    labels, found = (np.array([int(c) for c in text]) for text in (truth, answers))
    logits = np.eye(7)[found]
    clips = SimpleNamespace(labels=labels, speakers=[f"s{i // 3}" for i in range(12)], ids=[""] * 12)
    base = dict(
        stage="leave-corpus-out", system=system, encoder="offline:base", layer="1,2", set={}, corpora=["a"], seed=seed
    )
    return base | dict(left_out=name, scores={name: left_out.scored(clips, logits)}) | more


def test_table(tmp_path):
    good, bad = "012" * 4, "011" * 3 + "012"
    records = [line("linear", name, bad) for name in (*left_out.CORPORA, "urdu")]
    records += [line("linear-balance", name, good) for name in (*left_out.CORPORA, "urdu")]
    records += [line("linear-balance", "ravdess", bad, seed=43), line("linear-between", "tess", good)]
    for record in records:
        study.append(tmp_path / "runs.jsonl", record)
    first, second = study.tables([tmp_path / "runs.jsonl"], "leave-corpus-out").split("\n\nUA more than ")
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in first.splitlines()[2:]]
    assert [row[0] for row in cells] == [SYSTEMS[name].title for name in ("linear", "linear-balance", "linear-between")]
    assert cells[0][1:] == ["1", *["75.0"] * 5, "75.0", "75.0", cells[0][-1]]
    assert cells[1][1:3] == ["2", "87.5 ± 17.7"] and cells[1][7] == "97.5"
    assert cells[2][2:] == ["-", "100.0", "-", "-", "-", "-", "-", "-"]
    assert second.startswith(SYSTEMS["linear"].title) and "| +25.0 (s.e. " in second and "| - |" in second


def test_an_answer_is_compared_with_its_own_acoustic_side(tmp_path):
    good, bad = "012" * 4, "011" * 3 + "012"
    for name in (*left_out.CORPORA, "urdu"):
        record = line("residual", name, good)
        record["scores"] |= {f"{name}, acoustic head": line("residual", name, bad)["scores"][name]}
        study.append(tmp_path / "runs.jsonl", record)
    own = study.tables([tmp_path / "runs.jsonl"], "leave-corpus-out", heads=True).split("own acoustic side")[1]
    (row,) = [r for r in own.splitlines() if r.startswith(f"| {SYSTEMS['residual'].title} |")]
    assert row.count("| +25.0 (s.e. ") == 7


def test_one_run_stands_against_each_seed_of_another(tmp_path):
    good, bad = "012" * 4, "011" * 3 + "012"
    records = [line("linear", name, bad) for name in (*left_out.CORPORA, "urdu")]
    records += [line("lora", name, good, seed=seed) for name in (*left_out.CORPORA, "urdu") for seed in (42, 43)]
    records[-1] = line("lora", "urdu", bad, seed=43)
    for record in records:
        study.append(tmp_path / "runs.jsonl", record)
    differences = study.tables([tmp_path / "runs.jsonl"], "leave-corpus-out").splitlines()[-1]
    assert differences.count("| +25.0 (s.e. ") == 6 and "| +12.5 (s.e. " in differences
