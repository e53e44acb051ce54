"""Ctrl-C and SIGTERM end a training with one line that says how to go on."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator


class _Stopped(KeyboardInterrupt):
    """SIGTERM, where it arrives."""


@contextlib.contextmanager
def says_how_to_go_on() -> Iterator[None]:
    """Around a training whose state is written as it goes; the exit code is that of the signal (130, 143)."""
    try:
        with _terminable():
            yield
    except KeyboardInterrupt as error:
        if os.environ.get("RANK", "0") == "0":
            told = "interrupted: what was saved is kept; the same command with --resume goes on from there"
            print(f"\n{told}", file=sys.stderr, flush=True)
        raise SystemExit(143 if isinstance(error, _Stopped) else 130) from None


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as an exception; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
