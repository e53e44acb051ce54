"""What is said, by whom and in which tone: loading scenarios and checking that they make a conflict set.

`scenarios.jsonl` is ours (CC BY 4.0): 168 items, English and Mandarin, two in each language for each of the 42 ordered pairs
of two different emotions. The words' emotion is that of their authors; a reading by others is part of building a set.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations, permutations
from pathlib import Path

from fas_core.data.tables import parse_json, read_text
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS

SHIPPED = Path(__file__).with_name("scenarios.jsonl")
LICENCE = "CC BY 4.0"
PAIRS = tuple(permutations(EMOTIONS, 2))  # (semantic, acoustic): all 42 conflicts
PER_PAIR = 3
LENGTHS = {"en": (8, 25, "words"), "zh": (10, 40, "characters")}  # shorter is no sentence, longer tires a listener
SIMILAR = 0.6  # share of common letter trigrams above which two texts are one text
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # becomes a file name
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class Scenario:
    """One item: `text` is to be said in the tone of `acoustic_emotion`, which its words contradict.

    Attributes:
        id: unique, fit for a file name. language: ISO 639 code. scenario: one sentence: who says it to whom, and why so.
        text: what is said. semantic_emotion: of the words alone. acoustic_emotion: of the tone, the ground truth.
    """

    id: str
    language: str
    scenario: str
    text: str
    semantic_emotion: str
    acoustic_emotion: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


FIELDS = tuple(field.name for field in fields(Scenario))


def load_scenarios(path: str | Path = SHIPPED, *, per_pair: int = PER_PAIR) -> list[Scenario]:
    """Read and check a file of JSON lines, one object with the fields of `Scenario` each.

    Args:
        path: the file; ours where not given.
        per_pair: fewest items for each of `PAIRS`; 0 allows pairs without any.

    Raises:
        FASError: not there, not UTF-8, not JSON, fields that lack or have no place, or anything `problems` finds; all of it at once.
    """
    path = Path(path)
    items = read_scenarios(path)
    found = problems(items, per_pair=per_pair)
    if found:
        raise FASError("\n".join([f"{path.name}: {len(found)} problems", *(f"  {problem}" for problem in found)]))
    return items


def read_scenarios(path: str | Path) -> list[Scenario]:
    """The items of a file, unchecked but for their form; raises FASError."""
    path = Path(path)
    lines = read_text(path).split("\n")
    return [_parse(f"{path.name}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _parse(where: str, line: str) -> Scenario:
    values = parse_json(where, line)
    expected = f"expected an object with the texts {', '.join(FIELDS)}"
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise FASError(f"{where}: found {line.strip()[:60]!r}; {expected}")
    missing, unknown = set(FIELDS) - set(values), set(values) - set(FIELDS)
    if missing or unknown:
        said = [
            f"{kind} {', '.join(sorted(names))}" for kind, names in (("no", missing), ("unknown", unknown)) if names
        ]
        raise FASError(f"{where}: {' and '.join(said)}; {expected}")
    return Scenario(**values)


def problems(items: Sequence[Scenario], *, per_pair: int = PER_PAIR) -> list[str]:
    """What keeps items from being a conflict set, one sentence each; nothing where all is well."""
    found = [f"{item.id}: {problem}" for item in items for problem in _item_problems(item)]
    return found + _repeated(items) + _similar(items) + _missing_pairs(items, per_pair)


def check_id(name: str) -> None:
    """Raise FASError where an id is not fit for a file name."""
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise FASError(f"id {name!r}; expected letters, digits, dots, hyphens: it becomes a file name")


def check_language(language: str) -> None:
    """Raise FASError where a language is no code: pages are named by it."""
    if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
        raise FASError(f"language {language!r}; expected an ISO 639 code such as en or zh")


def text_length(item: Scenario) -> int:
    """Words of a text; of Chinese, characters without punctuation."""
    pattern = r"\w" if item.language == "zh" else r"[\w'’-]+"
    return len(re.findall(pattern, item.text))


def _item_problems(item: Scenario) -> list[str]:
    found = []
    try:
        check_id(item.id)
    except FASError as error:
        found.append(str(error))
    try:
        check_language(item.language)
    except FASError as error:
        found.append(str(error))
    for field in ("semantic_emotion", "acoustic_emotion"):
        if getattr(item, field) not in EMOTIONS:
            found.append(f"{field} {getattr(item, field)!r}; expected one of {', '.join(EMOTIONS)}")
    if item.semantic_emotion == item.acoustic_emotion:
        found.append(f"words and tone are both {item.acoustic_emotion}; expected two emotions that differ")
    for field in ("scenario", "text"):
        if not getattr(item, field).strip() or not getattr(item, field).isprintable():
            found.append(f"{field} {getattr(item, field)!r}; expected one line that is not empty")
    return found + _length_problems(item)


def _length_problems(item: Scenario) -> list[str]:
    shortest, longest, unit = LENGTHS.get(item.language, (1, 60, "words"))
    length = text_length(item)
    return [] if shortest <= length <= longest else [f"text of {length} {unit}; expected {shortest} to {longest}"]


def _repeated(items: Sequence[Scenario]) -> list[str]:
    ids = Counter(item.id.lower() for item in items)  # some file systems take Ab.flac for ab.flac
    return [f"{name}: the id of {count} items; expected one each" for name, count in ids.items() if count > 1]


def _similar(items: Sequence[Scenario]) -> list[str]:
    found = []
    for field in ("text", "scenario"):
        grams = [(item, _trigrams(getattr(item, field))) for item in items]
        for (a, of_a), (b, of_b) in combinations(grams, 2):
            if len(of_a & of_b) > SIMILAR * len(of_a | of_b):
                found.append(f"{b.id}: almost the {field} of {a.id}; expected every {field} once")
    return found


def _trigrams(text: str) -> set[str]:
    letters = re.sub(r"\W+", " ", text.casefold())
    return {letters[i : i + 3] for i in range(max(1, len(letters) - 2))}


def _missing_pairs(items: Sequence[Scenario], per_pair: int) -> list[str]:
    counts = Counter((item.semantic_emotion, item.acoustic_emotion) for item in items)
    return [
        f"{words} words in {tone} tone: {counts[words, tone]} items; expected at least {per_pair} (per_pair)"
        for words, tone in PAIRS
        if counts[words, tone] < per_pair
    ]
