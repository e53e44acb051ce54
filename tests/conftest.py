"""What holds for all tests: the same numbers on every machine."""

import gc
import os
from pathlib import Path

import pytest
import warm

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a hub that cannot be reached is asked five times, for half a minute
os.environ["FAS_CHECKPOINT"] = "tiny.en"  # whichever weights are installed; `test_shipped` tests the choice itself
os.environ["FAS_BF16"] = "0"  # float32 where a processor would choose; `test_precision` tests the choice itself


def pytest_configure(config) -> None:
    """Processes that tests start are forks of one that has imported torch, see tests/helpers/warm.py."""
    server = warm.server()
    server.__enter__()
    config.add_cleanup(lambda: server.__exit__(None, None, None))


def pytest_collection_finish(session) -> None:
    """All is imported: the collector need not look through it each time that accelerate calls for it."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session) -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """What the adapter's training reads: a tiny corpus, a FAS and an LLM on disk, and a feature cache that is shared."""
    from alm_runs import write_material

    return write_material(tmp_path_factory.mktemp("alm"))
