"""A folder that a resumed run reads: whatever is wrong with it is one `CheckpointError` that names the file."""

import json
import math
import os
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from fas_alm.training.folder import RUN, start_run
from fas_alm.training.limit import SPENT, TimeLimit
from fas_alm.training.trained_weights import load_trainable_state, load_weights, save_weights
from fas_core.errors import CheckpointError
from fas_core.training.resume import POINTER, load_resume_state, save_resume_state

INFO = {"epoch": 1, "history": [], "best_score": 0.5, "best_epoch": 0, "fingerprint": {}}
JSON = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "a number": "3",
    "null": "null",
    "not utf-8": b"\xff",
    "cut": '{"sta',
    "deep": "[" * 99_999,
}


@pytest.fixture
def run(tmp_path):
    """A state of a small model, and an optimizer that has made a step."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_resume_state(tmp_path, 1, model.state_dict(), model.state_dict(), optimizer, INFO)
    return SimpleNamespace(root=tmp_path, state=tmp_path / "resume-00000001", optimizer=optimizer)


def write(path, content) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_whole_state_is_read(run):
    model, best, info = load_resume_state(run.root, run.optimizer)
    assert info == INFO and set(model) == set(best) == {"weight", "bias"}


@pytest.mark.parametrize("kind", JSON)
@pytest.mark.parametrize("name", ["pointer", "info"])
def test_damaged_json(run, name, kind):
    path = run.root / POINTER if name == "pointer" else run.state / "info.json"
    write(path, JSON[kind])
    with pytest.raises(CheckpointError, match=path.name):
        load_resume_state(run.root, run.optimizer)


@pytest.mark.parametrize(
    "state", ["..", "../..", "/etc", "resume-1/../..", "", None, 7, ["a"], "resume-00000009", "other"]
)
def test_a_pointer_that_leads_elsewhere(run, state):
    (run.root / POINTER).write_text(json.dumps({"state": state}))
    with pytest.raises(CheckpointError):
        load_resume_state(run.root, run.optimizer)


@pytest.mark.parametrize("field", INFO)
@pytest.mark.parametrize("value", [None, "x", {"a": "b"}, True])
def test_fields_of_another_kind(run, field, value):
    if isinstance(value, dict) and field == "fingerprint":
        pytest.skip("an object is right there")
    (run.state / "info.json").write_text(json.dumps(INFO | {field: value}))
    with pytest.raises(CheckpointError, match=f"info.json: {field}"):
        load_resume_state(run.root, run.optimizer)


WEIGHTS = {
    "empty": b"", "cut": lambda data: data[:-5], "noise": os.urandom(999), "header only": lambda data: data[:8], "a pickle": b"\x80\x04."
}  # fmt: skip


@pytest.mark.parametrize("kind", WEIGHTS)
def test_damaged_weights(run, kind):
    path = run.state / "state.safetensors"
    content = WEIGHTS[kind]
    path.write_bytes(content(path.read_bytes()) if callable(content) else content)
    with pytest.raises(CheckpointError, match="start anew"):
        load_resume_state(run.root, run.optimizer)


@pytest.mark.parametrize("name", ["other.a", "nothing", "optimizer.x.step", "optimizer.0"])
def test_tensors_of_another_kind(run, name):
    path = run.state / "state.safetensors"
    save_file(load_file(path) | {name: torch.zeros(1)}, path)
    with pytest.raises(CheckpointError):
        load_resume_state(run.root, run.optimizer)


def test_weights_that_are_no_numbers(run):
    path = run.state / "state.safetensors"
    save_file(load_file(path) | {"model.weight": torch.full((2, 2), math.nan)}, path)
    with pytest.raises(CheckpointError, match="weight holds NaN"):
        load_resume_state(run.root, run.optimizer)


class TestAdapterRuns:
    @pytest.mark.parametrize("kind", JSON)
    def test_the_settings_of_the_run(self, tmp_path, kind):
        write(tmp_path / RUN, JSON[kind])
        state = SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: None)
        with pytest.raises(CheckpointError, match=RUN):
            start_run(tmp_path, {"data": {"cache_dir": "", "a": 1}}, True, state)

    @pytest.mark.parametrize("seconds", ['"x"', "-1", "null", "[]", "NaN", "Infinity", "true"])
    def test_the_time_that_was_spent(self, tmp_path, seconds):
        (tmp_path / SPENT).write_text(f'{{"seconds": {seconds}}}')
        with pytest.raises(CheckpointError, match=SPENT):
            TimeLimit(1.0, tmp_path, resume=True)

    @pytest.mark.parametrize("kind", WEIGHTS)
    def test_the_best_weights(self, tmp_path, kind):
        path = tmp_path / "best.safetensors"
        save_weights(path, {"weight": torch.zeros(2, 2)}, None, None)
        content = WEIGHTS[kind]
        path.write_bytes(content(path.read_bytes()) if callable(content) else content)
        with pytest.raises(CheckpointError, match="best.safetensors"):
            load_weights(path)

    @pytest.mark.parametrize(
        "state", [{}, {"weight": torch.zeros(2, 2)}, {"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}]
    )
    def test_weights_of_another_model(self, state):
        with pytest.raises(CheckpointError, match="best"):
            load_trainable_state(torch.nn.Linear(2, 2), state, "best.safetensors")
