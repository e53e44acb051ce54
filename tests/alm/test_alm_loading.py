"""How the language model is loaded: quantised, on other devices, in other types; the audio side stays float32 and whole."""

import copy
import importlib.util

import pytest
import torch
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, tiny_model, user
from peft import LoraConfig
from torch import nn
from transformers import AutoModelForMultimodalLM, BitsAndBytesConfig, QuantoConfig, TorchAoConfig
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from fas_alm import FASAudioForConditionalGeneration, export_model, load_adapter, save_adapter
from fas_alm.adapters import FLOAT32_PARTS
from fas_alm.language_models import load_language_model
from fas_core.errors import FASError


def torchao_config():
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


CONFIGS = {
    "4 bits": ("bitsandbytes", lambda: BitsAndBytesConfig(load_in_4bit=True)),
    "8 bits": ("bitsandbytes", lambda: BitsAndBytesConfig(load_in_8bit=True)),
    "8 bits with modules of the user": (
        "bitsandbytes",
        lambda: BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["lm_head"]),
    ),
    "torchao": ("torchao", torchao_config),
    "quanto": ("optimum.quanto", lambda: QuantoConfig(weights="int8")),
}
LAYERS = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu",
          "model.rotary_emb": "cpu", "lm_head": "cpu"}  # fmt: skip


@pytest.fixture(params=CONFIGS)
def config(request):
    package, make = CONFIGS[request.param]
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    return make()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    save_tiny_language_model(folder / "llm", tie=False, width=64)  # its table has to grow
    save_tiny_fas(folder)
    return folder


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model, processor = tiny_model(width=64)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def processor():
    return tiny_model()[1]


def from_parts(home, **options):
    return FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm", **options)


def batch_of(processor):
    messages = [user(clip(), "Why?", clip(0.4, 1))]
    return processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, sampling_rate=16_000)


@torch.no_grad()
def logits(model, processor):
    return model(**batch_of(processor)).logits.float()


def assert_audio_side_is_float32(model):
    for part in FLOAT32_PARTS:
        for module in getattr(model, part).modules():
            assert type(module).__module__.partition(".")[0] not in ("bitsandbytes", "torchao", "optimum")
            for tensor in (*module.parameters(False), *module.buffers(False)):
                assert type(tensor.data) is torch.Tensor and tensor.dtype in (torch.float32, torch.int64, torch.bool)


class TestQuantisation:
    def test_the_whole_model(self, directory, processor, config):
        model = AutoModelForMultimodalLM.from_pretrained(directory, quantization_config=config)
        assert_audio_side_is_float32(model)
        assert not is_plain(model.language_model.model.layers[0].self_attn.q_proj)
        assert torch.isfinite(logits(model, processor)).all()

    @pytest.mark.parametrize("chosen", [None, [], ["lm_head"]])
    def test_whatever_modules_the_user_leaves_out(self, processor, chosen):
        """As every quantiser of transformers asks."""
        model, _ = tiny_model()
        left_out = HfQuantizer.get_modules_to_not_convert(model, chosen, model._keep_in_fp32_modules)
        linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        converted = {name.split(".")[0] for name in linear if should_convert_module(name, left_out)}
        assert converted == {"language_model"}

    def test_trained_and_saved_and_loaded(self, home, config, tmp_path):
        model, processor = from_parts(home, quantization_config=config)
        assert_audio_side_is_float32(model)
        torch.manual_seed(0)
        model.add_adapter(LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        batch = batch_of(processor)
        model.train()(**batch, labels=batch["input_ids"]).loss.backward()
        assert all(p.grad is not None for n, p in model.named_parameters() if "lora_" in n)
        expected = logits(model.eval(), processor)
        save_adapter(model, processor, tmp_path / "adapter")
        assert "quantization_config" not in (tmp_path / "adapter" / "config.json").read_text()
        again, _ = load_adapter(tmp_path / "adapter", quantization_config=config)
        torch.testing.assert_close(logits(again, processor), expected, rtol=1e-4, atol=1e-3)
        export_model(tmp_path / "adapter", tmp_path / "model")
        model = AutoModelForMultimodalLM.from_pretrained(tmp_path / "model")
        assert is_plain(model.language_model.model.layers[0].self_attn.q_proj)

    def test_a_whole_model_of_a_quantised_part_is_not_saved(self, home, config, tmp_path):
        model, _ = from_parts(home, quantization_config=config)
        with pytest.raises(FASError, match="quantised.*save_adapter"):
            model.save_pretrained(tmp_path / "m")
        assert not (tmp_path / "m").exists()


def is_plain(module) -> bool:
    return type(module) is nn.Linear and type(module.weight.data) is torch.Tensor and module.weight.is_floating_point()


class TestDevices:
    @pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, "auto", LAYERS])
    def test_the_language_model_where_it_is_told(self, home, device_map, tmp_path):
        expected = logits(*from_parts(home))
        model, processor = from_parts(home, device_map=device_map, offload_folder=str(tmp_path / "off"))
        torch.testing.assert_close(logits(model, processor), expected, rtol=1e-4, atol=1e-3)
        assert model.generate(**batch_of(processor), max_new_tokens=2, do_sample=False).shape[0] == 1
        if device_map is LAYERS:
            with pytest.raises(FASError, match="offloaded"):
                model.save_pretrained(tmp_path / "m")

    def test_the_whole_model(self, directory, processor, tmp_path):
        expected = logits(AutoModelForMultimodalLM.from_pretrained(directory), processor)
        places = dict.fromkeys(FLOAT32_PARTS, "cpu") | {f"language_model.{k}": v for k, v in LAYERS.items()}
        options = {"offload_folder": tmp_path / "off"}
        model = AutoModelForMultimodalLM.from_pretrained(directory, device_map=places, **options)
        torch.testing.assert_close(logits(model, processor), expected, rtol=1e-4, atol=1e-3)
        with pytest.raises(FASError, match="encoder, FAS and projector cannot be offloaded"):
            AutoModelForMultimodalLM.from_pretrained(directory, device_map=places | {"fas": "disk"}, **options)

    def test_a_table_that_has_to_grow_stays_on_a_device(self, home, tmp_path):
        away = LAYERS | {"model.embed_tokens": "disk"}
        with pytest.raises(FASError, match="has to grow for the audio token, but is offloaded"):
            from_parts(home, device_map=away, offload_folder=str(tmp_path / "off"))

    def test_an_option_that_is_not_known_is_named(self, home):
        with pytest.raises(FASError, match="'devicemap'"):
            from_parts(home, devicemap="auto")
        with pytest.raises(FASError, match="'load_in_4bit'.*quantization_config"):
            load_language_model(home / "llm", load_in_4bit=True)


@pytest.mark.parametrize("way", ["from_pretrained", "set_attn_implementation", "of the language model"])
def test_attention_is_that_of_the_language_model_only(directory, processor, way):
    """With the encoder's changed, the clips of a batch would hear each other."""
    expected = logits(AutoModelForMultimodalLM.from_pretrained(directory), processor)
    options = {"attn_implementation": "eager"} if way == "from_pretrained" else {}
    model = AutoModelForMultimodalLM.from_pretrained(directory, **options)
    if way == "set_attn_implementation":
        model.set_attn_implementation("eager")
    elif way == "of the language model":
        model.set_attn_implementation({"text_config": "eager"})
    assert model.language_model.config._attn_implementation == "eager"
    torch.testing.assert_close(logits(model, processor), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16, "torch_dtype"])
def test_the_type_is_that_of_the_language_model_only(directory, processor, dtype):
    options = {"torch_dtype": torch.bfloat16} if dtype == "torch_dtype" else {"dtype": dtype}
    model = AutoModelForMultimodalLM.from_pretrained(directory, low_cpu_mem_usage=True, **options)
    assert model.dtype in (torch.bfloat16, torch.float16)
    assert_audio_side_is_float32(model)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(reentrant):
    gradients = []
    for is_checkpointed in (False, True):
        model, processor = tiny_model()
        torch.manual_seed(0)
        model.add_adapter(LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        model.multi_modal_projector.requires_grad_(True)
        if is_checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        batch = batch_of(processor)
        model.train()(**batch, labels=batch["input_ids"]).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    without, checkpointed = gradients
    assert without.keys() == checkpointed.keys() and any("multi_modal" in name for name in without)
    for name, gradient in without.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("shard", ["5GB", "50KB"])
def test_a_table_that_was_resized_comes_back(tie, shard, tmp_path):
    model, processor = tiny_model(tie=tie)
    model.resize_token_embeddings(640, mean_resizing=False)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    loaded = AutoModelForMultimodalLM.from_pretrained(tmp_path)
    table, head = loaded.get_input_embeddings().weight, loaded.get_output_embeddings().weight
    assert len(table) == loaded.config.vocab_size == 640 and (table.data_ptr() == head.data_ptr()) == tie
    torch.testing.assert_close(logits(loaded, processor), logits(copy.deepcopy(model), processor), rtol=1e-4, atol=1e-3)
