"""A vLLM server as a child process: started on loopback, watched, ended."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

START_SECONDS = 600
ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}


class Server:
    """A running server.

    Attributes:
        url: where it listens.
        start_seconds: how long it took until it was healthy.
        peak_memory: largest resident memory of all its processes together so far, bytes; pages that they share
            count once for each.
    """

    def __init__(self, process: subprocess.Popen, url: str):
        self.process, self.url = process, url
        self.start_seconds = self.peak_memory = 0.0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def wait_until_healthy(self, log: Path) -> None:
        """Raises `RuntimeError` with the errors of the log when the server ends or takes too long."""
        began = time.perf_counter()
        self._watcher.start()
        while time.perf_counter() - began < START_SECONDS and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=2, trust_env=False).status_code == 200:
                    self.start_seconds = time.perf_counter() - began
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        errors = [line for line in log.read_text().splitlines() if "Error" in line]  # the cause comes first
        raise RuntimeError("vLLM did not start; from its log:\n" + "\n".join([*errors[:5], *errors[-1:]]))

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        return sum(_cpu_seconds(process) for process in _family(self.process.pid))

    def stop(self) -> None:
        """End the server and the processes that it started."""
        self._ended.set()
        family = _family(self.process.pid)
        self.process.terminate()
        _, alive = psutil.wait_procs(family, timeout=30)
        for process in alive:
            process.kill()
        self.process.wait()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self.peak_memory = max(self.peak_memory, sum(_resident(p) for p in _family(self.process.pid)))


@contextmanager
def vllm_server(model: Path, log: Path, *options: str) -> Iterator[Server]:
    """Serve a model directory for the time of the block.

    Args:
        model: directory.
        log: file for what the server prints.
        options: of vLLM's command line.
    """
    port = _free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), *options]
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT | os.environ)
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        server.wait_until_healthy(log)
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        return times.user + times.system
    except psutil.NoSuchProcess:
        return 0.0
