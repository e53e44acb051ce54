"""The words of clips by the Whisper that a model carries, as the server finds them: speech check, front end, encoder, decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fas_alm.transcript import Said
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.encoders.whisper import LAST, WhisperBackbone, WhisperEncoder
from fas_core.errors import CheckpointError
from fas_core.frontend import FrontEnd, FrontEndConfig
from fas_core.speech import THRESHOLD, SpeechCheck
from fas_core.words.transcriber import Transcriber
from fas_core.words.types import NO_SPEECH, OFF, NoWords


class WhisperListener:
    """Writes down what is said in clips.

    Args:
        source: a Whisper with decoder and tokenizer: directory or "offline:NAME".
        backbone: its encoder, where it is loaded already.
        front_end: of the clips, as FAS hears them.
        speech_threshold: of `SpeechCheck`; 0 listens to every sound, in which Whisper may hear what nobody said.

    Raises:
        CheckpointError: no such Whisper, or one without decoder or tokenizer.
    """

    def __init__(
        self,
        source: str | Path,
        backbone: WhisperBackbone | None = None,
        front_end: FrontEndConfig = FrontEndConfig(),
        speech_threshold: float = THRESHOLD,
    ):
        backbone = backbone or WhisperBackbone(str(source))
        self.encoder, self.front_end = WhisperEncoder(backbone, layer=LAST), FrontEnd(front_end)
        self.transcriber = Transcriber(source, backbone)
        self.speech = SpeechCheck(speech_threshold) if speech_threshold else lambda samples: 1.0

    @classmethod
    def of_extractor(cls, extractor: FeatureExtractor, source: str | Path, **options) -> WhisperListener | None:
        """With the encoder of FAS's own streams, `source` being its Whisper; None where they are no Whisper."""
        for encoder in (extractor.semantic, extractor.acoustic):
            if isinstance(encoder, WhisperEncoder):
                return cls(source, encoder.backbone, extractor.front_end.config, **options)
        return None

    def __call__(self, clips: Sequence[np.ndarray]) -> list[Said | NoWords]:
        """Samples (n,) at 16 kHz of each clip -> its words, or why there are none. What is said of a clip depends on no other.

        Raises:
            AudioError: samples that the front end refuses.
        """
        spoken = [number for number, samples in enumerate(clips) if self.speech(samples)]
        heard = [self.front_end(clips[number].astype(np.float32, copy=False)).samples for number in spoken]
        found: list[Said | NoWords] = [NoWords(NO_SPEECH)] * len(clips)
        if heard:
            frames = self.encoder.encode(heard)
            said = self.transcriber([frames.clip(row) for row in range(len(heard))])
            for number, each in zip(spoken, said, strict=True):
                found[number] = NoWords(each.unclear) if each.unclear else Said(each.text, each.language)
        return found


class LazyListener:
    """A listener that is loaded when it is first needed, on the device where its encoder then is.

    Args:
        load: gives it, or None where there is none; as where it raises CheckpointError, words are then off.
    """

    def __init__(self, load: Callable[[], WhisperListener | None]):
        self._load, self._listener, self._is_loaded = load, None, False

    def __call__(self, clips: Sequence[np.ndarray]) -> list[Said | NoWords]:
        if not self._is_loaded:
            self._is_loaded = True
            try:
                self._listener = self._load()
            except CheckpointError:  # a Whisper without decoder: what it would say is not known
                self._listener = None
        return self._listener(clips) if self._listener else [NoWords(OFF)] * len(clips)
