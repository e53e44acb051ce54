"""Known holes: what is installed, pinned and asked for is above them, and the audit says so."""

import json
from datetime import date, timedelta

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import ROOT

from fas_core import audit

try:
    import tomllib
except ImportError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")

DAY, ENTRIES = audit.read_table()


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [
        Requirement(text)
        for group in [project["dependencies"], *project["optional-dependencies"].values()]
        for text in group
    ]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints" / "cpu.txt").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_floors_are_above_the_holes(requirement):
    """Of the holes that have a fix: the lowest version that may be installed is not affected."""
    lowest = [s.version for s in requirement.specifier if s.operator in (">=", "==")]
    for entry in ENTRIES:
        if entry.package == canonicalize_name(requirement.name) and entry.fixed:
            assert lowest and not entry.affects(lowest[0]), (
                f"{requirement}: {entry.describe(lowest[0] if lowest else 'any')}"
            )


def test_pins_are_above_the_holes():
    assert [entry.describe(version) for entry, version in audit.matches(pins(), ENTRIES) if not entry.accepted] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.package}-{entry.id[:20]}")
def test_entries_say_what_they_mean(entry):
    assert entry.package == canonicalize_name(entry.package) and entry.id.startswith(("CVE-", "GHSA-", "PYSEC-"))
    assert entry.fixed is None or not entry.affects(entry.fixed)


@pytest.mark.parametrize("name", ["transformers", "python-multipart", "av"])
def test_what_the_project_was_warned_of_is_in_the_table(name):
    assert any(entry.package == name for entry in ENTRIES)


class TestCommand:
    def run(self, monkeypatch, tmp_path, packages, entries, today=DAY):
        table = tmp_path / "table.json"
        table.write_text(json.dumps({"date": str(DAY), "advisories": entries}))
        monkeypatch.setattr(audit, "installed", lambda: packages)
        return audit.main(today, table)

    ENTRY = {"package": "some-thing", "id": "CVE-1", "affected": "<2.0", "fixed": "2.0"}

    @pytest.mark.parametrize("version", ["1.9", "1.9rc1", "1.0+cpu", "not a version"])
    def test_a_hole_is_named_and_the_status_is_one(self, monkeypatch, tmp_path, capsys, version):
        assert self.run(monkeypatch, tmp_path, {"some-thing": version}, [self.ENTRY]) == 1
        said = capsys.readouterr().out
        assert "some-thing" in said and "CVE-1" in said and "fixed in 2.0" in said and str(DAY) in said

    @pytest.mark.parametrize("packages", [{}, {"some-thing": "2.0"}, {"some-thing": "2.0+cpu"}, {"other": "1.0"}])
    def test_none(self, monkeypatch, tmp_path, capsys, packages):
        assert self.run(monkeypatch, tmp_path, packages, [self.ENTRY]) == 0
        assert "0 found" in capsys.readouterr().out

    def test_what_is_accepted_is_told_and_does_not_fail(self, monkeypatch, tmp_path, capsys):
        assert self.run(monkeypatch, tmp_path, {"some-thing": "1"}, [self.ENTRY | {"accepted": "not used"}]) == 0
        assert "accepted: not used" in capsys.readouterr().out

    @pytest.mark.parametrize("days", [0, audit.OLD + 1])
    def test_an_old_table_says_so(self, monkeypatch, tmp_path, capsys, days):
        self.run(monkeypatch, tmp_path, {}, [], DAY + timedelta(days=days))
        assert ("days old" in capsys.readouterr().err) == (days > audit.OLD)

    @pytest.mark.parametrize("entries", [[{}], [ENTRY | {"affected": "x"}], 7, [ENTRY | {"more": 1}]])
    def test_a_table_of_another_form(self, monkeypatch, tmp_path, capsys, entries):
        assert self.run(monkeypatch, tmp_path, {}, entries) == 2

    def test_this_environment(self, capsys):
        packages = audit.installed()
        assert packages["torch"] and date.fromisoformat(str(DAY))
