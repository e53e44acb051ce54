"""What vLLM prints, without what it quotes of requests.

It logs schemas, parameters and exceptions of requests. Until it is ready nobody can ask it anything, and all is kept; then
only what its own code says about places: time, level, module and line, frames of a traceback, the type of an exception.
"""

import builtins
import logging.handlers
import os
import re
from pathlib import Path

MOST_BYTES, OLDER = 10 * 1024**2, 3  # of a file, and files before it
LONGEST_LINE = 64 * 1024
WHO = r"(?:\(\w+(?: \w+)? pid=\d+\) ?)?"
HEAD = re.compile(WHO + r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[\w./]{1,80}:\d+\]")
FRAME = re.compile(r'File "([^"]+\.py)", line \d+, in [\w<>]{1,80}')
EXCEPTION = re.compile(r"((?:torch|vllm)\.[\w.]{1,80}|\w{1,40})(?::|$)")
TRACEBACK = "Traceback (most recent call last):"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class PrivateLog(logging.handlers.RotatingFileHandler):
    """A file that only its user can read, and that does not grow for ever."""

    def __init__(self, path: Path):
        super().__init__(path, maxBytes=MOST_BYTES, backupCount=OLDER, encoding="utf-8", errors="replace")

    def _open(self):
        file = open(
            self.baseFilename, self.mode, encoding="utf-8", errors="replace", opener=lambda p, f: os.open(p, f, 0o600)
        )
        os.fchmod(file.fileno(), 0o600)  # it may have been there
        return file

    def write(self, line: str) -> None:
        self.emit(logging.LogRecord("vllm", logging.INFO, "", 0, line, None, None))


class ChildLog:
    """Takes what one process prints, piece by piece.

    Attributes:
        asked: whether requests have been sent to it.
    """

    def __init__(self, log: PrivateLog):
        self.log, self.asked, self._rest = log, False, b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:LONGEST_LINE]
        for line in lines:
            text = COLOURS.sub("", line.decode("utf-8", "replace").rstrip())
            if kept := without_requests(text) if self.asked else text:
                self.log.write(kept)


def without_requests(line: str) -> str:
    """What of a line can be no part of a request; "" for nothing."""
    head = HEAD.match(line)
    told, rest = (head[0], line[head.end() :].strip()) if head else ("", line.strip())
    if frame := FRAME.match(rest):
        rest = frame[0] if os.path.isfile(frame[1]) else ""
    elif rest != TRACEBACK:
        kind = EXCEPTION.match(rest)
        rest = kind[1] if kind and _is_exception(kind[1]) else ""
    return f"{told} {rest}".strip()


def _is_exception(name: str) -> bool:
    known = getattr(builtins, name, None)
    return name.startswith(("torch.", "vllm.")) or (isinstance(known, type) and issubclass(known, BaseException))
