"""Tables of clips: CSV, TSV, JSON and JSONL as rows of strings, with the line each row came from.

A table that could be read in two ways is refused: a label out of the wrong column is worse than an error.
"""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fas_core.cells import cell_text
from fas_core.errors import CorpusError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}  # the usual one first
# What pandas writes and reads for a missing value (its na_values), and spreadsheets' errors; "Nan" and "Na" are names.
NO_VALUE = frozenset(
    "#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null|NaT|none"
    "|#VALUE!|#REF!|#NAME?|#NULL!|#DIV/0!".split("|")
)
_ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class Row:
    """One row: `where` for messages ("name.csv, line 7"), `values` by lower-case column name, none empty."""

    where: str
    values: dict[str, str]

    def get(self, columns: Sequence[str]) -> str | None:
        """Value of the first of several names of a column; None where it is empty or missing."""
        return next((self.values[column] for column in columns if column in self.values), None)

    def need(self, columns: Sequence[str]) -> str:
        """Gives the first of the columns that is there.

        Raises:
            CorpusError: none of them is.
        """
        value = self.get(columns)
        if value is None:
            present = ", ".join(self.values) or "nothing"
            raise CorpusError(f"{self.where}: no {' or '.join(columns)}; the row has {present}")
        return value


def read_table(path: Path, optional: Collection[str] = (), no_value: Collection[str] = NO_VALUE) -> list[Row]:
    """All rows of a table; the format goes by the file's ending, the separator of columns (, ; or tab) by the header.

    Args:
        optional: last columns that a CSV's rows may end before.
        no_value: cells that say that there is none; they count as empty.

    Raises:
        CorpusError: another ending, neither UTF-8 nor UTF-16, not JSON, rows that are not objects, cells that do not
            match the header, a quote that is not closed.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise CorpusError(f"{path.name}: expected a table that ends in {', '.join(TABLE_SUFFIXES)}")
    text = read_text(path)
    if suffix in DELIMITERS:
        return [
            _row(where, cells, no_value) for where, cells in _delimited(path.name, text, DELIMITERS[suffix], optional)
        ]
    return [_row(where, values, no_value) for where, values in _json_rows(path.name, text, lines=suffix == ".jsonl")]


def find_table(root: Path, names: Iterable[str] = ()) -> Path:
    """The table of a folder: one of `names`, or the only one that lies there.

    Raises:
        CorpusError: none, or several and none of them has one of the names.
    """
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    named = [path for name in names for path in tables if path.name.lower() == name]
    if named or len(tables) == 1:
        return (named or tables)[0]
    found = ", ".join(path.name for path in tables) or "none"
    raise CorpusError(
        f"{root}: expected one table of clips ({', '.join(TABLE_SUFFIXES)}), found {found}; "
        "a manifest among several is named with table=..."
    )


def read_text(path: Path) -> str:
    """A text file of the user's, without the byte order mark that spreadsheets write; UTF-16 is what Excel calls Unicode text.

    Raises:
        CorpusError: it cannot be read, is neither UTF-8 nor UTF-16, or holds NUL characters.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path.name}: cannot be read ({error.strerror or error})") from None
    encoding = next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'} ({error.reason} at byte {error.start})"
        raise CorpusError(f"{path.name}, line {line}: {problem}; save it as UTF-8 (in Excel: CSV UTF-8)") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CorpusError(f"{path.name}, line {line}: a NUL character; the file is damaged, or UTF-16 without its mark")
    return text


def _delimited(name: str, text: str, delimiters: str, optional: Collection[str]) -> Iterator[tuple[str, dict]]:
    start = 0
    if match := re.match(r"sep=(.)\r?\n", text):  # Excel's own first line
        delimiters, start = match[1], 1
    lines = list(io.StringIO(text, newline=""))
    start += next(
        (number for number, line in enumerate(lines[start:]) if line.strip()), 0
    )  # empty lines above the header
    lines = lines[start:]  # str.splitlines would also cut at separators within a text
    delimiter = max(
        delimiters, key=lambda character: len(next(csv.reader(lines, delimiter=character, skipinitialspace=True), ()))
    )
    records = _records(name, lines, delimiter, start)
    header = [cell.strip().lower() for cell in next(records, (0, []))[1]]
    _check_header(name, header, delimiter)
    for line, cells in records:
        where = f"{name}, line {line}"
        if not any(cell.strip() for cell in cells):
            continue
        cells += [""] * len(header[len(cells) :]) if set(header[len(cells) :]) <= set(optional) else []
        if len(cells) != len(header):
            named = ", ".join(header)
            raise CorpusError(
                f"{where}: {len(cells)} cells for {len(header)} columns ({named}); a text that holds "
                f"{_shown(delimiter)} goes in double quotes"
            )
        nameless = [cell for column, cell in list(zip(header, cells, strict=True))[1:] if not column and cell.strip()]
        if nameless:
            raise CorpusError(f"{where}: a value in a column without a name; expected a name for it in line 1")
        yield where, dict(zip(header, map(cell_text, cells), strict=True))  # as this project writes them


def _records(name: str, lines: list[str], delimiter: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """(line that it begins on, cells) of each record."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = start + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "a double quote is not closed, or stands inside a quoted text, where it is written twice"
            raise CorpusError(f"{name}, line {line}: not a table ({error}); {hint}") from None
        last = start + reader.line_num
        # A text over two lines is allowed, but with the separator in it nobody can tell it from rows that a stray
        # quote has swallowed.
        if last > line and any("\n" in cell.strip() and delimiter in cell for cell in cells):
            raise CorpusError(
                f"{name}, line {line}: a quoted cell goes on to line {last} and holds {_shown(delimiter)}: a quote is not "
                "closed; expected a text with separators on one line"
            )
        yield line, cells


def _check_header(name: str, header: list[str], delimiter: str) -> None:
    repeated = [column for column, count in Counter(header).items() if column and count > 1]
    if repeated:
        raise CorpusError(
            f"{name}: two columns are named {repeated[0]!r} (case does not matter); expected each name once"
        )


def _shown(delimiter: str) -> str:
    return "a tab" if delimiter == "\t" else repr(delimiter)


def _json_rows(name: str, text: str, lines: bool) -> Iterator[tuple[str, object]]:
    if lines:
        for number, line in enumerate(text.split("\n"), 1):
            where = f"{name}, line {number}"
            if line.strip():
                yield where, parse_json(where, line)
        return
    rows = parse_json(name, text)
    if not isinstance(rows, list):
        raise CorpusError(f"{name}: expected a JSON list of objects, found {type(rows).__name__}")
    for index, values in enumerate(rows, 1):
        yield f"{name}, item {index}", values


def parse_json(where: str, text: str) -> Any:
    """What JSON of the user's says.

    Raises:
        CorpusError: not JSON, or a field that is there twice; the message begins with `where`.
    """

    def once(pairs: list[tuple]) -> dict:
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if repeated:
            raise CorpusError(f"{where}: the field {repeated[0]!r} is there twice; expected each once")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{where}: not JSON ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise CorpusError(f"{where}: JSON that is nested too deeply; expected an object with named fields") from None


def _row(where: str, values: Any, no_value: Collection[str]) -> Row:
    if not isinstance(values, dict):
        raise CorpusError(f"{where}: expected an object with named fields, found {type(values).__name__}")
    cells = {}
    for column, value in values.items():
        is_nested = isinstance(value, dict | list)  # further data of somebody's; a cell that is needed is then missing
        name, text = str(column).strip().lower(), "" if value is None or is_nested else str(value).strip()
        if name and text and text not in no_value:
            if name in cells:
                raise CorpusError(f"{where}: two fields are named {name!r} (case does not matter); expected each once")
            cells[name] = text
    try:
        "".join(cells.values()).encode()
    except UnicodeEncodeError:
        raise CorpusError(f"{where}: half of a character (an escape such as \\ud800); expected whole ones") from None
    return Row(where, cells)
