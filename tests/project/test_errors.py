"""What commands say of input that cannot be used: a line, never a traceback, and nothing that a terminal would obey."""

import json
import sys

import pytest
from safetensors import SafetensorError
from typer.testing import CliRunner
from yaml import YAMLError

from fas_core.errors import CheckpointError, FASError, error_line, reports_errors
from fas_core.text import printable, printable_lines

OURS = (FASError, CheckpointError)


def raised(kind: type[Exception]) -> Exception:
    return kind("broken\nand more", "", 0) if kind is json.JSONDecodeError else kind("broken\nand more")


@pytest.mark.parametrize(
    "kind", [*OURS, SafetensorError, OSError, ValueError, YAMLError, json.JSONDecodeError, ImportError]
)
def test_a_command_says_it_and_exits_with_two(kind, capsys):
    def main():
        raise raised(kind)

    assert reports_errors(main)() == 2
    assert capsys.readouterr().err.startswith("error: ") and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, AssertionError, ZeroDivisionError])
def test_a_fault_of_ours_keeps_its_traceback(kind):
    def main():
        raise kind("broken")

    with pytest.raises(kind):
        reports_errors(main)()


def test_the_traceback_on_demand(monkeypatch):
    monkeypatch.setenv("FAS_TRACEBACK", "1")
    with pytest.raises(OSError):
        error_line(OSError("broken"))


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x1b]0;title\x07", "a\rb", "\x9b31m", "\u202eabc", "\u2028", "\ud800", "\x00"]
)
def test_a_terminal_obeys_nothing_that_came_from_outside(text):
    shown = printable(text)
    assert shown.isprintable() and shown.encode()
    assert "\x1b" not in error_line(FASError(text)) and "\x1b" not in error_line(OSError(text))


def test_lines_stay_lines():
    assert printable_lines("a\nb\x1b[2J\r\n") == "a\nb\\x1b[2J\\r\n"


def test_ordinary_text_is_as_it_was():
    assert printable("Grüße, 日本 🙂 a.wav: 3 s") == "Grüße, 日本 🙂 a.wav: 3 s"


def train_fas(bad, out):
    from fas_core.training.fas import main

    return main([f"{bad}.yaml"])


def train_adapter(bad, out):
    from fas_alm.training.adapter import main

    return main([f"{bad}.yaml"])


def export(bad, out):
    from fas_core.cli.export import main

    return main([bad, out])


def suite(bad, out):
    from fas_eval.suite.cli import main

    return main(["--systems-file", f"{bad}.yaml", "--benchmarks", "emodb", "--output", out])


def report(bad, out):
    from fas_eval.report.__main__ import main

    return main([bad])


def run_typer(app, *words):
    result = CliRunner().invoke(app, list(words))
    print(result.output, file=sys.stderr)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code


def predict(bad, out):
    from fas_core.cli.predict import app

    return run_typer(app, bad, "--checkpoint", bad)


def serve(bad, out):
    from fas_serve.__main__ import app

    return run_typer(app, bad, "--port", "0")


YAML = {"no yaml": "a: [", "a list": "- 1", "another kind": "output_dir: {a: 1}\nepochs: x\n", "not utf-8": "\udcff"}


@pytest.mark.parametrize("command", [train_fas, train_adapter, export, suite, report, predict, serve])
@pytest.mark.parametrize("kind", YAML)
def test_no_command_gives_a_traceback_for_bad_input(command, kind, tmp_path, capsys):
    folder = tmp_path / "BAD"
    folder.mkdir()
    (folder / "config.json").write_text("[]")
    (folder / "clip.wav").write_bytes(b"RIFF")
    (folder / "results.json").write_bytes(b"\xff{")
    (tmp_path / "BAD.yaml").write_bytes(YAML[kind].encode("utf-8", "surrogateescape"))
    try:
        code = command(str(folder), str(tmp_path / "OUT"))
    except SystemExit as stop:
        code = stop.code
    assert code in (1, 2) and "error" in capsys.readouterr().err
