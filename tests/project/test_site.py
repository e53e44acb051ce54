"""The site is built without a warning, and docstrings, which it shows, name what is there and print what they say."""

import ast
import doctest
import importlib
import re
import subprocess
import sys

import pytest
import yaml
from repository import ROOT

FOLDERS = {"fas_core": "fas_core", "fas_alm": "fas_alm", "eval": "fas_eval", "serve": "fas_serve"}
MODULES = {
    ".".join([FOLDERS[folder], *path.relative_to(ROOT / folder).with_suffix("").parts]).removesuffix(".__init__"): path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
EXAMPLES = [
    name for name, path in MODULES.items() if re.search(r"^ *>>> (?!.*SKIP)", path.read_text(encoding="utf-8"), re.M)
]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "answers.html").read_text(encoding="utf-8")
    assert 'id="fas_core.pipeline.EmotionPipeline.from_pretrained"' in page


def test_every_page_of_the_reference_names_modules_that_are_there():
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    named = [name for page in pages for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.M)]
    assert len(named) > 100 and set(named) <= set(MODULES) and len(named) == len(set(named))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_docstrings_print_what_they_say(name):
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted and not done.failed


def described(node: ast.AST) -> set[str]:
    """The parameters that a docstring explains, `a, b: text` as two."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", ast.get_docstring(node) or "", re.M)
    heads = re.findall(r"^    ([\w*]+(?:, [\w*]+)*):", section[1], re.M) if section else []
    return {name.strip("*") for head in heads for name in head.split(", ")}


def parameters(node: ast.AST) -> set[str]:
    """Those of a function, of a class's constructor, or the fields of a dataclass."""
    if isinstance(node, Function):
        groups = node.args
        every = [*groups.posonlyargs, *groups.args, *groups.kwonlyargs, groups.vararg, groups.kwarg]
        return {argument.arg for argument in every if argument}
    fields = {
        part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    return fields.union(
        *(parameters(part) for part in node.body if isinstance(part, Function) and part.name == "__init__")
    )


def takes_more(node: ast.AST) -> bool:
    """Whether keywords are passed on, which a docstring explains by the name that a caller gives, or parameters inherited."""
    if isinstance(node, Function):
        return node.args.kwarg is not None
    return bool(node.bases) and not any(isinstance(part, Function) and part.name == "__init__" for part in node.body)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_explain_parameters_that_are_there(name):
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | Function):
            there = parameters(node)
            assert takes_more(node) or described(node) <= there, (
                f"{name}.{node.name}: {sorted(described(node) - there)}"
            )


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{citation["version"]}"' in project and f'license = "{citation["license"]}"' in project
    paper = citation["preferred-citation"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and {"type", "title", "authors"} <= set(
        paper
    )
    assert (ROOT / "fas_core" / "modeling_fas.py").read_text(encoding="utf-8").count(
        f"Huang et al. {paper['year']}"
    ) > 0


def test_root_pages_name_files_that_are_there():
    for page in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = re.findall(r"`((?:\.ci|tests|docs|fas_core|fas_alm|eval|serve|train)/[\w./-]+)`", text)
        named += re.findall(r"\]\((?!http)([^)#]+)", text)
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_hosted_workflow_calls_targets_that_are_there_by_pinned_actions_without_secrets():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    called = [step["run"].split()[1] for step in steps if step.get("run", "").startswith("make ")]
    assert {"lint", "test", "docs"} <= set(called) <= set(targets)
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert "secrets" not in text.replace("No secrets", "")


def test_examples_stand_in_their_section_where_the_site_takes_them_for_code():
    for name, path in MODULES.items():
        nodes = [
            n
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.Module | ast.ClassDef | Function)
        ]
        for text in filter(None, map(ast.get_docstring, nodes)):
            assert ">>> " not in text or re.search(r"^Examples:\n", text, re.MULTILINE), f"{name}: {text[:60]}"
