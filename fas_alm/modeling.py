"""FAS-ALM: an LLM that hears. Audio tokens of FAS stand where the text says `<|audio|>`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast, overload

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, Cache, GenerationMixin, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import CausalLMOutputWithPast

from fas_alm.adapter_parts import AdapterParts, load_parts
from fas_alm.adapters import FLOAT32_PARTS, LanguageModelAdapters, holds_adapter
from fas_alm.configuration import FASAudioConfig
from fas_alm.hearing import HearsAudio
from fas_alm.language_models import LOADING_OPTIONS, grow_vocabulary, load_language_model
from fas_alm.processing import FASAudioProcessor, add_audio_token
from fas_alm.projector import make_projector
from fas_alm.tower import AudioTower
from fas_core.encoders.whisper import WhisperBackbone, WhisperEncoder
from fas_core.errors import CheckpointError, FASError
from fas_core.kinds import kind_of, what_is
from fas_core.model_files import reads_checkpoint
from fas_core.modeling_fas import FASForEmotionClassification
from fas_core.pipeline import EmotionPipeline

LOADING_REPORT = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")  # of transformers


class FASAudioForConditionalGeneration(HearsAudio, LanguageModelAdapters, PreTrainedModel, GenerationMixin):
    """Encoder, FAS, projector and LLM.

    Encoder, FAS and projector are float32 whatever the LLM is, because the choice of tokens by their norm flips in low
    precision; their output is cast at the end. Quantisation leaves them out. The encoder is frozen; FAS is in training
    mode only where some of its parameters are trained. LoRA goes on `model.language_model`:
    `model.add_adapter(LoraConfig(...))`, or `get_peft_model(model.language_model, LoraConfig(...))` in its place.
    """

    config_class = FASAudioConfig
    base_model_prefix = ""
    input_modalities = ("audio", "text")
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _keep_in_fp32_modules = set(FLOAT32_PARTS)  # what transformers' quantisers leave out
    _keep_in_fp32_modules_strict = set(FLOAT32_PARTS)
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    # and those of the LLM
    _no_split_modules = ["AudioTower", "FASForEmotionClassification", "MultiModalProjector", "FrameConnector"]
    _skip_keys_device_placement = ["past_key_values"]
    language_model: PreTrainedModel  # or PEFT's wrapper of one

    def __init__(self, config: FASAudioConfig):
        super().__init__(config)
        self.audio_tower = AudioTower(config)
        self.fas = FASForEmotionClassification(config.fas_config)
        self.multi_modal_projector = make_projector(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        config.text_config = self.language_model.config  # one object: a table that grows changes both
        self.post_init()

    @classmethod
    def from_parts(
        cls,
        fas: str | Path | EmotionPipeline | None = None,
        language_model: str | Path | tuple[PreTrainedModel, PreTrainedTokenizerBase] = "offline:smollm2",
        audio_tokens: str = "fused",
        *,
        revision: str | None = None,
        dtype: torch.dtype | str = "auto",
        seed: int = 0,
        connector: dict | None = None,
        **options: Any,
    ) -> tuple[FASAudioForConditionalGeneration, FASAudioProcessor]:
        """A model with a new projector, and its processor; on the CPU unless `device_map` says otherwise.

        Args:
            fas: a checkpoint of fas_core (the shipped one by default), or a pipeline, which is copied.
            language_model: hub id, directory, "offline:smollm2", or a model and its tokenizer.
            audio_tokens, connector: as of `FASAudioConfig`.
            revision: of the language model on the hub.
            dtype: of the language model; "auto" is that of its weights.
            seed: of the projector's first values.
            options: of the language model, as `load_language_model` takes them: `quantization_config`, `device_map`, ...

        Raises:
            CheckpointError: a part that cannot be loaded, or streams that are not two layers of one Whisper.
            FASError: a language model without a chat template.
        """
        if isinstance(fas, EmotionPipeline):
            pipeline = copy.deepcopy(fas, {id(fas.words_reader): None})  # without its reader of words
        else:
            pipeline = EmotionPipeline.from_pretrained(fas, device="cpu", words=False)
        if isinstance(language_model, tuple):
            llm, tokenizer = language_model
            name = llm.config._name_or_path
        else:
            llm, tokenizer = load_language_model(language_model, revision, dtype, **options)
            name = str(language_model)
        tokenizer = copy.deepcopy(tokenizer)
        audio_token_id = add_audio_token(tokenizer)
        grow_vocabulary(llm, audio_token_id)
        llm.config.architectures = [type(llm).__name__]
        config = FASAudioConfig(
            text_config=copy.deepcopy(llm.config),  # a configuration resets the attention of those inside it
            fas_config=copy.deepcopy(pipeline.model.config),
            encoder_config=copy.deepcopy(_encoder(pipeline).config),
            audio_tokens=audio_tokens,
            audio_token_id=audio_token_id,
            connector=connector,
            base_language_model=name or None,
            base_revision=revision,
        )
        return cls.assemble(config, pipeline, llm, seed), FASAudioProcessor.from_config(config, tokenizer)

    @classmethod
    def assemble(
        cls, config: FASAudioConfig, pipeline: EmotionPipeline, language_model: PreTrainedModel, seed: int = 0
    ) -> FASAudioForConditionalGeneration:
        """A model around parts that are loaded, which it takes over; only the projector is new."""
        with torch.device("meta"):  # what is replaced below takes no memory and no time
            model = cls(copy.deepcopy(config))
        model.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model.multi_modal_projector = make_projector(config)
        device = _device_of(language_model.get_input_embeddings())
        model.multi_modal_projector.to(device)
        model.audio_tower = AudioTower(config, _encoder(pipeline).to(device))
        model.fas, model.language_model = pipeline.model.to(device).float(), language_model
        config.text_config = language_model.config
        model.generation_config = copy.deepcopy(language_model.generation_config)
        model.generation_config.suppress_tokens = [config.audio_token_id]
        return model.freeze_parts().eval()

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *args: Any,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> FASAudioForConditionalGeneration: ...
    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *args: Any, output_loading_info: Literal[True], **kwargs: Any
    ) -> tuple[FASAudioForConditionalGeneration, dict]: ...

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> FASAudioForConditionalGeneration | tuple[FASAudioForConditionalGeneration, dict]:
        """As of transformers, from a model directory (`python -m fas_alm.export`), or the adapter directory of a training.

        With an adapter the language model that it names is loaded beside it (`fas_alm.load_adapter`, which says more); of the
        options `dtype`, `quantization_config`, `device_map` and the like hold for that language model.

        Raises:
            CheckpointError: another kind of directory, or weights are missing, for which transformers would take random ones.
            FASError: a `device_map` that offloads the audio side.
        """
        directory = Path(pretrained_model_name_or_path)
        if kind_of(directory) == "adapter":
            dtype = kwargs.get("dtype") or kwargs.get("torch_dtype") or "auto"
            model = cls.of_adapter(
                load_parts(directory, None, dtype, **{name: kwargs.get(name) for name in LOADING_OPTIONS})
            )
            return (model, dict.fromkeys(LOADING_REPORT, [])) if output_loading_info else model
        if kind_of(directory) not in (None, cls.config_class.model_type):
            raise CheckpointError(
                f"{directory}: expected a model directory of python -m fas_alm.export or an adapter directory; {what_is(directory)}"
            )
        model, info = super().from_pretrained(
            pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
        )  # fmt: skip
        if missing := sorted(info["missing_keys"]):
            raise CheckpointError(
                f"{pretrained_model_name_or_path}: its weights lack {missing[0]} and {len(missing) - 1} more; expected a model "
                "directory of python -m fas_alm.export, whose language model holds no unmerged adapter"
            )
        if any(p.is_meta for part in FLOAT32_PARTS for p in getattr(model, part).parameters()):
            raise FASError(
                f"device_map {model.hf_device_map}: encoder, FAS and projector cannot be offloaded; give a device_map (or more "
                f"max_memory) that keeps {', '.join(FLOAT32_PARTS)} on a device"
            )
        return (model, info) if output_loading_info else model

    @classmethod
    def of_adapter(cls, parts: AdapterParts, is_trainable: bool = False) -> FASAudioForConditionalGeneration:
        """A model around what `fas_alm.adapter_parts` has loaded; its LoRA and projector stay trainable where that is asked for.

        Raises:
            CheckpointError: parts that do not fit, a projector or LoRA that is missing or damaged.
        """
        with reads_checkpoint(parts.directory / "config.json", "the configuration of these parts"):
            model = cls.assemble(parts.config, parts.pipeline, parts.language_model)
        parts.read_projector(model.multi_modal_projector)
        model.language_model = parts.with_lora(is_trainable)
        model.multi_modal_projector.requires_grad_(is_trainable)
        return model.eval()

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """As of transformers. Raises `FASError` for an unmerged adapter inside, whose weights could not be loaded again."""
        self._check_saved(save_directory)
        super().save_pretrained(save_directory, *args, **kwargs)

    def push_to_hub(self, repo_id: str, *args: Any, **kwargs: Any) -> str:
        """As of transformers. Raises as `save_pretrained`."""
        self._check_saved(repo_id)
        return super().push_to_hub(repo_id, *args, **kwargs)

    def _check_saved(self, where: str | Path) -> None:
        if getattr(self.language_model, "is_quantized", False) and getattr(self, "hf_quantizer", None) is None:
            raise FASError(
                f"{where}: the language model is quantised, and could not be loaded again inside the whole model; keep what was "
                "trained with fas_alm.save_adapter(model, processor, DIRECTORY), and export it with an LLM that is not quantised"
            )
        if any(p.is_meta for p in self.language_model.parameters()) and not hasattr(self, "hf_device_map"):
            raise FASError(
                f"{where}: weights of the language model are offloaded; load it without offloading to save it"
            )
        if holds_adapter(self):
            raise FASError(
                f"{where}: the model holds an unmerged adapter, which from_pretrained could not load; merge it "
                "(model.language_model = model.language_model.merge_and_unload()), or keep it apart with "
                "fas_alm.save_adapter(model, processor, DIRECTORY)"
            )

    def freeze_parts(self, fas: bool = True, language_model: bool = True) -> FASAudioForConditionalGeneration:
        """Freezes the encoder, and FAS and the LLM unless told not to; the projector stays trainable. Returns itself."""
        self.audio_tower.requires_grad_(False)
        self.fas.requires_grad_(not fas)
        self.language_model.requires_grad_(not language_model)
        return self

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        audio_mels: Sequence[Tensor] | None = None,
        audio_window_lengths: Sequence[Tensor] | None = None,
        audio_features: dict[str, Tensor] | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits, and the loss on labels.

        Args:
            input_ids: (B, L), with each audio's tokens in place (`FASAudioProcessor`).
            attention_mask: (B, L), 0 for padding.
            audio_mels, audio_window_lengths: lists over all audios of the batch, in the order of their tokens, row by row.
            audio_features: instead of mels, FAS's inputs as the feature cache gives them, one row a window: `acoustic`,
                `semantic`, `acoustic_mask`, `semantic_mask`, `acoustic_deviation`, `semantic_deviation`.
            inputs_embeds: (B, L, H) instead of all of the above.
            labels: (B, L); loss where they are not -100.
            position_ids, past_key_values, logits_to_keep, kwargs: for the LLM. (Named, because `generate` gives positions
                that do not count the padding, and asks for the last logits only, where a signature has the name.)

        Raises:
            FASError: audio tokens and embeddings that differ in number; the message gives both.
        """
        self._check_adapters()
        if inputs_embeds is None:
            inputs_embeds = self.embed(cast(Tensor, input_ids), audio_mels, audio_window_lengths, audio_features)
        return self.language_model(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, labels=labels, position_ids=position_ids,
            past_key_values=past_key_values, logits_to_keep=logits_to_keep, **kwargs,
        )  # fmt: skip

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor | None = None,
        *args: Any,
        audio_mels: Sequence[Tensor] | None = None,
        audio_window_lengths: Sequence[Tensor] | None = None,
        audio_features: dict[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `GenerationMixin.generate`; the answer follows the prompt's ids. Audio as in `forward`, encoded once."""
        if input_ids is not None and kwargs.get("inputs_embeds") is None:
            kwargs["inputs_embeds"] = self.embed(input_ids, audio_mels, audio_window_lengths, audio_features)
        return super().generate(input_ids, *args, **kwargs)

    def train(self, mode: bool = True) -> FASAudioForConditionalGeneration:
        """Parts without a trained parameter stay in evaluation mode: no dropout in a frozen FAS."""
        super().train(mode)
        self.audio_tower.eval()
        self.fas.train(mode and any(p.requires_grad for p in self.fas.parameters()))
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FASAudioForConditionalGeneration:
        """`.to(bfloat16)`, `.half()` and whatever else casts (DeepSpeed does) reach the LLM only."""
        if not recurse:
            return self
        self.language_model._apply(fn)
        for name in FLOAT32_PARTS:
            getattr(self, name)._apply(lambda tensor: _without_cast(tensor, fn))
        return self

    @property
    def dtype(self) -> torch.dtype:
        """That of the LLM."""
        return next(p.dtype for p in self.language_model.parameters() if p.is_floating_point())

    def set_attn_implementation(self, attn_implementation: str | dict, *args: Any, **kwargs: Any) -> None:
        """As of transformers, of the LLM: the encoder's attention keeps the clips of a batch apart, and stays."""
        wanted: str | dict | None = attn_implementation
        if isinstance(wanted, dict):
            wanted = wanted.get("text_config", wanted.get(""))
        if wanted is not None:
            self.language_model.set_attn_implementation(wanted, *args, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_output_embeddings(value)

    def get_decoder(self) -> nn.Module:
        return self.language_model.get_decoder()

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """As of the LLM, whose `vocab_size` is this model's."""
        return self.language_model.resize_token_embeddings(*args, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        """Parts initialise themselves."""


def _device_of(table: nn.Module) -> torch.device:
    """Where a table of embeddings computes, also while its weights lie elsewhere (offloading of accelerate)."""
    hook = getattr(table, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return cast(Tensor, table.weight).device if device is None else torch.device(device)


def _encoder(pipeline: EmotionPipeline) -> nn.Module:
    """Whisper's encoder of a pipeline."""
    encoder, streams = pipeline.extractor.acoustic, pipeline.model.config.streams or {}
    if not isinstance(encoder, WhisperEncoder) or not isinstance(encoder.backbone, WhisperBackbone):
        raise CheckpointError(
            f"{pipeline.name}: streams 'acoustic' is a {streams['acoustic']['type']}; expected two "
            "layers of one Whisper, which a model directory can hold"
        )
    return encoder.backbone.encoder


def _without_cast(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """What `fn` does to a tensor, but for its type; a tensor that would be rounded is moved and not converted."""
    out = fn(tensor)
    return out if out.dtype == tensor.dtype else tensor.to(out.device)
