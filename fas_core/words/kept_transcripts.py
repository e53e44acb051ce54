"""Transcripts of files, written down once and kept beside the features of the same encoders.

    <root>/<identity digest[:16]>/transcripts/<transcriber[:16]>-<sha256[:16]>.json

As a shard of features, a file appears whole, says in its name what wrote it and what its content is, and is not read where that
does not fit; its clips are then transcribed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from fas_core.audio import load_audio
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.encoders.weights import tensors_sha256
from fas_core.errors import AudioError
from fas_core.features.cache import write_atomically
from fas_core.words.transcriber import Transcriber
from fas_core.words.transcript import Transcript

log = logging.getLogger(__name__)
CODE_VERSION = 1  # raise it whenever the same frames give another transcript
AT_ONCE = 64  # clips of a file; what was transcribed survives `kill -9` file by file
TOGETHER = 4  # clips in memory


class KeptTranscripts:
    """What Whisper's decoder writes of files, by their content.

    Args:
        folder: of the feature cache of the extractor's identity (`FeatureCache.path`).
        extractor: its Whisper gives the frames.
        transcriber: of the same Whisper.
        process: (index, number) of this process; each writes down its share.
        wait: returns once every process has called it.
    """

    def __init__(
        self,
        folder: Path,
        extractor: FeatureExtractor,
        transcriber: Transcriber,
        process: tuple[int, int] = (0, 1),
        wait: Callable[[], None] = lambda: None,
    ):
        self.folder, self.extractor, self.transcriber = folder / "transcripts", extractor, transcriber
        self.process, self.wait = process, wait
        self.prefix = _digest(transcriber)[:16]

    def __call__(self, files: Mapping[str, str]) -> dict[str, Transcript]:
        """Transcripts of files, digest of the content -> path, by digest; without those that cannot be read."""
        kept = self._read()
        self.wait()  # until all have looked, so that all see the same clips missing
        missing = sorted(set(files) - set(kept))
        index, number = self.process
        for shard in list(_cut(missing, AT_ONCE))[index::number]:
            self._write({k: v for group in _cut(shard, TOGETHER) for k, v in self._transcribed(group, files).items()})
        self.wait()
        found = self._read() if missing else kept
        return {digest: found[digest] for digest in files if digest in found}

    def _transcribed(self, digests: list[str], files: Mapping[str, str]) -> dict[str, Transcript]:
        samples = {}
        for digest in digests:
            try:
                samples[digest] = load_audio(files[digest]).samples
            except AudioError:
                continue  # whoever extracts its features says so
        if not samples:
            return {}
        frames = self.extractor.with_frames(list(samples.values()))[1]
        return dict(zip(samples, self.transcriber(frames), strict=True))

    def _write(self, transcripts: dict[str, Transcript]) -> None:
        if not transcripts:
            return
        content = json.dumps(
            {digest: asdict(each) for digest, each in sorted(transcripts.items())}, ensure_ascii=False
        ).encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"{self.prefix}-{hashlib.sha256(content).hexdigest()[:16]}.json", content)

    def _read(self) -> dict[str, Transcript]:
        found: dict[str, Transcript] = {}
        for path in sorted(self.folder.glob(f"{self.prefix}-*.json")):
            content = path.read_bytes()
            if not path.stem.endswith(hashlib.sha256(content).hexdigest()[:16]):
                log.warning("%s is damaged; what it held is transcribed again", path)
                continue
            found |= {digest: Transcript(**values) for digest, values in json.loads(content).items()}
        return found


def _cut(items: list, size: int) -> Iterator[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _digest(transcriber: Transcriber) -> str:
    """sha256 (hex) of what decides about a transcript, apart from the frames."""
    decoder = transcriber.decoder
    what = {
        "decoder": tensors_sha256(decoder.decoder.state_dict() | {"head": decoder.head.weight}),
        "limits": asdict(transcriber.limits),
        "languages": sorted(transcriber.languages),
        "code_version": CODE_VERSION,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
