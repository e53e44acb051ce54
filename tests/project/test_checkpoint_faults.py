"""Files of strangers: whatever is wrong with a checkpoint is one `CheckpointError`, or it works and its answers are numbers."""

import json
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, user
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from synthetic import noise

from fas_alm import FASAudioForConditionalGeneration, load_adapter, save_adapter
from fas_alm.adapters import with_lora
from fas_alm.artifacts import load_model_directory
from fas_alm.export import export_model
from fas_core.checkpoint import learned_from, load_model, read_record
from fas_core.errors import CheckpointError, IdentityMismatchError
from fas_core.model_files import check_model_files
from fas_core.pipeline import EmotionPipeline

NONSENSE = [None, "x", "", -1, 0, 1e308, math.nan, [], {}, [None], {"a": 1}, True, 10**12, "../..", "\0", 1e-320]
FOREIGN = [None, "x/y", -1, [], {"a": 1}]  # for fields of transformers, most of which do not matter
CONFIG_FIELDS = [
    "acoustic_dim", "semantic_dim", "hidden_size", "num_queries", "num_attention_heads", "intermediate_size", "k_acoustic",
    "k_semantic", "patch_size", "dropout", "fusion", "selection", "learnable_queries", "summary", "summary_streams", "token_norm",
    "summary_dropout", "head_shrinkage", "head_deviation_weight", "whitening", "familiarity", "familiar_groups", "ensemble", "standardise", "pathway_heads",
    "streams", "streams_identity", "temperature", "acoustic_temperature", "semantic_temperature", "id2label", "model_type",
]  # fmt: skip
FOREIGN_FIELDS = [
    "label2id", "dtype", "torch_dtype", "architectures", "transformers_version", "auto_map", "quantization_config",
    "_attn_implementation", "attn_implementation", "_experts_implementation", "num_labels", "problem_type", "use_cache",
    "tie_word_embeddings", "rope_parameters", "layer_types", "output_attentions", "per_layer_config", "name_or_path",
]  # fmt: skip
STREAM_FIELDS = ["acoustic", "semantic", "front_end", "patch_size", "acoustic.type", "acoustic.model", "acoustic.revision",
                 "acoustic.layer", "acoustic.padding", "semantic.model", "front_end.trim", "front_end.trim_db", "unknown"]  # fmt: skip
RECORD_FIELDS = ["data", "data.corpora", "arguments", "arguments.data", "arguments.data.fold", "provenance"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A FAS checkpoint with its record, an adapter with LoRA, and both ways to export it."""
    home = tmp_path_factory.mktemp("faults")
    save_tiny_language_model(home / "llm")
    save_tiny_fas(home)
    record = {
        "data": {"corpora": [{"corpus": "tess", "learns": "tone"}]},
        "arguments": {"data": {"fold": 1}},
        "provenance": {},
    }
    (home / "fas" / "training.json").write_text(json.dumps(record))
    (home / "fas" / "streams.json").write_text("{}")
    model, processor = FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm")
    torch.manual_seed(1)
    settings = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    model.language_model = get_peft_model(model.language_model, settings)
    save_adapter(model.eval(), processor, home / "adapter")
    export_model(home / "adapter", home / "model", merge=False)
    return home


@pytest.fixture
def checkpoint(home, tmp_path):
    return Path(shutil.copytree(home / "fas", tmp_path / "fas"))


def change(path: Path, field: str, value) -> None:
    """Sets "a.b.c" of a JSON file."""
    content = json.loads(path.read_text())
    *parents, last = field.split(".")
    place = content
    for part in parents:
        place = place[part]
    place[last] = value
    path.write_text(json.dumps(content))


def ask(folder: Path) -> str | None:
    """None where the checkpoint answers in numbers; else its one error, which has to name the folder or the field."""
    try:
        pipeline = EmotionPipeline.from_pretrained(folder, device="cpu", speech_threshold=0)
        answer = pipeline(noise(1.0), sampling_rate=16_000)
        json.dumps(pipeline.describe())
    except (CheckpointError, IdentityMismatchError) as error:
        assert "\n" not in str(error) and "fas" in str(error)
        return str(error)
    assert all(math.isfinite(p) for p in answer.probabilities.values())
    assert math.isfinite(answer.pathways.divergence or 0)
    return None


class TestFields:
    @pytest.mark.parametrize("field", CONFIG_FIELDS + FOREIGN_FIELDS)
    def test_of_config(self, checkpoint, field):
        whole = (checkpoint / "config.json").read_text()
        for value in FOREIGN if field in FOREIGN_FIELDS else NONSENSE:
            change(checkpoint / "config.json", field, value)
            ask(checkpoint)
            (checkpoint / "config.json").write_text(whole)

    @pytest.mark.parametrize("field", STREAM_FIELDS)
    def test_of_streams(self, checkpoint, field):
        whole = (checkpoint / "config.json").read_text()
        for value in (None, "x", -1, [], {"a": 1}, True, "\0"):
            change(checkpoint / "config.json", f"streams.{field}", value)
            ask(checkpoint)
            (checkpoint / "config.json").write_text(whole)

    @pytest.mark.parametrize("field", RECORD_FIELDS)
    def test_of_the_record(self, checkpoint, field):
        whole = (checkpoint / "training.json").read_text()
        for value in NONSENSE:
            change(checkpoint / "training.json", field, value)
            try:
                corpora, fold = learned_from(read_record(checkpoint))
                assert all(isinstance(name, str) for name in corpora) and isinstance(fold, int | None)
            except CheckpointError as error:
                assert "training.json" in str(error) and "expected" in str(error)
            (checkpoint / "training.json").write_text(whole)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("temperature", 0), ("temperature", -1.0), ("acoustic_temperature", math.nan), ("temperature", "1"), ("dropout", "x"),
         ("semantic_temperature", 1e-320), ("dtype", "float7"), ("torch_dtype", "load"), ("hidden_size", 10**12),
         ("hidden_size", -4), ("streams", None), ("streams", []), ("model_type", "whisper"), ("quantization_config", {"bits": 4}),
         ("_attn_implementation", "someone/kernel"), ("attn_implementation", "kernels-community/flash-attn2"),
         ("attn_implementation", {"": "a/b"}), ("id2label", {"0": "joy"}), ("num_queries", 3), ("streams.acoustic.layer", 99)],
    )  # fmt: skip
    def test_the_message_names_file_and_field(self, checkpoint, field, value):
        change(checkpoint / "config.json", field, value)
        found = ask(checkpoint)
        last = {"num_queries": "queries", "hidden_size": "hidden_size"}.get(field, field.rpartition(".")[2])
        assert (
            found and last in found and ("config.json" in found or "model.safetensors" in found) and "expected" in found
        )


def write(name: str, content):
    """A damage: the file is replaced."""

    def damage(folder: Path) -> None:
        path = folder / name
        data = content(path.read_bytes()) if callable(content) else content
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    return damage


def tensors(change):
    """A damage of the weights."""

    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        save_file(change(state), folder / "model.safetensors", {"format": "pt"})

    return damage


def fill(value: float, name: str = "head.0.weight"):
    return tensors(lambda state: state | {name: torch.full_like(state[name], value)})


def index_of(files: dict | list | str | None):
    """A damage: the weights in a file that an index names."""

    def damage(folder: Path) -> None:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))

    return damage


def link(name: str, target: str):
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return damage


JSON_DAMAGE = {
    "empty": "", "not json": "{", "a list": "[]", "a number": "1", "null": "null", "deep": "[" * 100_000, "not utf-8": b"\xff\xfe{",
    "binary": os.urandom(100), "cut": lambda data: data[: len(data) // 2], "huge number": '{"model_type": 1e999}',
}  # fmt: skip
DAMAGE = {
    **{f"config: {name}": write("config.json", content) for name, content in JSON_DAMAGE.items()},
    **{f"training: {name}": write("training.json", content) for name, content in JSON_DAMAGE.items()},
    "weights: empty": write("model.safetensors", b""),
    "weights: cut": write("model.safetensors", lambda data: data[:-10]),
    "weights: half": write("model.safetensors", lambda data: data[: len(data) // 2]),
    "weights: header only": write("model.safetensors", lambda data: data[:8]),
    "weights: a long header": write("model.safetensors", b"\xff" * 8 + b"{}"),
    "weights: noise": write("model.safetensors", os.urandom(5000)),
    "weights: a pickle": write("model.safetensors", b"\x80\x04."),
    "weights: no tensors": tensors(lambda state: {"other": torch.zeros(1)}),
    "weights: one is missing": tensors(lambda state: {k: v for k, v in state.items() if k != "head.0.weight"}),
    "weights: another shape": tensors(lambda state: state | {"head.0.weight": torch.zeros(3, 3)}),
    "weights: integers": tensors(lambda state: {k: v.long() if v.is_floating_point() else v for k, v in state.items()}),
    "weights: halves": tensors(lambda state: {k: v.half() for k, v in state.items()}),
    "weights: NaN": fill(math.nan),
    "weights: infinite": fill(math.inf, "fas.projection.acoustic.bias"),
    "weights: a deviation of zero": fill(0.0, "fas.standardise.acoustic.deviation"),
    "weights: huge": fill(3e38),
    "weights: a folder": lambda folder: (
        (folder / "model.safetensors").unlink(),
        (folder / "model.safetensors").mkdir(),
    ),
    "weights: a link to nowhere": link("model.safetensors", "nowhere"),
    "config: a link to nowhere": link("config.json", "nowhere"),
    "config: a folder": lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").mkdir()),
    "training: a folder": lambda folder: ((folder / "training.json").unlink(), (folder / "training.json").mkdir()),
    "index: ..": index_of({"a": "../model.safetensors"}),
    "index: absolute": index_of({"a": "/etc/passwd"}),
    "index: a pickle": index_of({"a": "model.bin"}),
    "index: not there": index_of({"a": "other.safetensors"}),
    "index: a list": index_of(["a"]),
    "index: numbers": index_of({"a": 1}),
    "index: null": index_of(None),
    "adapter_config": lambda folder: (folder / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "someone/else"}'
    ),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "a pickle alone": lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "nothing": lambda folder: shutil.rmtree(folder),
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("x")),
}
WORK = {"weights: halves", "training: huge number"}  # these are checkpoints all the same


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(checkpoint, damage):
    DAMAGE[damage](checkpoint)
    assert (ask(checkpoint) is None) == (damage in WORK)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "", "/nowhere/at/all", "no-such-name"])
def test_names_that_are_no_checkpoint(name):
    with pytest.raises(CheckpointError):
        load_model(name)


class TestNamedByAFile:
    """An encoder or a language model that a checkpoint names is not fetched; what is in the hub's cache is used."""

    @pytest.fixture(autouse=True)
    def hub(self, monkeypatch, tmp_path):
        """A hub that gives what lies in its cache, and says who asked for more."""
        self.asked, self.cache = [], {}

        def snapshot_download(name, *, revision=None, local_files_only=False, **options):
            if not local_files_only:
                self.asked.append(name)
            if name not in self.cache:
                raise OSError("not in the cache")
            return str(self.cache[name])

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize("kind", ["whisper", "wavlm", "clap", "mimi", "emotion2vec", "mingtok"])
    def test_an_encoder_that_is_not_here(self, checkpoint, kind):
        change(
            checkpoint / "config.json", "streams.semantic", {"type": kind, "model": "someone/else", "revision": "abc"}
        )
        with pytest.raises(CheckpointError, match="not fetched.*hf download someone/else --revision abc"):
            EmotionPipeline.from_pretrained(checkpoint, device="cpu")
        assert self.asked == []

    @pytest.mark.parametrize("model", ["https://example.org/model", "x" * 5000, "a\0b", "..", "", "//host/share"])
    def test_a_name_that_is_no_model(self, checkpoint, model):
        change(checkpoint / "config.json", "streams.acoustic.model", model)
        with pytest.raises(CheckpointError, match="config.json"):
            EmotionPipeline.from_pretrained(checkpoint, device="cpu")
        assert self.asked == []

    def test_an_encoder_in_the_hubs_cache(self, home, checkpoint, tmp_path):
        cached = tmp_path / "models--someone--whisper" / "snapshots" / "abc"
        shutil.copytree(home / "whisper", cached)
        self.cache["someone/whisper"] = cached
        for stream in ("acoustic", "semantic"):
            change(checkpoint / "config.json", f"streams.{stream}.model", "someone/whisper")
        pipeline = EmotionPipeline.from_pretrained(checkpoint, device="cpu", speech_threshold=0)
        assert pipeline.extractor.identity()["acoustic"]["model"] == "someone/whisper" and self.asked == []
        assert pipeline(noise(1.0), sampling_rate=16_000).label

    def test_a_language_model_that_is_not_here(self, home, tmp_path):
        adapter = Path(shutil.copytree(home / "adapter", tmp_path / "a"))
        change(adapter / "config.json", "base_language_model", "someone/llm")
        with pytest.raises(CheckpointError, match="config.json: base_language_model.*not fetched.*--language-model"):
            load_adapter(adapter)
        assert load_adapter(adapter, home / "llm") and self.asked == []


ADAPTER_FILES = ["config.json", "adapter_config.json", "adapter_model.safetensors", "projector.safetensors", "tokenizer.json",
                 "tokenizer_config.json", "processor_config.json", "fas/config.json", "fas/model.safetensors"]  # fmt: skip
BYTES = {
    "empty": b"",
    "cut": lambda data: data[: len(data) // 2],
    "noise": b"\x93\x00\xff" * 99,
    "a list": b"[]",
    "null": b"null",
}


def listen(load, *arguments) -> None:
    """A working model whose answers are numbers, or one error."""
    try:
        model, processor = load(*arguments)
        batch = processor.apply_chat_template(
            [user("Which emotion?", clip())], tokenize=True, return_dict=True, return_tensors="pt", sampling_rate=16_000
        )
        with torch.inference_mode():
            assert model(**batch).logits.isfinite().all()
    except CheckpointError as error:
        assert "\n" not in str(error)


class TestAdapters:
    @pytest.mark.parametrize("file", ADAPTER_FILES)
    def test_damaged_files(self, home, tmp_path, file):
        for name, content in BYTES.items():
            folder = Path(shutil.copytree(home / "adapter", tmp_path / name))
            write(file, content)(folder)
            listen(load_adapter, folder)

    @pytest.mark.parametrize("field", ["audio_tokens", "audio_token_id", "option_temperature", "text_config", "fas_config",
                                       "encoder_config", "base_language_model", "base_revision", "text_config.model_type",
                                       "text_config.vocab_size", "encoder_config.d_model", "fas_config.streams"])  # fmt: skip
    def test_fields_of_config(self, home, tmp_path, field):
        folder = Path(shutil.copytree(home / "adapter", tmp_path / "a"))
        whole = (folder / "config.json").read_text()
        for value in (None, "x", -1, [], {}, True, 10**12):
            change(folder / "config.json", field, value)
            listen(load_adapter, folder)
            (folder / "config.json").write_text(whole)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("peft_type", "LOHA"), ("peft_type", None), ("r", 10**9), ("r", 0), ("r", "2"), ("rank_pattern", {"a": 10**9}),
         ("rank_pattern", []), ("megatron_config", {"a": 1}), ("auto_mapping", {"parent_library": "os"})],
    )  # fmt: skip
    def test_what_a_lora_may_not_ask_for(self, home, tmp_path, field, value):
        folder = Path(shutil.copytree(home / "adapter", tmp_path / "a"))
        change(folder / "adapter_config.json", field, value)
        with pytest.raises(CheckpointError, match="adapter_config.json"):
            load_adapter(folder)

    @pytest.mark.parametrize("file", ["adapter_model.safetensors", "projector.safetensors"])
    def test_weights_that_are_no_numbers(self, home, tmp_path, file):
        folder = Path(shutil.copytree(home / "adapter", tmp_path / "a"))
        state = load_file(folder / file)
        save_file({key: torch.full_like(value, math.nan) for key, value in state.items()}, folder / file)
        with pytest.raises(CheckpointError, match=f"{file}.*NaN"):
            load_adapter(folder)


class TestModelDirectories:
    @pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json",
                                      "generation_config.json"])  # fmt: skip
    def test_damaged_files(self, home, tmp_path, file):
        for name, content in BYTES.items():
            folder = Path(shutil.copytree(home / "model", tmp_path / name))
            write(file, content)(folder)
            listen(load_model_directory, folder)

    @pytest.mark.parametrize(
        ("file", "field", "value", "names"),
        [("config.json", "text_config.attn_implementation", "someone/kernel", "attn_implementation"),
         ("config.json", "quantization_config", {"quant_method": "mine"}, "quant_method"),
         ("config.json", "text_config.num_hidden_layers", 10**9, "num_hidden_layers")],
    )  # fmt: skip
    def test_what_a_model_may_not_ask_for(self, home, tmp_path, file, field, value, names):
        folder = Path(shutil.copytree(home / "model", tmp_path / "m"))
        change(folder / file, field, value)
        with pytest.raises(CheckpointError, match=f"{file}.*{names}"):
            load_model_directory(folder)

    @pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json"])
    def test_code_beside_the_weights_is_never_run(self, home, tmp_path, file):
        folder, ran = Path(shutil.copytree(home / "model", tmp_path / "m")), tmp_path / "ran"
        (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
        names = {f"Auto{part}": "evil.Evil" for part in ("Config", "Model", "Processor", "ModelForCausalLM")}
        change(folder / file, "auto_map", names | {"AutoTokenizer": ["evil.Evil", None]})
        listen(load_model_directory, folder)
        assert not ran.exists()

    def test_another_model_in_its_place(self, home, tmp_path):
        folder = Path(shutil.copytree(home / "model", tmp_path / "m"))
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
        with pytest.raises(CheckpointError, match="adapter_config.json"):
            load_model_directory(folder)

    def test_a_lora_without_safetensors(self, home, tmp_path):
        folder = Path(shutil.copytree(home / "model" / "lora", tmp_path / "lora"))
        (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
        with pytest.raises(CheckpointError, match="without adapter_model.safetensors"):
            with_lora(torch.nn.Linear(1, 1), folder)


def test_a_link_out_of_the_directory(tmp_path):
    folder, outside = tmp_path / "m", tmp_path / "outside.safetensors"
    folder.mkdir()
    save_file({"a": torch.zeros(1)}, outside)
    (folder / "model-1.safetensors").symlink_to(outside)
    index_of({"a": "model-1.safetensors"})(folder)
    with pytest.raises(CheckpointError, match="link out of"):
        check_model_files(folder)
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot = blobs.parent / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    shutil.copy(outside, blobs / "x")
    (snapshot / "model-1.safetensors").symlink_to(blobs / "x")
    index_of({"a": "model-1.safetensors"})(snapshot)
    check_model_files(snapshot)  # the hub's cache is made of links


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize(
    ("field", "value", "refused"),
    [("attn_implementation", "sdpa", "never"), ("attn_implementation", {"": "eager", "text_config": "sdpa"}, "never"),
     ("attn_implementation", "flash_attention_2", "kernels"), ("_attn_implementation", "org/kernel", "always"),
     ("attn_implementation", {"text_config": "org/kernel:layer"}, "always"), ("_experts_implementation", ["a/b"], "always"),
     ("vision_feature_layer", -2, "never"), ("num_hidden_layers", 80, "never"), ("num_hidden_layers", -(10**9), "always"),
     ("quantization_config", {"quant_method": "gptq", "dtype": "int4"}, "never"), ("quantization_config", {"quant_method": "mxfp4"}, "kernels"),
     ("quantization_config", {"quant_method": "org/mine"}, "always"), ("dtype", "bfloat16", "never"), ("torch_dtype", "load", "always"),
     ("auto_map", {"AutoModel": "evil.Evil"}, "never")],
)  # fmt: skip
def test_what_a_language_model_may_ask_for(tmp_path, monkeypatch, field, value, refused, kernels):
    """Models of the hub as they are pass; what would be fetched does not, wherever in the file it stands."""
    found = {"kernels": object() if kernels else None, "flash_attn": None}
    monkeypatch.setattr("fas_core.model_files.find_spec", lambda name: found[name])
    for content in ({field: value}, {"text_config": {field: value}}, {"parts": [{field: value}]}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        if refused == "always" or (refused == "kernels" and kernels):
            with pytest.raises(CheckpointError, match=field):
                check_model_files(tmp_path, quantised=True)
        else:
            check_model_files(tmp_path, quantised=True)
