"""What a line costs is the difference from the same clips as they are, by speaker."""

from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset

from experiments import lines

EMOTIONS = ("angry", "sad")


class Pipeline:
    """Right of every clip as it is; says "angry" of every clip through a telephone."""

    training, extractor = {}, None
    model = SimpleNamespace(config=SimpleNamespace(answer_from="tone"))

    def hear(self, features):
        said = np.zeros((len(features), 7))
        for row, (variant, label) in enumerate(features):
            said[row, 0 if variant else label] = 1.0
        return {"acoustic": said, "fused": 1 - said}, [], None


@pytest.fixture
def corpus(monkeypatch):
    rows = Dataset.from_dict(
        dict(
            emotion=[EMOTIONS[i % 2] for i in range(24)], speaker=[f"s{i // 4}" for i in range(24)], split=["test"] * 24
        )
    )

    class Source:
        def __init__(self, given, extractor, cache, variants):
            self.variants, self.usable = variants, list(range(23))  # one file cannot be read
            labels = lines.label_indices(given["emotion"])
            self.digests = [int(label) for label in labels]

        def get(self, digest, variant):
            return variant, digest

    monkeypatch.setattr(lines, "FeatureSource", Source)
    monkeypatch.setattr(lines, "scored_clips", lambda *_: (rows, "corpus never heard"))
    monkeypatch.setattr(lines, "learned_from", lambda training: ((), None))


def test_a_variant_is_compared_with_the_clips_as_they_are(corpus):
    plain, telephone = lines.scored(Pipeline(), None, "emodb", "x", ["telephone:gsm"])
    assert plain["variant"] == "" and plain["ua"] == 100 and plain["clips"] == 23 and "difference" not in plain
    assert telephone["ua"] == 50 and telephone["difference"] == pytest.approx(-0.5) and telephone["p"] < 0.05
    table = lines.markdown([plain, telephone])
    assert "| emodb | as it is | 23 | 100.0 | 100.0 | 0.0 |" in table and "| -50.0 [" in table
