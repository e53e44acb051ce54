"""One spelling of an option for whoever types it: dashes or underscores, an older name, several words after a list, true and false."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

YES, NO = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")
NUMBER = re.compile(r"-\.?\d")  # a value such as -1, and no flag


@dataclass(frozen=True)
class Spelling:
    """How the flags of one command may be written.

    Attributes:
        flags: every flag that the parser knows, with its dashes. lists: those that take several words.
        switches: flag -> (flag that means yes, flag that means no or None). aliases: older names -> flags.
        last_wins: a list that is given again begins anew, as in the parser of transformers; otherwise its words are added.
        takes_words: lists take all words up to the next flag, and switches may be followed by true or false. Off in commands
            with positional arguments, whose words they would take.
    """

    flags: Collection[str]
    lists: Collection[str]
    switches: Mapping[str, tuple[str, str | None]]
    aliases: Mapping[str, str]
    takes_words: bool
    last_wins: bool = False

    def rewrite(self, words: list[str]) -> list[str]:
        """The same words as the parser knows them: each value of a list behind a flag of its own."""
        written, rest = [], list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*written, word, *rest]
            if not word.startswith("--"):
                written.append(word)
                continue
            name, equals, value = word.partition("=")
            flag = self.flag(name)
            if flag in self.switches and (equals or self._says_which(rest)):
                written += self._switched(flag, value if equals else rest.pop(0))
            elif flag in self.lists and self.takes_words and not equals:
                values = self._values(rest)
                written = _without(written, flag) if self.last_wins else written
                written += [part for each in values for part in (flag, each)] or [flag]
            else:
                written.append(flag + equals + value)
                if not equals and flag in self.flags and flag not in self.switches and rest:
                    written.append(rest.pop(0))  # its value, whatever it looks like
        return written

    def flag(self, name: str) -> str:
        """The flag as the parser knows it; a name that nothing knows stays as it is."""
        dashed = "--" + name[2:].replace("_", "-")
        dashed = self.aliases.get(dashed, dashed)
        return dashed if dashed in self.flags else self.aliases.get(name, name)

    def _says_which(self, rest: list[str]) -> bool:
        return self.takes_words and bool(rest) and rest[0].lower() in (*YES, *NO)

    def _switched(self, flag: str, value: str) -> list[str]:
        yes, no = self.switches[flag]
        if flag == no:
            yes, no = no, yes
        if value.lower() in YES:
            return [yes]
        if value.lower() in NO:
            return [no] if no else []
        return [f"{flag}={value}"]  # which the parser refuses

    @staticmethod
    def _values(rest: list[str]) -> list[str]:
        """Takes the words up to the next flag."""
        values = []
        while rest and (not rest[0].startswith("-") or rest[0] == "-" or NUMBER.match(rest[0])):
            values.append(rest.pop(0))
        return values


def _without(words: list[str], flag: str) -> list[str]:
    """The words, but for a flag with its values."""
    kept, rest = [], iter(words)
    for word in rest:
        if word == flag:
            next(rest, None)
        else:
            kept.append(word)
    return kept
