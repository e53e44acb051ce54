"""What people, models and files wrote, quoted in Markdown: it shows as written, and marks up, links or fetches nothing."""

import re
from collections.abc import Sequence

_MARKS = re.compile(r"([\\`*_~$\[\]])")
_START = re.compile(r"^([#>+=-]|\d+[.)])")  # a heading, a quotation, a list, where the text begins a line
_LINKS = re.compile(r"://|(?<=www)\.|@(?=\w)", re.IGNORECASE)  # bare addresses, which GitHub makes links of, and names
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def plain(text: object) -> str:
    """Text for a paragraph, an item or a heading, on one line.

    Examples:
        >>> print(plain("*a* <b> [x](http://y) | # c"))
        \\*a\\* &lt;b> \\[x\\](http&#58;//y) | # c
    """
    text = _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(str(text).split()))
    text = _MARKS.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    text = _LINKS.sub(lambda m: {":": "&#58;//", ".": "&#46;", "@": "&#64;"}[m[0][0]], text)
    return _START.sub(lambda m: f"{m[0][:-1]}\\{m[0][-1]}", text)


def code(text: object) -> str:
    """Text as code, on one line: a backtick in it would end the code."""
    return f"`{_INVISIBLE.sub(' ', ' '.join(str(text).split())).replace('`', chr(39))}`"


def cell(text: object) -> str:
    """Markdown in a table: a bar or a line break in a file name or an error would break the row."""
    return " ".join(re.sub(r"(?<!\\)\|", r"\\|", str(text)).split())


def table(header: Sequence, rows: Sequence[Sequence]) -> str:
    """A table of Markdown texts; what is not ours goes through `plain` first."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)
