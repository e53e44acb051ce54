"""CSV and TSV files that a spreadsheet may open: a cell that begins like a formula is run there, and what people and
models write, file names included, is in ours.

Source: OWASP, "CSV Injection". Such a text gets an apostrophe in front, which spreadsheets take for "this is text".
Every table of this project is written by `CellWriter`; `cell_text` gives the text back to whoever reads one.
"""

import csv
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any, TextIO

SIGNS = ("=", "+", "-", "@")
CONTROLS = ("\t", "\r", "\n", "\0")  # a cell that begins with one of these is cut there by some spreadsheets
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")  # Unicode categories of what spreadsheets pass over at the start of a cell


def plain_cell(value: object) -> object:
    """A value as it is written: numbers, truth values and None as they are, all else as a text that no spreadsheet runs."""
    if value is None or isinstance(value, Number):
        return value
    text = str(value)
    return f"'{text}" if _is_marked(text) else text


def cell_text(cell: str) -> str:
    """The text that `plain_cell` was given."""
    return cell[1:] if cell.startswith("'") and _is_marked(cell) else cell


class CellWriter:
    """Rows of a CSV file, every cell a `plain_cell`.

    Args:
        file: open for text with `newline=""`.
        columns: names, written as the first row.
        header: False adds to a file that has them.
        options: of `csv.writer`, such as `delimiter`.
    """

    def __init__(self, file: TextIO, columns: Sequence[str], *, header: bool = True, **options: Any):
        self.columns = tuple(columns)
        self._rows = csv.writer(file, **options)
        if header:
            self._rows.writerow(map(plain_cell, self.columns))

    def writerow(self, row: Mapping | Sequence) -> None:
        """One row: values in the order of the columns, or by their names, where one that is absent is blank.

        Raises:
            ValueError: a name that is no column, or another number of values than there are columns.
        """
        if isinstance(row, Mapping):
            if unknown := row.keys() - set(self.columns):
                raise ValueError(f"no column {min(unknown)!r}; expected some of {', '.join(self.columns)}")
            row = [row.get(column) for column in self.columns]
        if len(row) != len(self.columns):
            raise ValueError(f"{len(row)} values for {len(self.columns)} columns")
        self._rows.writerow(map(plain_cell, row))

    def writerows(self, rows: Iterable[Mapping | Sequence]) -> None:
        for row in rows:
            self.writerow(row)


def _is_marked(text: str) -> bool:
    """Texts that begin with apostrophes of their own before the sign are marked too, so that each can be read back."""
    text = text.lstrip("'")
    if text.startswith(CONTROLS):
        return True
    first = next((c for c in text if unicodedata.category(c) not in _INVISIBLE), "")
    return unicodedata.normalize("NFKC", first).startswith(SIGNS) or first == "\N{MINUS SIGN}"  # full-width signs too
