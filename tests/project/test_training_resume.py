"""Whatever lies under the old names when a training is resumed: what changed is named, and nothing goes on with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from alm_corpus import RATE, colored_noise
from alm_runs import Interrupted, flags, interrupt_at
from safetensors.torch import load_file, save_file

from fas_alm.training import adapter as alm
from fas_core.training import fas
from fas_core.training.loop import Trainer


def fas_flags(place: Path) -> list[str]:
    return [
        "--corpora", f"manifest={place / 'corpus'}", "--encoder", str(place / "whisper"), "--acoustic_layer", "1", "--hidden_size",
        "16", "--epochs", "3", "--global_batch_size", "8", "--per_device_batch_size", "8", "--cpu", "true",
        "--cache_dir", str(place / "cache"), "--output_dir", str(place / "run"),
    ]  # fmt: skip


def alm_flags(place: Path) -> list[str]:
    return flags(place, place / "run", "--conversations", str(place / "c.jsonl"))


def interrupt_fas(monkeypatch) -> None:
    """The power fails in the second epoch."""
    original, count = Trainer._train_epoch, [0]

    def train_epoch(self, epoch):
        count[0] += 1
        if count[0] > 1:
            raise Interrupted
        return original(self, epoch)

    monkeypatch.setattr(Trainer, "_train_epoch", train_epoch)


TRAININGS = {
    "fas": (fas.main, fas_flags, interrupt_fas),
    "alm": (alm.main, alm_flags, lambda patch: interrupt_at(patch, 4)),
}


@pytest.fixture
def place(material, tmp_path) -> Path:
    """A copy of the material that may be changed, and a conversation beside it."""
    shutil.copytree(
        material, tmp_path, dirs_exist_ok=True, ignore=lambda folder, names: [n for n in names if n.startswith("whole")]
    )
    content = [{"type": "audio", "path": str(tmp_path / "heard.wav")}, {"type": "text", "text": "How?"}]
    soundfile.write(tmp_path / "heard.wav", colored_noise("sad", 0.6, 1), RATE)
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "sad"}]
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    config = tmp_path / "fas" / "config.json"  # the streams name the Whisper by its place
    config.write_text(config.read_text().replace(str(material), str(tmp_path)))
    return tmp_path


def other_audio(path: Path) -> None:
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[::-1], rate)


def other_long_audio(path: Path) -> None:
    soundfile.write(path, np.tile(colored_noise("sad", 1.0, 5), 31), RATE)


def other_weights(folder: Path) -> None:
    """The smallest of changes to the largest of weights."""
    path = folder / "model.safetensors"
    state = load_file(path)
    name = max(state, key=lambda key: state[key].numel())
    state[name].view(-1)[0] += 0.5
    save_file(state, path, {"format": "pt"})


def other_label(place: Path) -> None:
    path = place / "corpus" / "manifest.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["emotion"] = "happy" if rows[0]["emotion"] != "happy" else "sad"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


CHANGES = {
    "fas-training": ("fas", lambda p: other_audio(p / "corpus" / "train-003.wav"), "training clips"),
    "fas-label": ("fas", other_label, "training clips"),
    "fas-encoder": ("fas", lambda p: other_weights(p / "whisper"), "streams_identity"),
    "alm-training": ("alm", lambda p: other_audio(p / "corpus" / "train-003.wav"), "training data"),
    "alm-long": ("alm", lambda p: other_long_audio(p / "corpus" / "train-003.wav"), "training data"),
    "alm-conversation": ("alm", lambda p: other_audio(p / "heard.wav"), "training data"),
    "alm-fas": ("alm", lambda p: other_weights(p / "fas"), "the FAS"),
    "alm-language-model": ("alm", lambda p: other_weights(p / "llm"), "the language model"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_replaced_under_its_name_is_noticed(place, monkeypatch, capsys, change):
    kind, replace, named = CHANGES[change]
    main, flags_of, interrupt = TRAININGS[kind]
    with monkeypatch.context() as patch:
        interrupt(patch)
        with pytest.raises(Interrupted):
            main(flags_of(place))
    kept = sorted(path.relative_to(place) for path in (place / "run").rglob("*"))
    replace(place)
    assert main([*flags_of(place), "--resume", "true"]) == 2
    error = capsys.readouterr().err
    assert "--resume" in error and named in error and "Traceback" not in error
    assert sorted(path.relative_to(place) for path in (place / "run").rglob("*")) == kept  # the state is not lost


@pytest.mark.parametrize("kind", TRAININGS)
def test_the_same_content_in_files_written_anew_goes_on(place, monkeypatch, kind):
    main, flags_of, interrupt = TRAININGS[kind]
    with monkeypatch.context() as patch:
        interrupt(patch)
        with pytest.raises(Interrupted):
            main(flags_of(place))
    for path in (*place.glob("corpus/*.wav"), place / "heard.wav", place / "llm" / "model.safetensors"):
        path.write_bytes(path.read_bytes())
    assert main([*flags_of(place), "--resume", "true"]) == 0


def test_a_digest_of_weights_sees_each_of_them():
    from fas_alm.training.trained_weights import weights_digest

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.BatchNorm1d(300))
    first = weights_digest(model)
    assert weights_digest(model) == first
    for name, values in model.state_dict().items():
        with torch.no_grad():
            original = values.clone()
            values.add_(1)
            assert weights_digest(model) != first, name
            values.copy_(original)
    assert weights_digest(model.to(torch.bfloat16)) != first
