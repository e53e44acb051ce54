"""Votes of a panel, out of the files that the listening page saves (JSON or CSV)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fas_core.data.tables import parse_json, read_table, read_text
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_core.paths import is_dir, is_file

NONE = "none"  # none of the seven
COLUMNS = ("panel", "language", "listener", "session", "exported", "clip", "heard", "clear", "plays")
_NEEDED = tuple(name for name in COLUMNS if name not in ("language", "plays"))  # these two are for people
_SUFFIXES = (".json", ".csv")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Vote:
    """What a listener said of a clip: `heard` one of the seven or "none", `clear` whether clearly."""

    listener: str
    clip: str
    heard: str
    clear: bool


@dataclass(frozen=True)
class Response:
    """One file of a listener: the state of a session when it was saved."""

    file: str
    panel: str
    listener: str
    session: str
    exported: str
    votes: tuple[Vote, ...]


def load_votes(places: Iterable[str | Path]) -> list[Vote]:
    """The votes of files and folders, one for each listener and clip.

    Of several files of one session the newest counts, which holds the others' answers; of a clip that a listener heard in two
    panels (the set was rendered anew in part) the newer answer.

    Raises:
        FASError: nothing there, a file of another form, or two sessions under one listener's code: two people, or one who began
            anew on another device.
    """
    newest: dict[tuple[str, str], Response] = {}
    for file in _files(places):
        response = read_response(file)
        key = (response.panel, response.listener)
        other = newest.get(key)
        if other and other.session != response.session:
            raise FASError(
                f"{response.file} and {other.file}: two sessions of listener {response.listener!r}; "
                "expected one: remove a file, or give the listener another code in it"
            )
        if other is None or response.exported >= other.exported:
            newest[key] = response
    oldest_first = sorted(newest.values(), key=lambda response: (response.exported, response.listener))
    return list({(vote.listener, vote.clip): vote for response in oldest_first for vote in response.votes}.values())


def _files(places: Iterable[str | Path]) -> list[Path]:
    files = []
    for place in map(Path, places):
        found = sorted(p for p in place.iterdir() if p.suffix in _SUFFIXES) if is_dir(place) else [place]
        if not found or not all(is_file(path) for path in found):
            raise FASError(
                f"{place}: no responses there; expected files (.json, .csv) that listeners saved, or their folder"
            )
        files += found
    return files


def read_response(file: Path) -> Response:
    """One saved file; raises FASError that names it, and the row where one is wrong."""
    rows = _json_rows(file) if file.suffix == ".json" else [row.values for row in read_table(file, no_value=())]
    if not rows:
        raise FASError(f"{file.name}: no answer in it; expected a file that a listener saved after answering")
    missing = sorted(name for name in _NEEDED if any(row.get(name) in (None, "") for row in rows))
    if missing:
        raise FASError(f"{file.name}: no {', '.join(missing)}; expected the columns {', '.join(COLUMNS)}")
    votes = tuple(_vote(f"{file.name}, answer {number}", row) for number, row in enumerate(rows, 1))
    if len({vote.clip for vote in votes}) < len(votes):
        raise FASError(f"{file.name}: a clip is answered twice; expected each once")
    heads = {tuple(str(row[name]) for name in ("panel", "listener", "session", "exported")) for row in rows}
    if len(heads) > 1:
        raise FASError(f"{file.name}: answers of several sessions; expected one file for each")
    return Response(file.name, *heads.pop(), votes)


def _json_rows(file: Path) -> list[dict]:
    content = parse_json(file.name, read_text(file))
    try:
        responses = content.pop("responses")
        return [{**content, **response} for response in responses]
    except (TypeError, AttributeError, KeyError) as error:
        raise FASError(
            f"{file.name}: cannot be read as responses ({error}); expected a file that the listening page saved"
        ) from None


def _vote(where: str, row: dict) -> Vote:
    listener, clip, heard, clear = (str(row[name]) for name in ("listener", "clip", "heard", "clear"))
    if heard not in (*EMOTIONS, NONE):
        raise FASError(f"{where}: heard {heard!r}; expected one of {', '.join((*EMOTIONS, NONE))}")
    if clear.lower() not in _BOOLEANS:  # JSON has true, spreadsheets write TRUE
        raise FASError(f"{where}: clear {clear!r}; expected true or false")
    return Vote(listener, clip, heard, _BOOLEANS[clear.lower()])


def split_known(votes: Sequence[Vote], keys: Iterable[str]) -> tuple[list[Vote], list[Vote]]:
    """Votes for clips among `keys`, and the others: of another set, or of takes that were rendered anew since."""
    known = set(keys)
    return [v for v in votes if v.clip in known], [v for v in votes if v.clip not in known]
