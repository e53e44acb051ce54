"""The causal language model of a checkpoint, also where it is nested in a model that sees or hears."""

from __future__ import annotations

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from fas_alm.configuration import FASAudioConfig
from fas_core.errors import CheckpointError
from fas_core.kinds import TAKES, what_is

LOADED = ("hf_quantizer", "is_quantized", "quantization_method", "hf_device_map")


def load_causal(source: str, revision: str | None, **options) -> PreTrainedModel:
    """The LLM of a directory or hub id.

    Of Gemma 3, Mistral 3, LLaVA and the like it is their text model, as the causal LLM that it was before.

    Args:
        options: of transformers' `from_pretrained`.

    Raises:
        CheckpointError: weights are missing; a text model that transformers has no causal class for (Qwen-VL, Qwen-Omni); no
            LLM at all. The message names the class.
    """
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    if isinstance(config, FASAudioConfig) or config.model_type in TAKES:
        raise CheckpointError(f"expected a language model; {what_is(source)}")
    options |= {"revision": revision, "use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    text = config.get_text_config(decoder=True)
    whole_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if whole_class is not None and (text is config or whole_class.config_class is type(text)):
        return _complete(*AutoModelForCausalLM.from_pretrained(source, **options))
    text_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(text), None)
    if text_class is None or text_class.config_class is not type(text):
        name = ", ".join(config.architectures or [type(config).__name__])
        raise CheckpointError(
            f"{name}: its text model ({text.model_type}) is no causal language model of transformers by itself; give a text LLM, "
            "such as the Qwen2.5 or Qwen3 that it was made from"
        )
    return _text_model(_complete(*AutoModelForMultimodalLM.from_pretrained(source, **options)), text_class, text)


def _complete(model: PreTrainedModel, report: dict) -> PreTrainedModel:
    if missing := sorted(report["missing_keys"]):  # transformers would go on with random values
        raise CheckpointError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
    return model


def _text_model(whole: PreTrainedModel, text_class: type, text: PreTrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        model = text_class(text)
    decoder = whole.get_decoder()
    if type(decoder) is not type(model.base_model):
        name = type(whole).__name__
        raise CheckpointError(
            f"{name}: its text model is a {type(decoder).__name__}; expected a {type(model.base_model).__name__}"
        )
    setattr(model, model.base_model_prefix, decoder)
    head = whole.get_output_embeddings()
    model.set_output_embeddings(head)
    model.config, model.generation_config = decoder.config, whole.generation_config
    model.config.tie_word_embeddings = head.weight is decoder.get_input_embeddings().weight  # the whole one decided
    for name in LOADED:
        if hasattr(whole, name):
            setattr(model, name, getattr(whole, name))
    return model
