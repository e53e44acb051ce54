"""Text from outside, such as file names, as it may be shown and written."""

import re

# surrogates (bytes that are not UTF-8), controls (newlines, terminal escapes), separators of lines, marks that turn the direction
_UNPRINTABLE = re.compile(
    "[\\ud800-\\udfff\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]"
)


def printable(text: str) -> str:
    r"""The text on one line, what cannot be printed or is no Unicode as an escape that can be read.

    Examples:
        >>> print(printable("caf\udce9\n\x1b[31m.wav"))
        caf\xe9\n\x1b[31m.wav
    """
    return _UNPRINTABLE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """As `printable`, for text that may have several lines: their ends stay."""
    return "\n".join(map(printable, text.split("\n")))


def _escape(match: re.Match) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name, as Python holds it
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode("ascii")
