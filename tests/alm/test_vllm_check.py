"""vLLM's kernels are tried on this processor before a model is loaded."""

import signal
import subprocess
import sys

import pytest
from warm import PYTHON

from fas_alm.vllm import check


def test_they_run_here(monkeypatch):
    pytest.importorskip("vllm")
    run = subprocess.run
    monkeypatch.setattr(check.subprocess, "run", lambda command, **options: run([PYTHON, *command[1:]], **options))
    assert check.problem() is None


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGILL)})", "instructions that this processor does not have"),
        ("raise RuntimeError('no kernels')", "do not run here: RuntimeError: no kernels"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("pass", None),
    ],
)
def test_what_ends_the_other_process_is_explained(code, why, monkeypatch):
    run = subprocess.run
    monkeypatch.setattr(
        check.subprocess, "run", lambda command, **options: run([sys.executable, "-c", code], **options)
    )
    found = check.problem()
    assert found is None if why is None else why in found


def test_a_check_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.2)
    run = subprocess.run
    monkeypatch.setattr(
        check.subprocess, "run",
        lambda command, **options: run([sys.executable, "-c", "import time; time.sleep(60)"], **options),
    )  # fmt: skip
    assert "did not load within" in check.problem()
