"""Features on disk: sharded, memory-mapped, checked, and the same bytes from every run.

    <root>/<identity digest[:16]>/identity.json
    <root>/<identity digest[:16]>/<plan[:16]>-<sha256[:16]>.safetensors

A shard is one safetensors file: the fp16 patches of its clips one after the other, their deviations over frames, and in the header an index
of the clips. Its name says which clips were planned for it (`plan`) and what its content is (`sha256`), so
that a shard is complete with one rename and damage shows without a second file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fas_core.atomic import UMASK
from fas_core.encoders.base import ClipFeatures, identity_digest
from fas_core.errors import FeatureError, IdentityMismatchError
from fas_core.features.augment import variant_key

STREAMS = ("acoustic", "semantic")
DEVIATIONS = ("acoustic_deviation", "semantic_deviation")
LEFTOVER_SECONDS = 600  # a temporary file this old belongs to a process that was killed


@dataclass
class Shard:
    """One file of the cache, open for reading.

    Attributes:
        path: of the file.
        clips: key -> frames, front end, and first and last patch of each stream.
        failed: keys of the clips that were planned for this shard and could not be read.
    """

    path: Path
    clips: dict[str, dict]
    failed: list[str]
    handle: object
    checked: bool = False

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Reads the index. Raises `FeatureError` if that is not possible, or not the index of this file."""
        try:
            handle = safe_open(path, framework="np")
            index = json.loads(handle.metadata()["index"])
            shard = cls(path, index["clips"], index["failed"], handle)
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
            raise damage(path, f"its index cannot be read, {error}") from error
        if not path.name.startswith(plan_name([*shard.clips, *shard.failed])):
            raise damage(path, "its index is not that of its name")
        return shard

    def check(self) -> None:
        """Compares the content with the checksum in the name. Raises `FeatureError`."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if not self.path.stem.endswith(digest.hexdigest()[:16]):
            raise damage(self.path, f"its sha256 starts with {digest.hexdigest()[:16]}")
        self.checked = True

    def read(self, key: str) -> ClipFeatures:
        """Reads one clip out of the shard.

        Raises:
            FeatureError: the shard is damaged.
        """
        if not self.checked:
            self.check()
        clip = dict(self.clips[key])
        for stream in STREAMS:
            start, end = clip.pop(f"{stream}_patches")
            clip[stream] = self.handle.get_slice(stream)[start:end].astype(np.float32)
        row = clip.pop("row")
        for name in DEVIATIONS:
            clip[name] = self.handle.get_slice(name)[row : row + 1][0].astype(np.float32)
        return ClipFeatures(**clip)


class FeatureCache:
    """The features of one extractor.

    Args:
        root: folder of any number of caches; this one's folder is named by the identity.
        extractor_identity: `FeatureExtractor.identity()`, or what a checkpoint holds of it.

    Raises:
        IdentityMismatchError: the folder holds another identity.
    """

    def __init__(self, root: str | os.PathLike, extractor_identity: Mapping):
        self.identity = dict(extractor_identity)
        self.digest = identity_digest(self.identity)
        self.path = Path(root) / self.digest[:16]
        self._check_identity()
        self.refresh()

    def refresh(self) -> None:
        """Looks again at what is on disk; other processes may have added shards."""
        self._shards: dict[str, Shard] = {}
        self._damaged: dict[str, str] = {}
        self._where: dict[str, Shard] = {}
        for path in self.shard_paths():
            try:
                shard = Shard.open(path)
            except FileNotFoundError:  # just replaced by another process
                continue
            except FeatureError as error:
                self._damaged[path.name] = str(error)
                continue
            self._shards[path.name] = shard
            self._where.update(dict.fromkeys(shard.clips, shard))

    def shard_paths(self) -> list[Path]:
        """Lists the shards on disk, in order of their names."""
        return sorted(self.path.glob("[0-9a-f]*.safetensors"))

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, digest: str) -> bool:
        """Whether a clip is there, by `audio_digest` or `variant_key`."""
        return digest in self._where

    def get(self, digest: str, variant: str | None = None) -> ClipFeatures:
        """Features of a clip, patches as float32.

        Args:
            digest: `audio_digest` of the clip.
            variant: an augmentation, see `fas_core.features.augment`.

        Raises:
            FeatureError: the clip is not in the cache, or its shard is damaged (the message names it).
        """
        key = variant_key(digest, variant)
        if key not in self._where:
            problem = f"features of clip {key} are not in the cache {self.path}: run extract_features"
            raise FeatureError("; ".join([problem, *self._damaged.values()]))
        return self._where[key].read(key)

    def verify(self) -> list[str]:
        """Names of the damaged shards, after a look at every byte of all of them."""
        self.refresh()
        for name, shard in self._shards.items():
            try:
                shard.check()
            except FeatureError as error:
                self._damaged[name] = str(error)
            except FileNotFoundError:
                continue
        return self.damaged

    @property
    def damaged(self) -> list[str]:
        """Names of the shards that are known to be damaged, without looking again."""
        return sorted(self._damaged)

    def sound_shards(self) -> list[Shard]:
        """Those that `verify` finds nothing wrong with."""
        damaged = set(self.verify())
        return [shard for name, shard in self._shards.items() if name not in damaged]

    def write_shard(self, clips: Mapping[str, ClipFeatures], failed: Iterable[str] = ()) -> Path:
        """Writes a shard in one step. The bytes depend on the clips only, not on their order.

        Args:
            clips: key -> features, at least one.
            failed: keys of the clips that were planned for this shard too.
        """
        content = _serialize(clips, failed)
        name = f"{plan_name([*clips, *failed])}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "identity.json").exists():
            text = json.dumps(self.identity, indent=2, sort_keys=True) + "\n"
            write_atomically(self.path / "identity.json", text.encode())
        write_atomically(self.path / name, content)
        return self.path / name

    def remove_leftovers(self, damaged: Iterable[str] = ()) -> None:
        """Deletes what killed processes left half-written, and damaged shards that nobody built again.

        Args:
            damaged: names of shards whose clips lie elsewhere by now.
        """
        for name in set(damaged) & set(self.verify()):
            (self.path / name).unlink(missing_ok=True)
        for path in self.path.glob(".tmp-*"):
            try:
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue

    def _check_identity(self) -> None:
        path = self.path / "identity.json"
        if not path.exists():
            return
        try:
            found = identity_digest(json.loads(path.read_text()))
        except ValueError as error:
            raise FeatureError(f"{path}: not JSON ({error}); delete it, it is written again") from error
        if found != self.digest:
            raise IdentityMismatchError(f"{path}: another identity than asked for; use another cache root")

    def __getstate__(self) -> dict:
        return {"root": self.path.parent, "identity": self.identity}

    def __setstate__(self, state: dict) -> None:  # maps do not cross to another process; they are opened again
        self.__init__(state["root"], state["identity"])


def plan_name(keys: Iterable[str]) -> str:
    """First half of a shard's name: which clips were planned for it."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def damage(path: Path, problem: str) -> FeatureError:
    """Makes the error for a shard that is not as it was written."""
    return FeatureError(f"shard {path} is damaged: {problem}; extract_features builds it again")


def write_atomically(path: Path, content: bytes) -> None:
    """The whole file or none, whenever the process is killed."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o666 & ~UMASK)
    os.replace(file.name, path)


def _serialize(clips: Mapping[str, ClipFeatures], failed: Iterable[str]) -> bytes:
    keys = sorted(clips)
    index = {key: _index_entry(clips[key]) for key in keys}
    tensors = {}
    for stream in STREAMS:
        parts = [getattr(clips[key], stream).astype(np.float16) for key in keys]
        bounds = np.cumsum([0, *map(len, parts)]).tolist()
        for key, start, end in zip(keys, bounds[:-1], bounds[1:], strict=True):
            index[key][f"{stream}_patches"] = [start, end]
        tensors[stream] = np.concatenate(parts)
    for row, key in enumerate(keys):
        index[key]["row"] = row
    for name in DEVIATIONS:
        tensors[name] = np.stack([getattr(clips[key], name).astype(np.float16) for key in keys])
    # one entry only: safetensors writes several in no fixed order
    text = json.dumps({"clips": index, "failed": sorted(failed)}, sort_keys=True, separators=(",", ":"))
    return save(tensors, metadata={"index": text})


def _index_entry(clip: ClipFeatures) -> dict:
    return {item.name: getattr(clip, item.name) for item in fields(clip) if item.name not in STREAMS + DEVIATIONS}
