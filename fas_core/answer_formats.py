"""How answers are written: JSON, lines of JSON, CSV. Each format is a header, an entry an answer, and a footer."""

import io
import json

from fas_core.answers import Answer
from fas_core.cells import CellWriter

DECIMALS = 3  # of figures for a spreadsheet


class JSONFormat:
    """One list. Args: tokens: with the times of the kept tokens."""

    header, footer, encoding = "[", "\n]\n", "utf-8"

    def __init__(self, tokens: bool = False):
        self.tokens = tokens

    def entry(self, answer: Answer, is_first: bool) -> str:
        text = json.dumps(answer.to_dict(tokens=self.tokens), indent=2, ensure_ascii=False)
        return ("" if is_first else ",") + "\n" + "\n".join(f"  {line}" for line in text.splitlines())


class JSONLinesFormat:
    """One answer a line. Args: tokens: with the times of the kept tokens."""

    header, footer, encoding = "", "", "utf-8"

    def __init__(self, tokens: bool = False):
        self.tokens = tokens

    def entry(self, answer: Answer, is_first: bool) -> str:
        return json.dumps(answer.to_dict(tokens=self.tokens), ensure_ascii=False) + "\n"


class CSVFormat:
    """One answer a row.

    Args:
        separator: between cells.
        spreadsheet: with the mark by which Excel knows UTF-8, and figures rounded; behind a ";" they have a decimal comma,
            as a spreadsheet that expects the one expects the other.
    """

    footer, encoding = "", "utf-8"

    def __init__(self, separator: str = ",", spreadsheet: bool = False):
        self.separator, self.spreadsheet = separator, spreadsheet
        self.header = ("\ufeff" if spreadsheet else "") + self._row(None)

    def entry(self, answer: Answer, is_first: bool) -> str:
        return self._row(answer)

    def _row(self, answer: Answer | None) -> str:
        text = io.StringIO(newline="")
        writer = CellWriter(text, list(Answer("").to_row()), header=answer is None, delimiter=self.separator)
        if answer is not None:
            row = answer.to_row()
            writer.writerow({k: self._figure(v) for k, v in row.items()} if self.spreadsheet else row)
        return text.getvalue()

    def _figure(self, value: object) -> object:
        if not isinstance(value, float):
            return value
        return f"{value:.{DECIMALS}f}".replace(".", "," if self.separator == ";" else ".")
