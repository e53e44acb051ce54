"""Features of clips for systems that read the feature cache, a group of clips at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.features.cache import FeatureCache
from fas_core.features.extract import extract_features
from fas_eval.systems.base import BenchmarkClip

GROUP = 256  # clips whose answers are lost at most when the machine dies


@dataclass
class Heard:
    """Features of some clips; `failed`: (clip, why). `seconds`: of encoding a clip, None where it was in the cache."""

    clips: list[BenchmarkClip]
    features: list[ClipFeatures]
    failed: list[tuple[BenchmarkClip, str]]
    seconds: float | None


def describe_encoders(extractor: FeatureExtractor, pathways: Sequence[str] = ("acoustic", "semantic")) -> dict:
    """ "weights", "source" and "encoder_parameters" of the encoders that these pathways read."""
    encoders = {pathway: getattr(extractor, pathway) for pathway in pathways}
    kinds = {encoder.weights for encoder in encoders.values()}
    names = (encoder.identity() for encoder in encoders.values())
    return {
        "weights": "random" if "random" in kinds else "real",
        "source": ", ".join(dict.fromkeys(str(name.get("model") or name["type"]) for name in names)),
        "encoder_parameters": sum(p.numel() for m in _modules(encoders.values()) for p in m.parameters()) or None,
    }


def _modules(encoders) -> list[torch.nn.Module]:
    """The networks that encoders hold, each once."""
    holders = [holder for encoder in encoders for holder in (encoder, getattr(encoder, "backbone", None)) if holder]
    found = {id(m): m for holder in holders for m in vars(holder).values() if isinstance(m, torch.nn.Module)}
    return list(found.values())


def read_features(
    clips: Sequence[BenchmarkClip],
    extractor: FeatureExtractor,
    cache_dir: Path,
    group: int | None = GROUP,
    title: str = "",
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
