"""The tutorial's own code, as it stands in the docs."""

import csv
import json
import re

import nbformat
import numpy as np
import pytest
import soundfile
from repository import ROOT

from fas_core.encoders.registry import ENCODERS
from fas_eval.benchmarks.entries import BENCHMARKS
from fas_eval.suite import cli as suite
from fas_eval.systems.system_types import SYSTEMS

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = {
    block.splitlines()[0].split(":")[0].removeprefix("# "): block
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S)
}
COUNT = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The files of the tutorial, and a corpus of noise of two levels with the layout that it describes."""
    root = tmp_path_factory.mktemp("tutorial")
    for name, block in BLOCKS.items():
        (root / name).write_text(block, encoding="utf-8")
    random = np.random.default_rng(0)
    for corpus, splits in (("mine", ["test"]), ("synthetic-conflict", ["train", "validation", "test"])):
        rows = []
        (root / corpus).mkdir()
        for split in splits:
            for i in range(2 * COUNT):
                emotion = ("angry", "sad")[i % 2]
                samples = random.normal(0, 0.2 if emotion == "angry" else 0.005, 8000)
                soundfile.write(root / corpus / f"{split}{i}.wav", np.clip(samples, -1, 1), 16000)
                rows.append([f"{split}{i}.wav", emotion, "sad", f"{split}-{i % 4}", split])
        with (root / corpus / "manifest.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["audio", "emotion", "semantic_emotion", "speaker", "split"], *rows])
    registries = (BENCHMARKS, SYSTEMS, ENCODERS)
    before = [dict(registry) for registry in registries]
    yield root
    for registry, entries in zip(registries, before, strict=True):  # other tests count what is registered
        registry.clear()
        registry.update(entries)


def run(place, *flags):
    output = place / "report"
    plugins = [str(place / name) for name in BLOCKS] if "--plugin" not in flags else []
    code = suite.main([
        *(["--plugin", *plugins] if plugins else []), *flags, "--data-root", str(place), "--cache", str(place / "cache"), "--output", str(output),
        "--quiet", "--bootstrap", "50",
    ])  # fmt: skip
    return code, json.loads((output / "results.json").read_text())


def outputs(notebook) -> str:
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells])


@pytest.mark.slow
def test_the_tour_runs_as_it_stands(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="the extra test is not installed")
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    said = outputs(notebook)
    assert "frightened" in said and "fas:run" in said and "image/png" in said
    assert (tmp_path / "run" / "model.safetensors").is_file() and (tmp_path / "report" / "report.html").is_file()


def test_the_tour_is_kept_with_its_outputs_and_names_no_machine():
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    said = outputs(notebook)
    assert "frightened" in said and "image/png" in said and '"stderr"' not in said
    assert not re.search(r"/(tmp|home|work|root|usr|Users)/", re.sub(r'"image/png": "[^"]*"', "", said))


def test_each_addition_is_at_most_thirty_lines():
    assert set(BLOCKS) == {"encoder.py", "system.py", "benchmark.py"}
    assert max(len(block.splitlines()) for block in BLOCKS.values()) <= 30


def test_encoder_system_and_benchmark_of_the_tutorial_are_compared(place):
    code, found = run(
        place, "--systems", "loudness:-25", "pooled:logmel", "--train", "synthetic-conflict", "--benchmarks", "mine"
    )
    assert code == 0 and found["benchmarks"]["mine"]["title"] == "My call centre"
    accuracy = {score["system"]: score["accuracy"] for score in found["scores"]}
    assert accuracy["loudness:-25"] == 1.0  # the corpus was made so
    assert set(accuracy) == {"loudness:-25", "pooled:logmel"}
    assert found["scores"][0]["tone_or_words"]["conflicting"] == COUNT
    assert (place / "report" / "report.html").is_file()
