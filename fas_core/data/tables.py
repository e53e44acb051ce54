"""Tables of clips: CSV, TSV, JSON and JSONL as rows of strings, with the line each row came from."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fas_core.errors import CorpusError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class Row:
    """One row: `where` for messages ("name.csv, line 7"), `values` by lower-case column name, none empty."""

    where: str
    values: dict[str, str]

    def get(self, columns: Sequence[str]) -> str | None:
        """Value of the first of several names of a column; None where it is empty or missing."""
        return next((self.values[column] for column in columns if column in self.values), None)

    def need(self, columns: Sequence[str]) -> str:
        value = self.get(columns)
        if value is None:
            present = ", ".join(self.values) or "nothing"
            raise CorpusError(f"{self.where}: no {' or '.join(columns)}; the row has {present}")
        return value


def read_table(path: Path) -> list[Row]:
    """All rows of a table; the format goes by the file's ending.

    Raises:
        CorpusError: another ending, not UTF-8, not JSON, or rows that are not objects.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise CorpusError(f"{path.name}: expected a table that ends in {', '.join(TABLE_SUFFIXES)}")
    try:
        if suffix in (".csv", ".tsv"):
            return list(_delimited(path, "," if suffix == ".csv" else "\t"))
        return list(_json_rows(path, lines=suffix == ".jsonl"))
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path.name}: not UTF-8 ({error.reason} at byte {error.start}); save it so") from None


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


def _delimited(path: Path, delimiter: str) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a byte order mark
        reader = csv.DictReader(file, delimiter=delimiter)
        try:
            for values in reader:
                yield _row(f"{path.name}, line {reader.line_num}", values)
        except csv.Error as error:
            raise CorpusError(f"{path.name}, line {reader.line_num}: not a table ({error})") from None


def _json_rows(path: Path, lines: bool) -> Iterator[Row]:
    text = path.read_text(encoding="utf-8-sig")
    if lines:
        for number, line in enumerate(text.split("\n"), 1):
            where = f"{path.name}, line {number}"
            if line.strip():
                yield _row(where, _parse(where, line))
        return
    rows = _parse(path.name, text)
    if not isinstance(rows, list):
        raise CorpusError(f"{path.name}: expected a JSON list of objects, found {type(rows).__name__}")
    for index, values in enumerate(rows, 1):
        yield _row(f"{path.name}, item {index}", values)


def _parse(where: str, text: str):
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{where}: not JSON ({error.msg} at character {error.pos})") from None


def _row(where: str, values) -> Row:
    if not isinstance(values, dict):
        raise CorpusError(f"{where}: expected an object with named fields, found {type(values).__name__}")
    named = {str(key).strip().lower(): value for key, value in values.items() if key is not None}
    return Row(where, {key: str(value).strip() for key, value in named.items() if value not in (None, "")})
