"""From audio in memory to answers: features, FAS, words, and how far they are to be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch

from fas_core.answers import Answer, Judge, answer, no_speech
from fas_core.audio import Audio
from fas_core.calibration import apply_temperature
from fas_core.certainty import Certainty
from fas_core.encoders.base import ClipFeatures
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.errors import CheckpointError, FASError, IdentityMismatchError
from fas_core.inference import HEADS, Logits, predict_logits
from fas_core.kept_tokens import kept_token_times
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.outputs import FASOutput
from fas_core.speech import THRESHOLD, SpeechCheck
from fas_core.words.reader import WordsReader


class Hearer:
    """Answers clips that are in memory, as many at once as they are given.

    Args:
        model: a trained FAS.
        extractor: encoders and front end of the identity that the model was trained with.
        speech_threshold: of `SpeechCheck`, which keeps silence, noise and music from being given an emotion; 0 gives every
            sound one.
        words_reader: of the frames of the extractor's Whisper; None leaves words out.
        unsure_below: confidence below which an answer is `unsure`, 0 to 1; None: what the checkpoint says.
        label_sets: coverage, 0.5 to 0.98, of the `label_set` of each answer; None: none are given.

    Raises:
        IdentityMismatchError: when the encoders are not those of the training.
        FASError: a threshold or coverage that is no probability, label sets of a checkpoint that has no calibration for them.
    """

    def __init__(
        self,
        model: FASForEmotionClassification,
        extractor: FeatureExtractor,
        name: str = "FAS",
        *,
        speech_threshold: float = THRESHOLD,
        words_reader: WordsReader | None = None,
        unsure_below: float | None = None,
        label_sets: float | None = None,
    ):
        if model.config.streams_identity not in (None, extractor.digest):
            raise IdentityMismatchError(
                f"{name}: trained on features of identity {model.config.streams_identity[:16]}, but the encoders here "
                f"give {extractor.digest[:16]}; streams.json beside the checkpoint says what is expected (model weights, "
                "layer, padding, front end)"
            )
        self.model, self.extractor, self.name = model.eval(), extractor, name
        self.training: dict = {}
        self.directory: Path | None = None
        self.judge = Judge(Certainty.of(model.config.certainty), unsure_below, label_sets)
        if label_sets is not None and self.judge.certainty is None:
            expected = (
                "expected one that `experiments.unsure calibrate` has written to, or no --label-sets (label_sets=None)"
            )
            raise FASError(f"{name}: has no calibration for label sets; {expected}")
        self.words_reader = words_reader
        self.no_words = None if words_reader else "they were not asked for"
        self.speech_check = None if speech_threshold == 0 else SpeechCheck(speech_threshold)

    def answer_clips(self, held: Sequence[Audio | Answer]) -> list[Answer]:
        """Answers to clips, in order; what is an answer already stays it."""
        audios = [a for a in held if isinstance(a, Audio)]
        shares = [self.speech(a) for a in audios]
        spoken = [(a, share) for a, share in zip(audios, shares, strict=True) if share != 0]
        answers = iter(self._spoken([a for a, _ in spoken], [share for _, share in spoken]) if spoken else [])
        found = iter([no_speech(a) if share == 0 else next(answers) for a, share in zip(audios, shares, strict=True)])
        return [next(found) if isinstance(a, Audio) else a for a in held]

    def _spoken(self, audios: Sequence[Audio], speech: Sequence[float | None]) -> list[Answer]:
        samples = [a.samples for a in audios]
        if self.words_reader is None:
            return self.answer_features(self.extractor(samples), audios, speech)
        features, frames = self.extractor.with_frames(samples)
        answers = self.answer_features(features, audios, speech)
        heard = [a.hears(words) for a, words in zip(answers, self.words_reader(frames), strict=True)]
        gate = self.model.config.gate
        return heard if gate is None else [a.gated(gate) for a in heard]

    def speech(self, audio: Audio) -> float | None:
        """Share of a clip that is speech; 0: `answers.no_speech` is the answer. None where `speech_threshold` is 0."""
        return None if self.speech_check is None else self.speech_check(audio.samples)

    def answer_features(
        self, features: list[ClipFeatures], audios: Sequence[Audio], speech: Sequence[float | None] | None = None
    ) -> list[Answer]:
        """Answers to clips whose features, and shares of speech, are there; whoever leaves these out vouches for speech.

        They have no words yet (`Answer.hears`).
        """
        distances: list[float | None] = [None] * len(audios)
        heads, kept, _ = self.hear(features, distances)
        speech = speech or [None] * len(audios)
        config = self.model.config
        answers = [
            answer(
                audio, {h: p[i] for h, p in heads.items()}, kept[i], features[i], speech[i], config.conflict_calibration,
                distances[i], self.judge,
            )
            for i, audio in enumerate(audios)
        ]  # fmt: skip
        if config.answer_from == "fused":
            return answers
        return [a if a.tone is None else a.says(a.tone.probabilities) for a in answers]

    def hear(
        self, features: list[ClipFeatures], distances: list[float | None] | None = None
    ) -> tuple[dict[str, np.ndarray], list[dict], np.ndarray]:
        """What the model makes of N clips whose features are there.

        Args:
            distances: of N; filled with how far each clip is from those of the training, where the model measures it.

        Returns:
            Calibrated probabilities (N, 7) of each head that there is; of each clip the kept tokens, pathway -> {start,
            end, score} each; and the mean of each clip's fused tokens, (N, d).
        """
        kept: list[dict] = [{}] * len(features)
        fused: dict[int, np.ndarray] = {}

        def remember(indices: Sequence[int], output: FASOutput) -> None:
            means = cast(torch.Tensor, output.fused).mean(1).float().cpu().numpy()
            for row, i in enumerate(indices):
                fused[i] = means[row]
                if distances is not None and output.distance is not None:
                    distances[i] = float(output.distance[row])
                kept[i] = {
                    s: kept_token_times(
                        getattr(output, f"{s}_kept"), row, features[i], s,
                        self.extractor.frame_rates[s], self.extractor.patch_size,
                    )
                    for s in ("acoustic", "semantic")
                }  # fmt: skip

        lengths = [len(f.acoustic) for f in features]
        logits = predict_logits(self.model, features.__getitem__, lengths, on_output=remember)
        return self._probabilities(logits), kept, np.stack([fused[i] for i in range(len(features))])

    def _probabilities(self, logits: Logits) -> dict[str, np.ndarray]:
        """Calibrated probabilities (N, 7) of each head that there is."""
        heads = {h: getattr(logits, h) for h in HEADS}
        if not np.isfinite(logits.fused).all():
            raise CheckpointError(
                f"{self.name}: its answers are no numbers; expected the weights of a finished training"
            )
        return {h: apply_temperature(x, self._temperature(h)) for h, x in heads.items() if np.isfinite(x).all()}

    def _temperature(self, head: str) -> float:
        return getattr(self.model.config, "temperature" if head == "fused" else f"{head}_temperature")
