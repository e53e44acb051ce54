"""The suite with a fake pipeline on synthetic corpora (files of a few bytes, named like the real ones)."""

import csv
import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from eval import checkpoint as suite
from eval.benchmarks.loading import BENCHMARKS, DataLocations, data_digest, load_benchmark
from fas_core.atomic import write_text
from fas_core.errors import CorpusError, FASError
from fas_core.labels import EMOTIONS
from fas_core.provenance import git_state, provenance

LETTERS = {"W": "angry", "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral"}


class FakePipeline:
    """Hears the tone of most clips; its semantic head hears the words where they are known."""

    def __init__(self, training_corpora=("tess",), fold=None, broken=(), semantic=True):
        self.facts = {"name": "fake", "training_corpora": list(training_corpora), "temperature": 2.0}
        self.facts |= {} if fold is None else {"fold": fold}
        self.broken, self.semantic, self.calls = set(broken), semantic, []

    def describe(self):
        return self.facts

    def logits_for_dataset(self, dataset, cache_dir=None, progress=True, standardise="training"):
        self.calls.append((len(dataset), cache_dir, standardise))
        heard = [row for row in dataset if row["id"] not in self.broken][::-1]  # another order than the dataset's
        tone = np.array([EMOTIONS.index(row["emotion"]) for row in heard], dtype=int)
        wrong_every = 5 if standardise == "training" else 10
        answers = np.where(np.arange(len(heard)) % wrong_every == 0, (tone + 1) % 7, tone)
        words = [EMOTIONS.index(row["semantic_emotion"] or "neutral") for row in heard]
        return SimpleNamespace(
            ids=[row["id"] for row in heard],
            logits=6 * np.eye(7)[answers],
            acoustic_logits=6 * np.eye(7)[tone],
            semantic_logits=6 * np.eye(7)[words] if self.semantic else None,
            temperature=2.0,
            failed=[{"file": row["id"], "error": "truncated"} for row in dataset if row["id"] in self.broken],
        )


@pytest.fixture
def corpora(tmp_path):
    """A data root with EmoDB (60 clips and one of boredom), RAVDESS (24 actors) and a conflict manifest."""
    root = tmp_path / "data"
    for folder in ("emodb", "ravdess", "synthetic-conflict"):
        (root / folder).mkdir(parents=True)
    for i in range(60):
        name = f"{3 + i % 5:02d}a{i // 6:02d}{'WEAFTN'[i % 6]}a.wav"
        (root / "emodb" / name).write_bytes(name.encode())
    (root / "emodb" / "03a01La.wav").write_bytes(b"boredom")
    for actor in range(1, 25):
        for emotion in ("01", "03", "05"):
            name = f"03-01-{emotion}-01-01-01-{actor:02d}.wav"
            (root / "ravdess" / name).write_bytes(name.encode())
    rows = ["audio,emotion,semantic_emotion,speaker,split"]
    for i in range(24):
        (root / "synthetic-conflict" / f"{i}.wav").write_bytes(str(i).encode())
        tone, words = EMOTIONS[i % 3], EMOTIONS[(i % 3 + (i // 3) % 2) % 3]
        rows.append(f"{i}.wav,{tone},{words},{'ab'[i % 2]},test")
    (root / "synthetic-conflict" / "manifest.csv").write_text("\n".join(rows))
    return root


def load(name, root, **options):
    return load_benchmark(name, DataLocations(root), **options)


def scored(pipeline, benchmarks, **options):
    return suite.evaluate(pipeline, benchmarks, progress=False, resamples=20, **options)


def run_command(monkeypatch, pipeline, corpora, output, *more):
    monkeypatch.setattr(suite, "load_pipeline", lambda checkpoint, device: pipeline)
    where = ["--checkpoint", "x", "--data-root", str(corpora), "--output", str(output)]
    return suite.main([*where, "--quiet", "--bootstrap", "20", *more])


def test_a_corpus_never_seen_is_scored_whole_and_exclusions_are_counted(corpora):
    loaded = load("emodb", corpora, training_corpora=["ravdess"])
    assert (loaded.side, loaded.setting, len(loaded.dataset)) == ("all", "zero-shot", 60)
    assert loaded.excluded.total() == 1


def test_a_corpus_trained_on_is_scored_on_the_speakers_held_out(corpora):
    loaded = load("ravdess", corpora, training_corpora=["ravdess", "tess"], trained_fold=2)
    assert (loaded.side, loaded.setting, loaded.fold) == ("test", "in-domain", 2)
    assert set(loaded.dataset["speaker"]) == {"04", "10", "12", "14"}


def test_training_speakers_are_never_scored(corpora):
    with pytest.raises(CorpusError, match="--fold 2"):
        load("ravdess", corpora, training_corpora=["ravdess"], trained_fold=2, fold=3)
    with pytest.raises(CorpusError, match="--fold"):
        load("ravdess", corpora, training_corpora=["ravdess"])


def test_a_fold_may_be_asked_of_a_corpus_never_seen(corpora):
    assert len(load("ravdess", corpora).dataset) == 72
    assert set(load("ravdess", corpora, fold=1).dataset["speaker"]) == {"01", "11", "20", "21"}
    # the fold of the training corpus says nothing about a corpus that was not trained on
    assert len(load("ravdess", corpora, trained_fold=1).dataset) == 72


def test_places_that_do_not_exist_are_named_with_their_option(corpora, tmp_path):
    with pytest.raises(CorpusError, match=r"savee.*--data savee=DIR.*--data-root"):
        load("savee", corpora)
    with pytest.raises(CorpusError, match="--data-root DIR or --data emodb=DIR"):
        load_benchmark("emodb", DataLocations())
    with pytest.raises(CorpusError, match="manifest:PATH"):
        load("emodbb", corpora)
    moved = DataLocations(tmp_path / "nowhere", {"emodb": corpora / "emodb"})
    assert len(load_benchmark("emodb", moved).dataset) == 60


def test_a_manifest_anywhere_is_a_benchmark(corpora):
    loaded = load_benchmark(f"manifest:{corpora / 'synthetic-conflict' / 'manifest.csv'}", DataLocations())
    assert len(loaded.dataset) == 24 and loaded.benchmark.published == ""


def test_every_corpus_of_the_registry_has_a_reader():
    from fas_core.data import CORPORA

    assert {benchmark.corpus for benchmark in BENCHMARKS.values()} <= set(CORPORA)


def test_data_digest_follows_the_content_not_the_place(corpora, tmp_path):
    dataset = load("emodb", corpora).dataset
    digest = data_digest(dataset, progress=False)
    moved = corpora.rename(tmp_path / "moved")
    again = load("emodb", moved).dataset
    assert data_digest(again.select(range(len(again) - 1, -1, -1)), progress=False) == digest
    next((moved / "emodb").glob("*Wa.wav")).write_bytes(b"other")
    assert data_digest(again, progress=False) != digest


def test_figures_and_rows_follow_the_ids_not_the_order_of_answers(corpora):
    evaluation = scored(FakePipeline(), [load("emodb", corpora)])
    heads = evaluation.results["benchmarks"]["emodb"]["protocols"]["inductive"]["heads"]
    assert heads["fused"]["accuracy"] == pytest.approx(48 / 60)
    assert heads["acoustic"]["accuracy"] == 1.0
    assert heads["fused"]["ece_after"] is not None and heads["acoustic"]["ece_after"] is None
    assert all(LETTERS[row["id"][-2]] == row["emotion"] == row["acoustic"] for row in evaluation.predictions)
    assert len(evaluation.predictions) == 60


def test_protocols_stay_apart(corpora):
    pipeline = FakePipeline()
    evaluation = scored(pipeline, [load("emodb", corpora)], protocols=("inductive", "transductive"))
    protocols = evaluation.results["benchmarks"]["emodb"]["protocols"]
    accuracy = {name: part["heads"]["fused"]["accuracy"] for name, part in protocols.items()}
    assert accuracy == {"inductive": pytest.approx(0.8), "transductive": pytest.approx(0.9)}
    assert [call[2] for call in pipeline.calls] == ["training", "corpus"]
    assert {row["protocol"] for row in evaluation.predictions} == {"inductive", "transductive"}


def test_conflict_is_scored_where_the_words_are_known(corpora):
    evaluation = scored(FakePipeline(), [load("synthetic-conflict", corpora), load("emodb", corpora)])
    parts = {name: e["protocols"]["inductive"] for name, e in evaluation.results["benchmarks"].items()}
    assert parts["emodb"]["conflict"] is None
    conflict = parts["synthetic-conflict"]["conflict"]
    assert conflict["auroc"] == 1.0
    assert {half: part["clips"] for half, part in conflict["halves"].items()} == {
        "congruent": 12,
        "conflicting": 12,
    }
    assert conflict["halves"]["conflicting"]["semantic"]["accuracy"] == 0.0
    assert conflict["halves"]["conflicting"]["acoustic"]["accuracy"] == 1.0


def test_a_checkpoint_without_a_semantic_head(corpora):
    evaluation = scored(FakePipeline(semantic=False), [load("synthetic-conflict", corpora)])
    part = evaluation.results["benchmarks"]["synthetic-conflict"]["protocols"]["inductive"]
    assert "semantic" not in part["heads"] and part["conflict"]["auroc"] is None
    assert {row["conflict"] for row in evaluation.predictions} == {None}


def test_answers_that_do_not_fit_the_clips_are_refused(corpora):
    class Forgetful(FakePipeline):
        def logits_for_dataset(self, dataset, **options):
            return super().logits_for_dataset(dataset.select(range(10)), **options)

    with pytest.raises(FASError, match="10 answers and 0 failures for 60 clips"):
        scored(Forgetful(), [load("emodb", corpora)])


def test_command_writes_everything(monkeypatch, corpora, tmp_path):
    output = tmp_path / "out"
    pipeline = FakePipeline(["ravdess"], fold=1)
    more = ["--benchmarks", "ravdess", "emodb", "--protocol", "inductive", "transductive", "--cache", "c"]
    assert run_command(monkeypatch, pipeline, corpora, output, *more) == 0
    results = json.loads((output / "results.json").read_text())
    entry = results["benchmarks"]["ravdess"]
    assert (entry["clips"], entry["setting"], entry["fold"], len(entry["data_sha256"])) == (
        12,
        "in-domain",
        1,
        64,
    )
    assert results["bootstrap"]["seed"] == 42 and results["provenance"]["versions"]["numpy"]
    with (output / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * (12 + 60)
    report = (output / "report.md").read_text()
    assert "WA (transductive)" in report and "68.1" in report and "76.6" in report  # the paper's EmoDB, RAVDESS
    for plot in output.glob("*.png"):
        assert plot.read_bytes().startswith(b"\x89PNG") and plot.name in report
    assert len(list(output.glob("*.png"))) == 2 * 2 * 3
    assert not list(output.glob(".*"))  # no temporary file is left
    assert str(corpora) not in (output / "predictions.csv").read_text()


def test_markdown_tables_are_whole(monkeypatch, corpora, tmp_path):
    pipeline = FakePipeline(broken=["emodb/03a00Wa"])
    more = ["--benchmarks", "emodb", "synthetic-conflict", "--protocol", "transductive"]
    run_command(monkeypatch, pipeline, corpora, tmp_path, *more)
    tables = [[]]
    for line in (tmp_path / "report.md").read_text().splitlines():
        if line.startswith("|"):
            tables[-1].append(line.count("|"))
        elif tables[-1]:
            tables.append([])
    assert len([t for t in tables if t]) >= 7
    assert all(len(set(table)) <= 1 for table in tables)


def test_failed_clips_are_named_counted_and_in_the_exit_code(monkeypatch, corpora, tmp_path, capsys):
    pipeline = FakePipeline(broken=["emodb/03a00Wa", "emodb/04a00Ea"])
    assert run_command(monkeypatch, pipeline, corpora, tmp_path, "--benchmarks", "emodb") == 1
    said = capsys.readouterr().err
    assert "emodb/03a00Wa: truncated" in said and "2 clips" in said
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["failed"]) == 2
    fused = results["benchmarks"]["emodb"]["protocols"]["inductive"]["heads"]["fused"]
    assert fused["clips"] == 58
    assert "58 of 60" in (tmp_path / "report.md").read_text()


def test_a_benchmark_whose_clips_all_fail_still_gives_a_report(monkeypatch, corpora, tmp_path):
    pipeline = FakePipeline(broken=load("emodb", corpora).dataset["id"])
    assert run_command(monkeypatch, pipeline, corpora, tmp_path, "--benchmarks", "emodb") == 1
    assert "No clip could be scored" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    "more, said",
    [
        (["--benchmarks", "emodb", "urdu"], "urdu"),
        (["--benchmarks", "emodb", "--data", "emodb"], "NAME=DIR"),
        (["--benchmarks", "emodb", "--bootstrap", "0"], "--bootstrap"),
    ],
)
def test_bad_input_stops_before_anything_is_encoded(monkeypatch, corpora, tmp_path, capsys, more, said):
    pipeline = FakePipeline()
    assert run_command(monkeypatch, pipeline, corpora, tmp_path / "out", *more) == 2
    assert said in capsys.readouterr().err
    assert not pipeline.calls and not (tmp_path / "out").exists()


def test_speakers_can_be_resampled_where_they_are_known(corpora):
    evaluation = scored(FakePipeline(), [load("emodb", corpora)], resample="speakers")
    fused = evaluation.results["benchmarks"]["emodb"]["protocols"]["inductive"]["heads"]["fused"]
    assert fused["resampled"] == "speakers"
    nameless = load("emodb", corpora)
    nameless = replace(nameless, dataset=nameless.dataset.map(lambda row: {"speaker": None}))
    with pytest.raises(FASError, match="--resample clips"):
        scored(FakePipeline(), [nameless], resample="speakers")


def test_provenance_names_no_host(tmp_path):
    record = provenance(["python", "-m", "eval.suite"])
    assert record["platform"]["cpus"] >= 1 and record["command"][-1] == "eval.suite"
    assert set(record["platform"]) == {"system", "machine", "python", "cpus"}
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_git_state_sees_changes(tmp_path):
    def git(*arguments):
        name = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    assert git_state(tmp_path)["dirty"] is False and len(git_state(tmp_path)["commit"]) == 40
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path)["dirty"] is True


def test_a_write_that_breaks_leaves_the_old_file(tmp_path):
    path = write_text(tmp_path / "r.md", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
