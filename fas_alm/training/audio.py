"""What the LLM is to hear of each file: features of its windows from the cache, and FAS's tokens of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fas_alm.tower import audio_tokens
from fas_core.audio import SAMPLE_RATE, lasts_longer, load_audio
from fas_core.batching import batches_by_length, collate
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import AudioError, FASError
from fas_core.features.cache import FeatureCache
from fas_core.sources import audio_digest
from fas_core.training.data import FeatureSource
from fas_core.windows import WINDOW_SECONDS, cut_windows

BATCH = 64  # windows of one pass through FAS
MARGIN = 0.1  # seconds that resampling may add


class AudioInputs(Protocol):
    """What a model hears of each file."""

    def windows(self, file: str) -> int:
        """Windows of a file. Raises `KeyError` for one without features."""

    def frames(self, file: str) -> list[int]:
        """Real frames of 20 ms of each window, which its tokens are counted by."""

    def batch(self, files: Sequence[str]) -> dict[str, Tensor]:
        """Inputs of all windows of these files, in order, by the names of `AnswerModel.forward`."""


class WindowFeatures(AudioInputs):
    """Features of each window of 30 s of each file, extracted once; the inputs where FAS itself is trained.

    A file of one window has the features that training FAS gave it; the windows of a longer one are clips of their own in the
    cache, because the front end and the encoder look at each by itself.

    Args:
        files: audio files.
        extractor, cache: of one identity.
        process: (index, number) of this process.
        wait: returns once every process has called it.

    Attributes:
        failed: {"file", "error"} of files that cannot be used.
        digests: of the audio of each usable file, its content.
    """

    def __init__(
        self,
        files: Iterable[str],
        extractor: FeatureExtractor,
        cache: FeatureCache,
        process: tuple[int, int] = (0, 1),
        wait: Callable[[], None] = lambda: None,
    ):
        files = list(dict.fromkeys(files))
        long = [file for file in files if _may_be_long(file)]
        short = sorted(set(files) - set(long))
        source = FeatureSource([{"audio": file} for file in short], extractor, cache, [""], process, wait)
        usable = [(short[i], source.digests[i]) for i in source.usable]
        self._of_file: dict[str, list[ClipFeatures]] = {file: [source.get(digest)] for file, digest in usable}
        self.digests = dict(usable)
        self.failed: list[dict] = list(source.failed)
        if process[0] == 0:
            self._read_long(long, extractor, cache)
        wait()
        if process[0] > 0:
            cache.refresh()
            self._read_long(long, extractor, cache)

    def _read_long(self, files: list[str], extractor: FeatureExtractor, cache: FeatureCache) -> None:
        for file in files:
            try:
                keys, self._of_file[file] = _window_features(file, extractor, cache)
                self.digests[file] = "".join(keys)
            except AudioError as error:
                self.failed.append({"file": file, "error": str(error)})

    def __getitem__(self, file: str) -> list[ClipFeatures]:
        """Features of each window of a file."""
        return self._of_file[file]

    def __iter__(self):
        return iter(self._of_file)

    def windows(self, file: str) -> int:
        return len(self._of_file[file])

    def frames(self, file: str) -> list[int]:
        return [window.semantic_frames for window in self._of_file[file]]

    def batch(self, files: Sequence[str]) -> dict[str, Tensor]:
        return collate([window for file in files for window in self._of_file[file]])


class FrozenTokens(AudioInputs):
    """FAS's tokens of every window, computed once: a frozen FAS says the same in every epoch.

    Args:
        features: of the files.
        fas: the classifier.
        kind: `FASAudioConfig.audio_tokens`, but not "frames".
        zero: zeros in the place of the tokens, to train without hearing.
    """

    @torch.no_grad()
    def __init__(self, features: WindowFeatures, fas: torch.nn.Module, kind: str, zero: bool = False):
        places = [(file, number) for file in features for number in range(features.windows(file))]
        rows: dict[tuple, tuple[Tensor, Tensor]] = {}
        device = next(fas.parameters()).device
        lengths = [len(features[file][number].acoustic) for file, number in places]
        for indices in batches_by_length(lengths, BATCH):
            chosen = [places[i] for i in indices]
            inputs = {k: v.to(device) for k, v in collate([features[f][n] for f, n in chosen]).items()}
            tokens, mask = audio_tokens(fas, inputs, kind)
            tokens = tokens * 0 if zero else tokens
            rows.update(zip(chosen, zip(tokens.cpu(), mask.cpu(), strict=True), strict=True))
        self._of_file: dict[str, list[tuple[Tensor, Tensor]]] = {
            file: [rows[file, number] for number in range(features.windows(file))] for file in features
        }
        self._frames = {file: features.frames(file) for file in features}

    def windows(self, file: str) -> int:
        return len(self._of_file[file])

    def frames(self, file: str) -> list[int]:
        return self._frames[file]

    def batch(self, files: Sequence[str]) -> dict[str, Tensor]:
        windows = [window for file in files for window in self._of_file[file]]
        tokens, masks = zip(*windows, strict=True)
        return {"audio_tokens": torch.stack(tokens), "audio_mask": torch.stack(masks)}


def _may_be_long(file: str) -> bool:
    """Whether it may have more than one window."""
    try:
        return lasts_longer(file, WINDOW_SECONDS - MARGIN)
    except AudioError:
        return False  # extraction says what is wrong with it


def _window_features(
    file: str, extractor: FeatureExtractor, cache: FeatureCache
) -> tuple[list[str], list[ClipFeatures]]:
    """(digest, features) of each window, from the cache, or extracted and put there; only those of a file's windows are held."""
    windows: list[np.ndarray] = cut_windows(load_audio(file).samples)
    keys = [audio_digest(window, sampling_rate=SAMPLE_RATE) for window in windows]
    missing = {key: window for key, window in zip(keys, windows, strict=True) if key not in cache}
    if missing:
        features = extractor(list(missing.values()))
        cache.write_shard(dict(zip(missing, features, strict=True)))
        cache.refresh()
    try:
        return keys, [cache.get(key) for key in keys]
    except FASError as error:
        raise AudioError(file, str(error)) from None
