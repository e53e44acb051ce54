"""Which shipped checkpoint answers where nobody names one, how one is named, and that both travel with the package."""

import sys
from pathlib import Path

import pytest
from repository import ROOT
from synthetic import save_tiny_whisper, write_clips

from fas_core import shipped
from fas_core.checkpoint import load_model, read_config, read_record
from fas_core.encoders import offline
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.training import fas as run

THERE = [name for name in shipped.NAMES if (shipped.FOLDER / name / "config.json").is_file()]


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """What is installed: a set that a test fills; the environment names nothing, and both ship."""
    names: set[str] = set()
    for name in shipped.NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    monkeypatch.setattr(shipped, "is_installed", names.__contains__)
    monkeypatch.delenv(shipped.VARIABLE)
    return names


@pytest.mark.parametrize(
    ("there", "expected"),
    [({"base", "tiny.en"}, "base"), ({"tiny.en"}, "tiny.en"), ({"base"}, "base"), (set(), "tiny.en")],
)
def test_the_better_one_answers_where_its_weights_are_installed(installed, there, expected):
    installed |= there
    assert shipped.find_shipped() == shipped.FOLDER / expected
    assert shipped.shipped_name(None) == expected


def test_the_environment_names_one_and_a_name_goes_before_it(installed, monkeypatch):
    installed |= {"base", "tiny.en"}
    monkeypatch.setenv(shipped.VARIABLE, "tiny.en")
    assert shipped.find_shipped() == shipped.FOLDER / "tiny.en"
    assert shipped.find_shipped("base") == shipped.FOLDER / "base"
    monkeypatch.setenv(shipped.VARIABLE, "large")
    with pytest.raises(FASError, match=r"\$FAS_CHECKPOINT 'large': expected one of base, tiny.en"):
        shipped.find_shipped()


def test_what_is_no_name_stays_as_it_is(tmp_path):
    for checkpoint in ("./base", "runs/base", "org/base", Path("base"), tmp_path):
        assert shipped.find_shipped(checkpoint) is checkpoint and shipped.shipped_name(checkpoint) is None
    assert shipped.shipped_name(shipped.FOLDER / "base") == "base"


def test_weights_are_installed_where_all_of_their_files_are(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("FAS_CACHE", str(tmp_path / "cache"))
    weights = offline.OFFLINE_WEIGHTS["base"]
    for file in (*weights.model, weights.config, weights.tokenizer):
        assert not offline.is_installed("base")
        path = tmp_path / file.module / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert offline.is_installed("base") and not offline.is_installed("tiny.en")
    (tmp_path / "cache" / "offline" / offline._converted("tiny.en").name).mkdir(parents=True)
    assert offline.is_installed("tiny.en")


@pytest.mark.parametrize("name", THERE)
def test_a_shipped_checkpoint_is_whole_small_and_says_where_it_comes_from(name):
    folder = shipped.FOLDER / name
    model = load_model(folder)
    assert model.config.streams["acoustic"]["model"] == f"offline:{name}"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 15e6
    record = read_record(folder)
    assert record["provenance"]["commit"] and not any(
        record["data"]["corpora"][i]["failed"] for i in range(len(record["data"]["corpora"]))
    )
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert all(corpus["corpus"] in card for corpus in record["data"]["corpora"])
    for file in ("config.json", "training.json", "streams.json"):
        assert "/work/" not in (text := (folder / file).read_text(encoding="utf-8")) and "/home/" not in text
    assert read_config(folder / "config.json").conflict_calibration != [0.0, 1.0, 0.0]


def test_all_files_of_all_that_ship_are_data_of_the_package():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["fas_core"]
    packed = {path for pattern in patterns for path in (ROOT / "fas_core").glob(pattern)}
    assert packed == {path for path in shipped.FOLDER.rglob("*") if path.is_file()}
    assert {"offline", "offline-base"} <= set(settings["project"]["optional-dependencies"])


def test_training_twice_gives_the_same_bytes(tmp_path):
    """From audio to weights, by the command of a shipped checkpoint, features extracted anew; on two small corpora and a small Whisper."""
    whisper = save_tiny_whisper(tmp_path / "whisper")
    for number, name in enumerate(("one", "two")):
        rows = write_clips(tmp_path / name, [0.3 + 0.02 * ((i + number) % 5) for i in range(24)])
        lines = [
            f"{Path(row['audio']).name},{EMOTIONS[i % 4]},s{i % 6},{'validation' if i % 6 > 4 else 'train'}"
            for i, row in enumerate(rows)
        ]
        (tmp_path / name / "manifest.csv").write_text("\n".join(["audio,emotion,speaker,split", *lines]))
    for again in ("first", "second"):
        more = dict(
            encoder=whisper, acoustic_layer=1, hidden_size=16, whitening=4, epochs=2, cpu=True, words_from="none"
        )
        flags = [text for name, value in more.items() for text in (f"--{name}", str(value))]
        corpora = [f"{name}={tmp_path / name}" for name in ("one", "two")]
        config = str(ROOT / "train" / "configs" / "shipped_tiny_en.yaml")
        folders = ["--cache_dir", str(tmp_path / again / "cache"), "--output_dir", str(tmp_path / again)]
        assert run.main([config, "--corpora", *corpora, *flags, *folders]) == 0
    first, second = ((tmp_path / again / "model.safetensors").read_bytes() for again in ("first", "second"))
    assert first == second
    assert load_model(tmp_path / "first").config.answer_from == "tone"
