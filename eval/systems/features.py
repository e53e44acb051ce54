"""Features of clips for systems that read the feature cache, a group of clips at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from eval.systems.base import Clip
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import extract_features

GROUP = 256  # clips whose answers are lost at most when the machine dies


@dataclass
class Heard:
    """Features of some clips; `failed`: (clip, why). `seconds`: of encoding a clip, None where it was in the cache."""

    clips: list[Clip]
    features: list[ClipFeatures]
    failed: list[tuple[Clip, str]]
    seconds: float | None


def read_features(
    clips: Sequence[Clip], extractor: FeatureExtractor, cache_dir: Path, group: int | None = GROUP, title: str = ""
) -> Iterator[Heard]:
    """Features of all clips, in groups; extracted where the cache lacks them.

    Args:
        group: clips at a time; None: all at once. title: of a progress bar, which there is where it is given.
    """
    cache = FeatureCache(cache_dir, extractor.identity())
    size = group or max(len(clips), 1)
    for start in tqdm(range(0, len(clips), size), desc=title, unit="group", disable=not title):
        part = list(clips[start : start + size])
        report = extract_features([{"audio": clip.audio} for clip in part], extractor, cache, progress=False)
        cache.refresh()
        errors = {failure["file"]: failure["error"] for failure in report.failed}
        good = [clip for clip in part if clip.audio not in errors]
        yield Heard(
            clips=good,
            features=[cache.get(clip.digest) for clip in good],
            failed=[(clip, errors[clip.audio]) for clip in part if clip.audio in errors],
            seconds=report.seconds / report.done if report.done and not report.cached else None,
        )
