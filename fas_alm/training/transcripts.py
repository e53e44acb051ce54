"""The words of the training clips: their corpora's texts, or what the model's own Whisper writes down, once."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fas_alm.listening import WhisperListener
from fas_alm.transcript import Listener, Said, Spoken, corpus_transcripts
from fas_core.atomic import locked, write_json
from fas_core.audio import load_audio
from fas_core.checkpoint import local_streams
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import AudioError, CheckpointError
from fas_core.features.cache import FeatureCache
from fas_core.words.types import NoWords

log = logging.getLogger(__name__)
SOURCES = ("auto", "corpus", "none")
AT_ONCE = 16  # clips


def find_transcripts(
    source: str,
    rows: Sequence[Mapping],
    digests: Mapping[str, str],
    extractor: FeatureExtractor,
    streams: dict,
    cache: FeatureCache,
    process: tuple[int, int] = (0, 1),
    wait: Callable[[], None] = lambda: None,
) -> dict[str, Spoken]:
    """The words of each file.

    Args:
        source: one of `SOURCES`: "auto" is the Whisper of the features, or the corpus where that has no decoder.
        rows: clips, with `audio`, `text` and `language`.
        digests: of the audio of each file that can be used.
        streams: of the FAS checkpoint. process, wait: as of `load_material`; the first process listens for all.
    """
    if source == "none":
        return {}
    listener = _listener(extractor, streams) if source == "auto" else None
    if listener is None:
        return {row["audio"]: row["spoken"] for row in corpus_transcripts(rows)}
    files = {row["audio"]: digests[row["audio"]] for row in rows if row["audio"] in digests}
    found = KeptWords(cache.path, extractor.digest)(files, listener) if process[0] == 0 else None
    wait()
    return KeptWords(cache.path, extractor.digest).of(files) if found is None else found


def _listener(extractor: FeatureExtractor, streams: dict) -> WhisperListener | None:
    try:
        return WhisperListener.of_extractor(extractor, local_streams(streams, "fas/config.json")["semantic"]["model"])
    except CheckpointError as error:
        log.warning("--transcripts auto: %s; the corpora's texts are told where they have any", error)
        return None


class KeptWords:
    """What a listener writes down of files, kept by the content of their audio, so that each is listened to once.

    Args:
        folder: of the features that the same encoder gives.
        name: of the listener; what another one hears is kept elsewhere.
    """

    def __init__(self, folder: Path, name: str):
        self.file = folder / f"spoken-{name[:16]}.json"
        self.known: dict[str, list | str] = self._stored()

    def __call__(self, digests: Mapping[str, str], listener: Listener) -> dict[str, Said | NoWords | None]:
        """Of each file, given by its digest, the words; None where it cannot be listened to."""
        missing = {digest: file for file, digest in digests.items() if digest not in self.known}
        items = list(missing.items())
        for start in range(0, len(items), AT_ONCE):
            heard = dict(_heard(items[start : start + AT_ONCE], listener))
            self._keep(
                {digest: [e.text, e.language] if isinstance(e, Said) else e.reason for digest, e in heard.items()}
            )
        return self.of(digests)

    def of(self, digests: Mapping[str, str]) -> dict[str, Said | NoWords | None]:
        """Of each file what is kept."""
        return {file: self._told(digest) for file, digest in digests.items()}

    def _told(self, digest: str) -> Said | NoWords | None:
        kept = self.known.get(digest)
        return None if kept is None else Said(*kept) if isinstance(kept, list) else NoWords(kept)

    def _stored(self) -> dict:
        return json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else {}

    def _keep(self, heard: dict) -> None:
        """With what other processes have heard meanwhile."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.file):
            self.known = self._stored() | self.known | heard
            write_json(self.file, self.known)


def _heard(items: Sequence[tuple[str, str]], listener: Listener) -> Iterator[tuple[str, Said | NoWords]]:
    samples: dict[str, np.ndarray] = {}
    for digest, file in items:
        try:
            samples[digest] = load_audio(file).samples
        except AudioError as error:
            log.warning("no transcript: %s", error)
    if samples:
        yield from zip(samples, listener(list(samples.values())), strict=True)
