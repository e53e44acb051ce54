"""Floors that hold: no module imports one of a floor above, and no two import each other, whenever they do it."""

import graphlib
import os
import subprocess
import sys

import grimp
import pytest
from repository import ROOT

from benchmarks.structure import structure

ROOTS = ("fas_core", "fas_alm", "fas_eval", "fas_serve", "demo", "experiments", "benchmarks")


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """module -> the modules of ours that it imports, also within functions; a name that only a type checker reads is no arrow."""
    graph = grimp.build_graph(*ROOTS, exclude_type_checking_imports=True, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_no_arrow_runs_up():
    """In a process of its own: import-linter switches the loggers of its process off."""
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_there_is_no_cycle(imports):
    order = list(graphlib.TopologicalSorter(imports).static_order())  # raises CycleError, which names the modules
    assert len(order) > 300


def test_every_folder_of_the_repository_stands_on_a_floor(imports):
    assert {module.split(".")[0] for module in imports} == set(ROOTS)


def test_the_figures_of_the_structure_find_what_they_count(tmp_path):
    files = {
        "fas_core/a.py": "from fas_core import b\n",
        "fas_core/b.py": "def f():\n    from fas_core.a import x\n    import fas_eval.c\n",
        "fas_core/t.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fas_alm import z\n",
        "fas_alm/z.py": "import fas_core.t\n",
        "eval/c.py": "from fas_core.a import b\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = structure(tmp_path)
    assert found["modules"] == 5 and found["arrows_up"] == ["fas_core.b -> eval.c"]
    assert found["cycles"] == [["eval.c", "fas_core.a", "fas_core.b"]]
