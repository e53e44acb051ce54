"""What Whisper hears said in files, kept so that each is decoded once."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fas_core.atomic import locked, write_json
from fas_core.audio import load_audio
from fas_core.checkpoint import find_device
from fas_core.encoders.whisper import LAST, WhisperBackbone, WhisperEncoder
from fas_core.errors import AudioError, CheckpointError
from fas_core.hub import OFFLINE_PREFIX
from fas_core.paths import expanded
from fas_core.sources import audio_digest
from fas_core.words.transcriber import Transcriber

BATCH = 8  # clips
VERSION = 2  # raise it whenever the same clip gives another text
SAVE_EVERY = 16  # batches


class FileTranscripts:
    """What a Whisper with decoder writes of files; it is loaded when the first clip is not in the cache.

    Args:
        whisper: hub id, directory or "offline:NAME", with decoder and tokenizer.
        cache_dir: where the texts are kept, by content.
        device: None for what there is. progress: show a bar.
    """

    def __init__(self, whisper: str, cache_dir: str | Path, device: str | None = None, progress: bool = True):
        self.whisper, self.device, self.progress = whisper, device, progress
        self.store = (
            expanded(cache_dir) / f"transcripts-{VERSION}-{hashlib.sha256(whisper.encode()).hexdigest()[:16]}.json"
        )
        self.known: dict[str, str] = self._stored()

    def __call__(self, files: Sequence[str], failed: dict[str, str] | None = None) -> dict[str, str]:
        """file -> text.

        Args:
            files: audio files.
            failed: gets file -> error of files that cannot be used, which are then missing in the result.

        Raises:
            AudioError: a file that cannot be used, where there is no `failed`.
            CheckpointError: no such Whisper.
        """
        digests = dict(self._each(dict.fromkeys(files), audio_digest, failed))
        missing = {digest: file for file, digest in digests.items() if digest not in self.known}
        starts = range(0, len(missing), BATCH)
        items, bar = list(missing.items()), not self.progress or not missing
        for number, start in enumerate(tqdm(starts, desc="transcripts", unit="batch", disable=bar), start=1):
            self._decode(dict(items[start : start + BATCH]), failed)
            if number % SAVE_EVERY == 0 or start == starts[-1]:
                self._save()
        return {file: self.known[digest] for file, digest in digests.items() if digest in self.known}

    def _stored(self) -> dict[str, str]:
        return json.loads(self.store.read_text(encoding="utf-8")) if self.store.is_file() else {}

    def _save(self) -> None:
        """With what other processes have decoded meanwhile."""
        with locked(self.store):
            self.known = self._stored() | self.known
            write_json(self.store, self.known)

    def _decode(self, files: dict[str, str], failed: dict[str, str] | None) -> None:
        loaded = dict(self._each(files.values(), lambda file: load_audio(file).samples, failed))
        texts = dict(zip(loaded, self.decoder(list(loaded.values())), strict=True)) if loaded else {}
        self.known |= {digest: texts[file] for digest, file in files.items() if file in texts}

    @staticmethod
    def _each(files: Iterable[str], read: Callable, failed: dict[str, str] | None) -> Iterator[tuple]:
        for file in files:
            try:
                yield file, read(file)
            except AudioError as error:
                if failed is None:
                    raise
                failed[file] = str(error)

    @cached_property
    def decoder(self) -> "_Decoder":
        return _Decoder(self.whisper, self.device)

    def close(self) -> None:
        self.__dict__.pop("decoder", None)


def transcripts(files: Sequence[str], whisper: str, cache_dir: Path) -> dict[str, str]:
    """file -> text, by `FileTranscripts` that is used once; its arguments and errors."""
    return FileTranscripts(whisper, cache_dir)(files)


def whisper_dir(whisper: str) -> str:
    """Where "offline:NAME" lies; any other name as it is. Raises as `offline_whisper_dir`."""
    if not whisper.startswith(OFFLINE_PREFIX):
        return whisper
    from fas_core.encoders.offline import offline_whisper_dir

    return str(offline_whisper_dir(whisper.removeprefix(OFFLINE_PREFIX)))


class _Decoder:
    """What `fas predict` hears by, on audio as it is: whatever Whisper writes, also where it is not sure."""

    def __init__(self, whisper: str, device: str | None):
        try:
            backbone = WhisperBackbone(whisper_dir(whisper), device=find_device(device))
            self.transcriber = Transcriber(whisper, backbone)
        except CheckpointError as error:
            raise CheckpointError(f"{error} (--whisper)") from None
        self.encoder = WhisperEncoder(backbone, layer=LAST)

    def __call__(self, clips: list[np.ndarray]) -> list[str]:
        frames = self.encoder.encode(clips)
        return [each.text for each in self.transcriber([frames.clip(row) for row in range(len(clips))])]
