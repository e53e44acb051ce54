"""What a result says about how it came about."""

import subprocess

from fas_core.provenance import git_state, provenance


def test_provenance_names_no_host(tmp_path):
    record = provenance(["python", "-m", "eval.suite"])
    assert record["platform"]["cpus"] >= 1 and record["command"][-1] == "eval.suite"
    assert set(record["platform"]) == {"system", "machine", "python", "cpus"}
    assert "/" not in provenance()["command"][0]
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_git_state_sees_changes(tmp_path):
    def git(*arguments):
        name = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    assert git_state(tmp_path)["dirty"] is False and len(git_state(tmp_path)["commit"]) == 40
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path)["dirty"] is True
