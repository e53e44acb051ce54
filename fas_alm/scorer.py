"""A FAS-ALM asked many questions at once: log-probabilities of the lettered options, and written answers."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fas_alm.artifacts import load_adapter, load_emotion_pipeline, load_model_directory
from fas_alm.connector import STREAMS
from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.processing import FASAudioProcessor
from fas_alm.prompts import option_token_ids
from fas_alm.training.answer_model import AnswerModel
from fas_alm.training.audio import AudioInputs, WindowFeatures
from fas_alm.training.collator import Collator
from fas_alm.training.examples import Example, ExampleEncoder
from fas_alm.training.frames import frozen_inputs
from fas_alm.training.transcripts import find_transcripts
from fas_core.checkpoint import find_device
from fas_core.encoders.extractor import FeatureExtractor
from fas_core.features.cache import FeatureCache
from fas_core.labels import EMOTIONS
from fas_core.paths import expanded
from fas_core.precision import loading_dtype

NEW_TOKENS = 24  # of a free answer


class Scorer:
    """A model and what it is to hear.

    Args:
        model, processor: the whole model, on any device.
        extractor: the encoders that its FAS was trained with.
        cache_dir: feature cache.
        batch_size: clips of a forward pass.
    """

    def __init__(
        self,
        model: FASAudioForConditionalGeneration,
        processor: FASAudioProcessor,
        extractor: FeatureExtractor,
        cache_dir: str | Path,
        batch_size: int = 64,
    ):
        self.model, self.processor, self.batch_size = model.eval(), processor, batch_size
        self.extractor, self.cache_dir = extractor, expanded(cache_dir)
        self.answers = AnswerModel(model, option_token_ids(processor.tokenizer)).eval()

    @classmethod
    def from_directory(
        cls,
        directory: Path,
        cache_dir: str | Path,
        *,
        language_model: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        **options,
    ) -> "Scorer":
        """Of an adapter directory, or of a whole model; on a GPU where there is one, unless `device` says otherwise.

        Raises:
            CheckpointError: it is neither.
        """
        device = find_device(device)
        dtype = loading_dtype(dtype, device)
        if (directory / "model.safetensors").is_file() or (directory / "model.safetensors.index.json").is_file():
            model, processor = load_model_directory(directory, dtype)
        else:
            model, processor = load_adapter(directory, language_model, dtype=dtype)
        extractor = load_emotion_pipeline(directory, device=device, words=False).extractor
        return cls(model.to(device), processor, extractor, cache_dir, **options)

    def features(self, rows: Sequence[dict]) -> WindowFeatures:
        """Features of the clips; those of clips that cannot be used are missing."""
        cache = FeatureCache(self.cache_dir, self.extractor.identity())
        return WindowFeatures([row["audio"] for row in rows], self.extractor, cache)

    def hearing(self, features: WindowFeatures, no_audio: bool = False) -> AudioInputs:
        """What the model hears of the clips, or zeros."""
        return frozen_inputs(features, self.model.fas, self.model.config, zero=no_audio)

    def told(self, rows: Sequence[dict], features: WindowFeatures, source: str = "learned") -> list[dict]:
        """The clips with their words as "spoken", as in training.

        Args:
            source: "auto" is FAS's own Whisper, "corpus" the texts of the corpus, "none"; "learned" is "auto" for a model that was
                trained with transcripts, else "none".
        """
        if source == "learned":
            source = "auto" if self.model.config.transcripts else "none"
        cache = FeatureCache(self.cache_dir, self.extractor.identity())
        streams = self.model.config.fas_config.streams
        spoken = find_transcripts(source, rows, features.digests, self.extractor, streams, cache)
        return [{**row, "spoken": spoken.get(row["audio"])} for row in rows]

    def options(self, audio: AudioInputs, messages: Sequence[list[dict]]) -> np.ndarray:
        """(N, 7) log-probabilities of the letters A to G as the answer to each conversation."""
        scores = np.empty((len(messages), len(EMOTIONS)))
        with torch.inference_mode():
            for indices, batch in self._batches(audio, messages, share=True):
                scores[indices] = self.answers(**batch)["options"].float().cpu().numpy()
        return scores

    def write(self, audio: AudioInputs, messages: Sequence[list[dict]]) -> list[str]:
        """The greedy answer to each conversation."""
        texts = [""] * len(messages)
        with torch.inference_mode():
            for indices, batch in self._batches(audio, messages, share=False):
                frames = {name: value for name, value in batch.items() if name.removesuffix("_mask") in STREAMS}
                embeddings = self.answers.embed(
                    batch["input_ids"], batch.get("audio_tokens"), batch.get("audio_mask"), frames
                )
                ids = self.model.generate(
                    inputs_embeds=embeddings, attention_mask=batch["attention_mask"], do_sample=False,
                    max_new_tokens=NEW_TOKENS,
                )  # fmt: skip
                for index, text in zip(
                    indices, self.processor.batch_decode(ids, skip_special_tokens=True), strict=True
                ):
                    texts[index] = text
        return texts

    def without_adapter(self):
        """A context in which LoRA is off; an LLM that LoRA was merged into stays what it is."""
        if hasattr(self.model.language_model, "disable_adapter"):
            return self.model.language_model.disable_adapter()
        return contextlib.nullcontext()

    def _batches(self, audio: AudioInputs, messages: Sequence[list[dict]], share: bool):
        encoder = ExampleEncoder(self.processor, audio)
        examples: list[Example] = [encoder.prompt(conversation) for conversation in messages]
        collator = Collator(audio, self.processor.audio_token_id, self.processor.tokenizer.pad_token_id, share)
        order = sorted(range(len(examples)), key=lambda i: -len(examples[i].prompt))
        for start in range(0, len(order), self.batch_size):
            indices = order[start : start + self.batch_size]
            batch = collator([examples[i] for i in indices])
            yield indices, {name: value.to(self.model.device) for name, value in batch.items()}
