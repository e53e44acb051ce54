"""Tables that a spreadsheet may open: no cell is run there, numbers stay numbers, every text can be read back."""

import csv
import io
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT

from fas_core.cells import CellWriter, cell_text, plain_cell
from fas_core.data.tables import read_table

FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "\u200b=1", "\ufeff=1", "\x0b@a", "\0=1",
    "＝1", "＋1", "－1", "＠a", "﹦1", "﹢1", "﹣1", "﹫a", "−1", "⁺1", " ＝1", '=HYPERLINK("x")', "-", "\t",
]  # fmt: skip
PLAIN = ["", "plain", "'plain", "a=1", "a-b", "1", "ä", "'", "''", "日本", "~", "|x", " a"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_begins_like_a_formula_is_marked_as_a_text(text):
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", [q + t for t in FORMULAS + PLAIN for q in ("", "'", "''")])
def test_every_text_is_read_back_as_it_was(text):
    assert cell_text(plain_cell(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_are_not_touched(text):
    assert plain_cell(text) == text


@pytest.mark.parametrize("value", [-1, -0.5, np.float32(-0.5), np.int64(-3), True, None, float("-inf")])
def test_numbers_stay_numbers(value):
    assert plain_cell(value) is value


def test_other_values_are_texts():
    assert plain_cell(Path("-rf.wav")) == "'-rf.wav"


class TestCellWriter:
    def write(self, rows, columns=("=a", "b"), **options):
        file = io.StringIO(newline="")
        CellWriter(file, columns, **options).writerows(rows)
        return list(csv.reader(io.StringIO(file.getvalue(), newline=""), delimiter=options.get("delimiter", ",")))

    def test_rows_by_order_and_by_name(self):
        rows = self.write([("=x", -1), {"b": "@y"}], delimiter=";")
        assert rows == [["'=a", "b"], ["'=x", "-1"], ["", "'@y"]]

    def test_a_file_that_has_its_header(self):
        assert self.write([(1, 2)], header=False) == [["1", "2"]]

    @pytest.mark.parametrize("row", [(1,), (1, 2, 3), {"c": 1}])
    def test_a_row_that_does_not_fit_is_refused(self, row):
        with pytest.raises(ValueError, match="column"):
            self.write([row])


def test_a_table_of_ours_names_the_files_that_it_was_given(tmp_path):
    """A take called "-1.wav" is found again: who reads a table takes the mark away."""
    names = ["-1.wav", "=a.wav", "'b.wav", "c.wav"]
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        CellWriter(file, ("audio", "emotion", "text")).writerows([(name, "sad", "+ " + name) for name in names])
    rows = read_table(tmp_path / "manifest.csv")
    assert [(row.values["audio"], row.values["text"]) for row in rows] == [(name, "+ " + name) for name in names]


def test_no_table_is_written_past_the_writer():
    """The kind of fault is a writer of its own somewhere; tests and the writer itself may have one."""
    files = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    pattern = re.compile(r"csv\.(?:Dict)?[wW]riter\(|\.to_csv\(")
    found = [f for f in files if not f.startswith("tests/") and pattern.search((ROOT / f).read_text(encoding="utf-8"))]
    assert found == ["fas_core/cells.py"]
