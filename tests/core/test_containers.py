"""FFmpeg in a process of its own: bombs, crashes and callers that leave cost that process, never this one."""

import gzip
import io
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from test_audio import encoded_by_ffmpeg

from benchmarks.mutations import BOMBS
from fas_core import containers
from fas_core.audio import AudioLimits, load_audio, stream_audio
from fas_core.errors import AudioError

pytest.importorskip("av")
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")


@pytest.fixture(scope="module")
def m4a() -> bytes:
    return encoded_by_ffmpeg("ipod", "aac", 44100, 2, seconds=8)


@pytest.fixture
def fresh():
    """No worker waits, so that the next file starts the one that the test sees."""
    containers._stop_all()
    yield
    containers._stop_all()


def memory(field: str) -> float:
    """MiB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_cost_this_process_little(bomb, m4a):
    data = BOMBS[bomb]()
    load_audio(m4a)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = memory("VmRSS")
    try:
        load_audio(data, limits=AudioLimits(max_seconds=300, max_decoded_bytes=256 << 20))
    except AudioError as error:
        assert error.hint or "empty" in error.problem
    assert memory("VmHWM") - before < 300
    assert load_audio(m4a).duration > 8


def test_worker_stays_for_the_next_file(m4a, fresh):
    processes = set()
    for _ in range(3):
        load_audio(m4a)
        with pytest.raises(AudioError, match="not audio"):
            load_audio(b"plain text\n" * 500)
        processes |= {worker.process.pid for worker in containers._warm}
    assert len(processes) == 1


def test_caller_that_leaves_midway_gets_the_worker_back(fresh, tmp_path):
    long = tmp_path / "long.m4a"
    long.write_bytes(encoded_by_ffmpeg("ipod", "aac", 44100, 2, seconds=20))
    load_audio(f"{long}#t=0,1")
    (first,) = containers._warm
    for start in (0, 3, 10):
        assert load_audio(f"{long}#t={start},{start + 1}").duration == 1
        blocks = stream_audio(long, block_seconds=1)
        next(blocks)
        assert not containers._warm
        blocks.close()
        assert containers._warm == [first]
    assert load_audio(long).duration > 20 and containers._warm == [first]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGXCPU])
def test_worker_that_dies_midway(fresh, m4a, signal_number):
    load_audio(m4a)
    process = containers._warm[0].process
    data = encoded_by_ffmpeg("ipod", "aac", 44100, 2, seconds=20)
    blocks = stream_audio(data, block_seconds=1)
    next(blocks)
    os.kill(process.pid, signal_number)
    with pytest.raises(AudioError, match="it was stopped.*FAS_DECODER_MEGABYTES"):
        list(blocks)
    assert not containers._warm and load_audio(m4a).duration > 8


def test_idle_worker_that_died_is_replaced(m4a, fresh):
    load_audio(m4a)
    (worker,) = containers._warm
    worker.process.kill()
    worker.process.wait()
    assert load_audio(m4a).duration > 8


def test_worker_that_hangs(m4a, fresh, monkeypatch):
    monkeypatch.setattr(containers, "PATIENCE", 0.2)
    monkeypatch.setattr(containers, "GIVING_UP", 0.1)
    containers._warm.append(containers._Worker.start(containers.MEGABYTES))
    os.kill(containers._warm[0].process.pid, signal.SIGSTOP)
    with pytest.raises(AudioError, match="nothing was decoded for 0.2 s"):
        load_audio(m4a)
    assert not containers._warm


def test_threads_share_the_workers(m4a):
    with ThreadPoolExecutor(6) as threads:
        durations = list(threads.map(lambda _: load_audio(m4a).duration, range(12)))
    assert len(set(durations)) == 1 and len(containers._warm) <= containers.WARM


def _read(connection, data):
    connection.send(load_audio(data).samples)


def test_forked_processes_have_workers_of_their_own(m4a):
    expected = load_audio(m4a).samples
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    with containers._lock:  # as another thread may at the moment of the fork
        process = context.Process(target=_read, args=(there, m4a))
        process.start()
    np.testing.assert_array_equal(here.recv(), expected)
    process.join(30)
    assert process.exitcode == 0
    np.testing.assert_array_equal(load_audio(m4a).samples, expected)


def test_files_that_are_not_what_their_descriptor_is(m4a, tmp_path):
    expected = load_audio(m4a).samples
    with gzip.open(tmp_path / "a.gz", "wb") as file:
        file.write(m4a)
    with (tmp_path / "w.m4a").open("w+b") as unflushed, gzip.open(tmp_path / "a.gz") as packed:
        unflushed.write(m4a)
        for file in (packed, unflushed, io.BytesIO(m4a), io.BufferedReader(io.BytesIO(m4a))):
            np.testing.assert_array_equal(load_audio(file).samples, expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_worker_holds_no_secrets_and_no_files(m4a, fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("FAS_API_KEY", "secret")
    with (tmp_path / "open").open("w"):
        load_audio(m4a)
        place = Path(f"/proc/{containers._warm[0].process.pid}")
        assert b"secret" not in (place / "environ").read_bytes()
        opened = {os.readlink(each).partition(":")[0] for each in (place / "fd").iterdir()}
        assert opened <= {"socket", "/dev/null"}
        assert "torch" not in (place / "maps").read_text()


def test_memory_is_an_option(m4a, fresh, monkeypatch):
    monkeypatch.setenv("FAS_DECODER_MEGABYTES", "much")
    with pytest.raises(AudioError, match="expected a whole number of megabytes"):
        load_audio(m4a)


def test_more_threads_than_workers_may_leave_midway(m4a):
    def leave(_):
        blocks = stream_audio(m4a, block_seconds=1)
        next(blocks)
        blocks.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(leave, range(8)))
    assert threading.active_count() < 20 and load_audio(m4a).duration > 8
