"""FAS-ALM inside vLLM: the audio side is the one of transformers, the language model is vLLM's own."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import MultiModalEmbeddings, SupportsLoRA, SupportsMultiModal
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    StageMissingLayer,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.utils.torch_utils import set_default_torch_dtype

from fas_alm.configuration import AUDIO_TOKEN, FASAudioConfig
from fas_alm.projector import make_projector, project
from fas_alm.tower import AudioTower, audio_tokens
from fas_alm.vllm.kernels import use_fast_attention, use_fast_linear
from fas_alm.vllm.processing import (
    FASAudioDummyInputsBuilder,
    FASAudioMultiModalProcessor,
    FASAudioProcessingInfo,
)
from fas_core.errors import CheckpointError
from fas_core.modeling_fas import FASForEmotionClassification

AUDIO_MODULES = ("audio_tower", "fas", "multi_modal_projector")
MEL_FRAMES = 600 * 100  # of audio encoded at once: ten minutes, which bounds memory


@MULTIMODAL_REGISTRY.register_processor(
    FASAudioMultiModalProcessor, info=FASAudioProcessingInfo, dummy_inputs=FASAudioDummyInputsBuilder
)
class FASAudioForConditionalGeneration(nn.Module, SupportsMultiModal, SupportsLoRA):
    """The model class that vLLM instantiates; modules and weights are named as in `fas_alm.modeling`.

    The language model has vLLM's dtype; encoder, FAS and projector are float32 and only their result is cast, because
    the choice of tokens by norm flips in low precision.

    Raises:
        CheckpointError: a checkpoint that lacks weights of the audio side; the message names the first.
    """

    # PEFT names an adapter's modules after the bare language model. Without this map vLLM loads it and applies nothing.
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={"model.": "language_model.model.", "lm_head.": "language_model.lm_head."}
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        if modality.startswith("audio"):
            return AUDIO_TOKEN
        raise ValueError(f"{modality} parts are not taken: this model reads text and audio")

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = ""):
        super().__init__()
        config: FASAudioConfig = vllm_config.model_config.hf_config
        self.config = config
        self.dtype = vllm_config.model_config.dtype
        self.configure_mm_token_handling(config.text_config.vocab_size, [config.audio_token_id])
        with self._mark_tower_model(vllm_config, "audio"), set_default_torch_dtype(torch.float32):
            self.audio_tower = AudioTower(config)
            use_fast_linear(self.audio_tower, maybe_prefix(prefix, "audio_tower"))
            use_fast_attention(self.audio_tower.encoder)
            self.fas = FASForEmotionClassification(config.fas_config)
            self.multi_modal_projector = make_projector(config)
        with self._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.text_config,
                prefix=maybe_prefix(prefix, "language_model"),
            )

    def get_mm_mapping(self) -> MultiModelKeys:
        return MultiModelKeys.from_string_field(
            language_model="language_model.",
            connector=["fas.", "multi_modal_projector."],
            tower_model="audio_tower.",
        )

    def embed_multimodal(self, **kwargs: object) -> MultiModalEmbeddings:
        """Embeddings of each audio of a batch of requests, (its tokens, H) each."""
        mels, lengths = kwargs.get("audio_mels"), kwargs.get("audio_window_lengths")
        if mels is None:
            return []
        embeddings = []
        for part in _parts([mel.shape[-1] for mel in mels]):
            embeddings += self._embed(mels[part], lengths[part])
        return embeddings

    def _embed(self, mels: Sequence[Tensor], lengths: Sequence[Tensor]) -> Sequence[Tensor]:
        features, kind = self.audio_tower(mels, lengths), self.config.audio_tokens
        rows, read = project(self.multi_modal_projector, kind, *audio_tokens(self.fas, features, kind), features)
        windows = [len(each) for each in lengths]
        rows = rows.to(self.dtype)  # (N, R, H)
        return [each[kept] for each, kept in zip(rows.split(windows), read.split(windows), strict=True)]

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: None = None,  # of pipeline parallelism, which is not offered; vLLM names it all the same
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        return self.language_model(input_ids, positions, None, inputs_embeds=inputs_embeds)

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Logits in which the audio token is impossible: an answer is text (transformers: `suppress_tokens`)."""
        logits = self.language_model.compute_logits(hidden_states)
        if logits is not None:  # None on all ranks but one
            logits[..., self.config.audio_token_id] = -torch.inf
        return logits

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        loaded = AutoWeightsLoader(self).load_weights(weights)
        # vLLM checks parameters; the statistics that FAS standardises with are buffers.
        missing = sorted(self._audio_weights() - loaded)
        if missing:
            raise CheckpointError(
                f"checkpoint lacks {missing[0]} and {len(missing) - 1} more weights of the audio side; expected a model "
                "directory of python -m fas_alm.export"
            )
        return loaded

    def _audio_weights(self) -> set[str]:
        modules = {name: getattr(self, name) for name in AUDIO_MODULES}
        present = {name: m for name, m in modules.items() if not isinstance(m, StageMissingLayer)}
        return {f"{name}.{key}" for name, module in present.items() for key in module.state_dict()}


def _parts(frames: Sequence[int]) -> Iterator[slice]:
    """Consecutive audios of at most `MEL_FRAMES` together, or a single longer one."""
    start, total = 0, 0
    for index, count in enumerate(frames):
        if index > start and total + count > MEL_FRAMES:
            yield slice(start, index)
            start, total = index, 0
        total += count
    yield slice(start, len(frames))
