"""Answers as a table, row by row as they come, so that a long run shows what it has found."""

from os.path import commonprefix
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from fas_core.answers import Answer
from fas_core.text import printable
from fas_core.words.types import NO_SPEECH, OFF

CAPTION = (
    "tone, words: what each says alone; conflict: probability that the words carry an emotion and the tone another"
)
CONFLICTING = 0.5  # from where on the table calls it a conflict
WIDTHS = {"seconds": 15, "channel": 7, "emotion": 16, "prob.": 5, "tone": 8, "words": 8, "conflict": 8}
RIGHT = ("seconds", "channel", "prob.", "conflict")
LAST = "what was said"  # the last column, which may be longer than what is left for it
NARROWEST = 16  # of the column of files


class TableFormat:
    """A format as those of `fas_core.answer_formats`.

    Args:
        names: file -> its name in the table (`short_names`).
        columns: which of `WIDTHS` are shown.
        width: of the terminal; None: no name is cut.
        colour: whether it is a terminal that shows styles.
    """

    encoding = "utf-8"

    def __init__(self, names: dict[str, str], columns: list[str], width: int | None = None, colour: bool = False):
        self.names, self.columns, self.colour = names, columns, colour
        longest = max([len("file"), *map(cell_len, names.values())])
        left = None if width is None else width - sum(WIDTHS[c] + 2 for c in columns) - len(LAST)
        self.file_width = longest if left is None else min(longest, max(NARROWEST, left))
        self.header = self._line("file", {c: c for c in columns}, LAST, "bold")
        self.footer = self._styled(Text(f"{CAPTION}\n", "dim"))

    def entry(self, answer: Answer, is_first: bool) -> str:
        probability = answer.probability
        cells = {
            "seconds": "all" if answer.start is None else f"{answer.start:.1f}-{answer.end:.1f}",
            "channel": str(answer.audio.channel or "-"),
            "emotion": f"{answer.label}, unsure" if answer.label and answer.unsure else answer.label or "-",
            "prob.": "-" if probability is None else f"{probability:.2f}",
            "tone": answer.tone.label if answer.tone else "-",
            "words": answer.words.label if answer.words else "-",
            "conflict": conflict_text(answer),
        }
        return self._line(self.names.get(answer.file, printable(answer.file)), cells, _last(answer))

    def _line(self, file: str, cells: dict[str, str], last: str, style: str = "") -> str:
        parts = [_fitted(file, self.file_width)]
        parts += [cells[c].rjust(WIDTHS[c]) if c in RIGHT else cells[c].ljust(WIDTHS[c]) for c in self.columns]
        return self._styled(Text("  ".join([*parts, last]).rstrip() + "\n", style))

    def _styled(self, text: Text) -> str:
        if not self.colour:
            return text.plain
        console = Console(force_terminal=True, highlight=False, soft_wrap=True)
        with console.capture() as capture:
            console.print(text, end="")
        return capture.get()


def short_names(files: list[str]) -> dict[str, str]:
    """file -> the shortest end of its path that no other file has, as it may be printed.

    Examples:
        >>> short_names(["a/x/1.wav", "a/y/1.wav", "a/y/2.wav"])
        {'a/x/1.wav': 'x/1.wav', 'a/y/1.wav': 'y/1.wav', 'a/y/2.wav': '2.wav'}
    """
    parts = {file: Path(file).parts[::-1] for file in files}
    ordered = sorted(parts.items(), key=lambda item: item[1])  # who shares most of an end stands next to each other
    names = {}
    for number, (file, ends) in enumerate(ordered):
        beside = [ordered[i][1] for i in (number - 1, number + 1) if 0 <= i < len(ordered)]
        shared = max((len(commonprefix([ends, other])) for other in beside), default=0)
        names[file] = printable(str(Path(*ends[: shared + 1][::-1])))
    return {file: names[file] for file in files}


def _fitted(name: str, width: int) -> str:
    """Filled up, or cut in its middle."""
    if cell_len(name) <= width:
        return set_cell_size(name, width)
    head, tail = name[: width // 2], name[width // 2 :]
    while cell_len(head) + cell_len(tail) > width - 1:
        head, tail = (head[:-1], tail) if cell_len(head) > width // 2 else (head, tail[1:])
    return set_cell_size(f"{head}…{tail}", width)


def said(answer: Answer) -> str:
    """The transcript in quotes, or in brackets why there is none; nothing where nobody asked."""
    if answer.words is not None:
        return f"\u201c{printable(answer.words.transcript)}\u201d"
    return f"({answer.words_missing})" if answer.words_missing not in (None, OFF, NO_SPEECH) else ""


def conflict_text(answer: Answer) -> str:
    """Whether tone and words conflict, and how probable that is.

    Examples:
        >>> conflict_text(Answer("a.wav", conflict=0.884))
        'yes 0.88'
    """
    if answer.conflict is None:
        return "-"
    return f"{'yes' if answer.conflict >= CONFLICTING else 'no'} {answer.conflict:.2f}"


def _last(answer: Answer) -> str:
    if answer.error:
        return printable(answer.error.removeprefix(f"{answer.file}: "))
    if answer.no_speech:
        return "silent" if answer.audio.silent else "no speech"
    notes = ["silent"] if answer.audio.silent else []
    notes += [f"one of {', '.join(answer.label_set)}"] if answer.label_set else []
    if windows := answer.audio.windows:
        silent = answer.audio.windows_without_speech
        notes.append(f"{windows} windows" + (f", {silent} without speech" if silent else ""))
        notes += [] if answer.conflict_max is None else [f"conflict up to {answer.conflict_max:.2f}"]
    return "  ".join(filter(None, [said(answer), ", ".join(notes)]))
