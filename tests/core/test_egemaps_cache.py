"""The cache of eGeMAPS functionals, without openSMILE: what two processes compute side by side is kept."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import write_clips

from fas_core.cues.functionals import Functionals


@pytest.fixture
def opensmile(monkeypatch):
    """A stand-in whose functionals are all 1."""
    table = SimpleNamespace(to_numpy=lambda: np.full((1, 88), 1.0))
    smile = SimpleNamespace(process_signal=lambda samples, rate: table)
    names = dict(FeatureSet=SimpleNamespace(eGeMAPSv02=0), FeatureLevel=SimpleNamespace(Functionals=0), __version__="0")
    monkeypatch.setitem(sys.modules, "opensmile", SimpleNamespace(Smile=lambda *_: smile, **names))


def test_caches_side_by_side_keep_each_others_clips(opensmile, tmp_path):
    rows = write_clips(tmp_path / "clips", [1.0, 1.0])
    caches = [Functionals(tmp_path / "cache") for _ in rows]
    for number, (cache, row) in enumerate(zip(caches, rows, strict=True)):
        cache.get(row["audio"], f"clip {number}")
        cache.save()
    assert set(Functionals(tmp_path / "cache").held) == {"clip 0", "clip 1"}
