"""What holds for all tests: the same numbers on every machine."""

import os
from pathlib import Path

import pytest

os.environ["FAS_BF16"] = "0"  # float32 where a processor would choose; `test_precision` tests the choice itself


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """What the adapter's training reads: a tiny corpus, a FAS and an LLM on disk, and a feature cache that is shared."""
    from alm_runs import write_material

    return write_material(tmp_path_factory.mktemp("alm"))
