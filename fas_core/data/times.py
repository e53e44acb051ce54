"""The part of a recording that a row of a table is about, by its columns `start` and `end`."""

import math
import re

from fas_core.data.tables import Row
from fas_core.errors import CorpusError
from fas_core.segments import Segment

# Names as audformat, BIDS, NeMo and spreadsheets have them; the second of a pair says how many seconds its unit has.
_START = {
    "start": 1,
    "start_time": 1,
    "begin": 1,
    "begin_time": 1,
    "onset": 1,
    "start_s": 1,
    "start_sec": 1,
    "start_ms": 1e-3,
}
_END = {"end": 1, "end_time": 1, "stop": 1, "end_s": 1, "end_sec": 1, "end_ms": 1e-3}
_DURATION = {"duration": 1, "duration_s": 1, "duration_ms": 1e-3}
_OFFSET = "offset"  # NeMo: the start, beside a duration; BIDS: the end, beside an onset
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
COLUMNS = (*_START, *_END, _OFFSET)


def segment_of(row: Row) -> Segment | None:
    """The segment that a row names; None for a whole file.

    Times are seconds ("1.5", "1,5"), or what pandas reads as a time difference: "0 days 00:00:01.500000" (audformat),
    "00:00:01.5", "P0DT0H0M1.5S", "1.5s", "1500ms". An end that is empty or NaT is that of the file; a duration counts where a
    start has no end beside it.

    Raises:
        CorpusError: a time that cannot be read, that is negative or not finite, or an end that is not after the start.
    """
    start, end = _time(row, _START), _time(row, _END)
    if _OFFSET in row.values:
        offset = _time(row, {_OFFSET: 1})
        start, end = (offset, end) if start is None else (start, offset if end is None else end)
    if start is None and end is None:
        return None
    start = start or 0.0
    if end is None and (duration := _time(row, _DURATION)) is not None:
        end = start + duration
    if end is not None and end <= start:
        raise CorpusError(f"{row.where}: ends at {end:g} s, starts at {start:g} s; expected an end after the start")
    return Segment(start, end)


def _time(row: Row, columns: dict[str, float]) -> float | None:
    column = next((name for name in columns if name in row.values), None)
    if column is None:
        return None
    seconds = _seconds(row.values[column]) * columns[column]
    if not 0 <= seconds < math.inf:  # NaN is neither
        raise CorpusError(
            f"{row.where}: {column} is {row.values[column]!r}; expected a time of 0 or more, in seconds (1.5) or as hours, minutes "
            "and seconds (00:00:01.5)"
        )
    return seconds


def _seconds(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text.replace(",", "."))
    import pandas

    try:
        return pandas.Timedelta(text.replace(",", ".")).total_seconds()
    except (ValueError, OverflowError):
        return math.nan
