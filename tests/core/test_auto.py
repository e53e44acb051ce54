"""FAS at home in transformers: Auto classes, its pipeline for audio classification, saving and the hub."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi
from synthetic import noise, save_tiny_whisper
from tiny_fas import save_tiny_checkpoint
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline

from fas_core import EmotionPipeline, FASConfig, FASForEmotionClassification, FASModel
from fas_core.checkpoint import read_config
from fas_core.errors import AudioError, CheckpointError, FASError, IdentityMismatchError
from fas_core.feature_extraction_fas import FASFeatureExtractor
from fas_core.labels import EMOTIONS

RATE = 16_000
CLIPS = [noise(1.3, 0), noise(2.1, 1), noise(0.4, 2)]
GATE = dict(answer_from="gate", gate=[0.0] * 7)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("auto")
    return SimpleNamespace(folder=folder, whisper=save_tiny_whisper(folder / "whisper"))


def saved(home, name: str, **settings):
    directory = save_tiny_checkpoint(home.folder / name, home.whisper, **settings)
    FASFeatureExtractor.of(read_config(directory / "config.json"), directory).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def checkpoint(home):
    return saved(home, "fas")


def ours(directory) -> EmotionPipeline:
    return EmotionPipeline.from_pretrained(directory, device="cpu", speech_threshold=0, words=False)


def test_a_directory_is_what_the_auto_classes_say(checkpoint):
    assert isinstance(AutoConfig.from_pretrained(checkpoint), FASConfig)
    assert isinstance(AutoFeatureExtractor.from_pretrained(checkpoint), FASFeatureExtractor)
    assert isinstance(AutoModelForAudioClassification.from_pretrained(checkpoint), FASForEmotionClassification)
    assert isinstance(AutoModel.from_config(AutoConfig.from_pretrained(checkpoint)), FASModel)


@pytest.mark.parametrize("settings", [{}, {"answer_from": "tone"}, GATE], ids=["fused", "tone", "gate"])
def test_transformers_pipeline_gives_the_probabilities_of_ours(home, settings):
    directory = saved(home, "-".join(["fas", *settings]), **settings)
    theirs = pipeline("audio-classification", model=str(directory), device="cpu")
    for batch_size in (1, 2):
        rows = theirs([{"array": clip, "sampling_rate": RATE} for clip in CLIPS], top_k=None, batch_size=batch_size)
        for row, answer in zip(rows, ours(directory)(CLIPS, sampling_rate=RATE), strict=True):
            found = {entry["label"]: entry["score"] for entry in row}
            assert found == pytest.approx(answer.probabilities, abs=1e-6)
    assert [entry["label"] for entry in theirs(CLIPS[0], top_k=2)] == [
        entry["label"] for entry in ours(directory)(CLIPS[0], sampling_rate=RATE, top_k=2)
    ]


def test_raw_audio_of_any_rate_becomes_what_forward_takes(checkpoint):
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    model = AutoModelForAudioClassification.from_pretrained(checkpoint).eval()
    low = CLIPS[1][::2]
    expected = ours(checkpoint)(low, sampling_rate=RATE // 2).probabilities
    given = (
        extractor(low, sampling_rate=RATE // 2),
        extractor([torch.from_numpy(low.copy())], sampling_rate=RATE // 2, return_tensors="pt"),
        extractor({"array": low, "sampling_rate": RATE // 2}),
    )
    for batch in given:
        with torch.inference_mode():
            row = model(**batch).logits.softmax(-1)[0].numpy()
        np.testing.assert_allclose(row, [expected[e] for e in EMOTIONS], atol=1e-6)
    assert set(given[0]) == set(extractor.model_input_names)
    with pytest.raises(AudioError, match="no sample rate"):
        extractor(low)
    with pytest.raises(FASError, match="return_tensors 'np'.*'pt'"):
        extractor(low, sampling_rate=RATE, return_tensors="np")


def test_the_classifier_learns_as_transformers_trainer_asks(checkpoint):
    batch = AutoFeatureExtractor.from_pretrained(checkpoint)(CLIPS, sampling_rate=RATE)
    model = AutoModelForAudioClassification.from_pretrained(checkpoint).train()
    model(**batch, labels=torch.tensor([0, 1, 2])).loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_saved_by_either_pipeline_it_is_loaded_by_both(checkpoint, tmp_path):
    expected = ours(checkpoint)(CLIPS[0], sampling_rate=RATE).probabilities
    pipeline("audio-classification", model=str(checkpoint), device="cpu").save_pretrained(tmp_path / "theirs")
    ours(checkpoint).save_pretrained(tmp_path / "ours")
    for folder in (tmp_path / "theirs", tmp_path / "ours"):
        assert ours(folder)(CLIPS[0], sampling_rate=RATE).probabilities == expected
        rows = pipeline("audio-classification", model=str(folder), device="cpu")(CLIPS[0], top_k=None)
        assert {row["label"]: row["score"] for row in rows} == pytest.approx(expected, abs=1e-6)


def test_other_encoders_than_those_of_the_training_are_refused(checkpoint, tmp_path):
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint, streams_identity="0" * 64)
    with pytest.raises(IdentityMismatchError, match="preprocessor_config.json.*identity 0000"):
        extractor(CLIPS[0], sampling_rate=RATE)
    with pytest.raises(CheckpointError, match="names no encoders"):
        FASFeatureExtractor()(CLIPS[0], sampling_rate=RATE)
    with pytest.raises(FASError, match="sampling_rate is 8000; expected 16000"):
        FASFeatureExtractor(sampling_rate=8000)


class Hub:
    """The hub at its boundary: what would be sent to it."""

    def __init__(self, monkeypatch):
        self.repositories, self.files = [], {}
        monkeypatch.setattr(HfApi, "create_repo", self.create_repo)
        monkeypatch.setattr(HfApi, "create_commit", self.create_commit)

    def create_repo(self, repo_id, **options):
        self.repositories.append((repo_id, options.get("private")))
        return SimpleNamespace(repo_id=repo_id)

    def create_commit(self, repo_id, operations, **options):
        for operation in operations:
            with operation.as_file() as file:
                self.files[operation.path_in_repo] = file.read()
        self.message = options["commit_message"]
        return SimpleNamespace(commit_url=f"https://hub.example/{repo_id}/commit/1")


def test_push_to_hub_sends_what_from_pretrained_reads(checkpoint, monkeypatch, tmp_path):
    hub, pushed = Hub(monkeypatch), ours(checkpoint)
    with pytest.raises(FASError, match="streams.acoustic.model is .*a path of this machine"):
        pushed.push_to_hub("someone/fas")
    assert not hub.repositories
    for stream in ("acoustic", "semantic"):
        pushed.model.config.streams[stream]["model"] = "someone/whisper"
    assert pushed.push_to_hub("someone/fas", private=True) == "https://hub.example/someone/fas/commit/1"
    assert hub.repositories == [("someone/fas", True)] and "FAS" in hub.message
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "streams.json"} <= set(hub.files)
    for file in ("config.json", "preprocessor_config.json"):
        assert json.loads(hub.files[file])["streams"]["acoustic"]["model"] == "someone/whisper"
    model = AutoModelForAudioClassification.from_pretrained(checkpoint)
    model.push_to_hub("someone/model")
    assert hub.repositories[-1][0] == "someone/model" and "model.safetensors" in hub.files


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines",
    [
        "from transformers import AutoConfig; import fas_core",
        "import fas_core; from fas_core import FASConfig; from transformers import AutoConfig",
    ],
)
def test_whichever_is_imported_first(checkpoint, lines):
    code = f"{lines}; print(type(AutoConfig.from_pretrained({str(checkpoint)!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "FASConfig\n", done.stderr[-500:]
