"""Where answers go, as they come: the screen, or a file whose run can be resumed.

Beside a file lies a journal: what the answers depend on, then a line for each file that is answered, with the place in the
output where its answers end. A run that was stopped goes on from the last such place; what was written after it is written
anew.
"""

import errno
import io
import json
import os
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from fas_core.answers import Answer
from fas_core.atomic import write_text
from fas_core.errors import AudioError, FASError
from fas_core.resuming import check_may_resume
from fas_core.sources import audio_digest
from fas_core.text import printable


class Format(Protocol):
    """How answers are written: `header`, an `entry` an answer, `footer`; all of it text."""

    header: str
    footer: str

    def entry(self, answer: Answer, is_first: bool) -> str: ...


class ScreenOutput:
    """Answers to a stream that cannot go back."""

    hint = ""

    def __init__(self, stream: BinaryIO, format: Format):
        self.stream, self.format, self.files, self.failed = stream, format, 0, 0
        self._begun = False

    def write(self, answer: Answer) -> None:
        entry = self.format.entry(answer, is_first=not self._begun)
        self._put(entry if self._begun else self.format.header + entry)
        self._begun = True

    def finish_file(self, file: Path, failed: bool) -> None:
        self.files, self.failed = self.files + 1, self.failed + failed

    def close(self, complete: bool) -> None:
        """`complete`: whether all files are answered; what was written is whole either way."""
        self._put(self.format.footer if self._begun else self.format.header + self.format.footer)

    def _put(self, text: str) -> None:
        try:
            self.stream.write(text.encode())
            self.stream.flush()
        except OSError as error:
            if self.stream is sys.stdout.buffer:  # what Python still holds goes nowhere, or it complains when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise FASError(f"the answers cannot be printed: {error.strerror or error}") from None


class FileOutput:
    """Answers to a file, which is whole at every moment: the footer is written after each, and written over by the next.

    Args:
        path: a file that lies there is kept beside it (`before`) until the run is complete.
        facts: what the answers depend on, JSON-ready; None keeps no journal.
        files: that are to be answered, in order.
        resume: go on from what the journal says.

    Attributes:
        files, failed: how many are answered, and how many of these could not be used; after `resume` those of the run before too.

    Raises:
        FASError: an output that cannot be written; with `resume` other facts, or an output that was changed.
    """

    def __init__(self, path: Path, format: Format, facts: dict | None, files: Iterable[Path], resume: bool):
        path = path.resolve() if path.is_symlink() else path  # what it leads to is replaced, not the link
        if path.exists() and not path.is_file():
            raise FASError(f"--output {path}: is no file; leave it out to print the answers")
        self.path, self.format, self.facts = path, format, facts
        self.journal = path.with_name(f".{path.name}.journal")
        self.before = path.with_name(f".{path.name}.before")
        self.files = self.failed = 0
        self._end, self._crc = 0, 0
        self._file: io.FileIO  # of `_begin` and `_resume`
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if resume and (path.exists() or self.journal.exists()):
                self._resume(list(files))
            else:
                self._begin()
        except OSError as error:
            raise self._refused(error) from None

    @property
    def hint(self) -> str:
        """Where the answers are, and how to go on."""
        return f" and kept in {self.path}" + ("; the same command with --resume goes on" if self.facts else "")

    def write(self, answer: Answer) -> None:
        self._put(self.format.entry(answer, self._end == len(self.format.header.encode())))

    def finish_file(self, file: Path, failed: bool) -> None:
        self.files, self.failed = self.files + 1, self.failed + failed
        if self.facts is None:
            return
        entry = {"file": printable(str(file)), "sha256": _digest(file), "end": self._end, "crc32": self._crc}
        try:
            with open(self.journal, "a", encoding="utf-8") as journal:
                journal.write(json.dumps(entry | {"failed": failed}) + "\n")
        except OSError as error:
            raise self._refused(error) from None

    def close(self, complete: bool) -> None:
        """`complete`: whether all files are answered; what was written is whole either way."""
        try:
            self._put("")  # the footer, and nothing behind it: an entry may have been stopped midway
            self._file.truncate()
            self._file.close()
            if complete:
                self.before.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None

    def _begin(self) -> None:
        self.journal.unlink(missing_ok=True)
        if (
            self.path.exists() and not self.before.exists()
        ):  # what a run that was stopped has put aside is older, and whole
            os.replace(self.path, self.before)
        if self.facts is not None:
            write_text(self.journal, json.dumps(self.facts) + "\n")
        self._file = open(self.path, "wb", buffering=0)
        self._put(self.format.header)

    def _resume(self, files: list[Path]) -> None:
        entries = self._entries()
        size = self.path.stat().st_size if self.path.exists() else 0
        done = 0
        for file, entry in zip(files, entries, strict=False):
            is_same = (entry["file"], entry["sha256"]) == (printable(str(file)), _digest(file))
            if not is_same or entry["end"] > size:
                break  # another file at this place, another content under its name, or answers that never reached the disk
            done += 1
        if not done:
            return self._begin()
        last = entries[done - 1]
        self._file = open(self.path, "r+b", buffering=0)
        content = self._file.read(last["end"])
        if zlib.crc32(content) != last["crc32"]:
            raise FASError(f"--output {self.path}: was changed after it was written; leave out --resume to begin anew")
        self._file.truncate(last["end"])
        self._end, self._crc = last["end"], last["crc32"]
        self.files, self.failed = done, sum(entry["failed"] for entry in entries[:done])
        write_text(self.journal, "".join(json.dumps(line) + "\n" for line in [self.facts, *entries[:done]]))
        self._put("")

    def _entries(self) -> list[dict]:
        """Of the files that are answered, in order; a line that was stopped midway is none."""
        lines = self.journal.read_text(encoding="utf-8").splitlines() if self.journal.is_file() else []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        if not found:
            raise FASError(
                f"--resume: no journal of a run beside {self.path} ({self.journal.name}); leave out --resume to begin anew"
            )
        facts, *entries = found
        check_may_resume(self.path, self.facts or {}, facts, FASError, "--output")
        return entries

    def _put(self, text: str) -> None:
        data, footer = text.encode(), self.format.footer.encode()
        try:
            self._file.seek(self._end)
            written = self._file.write(data + footer)
        except OSError as error:
            raise self._refused(error) from None
        if written < len(data + footer):  # a disk with room for a part
            raise self._refused(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        self._end, self._crc = self._end + len(data), zlib.crc32(data, self._crc)

    def _refused(self, error: OSError) -> FASError:
        return FASError(f"--output {self.path}: cannot be written: {error.strerror or error}")


def _digest(file: Path) -> str | None:
    try:
        return audio_digest(file)
    except AudioError:
        return None
