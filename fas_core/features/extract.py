"""Extraction of a data set's features into a cache: resumable, by any number of processes side by side.

The plan is a pure function of the clips and of what the cache holds: the digests that are missing, sorted,
cut into shards of equal size. A process takes whole shards, and a shard is written in one step. So whatever
processes did it, and however often they were killed, the files are the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from fas_core.audio import load_audio
from fas_core.encoders.base import ClipFeatures
from fas_core.errors import AudioError, FASError, FeatureError
from fas_core.features.augment import augment, parse_variant, variant_key
from fas_core.features.cache import STREAMS, FeatureCache
from fas_core.sources import audio_digest

if TYPE_CHECKING:
    from fas_core.encoders.extractor import FeatureExtractor
    from fas_core.frontend import FrontEndResult

SHARD_CLIPS = 128
GROUP_SECONDS = 600  # of audio in memory at once


@dataclass
class ExtractionReport:
    """What one process did.

    Attributes:
        done: files whose features it extracted (files of the same content count each, and are encoded once).
        cached: files of the whole data set whose features were there already.
        failed: {"file", "error"} of those that it could not use.
        damaged: names of damaged shards that were found; their clips are extracted again.
        seconds: wall time.
        audio_seconds: duration of the audio that it encoded.
    """

    done: int = 0
    cached: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    seconds: float = 0.0
    audio_seconds: float = 0.0

    @property
    def x_real_time(self) -> float:
        """Seconds of audio per second of work."""
        return self.audio_seconds / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict:
        """Gives the fields and `x_real_time`, JSON-ready."""
        return {**asdict(self), "x_real_time": self.x_real_time}


def extract_features(
    dataset: Iterable[dict],
    extractor: FeatureExtractor,
    cache: FeatureCache,
    *,
    augmentation: str | None = None,
    process_index: int = 0,
    num_processes: int = 1,
    shard_clips: int = SHARD_CLIPS,
    progress: bool = True,
) -> ExtractionReport:
    """Extracts what the cache lacks; damaged shards are named in the report and built again.

    Args:
        dataset: rows with "audio", the path of a file.
        extractor: of the cache's identity.
        cache: where the features go.
        augmentation: a variant of `fas_core.features.augment`, kept beside the plain features.
        process_index, num_processes: this process's share of the shards; the processes need not talk.
        shard_clips: clips per shard; finished shards survive `kill -9`.
        progress: show a bar with clips/s and x real time.

    Raises:
        FeatureError: extractor and cache differ in identity.
        FASError: a bad argument. A bad audio file is no error, but an entry in `failed`.
    """
    if extractor.digest != cache.digest:
        raise FeatureError(f"the cache {cache.path} is of another identity than the extractor's")
    if not 0 <= process_index < num_processes:
        raise FASError(f"process_index {process_index}: expected 0 to num_processes - 1, {num_processes - 1}")
    if augmentation is not None:
        parse_variant(augmentation)
    start = time.perf_counter()
    is_first = process_index == 0
    files, unreadable = _digests(dataset, augmentation)
    run = _Extraction(files, extractor, cache, augmentation)
    run.report.failed += unreadable if is_first else []
    shards, retried = run.plan(shard_clips)
    mine = [keys for rank, keys in shards if rank // shard_clips % num_processes == process_index]
    mine += retried if is_first else []
    clips = sum(map(len, mine))
    with tqdm(total=clips, unit="clip", desc="features", disable=not (progress and is_first)) as bar:
        for keys in mine:
            run.extract_shard(keys, bar)
    if is_first:
        cache.remove_leftovers(run.report.damaged)
    cache.refresh()
    run.report.seconds = time.perf_counter() - start
    return run.report


def process_from_environment() -> tuple[int, int]:
    """(index, number) of this process under `accelerate launch` or `torchrun`; (0, 1) alone."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def _digests(dataset: Iterable[dict], augmentation: str | None) -> tuple[dict[str, list[str]], list[dict]]:
    """Key -> files of that content, sorted by key; and the files that cannot be opened."""
    files: dict[str, list[str]] = {}
    failed = []
    for row in dataset:
        path = str(row["audio"])
        try:
            files.setdefault(variant_key(audio_digest(path), augmentation), []).append(path)
        except AudioError as error:
            failed.append({"file": path, "error": str(error)})
    return dict(sorted(files.items())), failed


class _Extraction:
    """One process's work on one data set."""

    def __init__(self, files: dict[str, list[str]], extractor, cache: FeatureCache, augmentation: str | None):
        self.files, self.extractor, self.cache, self.augmentation = files, extractor, cache, augmentation
        self.report = ExtractionReport()

    def plan(self, shard_clips: int) -> tuple[list[tuple[int, list[str]]], list[list[str]]]:
        """Shards to write, (rank of the first key among all, keys) each, and shards of what failed before.

        Clips that failed are part of a shard's plan, so that they do not shift the cut of what follows them.
        The rank is the same in every process, also in one that starts when others have written shards.
        """
        sound = self.cache.sound_shards()
        self.report.damaged = self.cache.damaged
        done = {key for shard in sound for key in shard.clips}
        failed = {key for shard in sound for key in shard.failed} - done
        self.report.cached = sum(len(paths) for key, paths in self.files.items() if key in done)
        rank = {key: number for number, key in enumerate(self.files)}
        missing = _cut([key for key in self.files if key not in done and key not in failed], shard_clips)
        retried = _cut([key for key in self.files if key in failed], shard_clips)
        return [(rank[keys[0]], keys) for keys in missing], retried

    def extract_shard(self, keys: list[str], bar: tqdm) -> None:
        clips: dict[str, ClipFeatures] = {}
        for group in self._groups(keys):
            names, prepared = list(group), list(group.values())
            for batch in self.extractor.batches(prepared):
                features = self.extractor.encode([prepared[index] for index in batch])
                clips.update(zip((names[index] for index in batch), features, strict=True))
                bar.update(len(batch))
                speed = self.report.audio_seconds / max(bar.format_dict["elapsed"], 1e-9)
                bar.set_postfix_str(f"{speed:.0f} x real time", refresh=False)
        for key in [key for key, clip in clips.items() if not _fits_fp16(clip)]:
            del clips[key]
            self._fail(key, "features are not finite in fp16")
        self.report.done += sum(len(self.files[key]) for key in clips)
        if clips:
            self.cache.write_shard(clips, failed=set(keys) - set(clips))

    def _groups(self, keys: list[str]) -> Iterator[dict[str, FrontEndResult]]:
        """Key -> clip after the front end, some minutes of audio at a time; bad files go to the report."""
        group: dict[str, FrontEndResult] = {}
        seconds = 0.0
        for key in keys:
            try:
                group[key], duration = self._prepare(key)
            except AudioError as error:
                self._fail(key, str(error))
                continue
            seconds += duration
            self.report.audio_seconds += duration
            if seconds > GROUP_SECONDS:
                yield group
                group, seconds = {}, 0.0
        if group:
            yield group

    def _prepare(self, key: str) -> tuple[FrontEndResult, float]:
        audio = load_audio(self.files[key][0])
        clip = self.extractor.front_end(audio.samples)
        if self.augmentation is not None:
            digest = key.partition("@")[0]
            clip = replace(clip, samples=augment(clip.samples, self.augmentation, digest))
        return clip, audio.duration

    def _fail(self, key: str, error: str) -> None:
        self.report.failed += [{"file": path, "error": error} for path in self.files[key]]


def _cut(keys: list[str], size: int) -> list[list[str]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _fits_fp16(clip: ClipFeatures) -> bool:
    largest = np.finfo(np.float16).max
    return all(np.abs(getattr(clip, stream)).max(initial=0) < largest for stream in STREAMS)  # NaN: False
