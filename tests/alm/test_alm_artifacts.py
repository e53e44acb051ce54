"""Adapter directory and model directory: what is written is what was trained, whole, without this machine in it."""

import json
import os
import shutil
import subprocess

import pytest
import torch
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, tiny_language_model, tiny_model, user
from peft import LoraConfig, PeftModel, get_peft_model
from repository import ROOT
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    WhisperForConditionalGeneration,
)
from warm import PYTHON

from fas_alm import FASAudioForConditionalGeneration, load_adapter, load_emotion_pipeline, save_adapter
from fas_alm.export import export_model, main
from fas_core.errors import CheckpointError, FASError, IdentityMismatchError
from fas_core.model_files import LORA
from fas_core.pipeline import EmotionPipeline
from fas_serve.launch import Launch, check
from fas_serve.settings import Settings

RECORD = {
    "data": {"corpora": [{"corpus": "ravdess", "train": 300, "validation": 40}]},
    "validation": {"accuracy": 0.625},
    "provenance": {"commit": "abc123"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A language model, a FAS and its Whisper, as a user's disk has them."""
    folder = tmp_path_factory.mktemp("home")
    save_tiny_language_model(folder / "llm")
    save_tiny_fas(folder)
    return folder


def build(home, lora: bool = True):
    """A model that is not what it starts as: projector, FAS and LoRA have other values."""
    model, processor = FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm")
    torch.manual_seed(1)
    if lora:
        config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
        model.language_model = get_peft_model(model.language_model, config)
    with torch.no_grad():
        for module in (model.multi_modal_projector, model.fas.fas.fusion):
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval(), processor


@pytest.fixture(scope="module")
def trained(home):
    return build(home)


@pytest.fixture(scope="module")
def adapter(home, trained):
    return save_adapter(*trained, home / "adapter", RECORD)


@pytest.fixture(scope="module")
def merged(home, adapter):
    return export_model(adapter, home / "merged")


def logits(model, processor, seed: int = 0):
    batch = processor.apply_chat_template(
        [user(clip(1.0, seed), "Why?")], tokenize=True, add_generation_prompt=True, sampling_rate=16_000
    )
    with torch.no_grad():
        return model(**batch).logits


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


class TestAdapter:
    def test_it_comes_back(self, trained, adapter):
        model, processor = load_adapter(adapter)
        assert isinstance(model.language_model, PeftModel)
        assert_same(logits(model, processor), logits(*trained))
        assert not any(p.requires_grad for p in model.parameters())

    def test_it_comes_back_trainable(self, adapter):
        model, _ = load_adapter(adapter, is_trainable=True)
        names = {n for n, p in model.named_parameters() if p.requires_grad}
        assert {n.split(".")[0] for n in names} == {"multi_modal_projector", "language_model"}
        assert all("lora" in n for n in names if n.startswith("language_model"))

    def test_base_and_adapter_differ(self, home, trained, adapter):
        base, processor = FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm")
        model, _ = load_adapter(adapter)
        assert (logits(base, processor) - logits(model, processor)).abs().max() > 0.1
        with model.language_model.disable_adapter():
            without = logits(model, processor)
        assert (without - logits(model, processor)).abs().max() > 0.1

    def test_peft_alone_loads_its_lora_on_the_bare_language_model(self, home, trained, adapter):
        bare = AutoModelForCausalLM.from_pretrained(home / "llm")
        model = PeftModel.from_pretrained(bare, adapter)
        ids = torch.arange(10)[None]
        with torch.no_grad():
            expected = trained[0].language_model(ids).logits
            assert_same(model(ids).logits[..., :400], expected[..., :400])
        assert all("embed" not in k and "lm_head" not in k for k in load_file(adapter / LORA[1]))

    def test_it_holds_no_weights_of_the_language_model_and_no_pickle(self, adapter):
        files = {str(p.relative_to(adapter)) for p in adapter.rglob("*") if p.is_file()}
        assert {"config.json", "projector.safetensors", "fas/model.safetensors", "training.json", "README.md"} <= files
        assert set(LORA) <= files and "model.safetensors" not in files
        assert not [f for f in files if f.endswith((".bin", ".pt", ".pkl", ".pth"))]

    def test_without_lora_it_is_the_projector(self, home, tmp_path):
        model, processor = build(home, lora=False)
        save_adapter(model, processor, tmp_path / "stage1")
        assert not (tmp_path / "stage1" / LORA[0]).exists()
        assert_same(logits(*load_adapter(tmp_path / "stage1")), logits(model, processor))

    def test_it_is_replaced_whole(self, home, trained, tmp_path):
        save_adapter(*trained, tmp_path / "a")
        save_adapter(*build(home, lora=False), tmp_path / "a")
        assert not (tmp_path / "a" / LORA[0]).exists() and os.listdir(tmp_path) == ["a"]

    def test_a_failure_leaves_the_old_one(self, trained, tmp_path):
        save_adapter(*trained, tmp_path / "a", {"step": 1})
        with pytest.raises(TypeError):
            save_adapter(*trained, tmp_path / "a", {"step": object()})
        assert json.loads((tmp_path / "a" / "training.json").read_text()) == {"step": 1}
        assert os.listdir(tmp_path) == ["a"]

    def test_gathered_weights_are_what_is_saved(self, trained, tmp_path):
        state = {name: torch.zeros_like(value) for name, value in trained[0].state_dict().items()}
        save_adapter(*trained, tmp_path / "a", state_dict=state)
        for path in ("projector.safetensors", "fas/model.safetensors", LORA[1]):
            assert not any(value.any() for value in load_file(tmp_path / "a" / path).values()), path

    def test_the_card_tells_data_licences_metrics_use_and_misuse(self, adapter):
        card = (adapter / "README.md").read_text()
        for words in ("ravdess: 300 train", "CC BY-NC-SA", "accuracy | 0.625", "Intended use", "Misuse", "abc123"):
            assert words in card

    def test_another_language_model_is_refused(self, adapter, tmp_path):
        save_tiny_language_model(tmp_path / "other", "llama")
        with pytest.raises(CheckpointError, match="model_type is llama, .* with qwen2"):
            load_adapter(adapter, tmp_path / "other")

    def test_the_language_model_may_lie_elsewhere(self, home, trained, adapter, tmp_path):
        (tmp_path / "elsewhere").symlink_to(home / "llm")
        assert_same(logits(*load_adapter(adapter, tmp_path / "elsewhere")), logits(*trained))

    @pytest.mark.parametrize("missing", ["config.json", "projector.safetensors", "fas", LORA[1]])
    def test_a_missing_file_is_named(self, home, trained, tmp_path, missing):
        save_adapter(*trained, tmp_path / "a")
        (tmp_path / "a" / missing).rename(tmp_path / "away")
        with pytest.raises(CheckpointError, match=missing):
            load_adapter(tmp_path / "a")

    def test_damage_is_an_error(self, trained, tmp_path):
        for name in ("projector.safetensors", LORA[1]):
            path = save_adapter(*trained, tmp_path / "a") / name
            path.write_bytes(path.read_bytes()[:-50])
            with pytest.raises(CheckpointError, match=name):
                load_adapter(tmp_path / "a")


class TestModelDirectory:
    def test_transformers_loads_it_by_its_auto_classes(self, trained, merged):
        model, processor = AutoModelForMultimodalLM.from_pretrained(merged), AutoProcessor.from_pretrained(merged)
        assert isinstance(model, FASAudioForConditionalGeneration) and not hasattr(model.language_model, "peft_config")
        assert_same(logits(model, processor), logits(*trained))

    def test_lora_kept_apart_gives_the_same(self, home, trained, adapter):
        directory = export_model(adapter, home / "apart", merge=False)
        model, processor = (c.from_pretrained(directory) for c in (AutoModelForMultimodalLM, AutoProcessor))
        expected = logits(*trained)
        assert (logits(model, processor) - expected).abs().max() > 0.1, "LoRA is not in the weights"
        model.language_model = PeftModel.from_pretrained(model.language_model, directory / "lora")
        assert_same(logits(model, processor), expected)

    def test_it_holds_the_classifier_and_its_encoder(self, home, merged, trained):
        pipeline = load_emotion_pipeline(merged, speech_threshold=0)
        expected = EmotionPipeline(trained[0].fas, pipeline.extractor, speech_threshold=0)
        samples = clip(1.5)
        found, there = (p(samples, sampling_rate=16_000).probabilities for p in (pipeline, expected))
        assert found == pytest.approx(there, abs=1e-5)
        untrained = EmotionPipeline.from_pretrained(home / "fas", speech_threshold=0)
        other = untrained(samples, sampling_rate=16_000).probabilities
        assert found != pytest.approx(other, abs=1e-3), "the fusion was trained"

    def test_an_adapter_has_a_classifier_too(self, adapter, merged):
        pipelines = [load_emotion_pipeline(d, speech_threshold=0) for d in (adapter, merged)]
        found, there = (p(clip(1.5), sampling_rate=16_000) for p in pipelines)
        assert found.probabilities == pytest.approx(there.probabilities, abs=1e-6)

    def test_its_whisper_is_whole(self, merged):
        _whisper, report = WhisperForConditionalGeneration.from_pretrained(merged / "whisper", output_loading_info=True)
        assert not report["missing_keys"] and len(AutoTokenizer.from_pretrained(merged / "whisper"))
        assert not any("proj_out" in k for k in report["unexpected_keys"])

    def test_it_stands_alone(self, home, trained, adapter, tmp_path):
        """Away from where it was made, with its sources gone."""
        shutil.copytree(home, tmp_path / "home")
        sources = tmp_path / "home"
        directory = export_model(*_moved(adapter, sources, tmp_path), language_model=sources / "llm")
        shutil.rmtree(sources)
        directory = directory.rename(tmp_path / "moved")
        model, processor = (c.from_pretrained(directory) for c in (AutoModelForMultimodalLM, AutoProcessor))
        assert_same(logits(model, processor), logits(*trained))
        assert load_emotion_pipeline(directory, speech_threshold=0)(clip(), sampling_rate=16_000).label

    def test_no_file_names_a_place_of_this_machine(self, home, merged):
        for path in (p for p in merged.rglob("*") if p.suffix in (".json", ".md", ".jinja")):
            assert str(home) not in path.read_text() and "/tmp" not in path.read_text(), path.name

    def test_base_and_merged_differ(self, home, merged):
        base = AutoModelForCausalLM.from_pretrained(home / "llm").state_dict()
        state = load_file(merged / "model.safetensors")
        linear = [k for k in base if k.endswith("_proj.weight")]
        assert linear and all(not torch.equal(base[k], state[f"language_model.{k}"]) for k in linear)

    def test_another_whisper_is_refused(self, home, merged, tmp_path):
        shutil.copytree(merged, tmp_path / "m")
        whisper = WhisperForConditionalGeneration.from_pretrained(tmp_path / "m" / "whisper")
        with torch.no_grad():
            whisper.model.encoder.conv1.weight.add_(1)
        whisper.save_pretrained(tmp_path / "m" / "whisper")
        with pytest.raises(IdentityMismatchError):
            load_emotion_pipeline(tmp_path / "m")

    def test_half_precision_is_the_language_models_only(self, adapter, tmp_path):
        state = load_file(export_model(adapter, tmp_path / "m", dtype="bfloat16") / "model.safetensors")
        types = {name.split(".")[0]: set() for name in state}
        for name, value in state.items():
            types[name.split(".")[0]].add(value.dtype)
        assert types.pop("language_model") == {torch.bfloat16}
        assert set.union(*types.values()) == {torch.float32}
        assert AutoModelForMultimodalLM.from_pretrained(tmp_path / "m").dtype == torch.bfloat16

    def test_the_adapter_is_not_overwritten(self, adapter):
        with pytest.raises(FASError, match="is the adapter itself"):
            export_model(adapter, adapter)

    def test_no_lora_to_keep_apart(self, home, tmp_path):
        save_adapter(*build(home, lora=False), tmp_path / "stage1")
        with pytest.raises(FASError, match="no LoRA"):
            export_model(tmp_path / "stage1", tmp_path / "m", merge=False)
        assert os.listdir(tmp_path) == ["stage1"]

    def test_a_whisper_without_decoder_is_refused(self, home, adapter, tmp_path):
        path = home / "whisper" / "model.safetensors"
        whole = path.read_bytes()
        save_file({k: v for k, v in load_file(path).items() if "decoder" not in k}, path, {"format": "pt"})
        try:
            with pytest.raises(CheckpointError, match="with decoder and tokenizer"):
                export_model(adapter, tmp_path / "m")
        finally:
            path.write_bytes(whole)

    def test_from_the_command_line(self, adapter, tmp_path, capsys):
        assert main([str(adapter), str(tmp_path / "m"), "--dtype", "float32"]) == 0
        assert "serve" in capsys.readouterr().out and (tmp_path / "m" / "model.safetensors").is_file()
        assert main([str(tmp_path / "m" / "fas"), str(tmp_path / "n")]) == 2
        assert "not an adapter directory" in capsys.readouterr().err


SAID = {
    "adapter": "it is a FAS-ALM adapter directory.*fas_alm.load_adapter",
    "merged": "it is a FAS-ALM model directory.*python -m serve",
    "fas": "it is a FAS checkpoint.*fas predict",
    "llm": "it is a model of type qwen2.*language_model",
    "lora": "it is a LoRA in PEFT's format.*model.load_adapter",
    "training": "it holds .*training/adapter, which is a FAS-ALM adapter directory",
    "empty": "it is no model of any kind",
    "missing": "there is no such directory",
}
READERS = {
    "adapter": (load_adapter, ("merged", "fas", "llm", "lora", "training", "empty", "missing")),
    "export": (lambda d: export_model(d, d.parent / "never"), ("merged", "fas", "llm", "lora", "training", "missing")),
    "pipeline": (load_emotion_pipeline, ("fas", "llm", "lora", "training", "empty", "missing")),
    "model": (FASAudioForConditionalGeneration.from_pretrained, ("fas", "llm")),
    "fas": (EmotionPipeline.from_pretrained, ("adapter", "merged", "llm", "lora", "training", "empty", "missing")),
    "serve": (lambda d: check(Launch(d, Settings(model=""))), ("adapter", "fas", "llm")),
}


@pytest.mark.parametrize(("reader", "given"), [(r, given) for r, (_, kinds) in READERS.items() for given in kinds])
def test_another_kind_of_directory_is_named_with_who_takes_it(home, adapter, merged, tmp_path, reader, given):
    (tmp_path / "empty").mkdir()
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "adapter").symlink_to(adapter)
    (tmp_path / "lora").mkdir()
    for name in LORA:
        shutil.copy(adapter / name, tmp_path / "lora")
    places = {"adapter": adapter, "merged": merged, "fas": home / "fas", "llm": home / "llm"}
    with pytest.raises(CheckpointError, match=SAID[given]):
        READERS[reader][0](places.get(given, tmp_path / given))


def _moved(adapter, sources, tmp_path):
    """The adapter of a copied home, and an output."""
    moved = sources / adapter.name
    for path in (moved / "config.json", moved / "fas" / "config.json"):
        path.write_text(path.read_text().replace(str(adapter.parent), str(sources)))
    return moved, tmp_path / "model"


def test_a_model_in_memory_needs_no_name(tmp_path):
    """A language model that was given, not named, has to be named when it is loaded."""
    save_adapter(*tiny_model(), tmp_path / "a")
    with pytest.raises(CheckpointError, match="give `language_model`"):
        load_adapter(tmp_path / "a")
    tiny_language_model().save_pretrained(tmp_path / "llm")
    save_tiny_language_model(tmp_path / "llm")
    assert load_adapter(tmp_path / "a", tmp_path / "llm")


WITHOUT_SOCKETS = """
import socket, sys
def refuse(*_):
    raise OSError("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from fas_alm import FASAudioForConditionalGeneration, load_emotion_pipeline, save_adapter
from fas_alm.export import export_model
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForMultimodalLM, AutoProcessor
home, out = sys.argv[1:]
model, processor = FASAudioForConditionalGeneration.from_parts(home + "/fas", home + "/llm")
model.language_model = get_peft_model(model.language_model, LoraConfig(r=2, target_modules="all-linear"))
save_adapter(model, processor, out + "/adapter")
export_model(out + "/adapter", out + "/model")
AutoModelForMultimodalLM.from_pretrained(out + "/model"), AutoProcessor.from_pretrained(out + "/model")
load_emotion_pipeline(out + "/model")
"""


def test_nothing_needs_the_network(home, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {"PYTHONPATH": str(ROOT)}
    command = [PYTHON, "-c", WITHOUT_SOCKETS, str(home), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "socket" not in done.stderr
