"""FAS's front end and encoders behind transformers' interface of a feature extractor: audio in, what the model's forward takes out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin

from fas_core.audio import SAMPLE_RATE, load_audio
from fas_core.audio_forms import is_pair, open_source
from fas_core.batching import collate
from fas_core.checkpoint import find_device, local_streams
from fas_core.configuration_fas import FASConfig
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import CheckpointError, FASError, IdentityMismatchError
from fas_core.hub import find_directory

FILE = "preprocessor_config.json"
STREAMS = ("acoustic", "semantic")


class FASFeatureExtractor(FeatureExtractionMixin):
    """Audio of any rate to the patches of both streams, padded, with their masks.

    Encoders are loaded with the first audio, on `device`.

    Args:
        streams: `StreamConfig.to_dict()`, as in the configuration of the model.
        streams_identity: digest that the features must have; None: any.
        sampling_rate: Hz, at which the encoders hear; audio of another rate is resampled.
        device: of the encoders; a GPU where there is one, if None.

    Raises:
        FASError: another sampling rate than 16 kHz.
    """

    model_input_names = [f"{stream}{part}" for part in ("", "_mask", "_deviation") for stream in STREAMS]

    def __init__(
        self,
        streams: dict[str, Any] | None = None,
        streams_identity: str | None = None,
        sampling_rate: int = SAMPLE_RATE,
        padding_value: float = 0.0,
        padding_side: str = "right",
        device: str | torch.device | None = None,
        **kwargs: Any,
    ):
        if sampling_rate != SAMPLE_RATE:
            raise FASError(
                f"{FILE}: sampling_rate is {sampling_rate}; expected {SAMPLE_RATE}, at which the encoders hear"
            )
        super().__init__(**kwargs)
        self.streams, self.streams_identity = streams, streams_identity
        self.sampling_rate, self.padding_value, self.padding_side = sampling_rate, padding_value, padding_side
        self._device, self._directory = device, Path()
        self._encoders: FeatureExtractor | None = None

    @classmethod
    def of(cls, config: FASConfig, directory: Path | None = None) -> FASFeatureExtractor:
        """The extractor of a model; `directory` is where its configuration lies, and an encoder's adapter beside it."""
        extractor = cls(config.streams, config.streams_identity)
        extractor._directory = directory or Path()
        return extractor

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *args: Any, revision: str | None = None, **kwargs: Any
    ) -> FASFeatureExtractor:
        """As of transformers; what the encoders need beside the file is looked for in the same directory."""
        directory = find_directory(pretrained_model_name_or_path, revision)
        extractor = super().from_pretrained(directory, *args, **kwargs)
        (extractor[0] if isinstance(extractor, tuple) else extractor)._directory = directory
        return extractor

    @property
    def encoders(self) -> FeatureExtractor:
        """Front end and encoders.

        Raises:
            CheckpointError: no streams, or encoders that are not on this machine.
            IdentityMismatchError: they are not those that the model was trained with.
        """
        if self._encoders is None:
            file = self._directory / FILE
            if self.streams is None:
                raise CheckpointError(f"{file}: names no encoders; expected `streams`, as `train/fas.py` writes them")
            streams = local_streams(self.streams, file)
            encoders = FeatureExtractor.from_config(streams, device=find_device(self._device))
            if self.streams_identity not in (None, encoders.digest):
                raise IdentityMismatchError(
                    f"{file}: its features have the identity {self.streams_identity[:16]}, but the encoders here give "
                    f"{encoders.digest[:16]}; expected the weights that the model was trained with"
                )
            self._encoders = encoders
        return self._encoders

    def __call__(
        self, raw_speech: Any, sampling_rate: int | None = None, return_tensors: str | None = "pt", **kwargs: Any
    ) -> BatchFeature:
        """Features of a batch.

        Args:
            raw_speech: one audio or a list of them: arrays or tensors (n,), (array, rate), mappings with "array" or "raw" and
                "sampling_rate", paths, bytes.
            sampling_rate: Hz, of arrays that do not say their own.
            return_tensors: "pt", or None, which is the same.

        Returns:
            `acoustic` (B, P_a, D_a), `semantic` (B, P_s, D_s) float32, their masks (B, P) bool, True for real patches, and
            their deviations (B, D) over frames.

        Raises:
            AudioError: audio that cannot be used, an array without its rate.
            FASError: tensors of another library.
        """
        if return_tensors not in ("pt", None):
            raise FASError(f"return_tensors {return_tensors!r}: expected 'pt', which the model takes")
        is_list = isinstance(raw_speech, list | tuple) and not is_pair(raw_speech)
        sources = raw_speech if is_list else [raw_speech]
        return BatchFeature(collate(self.encoders([_samples(source, sampling_rate) for source in sources])))

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """As of transformers; an encoder's adapter, a file beside the configuration, comes along."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        for stream in STREAMS:
            name = (self.streams or {}).get(stream, {}).get("adapter")
            source = self._directory / name if name else None
            if source is not None and source.resolve() != (Path(save_directory) / source.name).resolve():
                shutil.copyfile(source, Path(save_directory) / source.name)
        return super().save_pretrained(save_directory, push_to_hub, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """What is written to a file: nothing of this process."""
        values = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        return values | {"feature_extractor_type": type(self).__name__}


def _samples(source: Any, sampling_rate: int | None) -> np.ndarray:
    """(n,) float32, mono, 16 kHz."""
    found, rate = open_source(source, sampling_rate)
    return load_audio(found, sampling_rate=rate).samples
