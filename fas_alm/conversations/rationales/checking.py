"""Which levels and which emotion a rationale names, and whether they are exactly those that it is to name."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from fas_alm.conversations.naming import named_emotions
from fas_alm.conversations.rationales.wordings import ALONE, NAMES, NOUNS
from fas_alm.transcript import CHINESE
from fas_core.cues.attributes import ATTRIBUTES

QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"|‘[^’]*’")  # what is said is no description
TOKENS = re.compile(r"[a-z]+|[.,;:!?]")
BEFORE, BEHIND = 3, 4  # words between a noun and what it is called
COPULAS = ("is", "was", "sounds", "seems", "remains", "stays", "being")  # what a noun is called comes behind them
_FILLED = r"(?:比较|相对|明显|非常|有些|有点|属于|较|偏|很|稍|略|是|为|显得|听起来)*"
CHINESE_PAIRS = {
    attribute: re.compile(
        rf"(?:{nouns}){_FILLED}(?P<behind>{'|'.join(NAMES['zh'][attribute].values())})"
        rf"|(?P<before>{'|'.join(NAMES['zh'][attribute].values())})的(?:{nouns})"
    )
    for attribute, nouns in NOUNS["zh"].items()
}
_NOUN_OF = {noun: attribute for attribute, nouns in NOUNS["en"].items() for noun in nouns.split()}


def _level_of(names: Mapping[str, str], separator: str | None) -> dict[str, str]:
    return {word: level for level, words in names.items() for word in words.split(separator) if word}


_ENGLISH = {attribute: _level_of(names, None) for attribute, names in NAMES["en"].items()}
_CHINESE = {attribute: _level_of(names, "|") for attribute, names in NAMES["zh"].items()}
_ALONE = {attribute: _level_of(names, None) for attribute, names in ALONE["en"].items()}


def named_levels(text: str) -> dict[str, set[str]]:
    """Attribute -> the levels that a text names, outside of quotations.

    Examples:
        >>> named_levels("She talks slowly, at a high pitch and with low volume: “a fast car”.")["pitch"]
        {'high'}
    """
    plain = QUOTED.sub(" ", text)
    found = defaultdict(set)
    for attribute, level in _chinese(plain) if CHINESE.search(plain) else _english(plain):
        found[attribute].add(level)
    return dict(found)


def problems_of(text: str, levels: Mapping[str, str], emotion: str) -> list[str]:
    """Why a rationale does not name exactly its levels and its emotion; empty for one that does.

    Args:
        levels: attribute -> one of `LEVELS`, of those that were measured.
    """
    named, problems = named_levels(text), []
    for attribute in ATTRIBUTES:
        said, meant = named.get(attribute, set()), {levels[attribute]} if attribute in levels else set()
        if said != meant:
            problems.append(f"{attribute}: names {_list(said)}; expected {_list(meant)}")
    emotions = set(named_emotions(QUOTED.sub(" ", text)))
    if emotions != {emotion}:
        problems.append(f"emotion: names {_list(emotions)}; expected {emotion} and no other")
    return problems


def _list(names: set[str]) -> str:
    return " and ".join(sorted(names)) or "none"


def _english(text: str) -> Iterator[tuple[str, str]]:
    tokens = TOKENS.findall(text.lower())
    for place, token in enumerate(tokens):
        for attribute, words in _ALONE.items():
            if token in words:
                yield attribute, words[token]
        if (attribute := _NOUN_OF.get(token)) is not None:
            before = reversed(tokens[max(0, place - BEFORE) : place])
            behind = tokens[place + 1 : place + 1 + BEHIND]
            level = _near(iter(behind), attribute) if behind and behind[0] in COPULAS else _near(before, attribute)
            if level:
                yield attribute, level


def _near(words: Iterator[str], attribute: str) -> str | None:
    """The first level on the way; another noun or a stop ends it."""
    for word in words:
        if not word.isalpha() or word in _NOUN_OF:
            return None
        if word in _ENGLISH[attribute]:
            return _ENGLISH[attribute][word]
    return None


def _chinese(text: str) -> Iterator[tuple[str, str]]:
    for attribute, pattern in CHINESE_PAIRS.items():
        for match in pattern.finditer(text):
            yield attribute, _CHINESE[attribute][match["behind"] or match["before"]]
