"""An adapter directory in transformers' Auto classes, and its pipeline."""

import pytest
import torch
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, user
from peft import LoraConfig, PeftModel
from transformers import AutoModelForMultimodalLM, AutoProcessor, pipeline

from fas_alm import (
    AudioTextToTextPipeline,
    FASAudioForConditionalGeneration,
    FASAudioProcessor,
    export_model,
    load_adapter,
    save_adapter,
)

MESSAGES = [user("Which emotion?", (clip(), 16_000))]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An adapter with LoRA, and the model directory that it becomes."""
    folder = tmp_path_factory.mktemp("home")
    save_tiny_language_model(folder / "llm")
    save_tiny_fas(folder)
    model, processor = FASAudioForConditionalGeneration.from_parts(folder / "fas", folder / "llm")
    torch.manual_seed(0)
    model.add_adapter(LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    save_adapter(model, processor, folder / "adapter")
    export_model(folder / "adapter", folder / "model")
    return folder


@torch.no_grad()
def logits(model, processor) -> torch.Tensor:
    return model(**processor.apply_chat_template(MESSAGES, tokenize=True)).logits.float()


def test_auto_classes_load_an_adapter_directory(home):
    expected = logits(*load_adapter(home / "adapter"))
    model, info = AutoModelForMultimodalLM.from_pretrained(home / "adapter", output_loading_info=True)
    processor = AutoProcessor.from_pretrained(home / "adapter")
    assert isinstance(model.language_model, PeftModel) and isinstance(processor, FASAudioProcessor)
    torch.testing.assert_close(logits(model, processor), expected, rtol=0, atol=0)
    assert not model.training and info["missing_keys"] == []
    half = AutoModelForMultimodalLM.from_pretrained(home / "adapter", dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16 and next(half.fas.parameters()).dtype == torch.float32


@pytest.mark.parametrize("name", ["adapter", "model"])
def test_the_pipeline_answers_a_conversation(home, name):
    chat = pipeline("any-to-any", model=str(home / name), pipeline_class=AudioTextToTextPipeline, device="cpu")
    greedy = {"max_new_tokens": 4, "do_sample": False}
    (answer,) = chat(text=MESSAGES, generate_kwargs=greedy, return_full_text=False)
    processor = chat.processor
    inputs = processor.apply_chat_template(MESSAGES, tokenize=True, add_generation_prompt=True)
    ids = chat.model.generate(**inputs, **greedy)[:, inputs["input_ids"].shape[1] :]
    assert answer["generated_text"] == processor.decode(ids[0], skip_special_tokens=True)
