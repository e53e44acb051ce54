"""The wheel in an environment of its own, in a folder where a user has files called eval.py, serve.py and train.py."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from repository import ROOT

pytestmark = pytest.mark.slow
USERS = ("eval", "serve", "train", "demo", "experiments")
FOLDERS = {
    "fas_core": "fas_core",
    "fas_alm": "fas_alm",
    "eval": "fas_eval",
    "serve": "fas_serve",
    "train/configs": "fas_core/configs",
}
LEFT_OUT = ("docs", "tests", "benchmarks")  # none of it is packed


def tracked(folder: str) -> list[str]:
    """Files that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what git knows, so that nothing of an earlier build is packed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked("."):
        if name.split("/")[0] not in LEFT_OUT:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, target, source], check=True, timeout=300)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def home(wheel, tmp_path_factory) -> Path:
    """An environment that has the wheel, and of this one the packages that the wheel needs; beside it a user's files."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "venv", with_pip=False)
    python = home / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, timeout=300)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home / "venv")}))
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not read
    for name in USERS:
        (home / f"{name}.py").write_text(f"print('the {name}.py of a user')\n")
    return home


def run(home: Path, *command: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    program, *arguments = command
    return subprocess.run([home / "venv" / "bin" / program, *arguments], cwd=home, env=environment, capture_output=True,
                          text=True, timeout=300)  # fmt: skip


def test_it_holds_our_packages_under_names_of_their_own_and_the_recipes(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"fas_core", "fas_alm", "fas_eval", "fas_serve"}
    assert set(names) >= {
        f"{installed}{name.removeprefix(folder)}" for folder, installed in FOLDERS.items() for name in tracked(folder)
    }


@pytest.mark.parametrize("name", USERS)
def test_the_files_of_the_user_run(home, name):
    assert run(home, "python", "-m", name).stdout == f"the {name}.py of a user\n"


def test_the_modules_are_those_of_the_wheel(home):
    modules = ("fas_core", "fas_alm", "fas_eval.suite.run", "fas_serve.app")
    done = run(
        home, "python", "-c", f"import sys, {', '.join(modules)}\nfor m in {modules}: print(sys.modules[m].__file__)"
    )
    assert done.returncode == 0, done.stderr
    assert all(str(home / "venv") in line for line in done.stdout.splitlines())


def test_the_command_answers_compares_and_serves_beside_these_files(home, tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(home / "clip.wav", samples, 16_000)
    done = run(home, "fas", "predict", "clip.wav", "--format", "json", "--no-words", "--speech-threshold", "0")
    assert done.returncode == 0, done.stderr
    assert '"label"' in done.stdout
    assert "fas-train" in run(home, "fas", "eval", "--list").stdout
    assert "DIR" in run(home, "fas", "train", "paper", "--help").stdout.upper()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [home / "venv" / "bin" / "fas", "serve", "--fas-only", "--port", "0"]
    with subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            lines = []
            assert any(lines.append(line) or line.startswith("ready: ") for line in server.stderr), lines
        finally:
            server.terminate()
            server.stderr.read()
    assert server.returncode in (0, 143)
