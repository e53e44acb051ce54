"""Text in CSV files: a spreadsheet runs a cell that begins like a formula, and what models write is in ours.

Source: OWASP, "CSV Injection". Such a text gets an apostrophe in front, which spreadsheets take for "this is text".
"""

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain_cell(value):
    """A value as it is written; only texts are changed."""
    return f"'{value}" if isinstance(value, str) and _is_marked(value) else value


def cell_text(cell: str) -> str:
    """The text that `plain_cell` was given."""
    return cell[1:] if cell.startswith("'") and _is_marked(cell) else cell


def _is_marked(text: str) -> bool:
    """Texts that begin with apostrophes of their own before the sign are marked too, so that each can be read back."""
    return text.lstrip("'").startswith(FORMULA)
