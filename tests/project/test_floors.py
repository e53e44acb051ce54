"""Floors that hold: no module imports one of a floor above, and no two import each other, whenever they do it."""

import graphlib
import os
import subprocess
import sys

import grimp
import pytest
from repository import ROOT

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
