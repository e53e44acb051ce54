"""Answers kept on disk, so that a stopped run goes on and a report is made again without asking anybody anything.

One folder a system identity, one file of JSON lines for each process; an answer is found by the digest of the clip's audio. A line
is written whole or, where the machine died, cut off: a cut line is ignored and its clip asked again. Answers that failed are
kept for the report, and asked again by the next run.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from fas_core.atomic import write_json
from fas_core.errors import FASError
from fas_core.paths import expanded, file_name
from fas_eval.systems.base import BenchmarkClip, System, SystemAnswer

LONGEST_NAME = 80  # characters of a folder's name that are the system's: file systems take 255 bytes


class StoreError(FASError):
    """Answers that cannot be kept: asking on would be for nothing, whichever system comes next."""


class AnswerStore:
    """Answers of one system.

    Args:
        root: folder of all systems' answers.
        system: whose they are.
        process_index: of this process; each writes a file of its own.
    """

    def __init__(self, root: str | Path, system: System, process_index: int = 0):
        slug = file_name(system.name, LONGEST_NAME)
        self.folder = expanded(root) / f"{slug}-{system.digest[:16]}"
        self.file = self.folder / f"answers-{process_index:03d}.jsonl"
        self.identity = system.identity()
        self.answers: dict[str, SystemAnswer] = {}
        self.opened = False
        self.load()

    def load(self) -> None:
        """Read what all processes have written."""
        for file in sorted(self.folder.glob("answers-*.jsonl")):
            for digest, answer in _read(file):
                self._hold(digest, answer)

    def get(self, clip: BenchmarkClip) -> SystemAnswer | None:
        """The answer to a clip, under its id of this benchmark."""
        found = self.answers.get(clip.digest)
        return None if found is None else replace(found, clip=clip.id)

    def missing(self, clips: Iterable[BenchmarkClip]) -> list[BenchmarkClip]:
        """Clips without an answer, those that failed among them; of clips with the same audio the first."""
        wanted = {clip.digest: clip for clip in reversed(list(clips))}
        known = {digest for digest, answer in self.answers.items() if answer.how != "failed"}
        return [clip for digest, clip in reversed(wanted.items()) if digest not in known]

    def add(self, digest: str, answer: SystemAnswer) -> None:
        """Keep an answer, on disk before this returns to the caller's loop.

        Raises:
            StoreError: it cannot be written.
        """
        line = json.dumps({"digest": digest, **answer.to_dict()}, ensure_ascii=False)
        try:
            self._open()
            with self.file.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise StoreError(
                f"{self.folder}: answers cannot be kept: {error.strerror or error}; what was answered before is kept: make room, "
                "or give another folder (--answers), and run again"
            ) from None
        self._hold(digest, answer)

    def _hold(self, digest: str, answer: SystemAnswer) -> None:
        """A good answer is preferred to a failure, a later one to an earlier."""
        if answer.how != "failed" or digest not in self.answers or self.answers[digest].how == "failed":
            self.answers[digest] = answer

    def _open(self) -> None:
        """Before the first line of this process: the folder, and an end to a line that was cut off."""
        if self.opened:
            return
        if not (self.folder / "identity.json").is_file():
            write_json(self.folder / "identity.json", self.identity)
        if _is_cut(self.file):
            with self.file.open("ab") as file:
                file.write(b"\n")
        self.opened = True


def _is_cut(file: Path) -> bool:
    if not file.is_file() or not file.stat().st_size:
        return False
    with file.open("rb") as content:
        content.seek(-1, os.SEEK_END)
        return content.read() != b"\n"


def _read(file: Path) -> Iterator[tuple[str, SystemAnswer]]:
    # not splitlines: a text may hold U+2028 and others that it takes for ends of lines
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            values = json.loads(line)
            yield values.pop("digest"), SystemAnswer.from_dict(values)
        except (ValueError, KeyError, TypeError, AttributeError, FASError):
            continue  # cut off when the machine died
