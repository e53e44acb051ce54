"""Runs of several parts: each is written as it comes, one that fails is a row with its error, and the exit code says so."""

import json
from types import SimpleNamespace

import pytest
import torch

from benchmarks import alm_train, features, serving, train
from benchmarks.measure import exit_code, run_modes
from fas_core.attempts import attempt

FAILURES = [
    RuntimeError("no kernel\nand more"),
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    ValueError("x\x1b[2J"),
]


def fail(error: BaseException):
    raise error


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_the_others_go_on(error, capsys):
    saved = []
    found = run_modes(
        {"a": lambda: {"n": 1}, "b": lambda: fail(error), "c": lambda: {"n": 2}},
        lambda found: saved.append(json.dumps(found)),
    )
    assert [list(json.loads(text)) for text in saved] == [["a"], ["a", "b"], ["a", "b", "c"]], "saved as each is done"
    assert found["a"] == {"n": 1} and found["c"] == {"n": 2} and type(error).__name__ in found["b"]["error"]
    assert exit_code(found) == 1 and exit_code({"a": found["a"]}) == 0
    said = capsys.readouterr().err
    assert said.startswith("b: failed: ") and said.count("\n") == 1 and "\x1b" not in said


def test_an_interrupt_is_no_failure_of_a_part():
    with pytest.raises(KeyboardInterrupt):
        attempt("a", lambda: fail(KeyboardInterrupt()))


def test_what_was_there_before_an_interrupt_is_written():
    saved = []
    with pytest.raises(KeyboardInterrupt):
        run_modes(
            {"a": lambda: {"n": 1}, "b": lambda: fail(KeyboardInterrupt())}, lambda found: saved.append(dict(found))
        )
    assert saved == [{"a": {"n": 1}}]


def test_adapter_training_keeps_loras_rows_when_the_full_model_does_not_fit(tmp_path, monkeypatch):
    whole = alm_train.measure

    def measure(size, mode, *rest):
        return fail(torch.OutOfMemoryError("CUDA out of memory")) if mode == "full" else whole(size, mode, *rest)

    monkeypatch.setattr(alm_train, "measure", measure)
    out = tmp_path / "out.json"
    assert alm_train.main(["--quick", "--batch", "2", "--steps", "1", "--warmup", "0", "--output", str(out)]) == 1
    rows = json.loads(out.read_text())["rows"]
    assert [(r["mode"], r["shared_question"], "error" in r) for r in rows] == [
        ("lora", False, False), ("lora", True, False), ("full", False, True), ("full", True, True)
    ]  # fmt: skip
    assert all(r["tokens_per_second"] > 0 for r in rows[:2]) and "out of memory" in rows[3]["error"]


@pytest.mark.parametrize("broken", ["epoch", "throughput"])
def test_training_writes_what_it_has(tmp_path, monkeypatch, broken):
    epoch = {"clips": 1, "epoch_encoding_again_s": 2.0, "epoch_from_cache_s": 1.0, "times_faster": 2.0}
    rates = (
        "clips_per_second",
        "bandwidth_bytes_per_s",
        "share_of_bandwidth",
        "matmul_operations_per_s",
        "share_of_matmul_rate",
    )
    throughput = dict.fromkeys(rates, 1.0) | {"machine": {"device": "CPU"}}
    for name, result in (("epoch", epoch), ("throughput", throughput)):
        monkeypatch.setattr(
            train, f"measure_{name}", lambda *_, n=name, r=result: fail(RuntimeError("broken")) if n == broken else r
        )
    out = tmp_path / "out.json"
    assert train.main(["--data", "manifest=x", "--output", str(out)]) == 1
    written = json.loads(out.read_text())
    assert ("error" in written["epoch"]) == (broken == "epoch")
    assert all(("error" in part) == (broken == "throughput") for part in written["throughput"])


def test_extraction_tells_of_sides_that_failed():
    run = {"audio_seconds": 10.0, "seconds": 2.0, "cpu_seconds": 2.0, "x_real_time": 5.0, "peak_memory_mb": 100.0}
    settings = {"clips": 1, "data": "x", "model": "m", "threads": 1, "repeats": 1}
    found = {"plain 1": {"error": "RuntimeError: a | b"}, "untrimmed 1": run, "ours 1": run}
    text = features.markdown(features.summary(found) | {"settings": settings})
    assert "failed: plain 1" in text and "| extract_features | 5.0" in text
    whole = features.markdown(features.summary(found | {"plain 1": run | {"seconds": 4.0}}) | {"settings": settings})
    assert "| 2.0 | 1.0 |" in whole and "failed" not in whole


def test_serving_compares_only_what_is_there(monkeypatch):
    monkeypatch.setattr(serving, "_vllm_version", lambda: "0")
    monkeypatch.setattr(serving, "server_options", lambda arguments: [])
    arguments = SimpleNamespace(language_model="m", clip=None, max_tokens=1, dtype="float32", quick=True)
    result = serving.as_result({"fas_alm": {"levels": []}, "qwen2_audio": {"error": "x"}}, arguments)
    assert result["times"] == [] and result["qwen2_audio"] == {"error": "x"}
