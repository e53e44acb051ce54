"""PEFT in all the ways that its users know: it works on the language model, or is refused; it never does nothing."""

import copy

import pytest
import torch
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, tiny_language_model, user
from peft import (
    AutoPeftModel,
    AutoPeftModelForCausalLM,
    LoraConfig,
    PeftModel,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
    inject_adapter_in_model,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from transformers import AutoModelForMultimodalLM

from fas_alm import FASAudioForConditionalGeneration, load_adapter, save_adapter
from fas_alm.adapters import FLOAT32_PARTS
from fas_alm.export import export_model
from fas_core.errors import CheckpointError, FASError

LINEAR = dict(r=2, target_modules="all-linear", init_lora_weights=False)
NAMES = dict(r=2, target_modules=["q_proj", "v_proj", "linear_1"], init_lora_weights=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    save_tiny_language_model(folder / "llm")
    save_tiny_fas(folder)
    return folder


@pytest.fixture
def parts(home):
    return FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm")


@pytest.fixture
def model(parts):
    return parts[0]


@pytest.fixture(scope="module")
def adapter(home):
    """An adapter directory whose projector and LoRA are trained, as it were."""
    model, processor = FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm", seed=1)
    torch.manual_seed(2)
    model.add_adapter(LoraConfig(**LINEAR))
    return save_adapter(model, processor, home / "adapter")


@pytest.fixture(scope="module")
def exported(home, adapter):
    """A model directory with its LoRA apart."""
    return export_model(adapter, home / "exported", merge=False)


def batch_of(processor):
    messages = [user(clip(), "Why?")]
    return processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, sampling_rate=16_000)


@torch.no_grad()
def logits(model, processor):
    return model(**batch_of(processor)).logits


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def adapted(model) -> set[str]:
    """Names of the parts that hold PEFT's layers."""
    return {name.split(".")[0] for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}


class TestOnTheWholeModel:
    @pytest.mark.parametrize("settings", [LINEAR, NAMES, LINEAR | {"use_dora": True}, LINEAR | {"use_rslora": True}])
    @pytest.mark.parametrize("task", [None, TaskType.CAUSAL_LM])
    def test_the_audio_side_is_left_alone(self, model, parts, settings, task):
        before = {n: p.clone() for n, p in model.state_dict().items() if n.split(".")[0] in FLOAT32_PARTS}
        plain = logits(*parts)
        whole = get_peft_model(model, LoraConfig(**settings, task_type=task))
        assert adapted(model) == {"language_model"}
        trained = [n for n, p in whole.named_parameters() if p.requires_grad]
        assert trained and all("language_model" in name for name in trained)
        assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
        heard = logits(whole, parts[1])
        assert (heard - plain).abs().max() > 0.01
        assert whole.generate(**batch_of(parts[1]), max_new_tokens=2, do_sample=False).shape[0] == 1
        merged = whole.merge_and_unload()
        assert merged is model and not adapted(model)
        assert_same(logits(model, parts[1]), heard)

    def test_what_peft_saves_comes_back(self, parts, home, tmp_path):
        whole = get_peft_model(parts[0], LoraConfig(**LINEAR))
        expected = logits(whole, parts[1])
        whole.save_pretrained(tmp_path)
        again = FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm")[0]
        assert_same(logits(PeftModel.from_pretrained(again, tmp_path), parts[1]), expected)

    def test_a_projector_to_save_is_trained_beside_it(self, parts):
        whole = get_peft_model(parts[0], LoraConfig(**LINEAR, modules_to_save=["multi_modal_projector"]))
        whole.train()
        whole(**batch_of(parts[1])).logits.sum().backward()
        trained = {n for n, p in whole.named_parameters() if p.grad is not None and p.grad.any()}
        assert any("modules_to_save" in n and "linear_1" in n for n in trained) and any("lora_A" in n for n in trained)

    def test_a_second_adapter_is_refused(self, parts):
        whole = get_peft_model(parts[0], LoraConfig(**LINEAR))
        whole.add_adapter("second", LoraConfig(**LINEAR))
        with pytest.raises(FASError, match="default, second on the whole model"):
            logits(whole, parts[1])

    def test_a_lora_of_the_language_model_fits(self, exported, adapter):
        model = AutoModelForMultimodalLM.from_pretrained(exported)
        expected = logits(*load_adapter(adapter))
        processor = load_adapter(adapter)[1]
        assert (logits(model, processor) - expected).abs().max() > 0.01
        assert_same(logits(PeftModel.from_pretrained(model, exported / "lora"), processor), expected)

    def test_an_adapter_directory_is_refused(self, model, adapter):
        with pytest.raises(FASError, match=r"fas_alm\.load_adapter"):
            PeftModel.from_pretrained(model, adapter)


class TestMethodsOfTransformers:
    def test_a_lora_is_loaded_on_the_language_model(self, exported, adapter):
        model, processor = AutoModelForMultimodalLM.from_pretrained(exported), load_adapter(adapter)[1]
        plain = logits(model, processor)
        model.load_adapter(exported / "lora")
        expected = logits(*load_adapter(adapter))
        assert_same(logits(model, processor), expected)
        model.disable_adapters()
        assert_same(logits(model, processor), plain)
        model.enable_adapters()
        assert_same(logits(model, processor), expected)
        assert model.active_adapters() == ["default"] and model.get_adapter_state_dict()
        model.language_model = model.language_model.merge_and_unload()
        assert_same(logits(model, processor), expected)

    def test_several_adapters(self, exported, home):
        model, processor = FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm", seed=1)
        model.load_adapter(exported / "lora", "one")
        expected = logits(model, processor)
        model.add_adapter(LoraConfig(**LINEAR), "two")
        assert model.active_adapters() == ["two"]
        other = logits(model, processor)
        assert (other - expected).abs().max() > 0.01
        model.set_adapter("one")
        assert_same(logits(model, processor), expected)
        with pytest.raises(FASError, match="adapters one, two; one is saved"):
            save_adapter(model, processor, home / "several")
        model.delete_adapter("two")
        save_adapter(model, processor, home / "several")
        assert_same(logits(*load_adapter(home / "several", home / "llm")), expected)

    @pytest.mark.parametrize(
        ("call", "problem"),
        [
            (lambda m: m.set_adapter("other"), "expected one of default"),
            (lambda m: m.add_adapter(LoraConfig(**LINEAR)), "already exists"),
            (lambda m: m.add_adapter(LoraConfig(r=2, target_modules=["no_such"]), "b"), "no_such"),
            (lambda m: m.enable_peft_hotswap(), "hotswap"),
        ],
    )
    def test_a_call_that_cannot_be_done_is_one_error(self, model, call, problem):
        model.add_adapter(LoraConfig(**LINEAR))
        with pytest.raises(FASError, match=problem):
            call(model)

    @pytest.mark.parametrize(
        "method", ["active_adapters", "disable_adapters", "enable_adapters", "get_adapter_state_dict"]
    )
    def test_without_an_adapter(self, model, method):
        with pytest.raises(FASError, match="has no adapter"):
            getattr(model, method)()

    def test_an_adapter_directory_is_refused(self, model, adapter):
        with pytest.raises(FASError, match=r"fas_alm\.load_adapter"):
            model.load_adapter(adapter)

    @pytest.mark.parametrize("has_one", [False, True])
    def test_a_lora_of_another_model_is_refused(self, model, tmp_path, has_one):
        other = tiny_language_model("llama")
        other.model.layers.append(copy.deepcopy(other.model.layers[0]))
        get_peft_model(other, LoraConfig(**LINEAR)).save_pretrained(tmp_path)
        if has_one:
            model.add_adapter(LoraConfig(**LINEAR), "mine")
        with pytest.raises(CheckpointError, match="it is of another model"):
            model.load_adapter(tmp_path)


def on_language_model(model):
    model.language_model = get_peft_model(model.language_model, LoraConfig(**LINEAR))


def on_whole(model):
    get_peft_model(model, LoraConfig(**LINEAR))


def injected(model):
    model.language_model.add_adapter(LoraConfig(**LINEAR))


def injected_on_whole(model):
    inject_adapter_in_model(LoraConfig(**LINEAR), model)


def saved_module(model):
    settings = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model.language_model = get_peft_model(model.language_model, settings)


def prompt(model):
    settings = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2)
    model.language_model = get_peft_model(model.language_model, settings)


WAYS = [on_language_model, on_whole, injected, injected_on_whole, saved_module, prompt]


class TestSaving:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("method", ["save_pretrained", "push_to_hub"])
    def test_a_model_with_an_adapter_inside_is_not_saved(self, model, way, method, tmp_path):
        way(model)
        with pytest.raises(FASError, match="unmerged adapter"):
            getattr(model, method)(str(tmp_path / "m") if method == "save_pretrained" else "a/b")
        assert not (tmp_path / "m").exists()

    def test_merged_it_is(self, model, parts, tmp_path):
        on_language_model(model)
        expected = logits(*parts)
        model.language_model = model.language_model.merge_and_unload()
        model.save_pretrained(tmp_path)
        assert_same(logits(FASAudioForConditionalGeneration.from_pretrained(tmp_path), parts[1]), expected)

    def test_a_directory_with_an_adapter_inside_gives_no_random_weights(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        on_language_model(model)
        save_file({k: v.contiguous() for k, v in model.state_dict().items() if "lm_head" not in k},
                  tmp_path / "model.safetensors", {"format": "pt"})  # fmt: skip
        for auto in (FASAudioForConditionalGeneration, AutoModelForMultimodalLM):
            with pytest.raises(CheckpointError, match="weights lack language_model.*unmerged adapter"):
                auto.from_pretrained(tmp_path)

    @pytest.mark.parametrize("way", [on_whole, injected_on_whole])
    def test_an_adapter_directory_is_of_the_language_model(self, model, parts, way, tmp_path):
        way(model)
        with pytest.raises(FASError, match="on the whole model"):
            save_adapter(*parts, tmp_path / "a")
        with pytest.raises(FASError, match="expected a FASAudioForConditionalGeneration"):
            save_adapter(torch.nn.Linear(1, 1), parts[1], tmp_path / "a")
        assert not (tmp_path / "a").exists()

    @pytest.mark.parametrize("way", [on_language_model, injected, saved_module])
    def test_whatever_put_it_on_the_language_model_it_comes_back(self, model, parts, home, way, tmp_path):
        torch.manual_seed(3)
        way(model)
        save_adapter(*parts, tmp_path / "a")
        assert_same(logits(*load_adapter(tmp_path / "a", home / "llm")), logits(*parts))


class TestAutoClasses:
    @pytest.mark.parametrize("auto", [AutoPeftModel, AutoPeftModelForCausalLM])
    def test_an_adapter_directory_is_refused_with_the_way_to_load_it(self, adapter, auto):
        with pytest.raises(ValueError, match="fas_alm"):
            auto.from_pretrained(adapter)
        with pytest.raises(FASError, match=r"fas_alm\.load_adapter"):
            auto.from_pretrained(adapter, import_allowlist=["fas_alm"])

    def test_peft_alone_puts_its_lora_on_the_bare_language_model(self, adapter):
        ids = torch.arange(10)[None]
        with torch.no_grad():
            expected = load_adapter(adapter)[0].language_model(ids).logits[..., :400]
            assert_same(PeftModel.from_pretrained(tiny_language_model(), adapter)(ids).logits[..., :400], expected)
