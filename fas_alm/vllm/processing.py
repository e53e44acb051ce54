"""From a request's audio to what the model reads, and from one placeholder to one token per embedding.

Runs in the process that receives requests. Whatever is wrong with a request must become a `ValueError` here, which
vLLM answers with status 400; an error inside the engine would end it for every client.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import vllm.envs
from transformers import BatchFeature
from vllm.config.multimodal import MultiModalDummyOptions
from vllm.inputs import MultiModalDataDict, MultiModalInput
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import AudioProcessorItems, MultiModalDataItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    ProcessorInputs,
    PromptReplacement,
    PromptUpdate,
    TimingContext,
)

from fas_alm.configuration import AUDIO_TOKEN, FASAudioConfig
from fas_alm.processing import FASAudioProcessor
from fas_core.audio import SAMPLE_RATE
from fas_core.errors import AudioError
from fas_core.windows import WINDOW_SECONDS, count_windows


class FASAudioProcessingInfo(BaseProcessingInfo):
    """What vLLM has to know about the model's inputs."""

    def get_hf_config(self) -> FASAudioConfig:
        return self.ctx.get_hf_config(FASAudioConfig)

    def get_hf_processor(self, **kwargs: object) -> FASAudioProcessor:
        return self.ctx.get_hf_processor(FASAudioProcessor, **kwargs)

    def get_data_parser(self) -> MultiModalDataParser:
        """Any rate and number of channels -> 16 kHz mono."""
        return MultiModalDataParser(
            target_sr=SAMPLE_RATE,
            target_channels=1,
            audio_resample_method="soxr",  # what fas_core uses; vLLM's default needs torchaudio
            expected_hidden_size=self._get_expected_hidden_size(),
            allow_missing_mm_embeddings=self.allow_missing_mm_embeddings,
        )

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"audio": None}

    @property
    def max_seconds(self) -> int:
        """Longest audio: vLLM's own limit on decoded audio, which holds for arrays as well."""
        return vllm.envs.VLLM_MAX_AUDIO_DECODE_DURATION_S

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Tokens of the longest audio that a prompt of `seq_len` tokens can hold."""
        config = self.get_hf_config()
        whole = config.window_tokens.of_window(config.encoder_config.max_source_positions)
        longest = count_windows(self.max_seconds * SAMPLE_RATE) * whole
        room = seq_len if config.hears_frames else seq_len - seq_len % whole  # FAS's tokens come a window at a time
        return {"audio": max(whole, min(longest, room))}


class FASAudioDummyInputsBuilder(BaseDummyInputsBuilder[FASAudioProcessingInfo]):
    """Inputs with which vLLM measures memory at start.

    A dummy audio is one full window, not the longest audio: the model encodes windows in batches of bounded length,
    so that more of them need more time but no more memory; and vLLM measures with as many items as its budget of
    tokens holds, which at a few tokens per 30 s would be hours of audio.
    """

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return AUDIO_TOKEN * mm_counts.get("audio", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: MultiModalDummyOptions
    ) -> MultiModalDataDict:
        return {
            "audio": self._get_dummy_audios(
                length=int(WINDOW_SECONDS * SAMPLE_RATE),
                num_audios=mm_counts.get("audio", 0),
                overrides=mm_options.get("audio"),
            )
        }


class FASAudioMultiModalProcessor(BaseMultiModalProcessor[FASAudioProcessingInfo]):
    """Checks a request, computes its log-mels, and expands its placeholders."""

    def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> MultiModalInput:
        """Raises `ValueError` for options, audio or placeholders that do not fit, before anything is computed."""
        if inputs.hf_processor_mm_kwargs:
            raise ValueError(
                f"mm_processor_kwargs {sorted(inputs.hf_processor_mm_kwargs)}: this model's processor has no options "
                "that a request may set; leave them out"
            )
        audios = self._check_audios(inputs.mm_data_items)
        self._check_placeholders(inputs.prompt, len(audios))
        # A client's own id for an item (`uuid`) would be the key of caches that all clients share. What two audios
        # have in common is decided by their samples alone.
        return super().apply(replace(inputs, mm_uuid_items=None), timing_ctx)

    def _check_audios(self, items: MultiModalDataItems) -> list[np.ndarray]:
        if not isinstance(items.get("audio"), AudioProcessorItems):
            raise ValueError("audio embeddings are not taken: expected audio (input_audio, audio_url)")
        audios = [items["audio"].get(index) for index in range(len(items["audio"]))]
        limit = self.info.max_seconds
        for number, samples in enumerate(audios, start=1):
            if samples is None or not len(samples):
                raise AudioError(f"audio {number}", "it is empty", "expected a file, or samples, of 25 ms or more")
            if len(samples) > limit * SAMPLE_RATE:
                seconds = len(samples) / SAMPLE_RATE
                hint = f"expected at most {limit} s, VLLM_MAX_AUDIO_DECODE_DURATION_S"
                raise AudioError(f"audio {number}", f"{seconds:.1f} s long", hint)
        return audios

    def _check_placeholders(self, prompt: Sequence[int], audios: int) -> None:
        """vLLM itself would fill the first placeholders and leave the rest: audio and question would shift apart."""
        found = list(prompt).count(self.info.get_hf_config().audio_token_id)
        if found != audios:
            raise ValueError(
                f"the prompt has {found} audio placeholder(s) ({AUDIO_TOKEN}) for {audios} audio(s); expected one for "
                "each audio part, and none typed as text"
            )

    def _call_hf_processor(self, hf_data: Mapping[str, object], hf_kwargs: Mapping[str, object]) -> BatchFeature:
        """The inherited way would cast log-mels to the language model's dtype."""
        processor = self.info.get_hf_processor()
        prepared = [processor.prepare_audio(np.asarray(samples, dtype=np.float32)) for samples in hf_data["audio"]]
        mels, lengths = zip(*prepared, strict=True)
        return BatchFeature({"audio_mels": list(mels), "audio_window_lengths": list(lengths)})

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            "audio_mels": MultiModalFieldConfig.batched("audio"),  # (M, sum of 2T_w) each
            "audio_window_lengths": MultiModalFieldConfig.batched("audio", keep_on_cpu=True),  # (W,) each
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        config = self.info.get_hf_config()

        def tokens_of(index: int) -> list[int]:
            lengths = out_mm_kwargs["audio"][index]["audio_window_lengths"].data
            return [config.audio_token_id] * config.window_tokens.of_audio(lengths.tolist())

        return [PromptReplacement(modality="audio", target=[config.audio_token_id], replacement=tokens_of)]
