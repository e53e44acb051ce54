"""The documentation names commands and files that are there, and its tables are what the commands print."""

import ast
import contextlib
import importlib
import importlib.util
import io
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
from repository import ROOT
from typer.main import get_command

from experiments import adapter, picture
from experiments.stages import read
from experiments.tables import tables
from fas_core.cli.app import Group, Lazy
from fas_core.errors import MissingDependencyError

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "fas_core" / "pretrained").glob("*/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SITE = [*PAGES, *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY", "LICENSES"))]
OURS = ("fas_core", "fas_alm", "eval", "serve", "train", "benchmarks", "demo", "experiments")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FLAG = re.compile(r"--[A-Za-z][\w-]*")
DOTTED = re.compile(
    r"(?<![\w/.-])(?:fas_core|fas_alm|fas_eval|fas_serve|experiments|benchmarks)(?:\.[A-Za-z_]\w*)+(?![/\w])"
)
PATHS = re.compile(r"`((?:fas_core|fas_alm|eval|serve|train|tests|docs|demo|experiments|constraints|\.ci)/[\w./*-]+)`")
SCRIPTS = dict(
    re.findall(r'^([\w-]+) = "([\w.]+):\w+"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
)
APPLICATIONS = {  # of scripts, and of modules that share one with the door
    "fas_core": "fas_core.cli.door:app",
    SCRIPTS["fas"]: "fas_core.cli.door:app",
    "train/fas.py": "fas_core.cli.train:script",
    "train/alm_adapter.py": "fas_alm.training.adapter:app",
    "train/encoder_lora.py": "fas_core.training.encoder_lora:app",
    "fas_alm.export": "fas_core.cli.export:app",
}
TARGETS = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Every command line of a page: of code blocks for a shell and of code within the text."""
    text = page.read_text(encoding="utf-8")
    blocks = [body for language, body in FENCE.findall(text) if language in ("", "bash", "sh", "console")]
    lines = [line for body in blocks for line in body.replace("\\\n", " ").split("\n")]
    lines += INLINE.findall(FENCE.sub("", text))
    parts = [part.strip() for line in lines for part in re.split(r"&&|;|\||\bdo\b", line.split("  #")[0])]
    return [part for part in parts if re.search(r"\bpython |^fas |^fas-|^make |torchrun|accelerate launch", part)]


def target(command: str) -> tuple[str, list[str]] | None:
    """(module, script or make target; the words after it) of a command that is ours."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return None
    for number, word in enumerate(words):
        rest = words[number + 1 :]
        if word == "-m" and rest and rest[0].split(".")[0] in OURS:
            return rest[0], rest[1:]
        if re.fullmatch(r"(train|benchmarks)/\w+\.py", word):
            return word, rest
        if number == 0 and word in SCRIPTS:
            return SCRIPTS[word], rest
        if number == 0 and word == "make" and rest:
            return "make", rest
    return None


NAMED = sorted({(page.name, command) for page in PAGES for command in commands(page) if target(command)})


@cache
def names_of(module: str) -> set[str]:
    """Functions, classes, fields and constants of a module, members as `Class.member`; nothing is imported."""
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"))
    owners = [("", tree), *((f"{node.name}.", node) for node in tree.body if isinstance(node, ast.ClassDef))]
    return {prefix + name for prefix, owner in owners for node in owner.body for name in bound(node)}


def bound(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.If):
        return [name for part in node.body for name in bound(part)]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    targets = getattr(node, "targets", [getattr(node, "target", node)])
    return [name for part in targets if (name := getattr(part, "id", getattr(part, "name", None)))]


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something that stands in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            spec = importlib.util.find_spec(".".join(parts[:count]))
        except ModuleNotFoundError:  # a parent is no package
            continue
        if spec is not None:
            return count == len(parts) or ".".join(parts[count:]) in names_of(spec.name)
    return False


def subcommands(text: str) -> set[str]:
    """Those that argparse lists in a help text."""
    braced = re.findall(r"^ +\{([\w,-]+)\}", text.partition("positional arguments:")[2], re.MULTILINE)
    return {name for names in braced for name in names.split(",")}


@cache
def help_of(place: str, subcommand: str = "") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # as a terminal, which can be reconfigured
    before, sys.argv = sys.argv, [place, *filter(None, [subcommand]), "--help"]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            if place.endswith(".py"):
                runpy.run_path(str(ROOT / place), run_name="__main__")
            else:
                runpy.run_module(place, run_name="__main__", alter_sys=False)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    finally:
        sys.argv = before
    out.seek(0)
    return out.read()


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Help texts that are not cut."""
    monkeypatch.chdir(ROOT)
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        monkeypatch.setenv(name, "300")


def test_commands_are_found():
    assert len(NAMED) > 60 and {"make demo", "fas predict"} <= {" ".join(c.split()[:2]) for _, c in NAMED}


def application(place: str):
    """The typer application of a script or module, or None where it reads its command line otherwise."""
    if place in APPLICATIONS:
        module, name = APPLICATIONS[place].split(":")
        return getattr(importlib.import_module(module), name)
    if place.endswith(".py") or place.split(".")[0] in ("benchmarks", "experiments"):
        return None
    module = f"{place}.__main__" if importlib.util.find_spec(place).submodule_search_locations else place
    try:
        return getattr(importlib.import_module(module), "app", None)
    except MissingDependencyError as error:
        pytest.skip(str(error))


def unknown_flags(app, words: list[str], named: str) -> set[str]:
    """Flags that the command of these words does not know by any of its spellings."""
    command, rest = get_command(app), list(words)
    while isinstance(command, Group):
        if not rest or rest[0] in ("--help", "--version"):  # the group itself
            return set()
        assert rest[0] in command.commands, f"{named} has {sorted(command.commands)}"
        command = command.commands[rest.pop(0)]
        command = command.load() if isinstance(command, Lazy) else command
    spelling = command.spelling()
    given = {word.partition("=")[0] for word in rest}
    return {flag for flag in given if FLAG.fullmatch(flag) and spelling.flag(flag) not in spelling.flags}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("page", "command"), NAMED, ids=[f"{p}: {c[:70]}" for p, c in NAMED])
def test_the_command_is_there(page, command):
    place, words = target(command)
    if place == "make":
        assert words[0] in TARGETS
        return
    if place.endswith(".py"):
        assert (ROOT / place).is_file()
    else:
        assert importlib.util.find_spec(place) is not None
        if importlib.util.find_spec(place).submodule_search_locations:
            assert importlib.util.find_spec(f"{place}.__main__") is not None
    if (app := application(place)) is not None:
        if words and not (words[0] == "..." or words[0].startswith("[")):
            assert not (found := unknown_flags(app, words, place)), f"{place} has no {sorted(found)}"
        return
    flags = {word.partition("=")[0] for word in words if FLAG.fullmatch(word.partition("=")[0])}
    text = help_of(place)
    known = subcommands(text)
    first = next((word for word in words if not word.startswith("-")), None)
    if known and first and re.fullmatch(r"[a-z][\w-]*", first):
        assert first in known, f"{place} has {known}"
        text = help_of(place, first) + text
    there = set(FLAG.findall(text)) | {flag.replace("_", "-") for flag in FLAG.findall(text)}
    assert flags <= there, f"{place} has no {sorted(flags - there)}"


def test_files_that_are_named_are_there():
    for page in PAGES:
        for name in re.findall(r"docs/(?:results|benchmarks)/[\w.-]+\.\w+", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{page.name}: {name}"


def test_modules_functions_and_fields_that_are_named_are_there():
    assert is_there("fas_core.audio.load_audio") and not is_there("fas_core.audio.load_nothing")
    for page in SITE:
        for name in sorted(set(DOTTED.findall(page.read_text(encoding="utf-8")))):
            assert is_there(name.removesuffix(".py")), f"{page.name}: {name}"


def test_paths_of_the_repository_that_are_named_are_there():
    for page in SITE:
        for name in PATHS.findall(page.read_text(encoding="utf-8")):
            assert any(ROOT.glob(name.rstrip("/"))), f"{page.name}: {name}"


def test_every_table_of_results_says_where_it_comes_from():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    found = list(re.finditer(r"(?:^\|.*\n)+", text, re.MULTILINE))
    assert len(found) > 10
    for number, table in enumerate(found):
        start = max(text.rfind("\n## ", 0, table.start()), found[number - 1].end() if number else 0)
        source = text[start : table.end()]
        named = re.search(r"python -m |python \w+/|make demo|docs/(results|benchmarks)/", source)
        assert named, f"the table after {source[:80]!r}"


@pytest.mark.parametrize("name", ["test", "second"])
def test_tables_of_the_study_are_what_its_command_prints(name):
    printed = tables([ROOT / f"docs/results/{name}.jsonl"], "test").split("\n")
    assert set(printed) <= set((ROOT / "docs/results.md").read_text(encoding="utf-8").split("\n"))


@pytest.mark.parametrize("name", ["alm", "alm_labels"])
def test_tables_of_the_adapter_are_what_its_command_prints(name):
    printed = adapter.table(read(ROOT / f"docs/results/{name}.jsonl")).split("\n")
    assert set(printed) <= set((ROOT / "docs/results.md").read_text(encoding="utf-8").split("\n"))


def test_no_line_compares_emodb_with_the_paper_without_a_word_on_its_clips():
    for page in PAGES:
        for paragraph in re.split(r"\n\s*\n|\n- ", page.read_text(encoding="utf-8")):
            if "68.1 ACC" in paragraph or (
                "EmoDB" in paragraph and re.search(r"[Tt]he paper(, with| has| reaches)", paragraph)
            ):
                assert "boredom" in paragraph, f"{page.name}: {paragraph[:100]}"


def test_exactly_as_the_paper_is_the_name_of_its_batch_epochs_padding_and_audio():
    from fas_core.training.fas import parse

    data, _, training = parse([str(ROOT / "train/configs/paper.yaml")])
    assert (training.global_batch_size, training.epochs) == (2048, 100)
    assert (data.padding, data.trim, data.level) == ("30s", False, False)
    for path in [*PAGES, *ROOT.glob("eval/**/*.yaml"), *ROOT.glob("eval/**/*.py"), *ROOT.glob("train/**/*.yaml")]:
        for line in path.read_text(encoding="utf-8").split("\n"):
            if re.search(r"exactly as the paper", line, re.IGNORECASE):
                assert "paper.yaml" in line or (path.name == "paper.yaml" and path.parent.name == "configs"), (
                    f"{path.name}: {line}"
                )


def test_the_picture_of_the_readme_is_what_its_command_draws_and_says_what_its_table_says(tmp_path):
    assert picture.main(["--output", str(tmp_path / "results.svg"), "--docs", str(ROOT / "docs")]) == 0
    assert "<svg" in (tmp_path / "results.svg").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    for system, figures in picture.recall_by_corpus(read(ROOT / "docs/results/test.jsonl")).items():
        cells = [f"{figure['mean']:.1f} ± {figure['spread']:.1f}" for figure in figures]
        assert any(all(cell in row for cell in cells) for row in rows), f"{system}: {cells}"
