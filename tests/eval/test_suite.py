"""The suite as a command, on a corpus of noise of two levels and systems made up for it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import fake_systems
import numpy as np
import pytest
import soundfile
import yaml
from warm import PYTHON

from fas_core.errors import FASError
from fas_eval.presets import PRESETS, load_preset
from fas_eval.suite import cli as suite
from fas_eval.suite.store import AnswerStore
from fas_eval.systems.base import BenchmarkClip, SystemAnswer
from fas_eval.systems.context import BuildContext
from fas_eval.systems.system_types import plan_systems

PLUGIN = str(Path(fake_systems.__file__))
CLIPS = 12


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """manifest.csv with an equal number of loud (angry) and quiet (sad) clips whose words are sad, and one that is no audio."""
    root = tmp_path_factory.mktemp("corpora")
    random = np.random.default_rng(0)
    for name, damaged in (("synthetic-conflict", False), ("damaged", True)):
        rows = []
        (root / name).mkdir()
        for i in range(CLIPS):
            level, emotion = ((0.2, "angry"), (0.005, "sad"))[i % 2]
            soundfile.write(root / name / f"c{i:02d}.wav", np.clip(random.normal(0, level, 4000), -1, 1), 16000)
            rows.append([f"c{i:02d}.wav", emotion, "sad", f"s{i % 4}", "test"])
        if damaged:
            (root / name / "bad.wav").write_bytes(b"RIFF nothing")
            rows.append(["bad.wav", "sad", "sad", "s0", "test"])
        with (root / name / "manifest.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["audio", "emotion", "semantic_emotion", "speaker", "split"], *rows])
    return root


@pytest.fixture
def ask(corpus, tmp_path, monkeypatch):
    """Runs the suite on entries of systems; returns exit code, results, and which clips were asked about."""
    log = tmp_path / "asked.txt"
    monkeypatch.setenv(fake_systems.LOG, str(log))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*systems, flags=(), benchmarks=("synthetic-conflict",), output="report"):
        log.write_text("")
        file = tmp_path / "systems.yaml"
        file.write_text(yaml.safe_dump({"systems": list(systems)}))
        code = suite.main([
            "--plugin", PLUGIN, "--systems-file", str(file), "--benchmarks", *benchmarks, "--data-root", str(corpus),
            "--cache", str(tmp_path / "cache"), "--output", str(tmp_path / output), "--quiet", "--bootstrap", "50", *flags,
        ])  # fmt: skip
        results = tmp_path / output / "results.json"
        return code, json.loads(results.read_text()) if results.is_file() else None, log.read_text().splitlines()

    return run


def entry(name="good", **options):
    return {"type": "fake", "name": name} | options


def by_system(results):
    return {(score["system"], score["seed"]): score for score in results["scores"]}


def test_a_run_scores_compares_and_reports(ask, tmp_path):
    code, found, asked = ask(entry(), entry("half", wrong_share=0.5))
    assert code == 0 and len(asked) == 2 * CLIPS
    scores = by_system(found)
    assert scores["good", None]["accuracy"] == 1.0 and scores["half", None]["accuracy"] < 1
    assert scores["good", None]["tone_or_words"]["shares"]["tone"] == 1.0
    assert scores["good", None]["detection"]["auroc"] == 1.0  # loud clips are those whose words differ
    assert scores["good", None]["seconds"] == pytest.approx(0.12) and scores["good", None][
        "audio_seconds"
    ] == pytest.approx(3.0)
    (pair,) = found["comparisons"]
    assert (pair["a"], pair["b"]) == ("half", "good") and pair["difference"] < 0
    for file in ("report.html", "report.md", "scores.csv", "answers.csv"):
        assert (tmp_path / "report" / file).stat().st_size > 0
    rows = list(csv.DictReader((tmp_path / "report" / "answers.csv").open()))
    assert len(rows) == 2 * CLIPS and {row["how"] for row in rows} == {"classifier"}
    assert str(tmp_path) not in (tmp_path / "report" / "report.html").read_text()


def test_a_second_run_asks_nothing_and_says_the_same(ask):
    first = ask(entry())
    again = ask(entry())
    assert len(first[2]) == CLIPS and again[2] == []
    assert again[1]["scores"] == first[1]["scores"]


def test_another_identity_is_asked_again_and_another_system_only_adds(ask):
    ask(entry())
    assert len(ask(entry(wrong_share=0.1))[2]) == CLIPS
    assert {line.split()[0] for line in ask(entry(), entry("new", wrong_share=0.3))[2]} == {"new"}


def test_a_system_that_dies_is_reported_and_goes_on_where_it_stopped(ask):
    code, found, asked = ask(entry(dies_after=5), entry("other", wrong_share=0.2))
    assert code == 1 and len(asked) == 5 + CLIPS
    scores = by_system(found)
    assert scores["good", None]["stopped"] == "RuntimeError: out of memory"
    assert scores["good", None]["how"] == {"classifier": 5, "failed": CLIPS - 5}
    assert any(m["name"] == "good" and "out of memory" in m["why"] for m in found["missing"])
    code, found, asked = ask(entry())
    assert code == 0 and len(asked) == CLIPS - 5
    assert by_system(found)["good", None]["accuracy"] == 1.0


def test_refusals_and_babble_are_counted_as_wrong_and_only_refusals_are_asked_again(ask, capsys):
    options = dict(refuses="c00.wav", babbles="c02.wav")
    code, found, _ = ask(entry(**options))
    score = by_system(found)["good", None]
    assert code == 1 and score["how"] == {"failed": 1, "unparsed": 1, "classifier": CLIPS - 2}
    assert score["clips"] == CLIPS and score["answered"] == CLIPS - 2 and score["retries"] == 3
    assert score["accuracy"] == pytest.approx((CLIPS - 2) / CLIPS)
    assert score["failed"][0]["error"] == "timed out after 3 tries"
    assert "1 clips got no answer" in capsys.readouterr().err
    assert len(ask(entry(**options))[2]) == 1


def test_a_corrupt_clip_is_named_and_in_no_figure(ask, corpus, capsys):
    benchmark = f"manifest:{corpus / 'damaged'}"
    code, found, asked = ask(entry(), benchmarks=(benchmark,))
    assert code == 1 and len(asked) == CLIPS
    assert found["benchmarks"][benchmark]["clips"] == CLIPS
    assert len(found["benchmarks"][benchmark]["unreadable"]) == 1
    assert "unreadable" in capsys.readouterr().err


def test_seeds_are_runs_of_one_system(ask):
    _, found, asked = ask(
        {"type": "fake-trained", "name": "trained", "wrong_share": 0.3}, flags=["--seeds", "1", "2", "3"]
    )
    assert len(asked) == 3 * CLIPS
    assert found["systems"]["trained"]["seeds"] == [1, 2, 3]
    assert [score["seed"] for score in found["scores"]] == [1, 2, 3]


def test_what_is_missing_is_reported_and_the_rest_runs(ask):
    code, found, _ = ask(entry(), {"type": "absent", "name": "gone", "source": "the moon"})
    assert code == 1
    (missing,) = found["missing"]
    assert missing["kind"] == "system" and missing["where"] == "the moon" and "pip install" in missing["why"]


def test_what_is_missing_is_named_once_whatever_its_seeds(ask):
    trained = {"type": "absent-trained", "name": "gone"}
    _, found, _ = ask(entry(), trained, flags=["--seeds", "1", "2"])
    assert [missing["name"] for missing in found["missing"]] == ["gone"]


def test_whoever_cannot_reach_the_hub_stays_offline_and_mirrors_are_the_hub(monkeypatch, capsys):
    from huggingface_hub import constants
    from standin import completion, standin

    from fas_eval.suite import run

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with standin(lambda number, body: completion("A")) as mirror:
        monkeypatch.setattr(constants, "ENDPOINT", mirror.url.removesuffix("/v1"))
        run._stay_offline_if_there_is_no_hub()
        assert not constants.HF_HUB_OFFLINE  # it answers, be it by an error
    run._stay_offline_if_there_is_no_hub()
    assert constants.HF_HUB_OFFLINE and "cannot be reached" in capsys.readouterr().out


def test_a_preset_goes_on_without_a_corpus_but_who_asks_for_it_gets_an_error(ask, corpus, tmp_path, capsys):
    preset = tmp_path / "mine.yaml"
    content = {
        "systems": [entry()],
        "benchmarks": ["emodb", "synthetic-conflict"],
        "train": ["meld", "synthetic-conflict"],
    }
    preset.write_text(yaml.safe_dump(content))
    flags = [
        "--plugin",
        PLUGIN,
        "--data-root",
        str(corpus),
        "--cache",
        str(tmp_path / "c"),
        "--output",
        str(tmp_path / "o"),
    ]
    assert suite.main(["--preset", str(preset), *flags, "--quiet", "--bootstrap", "20"]) == 0
    found = json.loads((tmp_path / "o" / "results.json").read_text())
    missing, corpus_missing = found["missing"]
    assert missing["name"] == "emodb" and missing["kind"] == "benchmark" and missing["where"]
    assert corpus_missing["name"] == "meld" and corpus_missing["kind"] == "training corpus"
    said = "training corpora: 1 of 2 here (synthetic-conflict); not here: meld"
    assert said in capsys.readouterr().out and found["suite"]["trained_on"] == ["synthetic-conflict"]
    assert (
        "trained on 1 of the 2 training corpora of the preset (synthetic-conflict)"
        in (tmp_path / "o" / "report.md").read_text()
    )
    assert ask(entry(), benchmarks=("emodb",))[0] == 2
    assert "emodb" in capsys.readouterr().err


def test_a_limit_takes_the_same_clips_each_time(ask):
    first, again = (ask(entry(), flags=["--limit", "5"], output=name) for name in ("a", "b"))
    assert first[1]["benchmarks"]["synthetic-conflict"]["clips"] == 5
    assert sorted(first[2]) == sorted(again[2])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--systems", "nonsense"], "nonsense.*expected one of"),
        (["--systems", "fake", "fake"], "given twice"),
        (["--systems", "fake", "--only", "other"], "--only other"),
        (["--systems", "fake", "--reference", "other"], "--reference other"),
        (["--systems", "fake", "--bootstrap", "0"], "--bootstrap 0"),
        (["--systems", "fake", "--data", "nowhere"], "--corpora nowhere: expected NAME=FOLDER"),
        (["--systems", "fake", "--plugin", "none.py"], "none.py.*no such file"),
        (["--systems", "fake", "--preset", "none"], "none: no such .*expected one of paper, quick"),
        (["--systems", "fake", "--train", "none"], "--train none"),
    ],
)
def test_bad_input_is_one_clear_error(corpus, tmp_path, capsys, flags, message):
    common = [
        "--plugin",
        PLUGIN,
        "--data-root",
        str(corpus),
        "--output",
        str(tmp_path / "o"),
        "--cache",
        str(tmp_path / "c"),
    ]
    benchmarks = [] if "--preset" in flags else ["--benchmarks", "synthetic-conflict"]
    assert suite.main([*common, *flags, *benchmarks, "--quiet"]) == 2
    assert __import__("re").search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_two_processes_say_what_one_says(ask, corpus, tmp_path):
    _, alone, _ = ask(entry(), entry("half", wrong_share=0.0, whole=True))
    log = tmp_path / "two.txt"
    command = [
        PYTHON, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29577", "-m", "eval.suite",
        "--plugin", PLUGIN, "--systems-file", str(tmp_path / "systems.yaml"), "--benchmarks", "synthetic-conflict",
        "--data-root", str(corpus), "--cache", str(tmp_path / "cache2"), "--output", str(tmp_path / "two"), "--quiet",
        "--bootstrap", "50",
    ]  # fmt: skip
    environment = os.environ | {
        fake_systems.LOG: str(log),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "PYTHON_EXEC": PYTHON,
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    assert two["scores"] == alone["scores"]
    assert len(log.read_text().splitlines()) == 2 * CLIPS  # nobody was asked twice
    shards = list((tmp_path / "two" / "answers").glob("good-*/answers-*.jsonl"))
    assert len(shards) == 2


def test_the_store_ignores_a_cut_line_and_prefers_an_answer_to_a_failure(tmp_path):
    system = fake_systems.Fake({"name": "a/b:c"})
    clips = [BenchmarkClip(f"x/{i}", "a.wav", f"digest{i}") for i in range(3)]
    store = AnswerStore(tmp_path, system)
    store.add("digest0", SystemAnswer.failure("x/0", "late"))
    store.add("digest1", SystemAnswer("x/1", "sad", "rules", text="sad"))
    with store.file.open("a") as file:
        file.write('{"digest": "digest2", "clip": "x/2", "lab')
    again = AnswerStore(tmp_path, system, process_index=1)
    assert [clip.id for clip in again.missing(clips)] == ["x/0", "x/2"]
    again.add("digest0", SystemAnswer("x/0", "angry", "exact"))
    store.load()
    assert store.get(clips[0]).label == "angry" and store.get(clips[1]).text == "sad" and store.get(clips[2]) is None
    renamed = BenchmarkClip("other/1", "b.wav", "digest1")
    assert store.get(renamed).clip == "other/1"  # the same audio under another name
    assert store.folder.parent == tmp_path


def test_clips_of_the_same_audio_are_asked_about_once(tmp_path):
    store = AnswerStore(tmp_path, fake_systems.Fake({"name": "fake"}))
    clips = [
        BenchmarkClip("a", "a.wav", "same"),
        BenchmarkClip("b", "b.wav", "same"),
        BenchmarkClip("c", "c.wav", "other"),
    ]
    assert [clip.id for clip in store.missing(clips)] == ["a", "c"]


@pytest.mark.parametrize(
    "values", [("x", "joy", "exact"), ("x", None, "exact"), ("x", "sad", "failed"), ("x", "sad", "guess")]
)
def test_an_answer_that_contradicts_itself_is_refused(values):
    with pytest.raises(FASError):
        SystemAnswer(*values)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_known_systems_and_benchmarks(name):
    preset = load_preset(name)
    planned = plan_systems(preset.systems, BuildContext(training=tuple(preset.train)), preset.seeds)
    assert len({p.name for p in planned}) == len(preset.systems)
    arguments = suite.parse_arguments(["--preset", name, "--output", "x"])
    assert suite.preset_of(arguments).benchmarks == preset.benchmarks


def test_the_paper_preset_trains_on_the_six_corpora_of_the_paper():
    assert set(load_preset("paper").train) == {"iemocap", "cmu-mosei", "mer2024", "meld", "ravdess", "esd"}


def test_the_list_names_systems_and_benchmarks(capsys):
    assert suite.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert "endpoint" in printed and "emodb" in printed and "CASE" in printed
