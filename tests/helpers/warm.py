"""Python processes that have imported torch and transformers before they begin.

A test that needs a process of its own puts `PYTHON` where it would put `sys.executable`: `[PYTHON, "-m", "eval.suite", ...]`,
`[PYTHON, "script.py", ...]` or `[PYTHON, "-c", code]`. The program behind it asks a server, which is one for all tests of a run,
for a fork: the process has the caller's arguments, environment, folder and standard streams, a session of its own, and saves
the five seconds of imports. What is read from the environment while those are imported (`HF_HUB_OFFLINE`, `OMP_NUM_THREADS`)
is as it was when the tests were started.

The caller's process passes signals on, and ends as the fork does. SIGKILL reaches the fork a moment after that process has
ended: tests send `KILL`, which ends both with -SIGKILL, the fork first. A test of a fresh interpreter takes `sys.executable`.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "FAS_TEST_WARM"  # names the folder of the server's socket, for the processes of pytest-xdist
PYTHON = str(Path(os.environ[ADDRESS]) / "python") if ADDRESS in os.environ else sys.executable
PRELOADED = (
    "torch.distributed.run", "accelerate.commands.launch", "transformers.models.whisper.modeling_whisper", "fas_core.pipeline",
    "fas_core.training.fas", "fas_alm.training.adapter", "fas_eval.suite.run",
)  # fmt: skip
KILL = signal.SIGKILL if sys.executable == PYTHON else signal.SIGUSR2
PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


@contextlib.contextmanager
def server():
    """A server for this process and those that it starts; it imports when it is first asked."""
    global PYTHON, KILL
    if ADDRESS in os.environ or not hasattr(os, "pidfd_open"):  # another process has one; other systems have none
        yield
        return
    with tempfile.TemporaryDirectory(prefix="fas-warm-") as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(folder + "/socket")
        door.listen(64)
        start = Path(folder) / "python"
        start.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(__file__)} {folder} "$@"\n')
        start.chmod(0o755)
        os.environ[ADDRESS], PYTHON, KILL = folder, str(start), signal.SIGUSR2
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        }
        process = subprocess.Popen(
            [sys.executable, __file__, str(door.fileno())], stdin=subprocess.PIPE, env=environment, start_new_session=True,
            pass_fds=[door.fileno()],
        )  # fmt: skip
        with process:
            try:
                yield
            finally:
                process.stdin.close()
                PYTHON, KILL = sys.executable, signal.SIGKILL
                del os.environ[ADDRESS]


# ---- the server, and what it forks --------------------------------------------------------------------------------------


def serve(door: socket.socket) -> dict:
    """Return in every fork, with what it is to do."""
    signal.signal(signal.SIGCHLD, reap)
    while door in select.select([door, sys.stdin], [], [])[0]:
        connection = door.accept()[0]
        if not gc.get_freeze_count():
            for name in PRELOADED:
                importlib.import_module(name)
            gc.freeze()  # else every fork looks through all of it
        if os.fork() == 0:
            door.close()
            return attend(connection)
        connection.close()
    os._exit(0)


def reap(*_) -> None:
    """Attendants that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def attend(connection: socket.socket) -> dict:
    """Fork the process that is to work and see to it: signals one way, its end the other way; return in the fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, *_ = socket.recv_fds(connection, 4, 3)
    job = json.loads(connection.recv(*struct.unpack("I", size), socket.MSG_WAITALL))
    process = os.fork()
    if process == 0:
        connection.close()
        os.setsid()
        for ours, theirs in enumerate(streams):
            os.dup2(theirs, ours)
            os.close(theirs)
        return job
    for stream in (*streams, 0, 1, 2):  # a pipe is at its end when the fork is
        os.close(stream)
    ended = os.pidfd_open(process)
    while ended not in select.select([connection, ended], [], [])[0]:
        number = connection.recv(1)
        if not number:
            os.killpg(process, signal.SIGKILL)
            break
        signal.pidfd_send_signal(ended, signal.SIGKILL if number[0] == signal.SIGUSR2 else number[0])
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(struct.pack("i", status))
    os._exit(0)


def run(job: dict) -> None:
    """As the interpreter does with these arguments; it ends without taking everything apart."""
    os.chdir(job["folder"])
    os.umask(job["umask"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    for number in PASSED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    how, *arguments = job["arguments"][job["arguments"][0] == "-u" :]
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [job["folder"], *filter(None, named), *sys.path[1:]]
    code = 0
    try:
        execute(how, arguments)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    if code < 0:
        end_by(-code)
    os._exit(code & 0xFF)


def execute(how: str, arguments: list[str]) -> None:
    """What `python HOW ARGUMENTS` does."""
    if how == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv, sys.modules["__main__"] = ["-c", *arguments[1:]], types.ModuleType("__main__")
        exec(compile(arguments[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv, sys.path[0] = [how, *arguments], str(Path(how).resolve().parent)
        runpy.run_path(how, run_name="__main__")


def end_by(number: int) -> None:
    """A signal, as it ends a process that does not mind it."""
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# ---- the process that the test has started ------------------------------------------------------------------------------


def ask(folder: str, arguments: list[str]) -> int:
    """The exit code of a fork that does this; raises no error that the fork raised: it has written it itself."""
    umask = os.umask(0)
    job = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "umask": umask}
    data = json.dumps(job).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(folder + "/socket")
        socket.send_fds(connection, [struct.pack("I", len(data))], [0, 1, 2])
        connection.sendall(data)
        for number in PASSED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
        status = connection.recv(4)
    return struct.unpack("i", status)[0] if status else -signal.SIGKILL


def main() -> None:
    place, *arguments = sys.argv[1:]
    if not arguments:
        run(serve(socket.socket(fileno=int(place))))
        return
    status = ask(place, arguments)
    if status < 0:
        end_by(-status)
    os._exit(status)


if __name__ == "__main__":
    main()
