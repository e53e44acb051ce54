"""The door `fas`: every command behind one table, one spelling of options, help that loads nothing heavy, errors of one line."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from repository import ROOT
from typer.main import get_command

from fas_core import __version__
from fas_core.cli import door
from fas_core.cli.adapter_options import AdapterData, AdapterParts, AdapterTraining
from fas_core.cli.app import App, Group, Lazy, nearest, runner
from fas_core.cli.from_dataclasses import add_command, parse
from fas_core.cli.recipes import recipe_file
from fas_core.cli.spelling import Spelling
from fas_core.cli.train import app as train
from fas_core.errors import FASError
from fas_core.training.arguments import ModelArguments
from fas_core.training.options import option

HEAVY = ("torch", "transformers", "sklearn", "scipy", "datasets", "vllm", "gradio", "matplotlib", "pandas")
fas = runner(door.app, "fas")


def commands() -> list[tuple[str, ...]]:
    """Every command of the door, those of groups with their group."""
    found = []
    for name, lazy in get_command(door.app).commands.items():
        command = lazy.load()
        found += [(name, below) for below in command.commands] if isinstance(command, Group) else [(name,)]
    return found


COMMANDS = commands()


class TestDoor:
    def test_it_has_every_command(self):
        expected = "predict words train adapter eval case serve chat page export data features demo".split()
        assert set(expected) <= set(get_command(door.app).commands)

    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_help_teaches(self, words, capsys, monkeypatch):
        monkeypatch.setenv("TERMINAL_WIDTH", "200")
        assert fas([*words, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Example" in text and "Exit code" in text and f"fas {' '.join(words)}" in text

    def test_help_loads_nothing_heavy(self):
        words = [
            list(each) for each in [(), *{each[:1] for each in COMMANDS}, *COMMANDS] if each != ("case", "transplant")
        ]
        code = f"""
import sys
from fas_core.cli.app import runner
from fas_core.cli.door import app
for words in {words!r}:
    assert runner(app, "fas")([*words, "--help"]) == 0, words
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, (words, loaded)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-500:]

    def test_version(self, capsys):
        assert fas(["--version"]) == 0 and __version__ in capsys.readouterr().out

    def test_without_words_it_shows_its_help(self, capsys):
        assert fas([]) == 2 and "predict" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["predct"], "Did you mean 'predict'?"),
            (["predict", "a.wav", "--time-line"], "--time-line: no such option; did you mean --timeline?"),
            (["eval"], "--output DIR is missing"),
            (["train", "--epochs", "x"], "--epochs 'x': expected a valid integer"),
            (["train", "nowhere"], "nowhere: not understood; expected a YAML file, or one of recommended"),
            (["export", "adapter"], "OUTPUT: expected one model directory"),
            (["features", "extract", "--cache", "c"], "no corpus: expected --corpora NAME=FOLDER"),
            (["words", "read", "--file", "nowhere.txt"], "nowhere.txt"),
            (["data", "check", "a", "b"], "unexpected extra argument"),
        ],
    )
    def test_an_error_is_one_line_and_code_2(self, words, told, capsys):
        assert fas(words) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("error: ") and told in shown and len(shown.strip().splitlines()) == 1

    def test_the_demo_needs_a_checkout(self, monkeypatch, tmp_path, capsys):
        from fas_core.cli import demo

        monkeypatch.setattr(demo, "CHECKOUT", tmp_path)
        assert fas(["demo"]) == 2 and "checkout" in capsys.readouterr().err

    def test_ctrl_c(self, monkeypatch):
        def interrupted(self):
            raise KeyboardInterrupt

        monkeypatch.setattr(Lazy, "load", interrupted)
        assert fas(["chat"]) == 130

    def test_a_package_that_lacks_is_one_line(self, monkeypatch, capsys):
        def lacks(self):
            raise ModuleNotFoundError("No module named 'gradio'")

        monkeypatch.setattr(Lazy, "load", lacks)
        assert fas(["page"]) == 2 and capsys.readouterr().err.startswith("error: ModuleNotFoundError: No module")

    def test_modules_are_the_door_too(self):
        for module in ("fas_core", "fas_core.cli"):
            done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, cwd=ROOT)
            assert done.stdout.strip() == f"fas-alm {__version__}"


@dataclass
class Few:
    """A few options; more words."""

    corpora: list[str] = option([], "several [words]", metavar="NAME=FOLDER...")
    output_dir: str = option("out", "where to", flag="output")
    trim: bool = option(True, "a switch")
    resume: bool = option(False, "another")
    level: int = option(-1, "a number")
    fold: int | None = option(None, "none by default")
    rate: float = option(500, "an int in a float")


class TestFromDataclasses:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ([], Few()),
            (["--corpora", "a=b", "c=d", "--level", "-2"], Few(corpora=["a=b", "c=d"], level=-2)),
            (["--corpora", "a=b", "--corpora=c=d"], Few(corpora=["a=b", "c=d"])),
            (["--output_dir", "x"], Few(output_dir="x")),
            (["--output-dir=x"], Few(output_dir="x")),
            (["--output", "x", "--fold", "3"], Few(output_dir="x", fold=3)),
            (["--trim", "false", "--resume"], Few(trim=False, resume=True)),
            (["--no_trim", "--resume=on"], Few(trim=False, resume=True)),
            (["--no-trim", "no", "--resume", "off"], Few()),
        ],
    )
    def test_flags(self, words, expected):
        assert parse((Few,), words, "few") == (expected,)

    def test_a_default_stays_what_it_is(self):
        assert isinstance(parse((Few,), [], "few")[0].rate, int)

    def test_a_file_first_and_flags_win(self, tmp_path):
        file = tmp_path / "few.yaml"
        file.write_text("corpora: [a=b]\noutput-dir: x\nfold: 2\nresume: yes\nlevel: null\n")
        assert parse((Few,), [str(file)], "few")[0] == Few(corpora=["a=b"], output_dir="x", fold=2, resume=True)
        words = [str(file), "--corpora", "c=d", "--fold", "3", "--no-resume"]
        assert parse((Few,), words, "few")[0] == Few(corpora=["c=d"], output_dir="x", fold=3)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("levle: 3", "few.yaml: unknown keys levle; did you mean level?"),
            ("level: x", "few.yaml: --level 'x': expected a valid integer"),
            ("trim: 3", "few.yaml: trim '3': expected true or false"),
            ("fold: [1, 2]", "few.yaml: fold: expected one value, found 2"),
        ],
    )
    def test_what_a_file_cannot_say(self, text, told, tmp_path):
        (tmp_path / "few.yaml").write_text(text)
        with pytest.raises(FASError) as error:
            parse((Few,), [str(tmp_path / "few.yaml")], "few")
        assert told in str(error.value)

    def test_a_file_after_flags(self, tmp_path):
        (tmp_path / "few.yaml").write_text("fold: 1\n")
        with pytest.raises(FASError, match="stands before the flags"):
            parse((Few,), ["--fold", "2", str(tmp_path / "few.yaml")], "few")

    def test_a_field_without_default_has_to_be_given(self):
        @dataclass
        class Needs:
            """One."""

            name: str = option(..., "needed")

        with pytest.raises(FASError, match="'--name'"):
            parse((Needs,), [], "needs")

    def test_help_has_a_panel_for_each_class(self, capsys):
        app = App()
        add_command(app, (Few,), lambda few: 0, "Do little.")
        assert runner(app, "few")(["--help"]) == 0
        text = capsys.readouterr().out
        assert "─ A few options ─" in text and "several [words]" in text and "[default: 500]" in text

    def test_exit_code_is_what_the_command_says(self):
        app = App()
        add_command(app, (Few,), lambda few: 1, "Find something.", config=False)
        assert runner(app, "few")([]) == 1


class TestSpelling:
    @pytest.mark.parametrize(("last_wins", "values"), [(False, ["a", "b", "c"]), (True, ["b", "c"])])
    def test_a_list_that_is_given_again(self, last_wins, values):
        spelling = Spelling({"--list", "--name"}, {"--list"}, {}, {}, takes_words=True, last_wins=last_wins)
        written = spelling.rewrite(["--list", "a", "--name", "x", "--list", "b", "c"])
        assert [value for flag, value in zip(written[::2], written[1::2], strict=True) if flag == "--list"] == values
        assert written[written.index("--name") + 1] == "x"

    def test_positional_words_are_left_alone(self):
        spelling = Spelling({"--list", "--switch"}, {"--list"}, {"--switch": ("--switch", None)}, {}, takes_words=False)
        words = ["--list", "a", "b", "--switch", "true"]
        assert spelling.rewrite(words) == words

    def test_a_value_may_look_like_a_flag(self):
        spelling = Spelling({"--name"}, set(), {}, {}, takes_words=True)
        assert spelling.rewrite(["--name", "--odd", "--", "--name"]) == ["--name", "--odd", "--", "--name"]

    def test_nearest(self):
        assert (
            nearest("--epchs", ["--epochs", "--fold"]) == "; did you mean --epochs?"
            and nearest("--x", ["--fold"]) == ""
        )


def test_train_recommends_and_the_script_is_the_paper(monkeypatch):
    from fas_core.cli import train as module

    seen = []
    monkeypatch.setattr("fas_core.training.fas.train", lambda *given: seen.append(given))
    for words in ([], ["paper"], ["recommended", "--hidden-size", "64"], [str(recipe_file("paper"))]):
        assert runner(train, "fas train")(words) == 0
    assert module.main([]) == 0
    hidden = [model.hidden_size for _, model, _ in seen]
    assert hidden == [256, 512, 64, 512, 512] and seen[0][1].ensemble == 0.9 and seen[-1][1] == ModelArguments()
    assert seen[1] == seen[3] and seen[1][0].padding == "30s" and seen[-1][0].padding == "clip"


def test_the_adapter_has_the_options_that_its_help_shows():
    from fas_alm.training.arguments import DataArguments, ModelArguments, TrainingArguments

    pairs = ((AdapterData, DataArguments), (AdapterParts, ModelArguments), (AdapterTraining, TrainingArguments))
    for shown, used in pairs:
        assert issubclass(used, shown)
        for name, each in shown.__dataclass_fields__.items():
            assert used.__dataclass_fields__[name].default == each.default
