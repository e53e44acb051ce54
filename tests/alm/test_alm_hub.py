"""Hub ids in the place of directories: a stand-in hands over a folder's files as the hub would, by pattern."""

import shutil
from pathlib import Path

import pytest
import torch
from alm_tiny import clip, save_tiny_fas, save_tiny_language_model, user
from huggingface_hub.utils import filter_repo_objects
from peft import LoraConfig, get_peft_model

from fas_alm import FASAudioForConditionalGeneration, load_adapter, load_emotion_pipeline, save_adapter
from fas_alm.export import export_model, main
from fas_core.errors import CheckpointError
from fas_core.hub import find_directory
from fas_eval.systems import fas_alm
from fas_eval.systems.context import BuildContext
from fas_serve.launch import Launch, check
from fas_serve.settings import Settings

ADAPTER, MODEL = "someone/adapter", "someone/model"
PICKLES = ("pytorch_model.bin", "optimizer.pt", "fas/model.pkl", "modeling_x.py")


class Hub:
    """Repositories by id, and what was asked of them."""

    def __init__(self, repositories: dict[str, Path], cache: Path):
        self.repositories, self.cache, self.asked = repositories, cache, []

    def snapshot_download(self, repo_id: str, *, revision: str | None = None, allow_patterns=None) -> str:
        self.asked.append((repo_id, revision))
        if repo_id not in self.repositories:
            raise RuntimeError(f"404 Client Error.\n\nRepository Not Found for {repo_id}")
        folder, snapshot = self.repositories[repo_id], self.cache / repo_id / (revision or "0123abc")
        files = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        for file in filter_repo_objects(files, allow_patterns=allow_patterns):
            (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / file, snapshot / file)
        return str(snapshot)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """An adapter and a model, and beside them files that nobody should fetch."""
    home = tmp_path_factory.mktemp("home")
    save_tiny_language_model(home / "llm")
    save_tiny_fas(home)
    model, processor = FASAudioForConditionalGeneration.from_parts(home / "fas", home / "llm")
    torch.manual_seed(1)
    settings = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    model.language_model = get_peft_model(model.language_model, settings)
    save_adapter(model.eval(), processor, home / "adapter")
    export_model(home / "adapter", home / "model")
    for folder in (home / "adapter", home / "model"):
        for name in PICKLES:
            (folder / name).write_bytes(b"\x80")
    return {ADAPTER: home / "adapter", MODEL: home / "model"}


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    hub = Hub(repositories, tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    monkeypatch.chdir(tmp_path)
    return hub


def logits(model, processor) -> torch.Tensor:
    batch = processor.apply_chat_template(
        [user("Which emotion?", clip())], tokenize=True, return_dict=True, return_tensors="pt", sampling_rate=16_000
    )
    with torch.inference_mode():
        return model(**batch).logits


def test_everything_that_was_saved_comes_and_nothing_else(hub, repositories):
    for name, folder in repositories.items():
        found = find_directory(name)
        files = {str(p.relative_to(found)) for p in found.rglob("*") if p.is_file()}
        assert files == {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - set(PICKLES)


def test_slow_tokenizers_come_too(hub, tmp_path):
    names = ("merges.txt", "vocab.txt", "tokenizer.model", "whisper/merges.txt", "chat_template.jinja")
    for name in names:
        (tmp_path / "slow" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "slow" / name).touch()
    hub.repositories = {"someone/slow": tmp_path / "slow"}
    assert all((find_directory("someone/slow") / name).is_file() for name in names)


def test_adapter_by_hub_id_is_the_adapter(hub, repositories):
    torch.testing.assert_close(
        logits(*load_adapter(ADAPTER, revision="v2")), logits(*load_adapter(repositories[ADAPTER])), rtol=0, atol=0
    )
    assert hub.asked == [(ADAPTER, "v2")]


def test_export_command_takes_a_hub_id(hub, tmp_path, repositories, capsys):
    assert main([ADAPTER, str(tmp_path / "out"), "--revision", "v3"]) == 0
    assert hub.asked == [(ADAPTER, "v3")]
    made, known = (folder / "model.safetensors" for folder in (tmp_path / "out", repositories[MODEL]))
    assert made.read_bytes() == known.read_bytes()


def test_classifier_is_named_after_the_repository(hub):
    pipeline = load_emotion_pipeline(MODEL, device="cpu", speech_threshold=0)
    assert pipeline.name == "model" and pipeline(clip(), sampling_rate=16_000).label


def test_server_takes_a_hub_id(hub):
    launch = check(Launch(Path(MODEL), Settings(model=""), revision="v4"))
    assert launch.directory == hub.cache / MODEL / "v4" and launch.settings.model == "model"
    with pytest.raises(CheckpointError, match="someone/other: no such directory"):
        check(Launch(Path("someone/other"), Settings()))


def test_evaluation_takes_a_hub_id(hub, tmp_path):
    context = BuildContext(cache_dir=tmp_path)
    system = fas_alm.build({"name": "m", "directory": MODEL, "revision": "v5"}, context)
    assert system.directory == hub.cache / MODEL / "v5"
    with pytest.raises(CheckpointError, match="hf download someone/other"):
        fas_alm.build({"name": "m", "directory": "someone/other"}, context)


def test_a_directory_that_exists_wins(hub, tmp_path):
    (tmp_path / ADAPTER).mkdir(parents=True)
    assert find_directory(ADAPTER) == Path(ADAPTER)
    with pytest.raises(CheckpointError, match="not an adapter directory"):
        load_adapter(ADAPTER)
    assert not hub.asked


@pytest.mark.parametrize(
    "name", ["folder", "./runs/adapter", "../adapter", "/runs/adapter", "a/b/c", "offline:smollm2", ""]
)
def test_what_cannot_be_a_hub_id_is_never_looked_up(hub, name):
    assert find_directory(name) == Path(name) and not hub.asked


def test_hub_that_cannot_be_reached_is_one_clear_error(monkeypatch, tmp_path, capsys):
    def fail(*_, **__):
        raise ConnectionError("no route to the hub\nmore of it")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_adapter(ADAPTER, revision="v9")
    message = str(caught.value)
    for part in (ADAPTER, "no such directory", "v9", "no route to the hub", f"hf download {ADAPTER} --local-dir DIR"):
        assert part in message
    assert "\n" not in message
    assert main([ADAPTER, "out"]) == 2 and "no route to the hub" in capsys.readouterr().err
