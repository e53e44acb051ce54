"""The command `fas predict`: formats, files, exit codes."""

import csv
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from synthetic import save_tiny_whisper, write_clips
from tiny_fas import save_tiny_checkpoint
from typer.testing import CliRunner

from fas_core import EmotionPipeline, cli
from fas_core.labels import EMOTIONS


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> SimpleNamespace:
    """A checkpoint and a folder of two clips, one of them in a folder below."""
    folder = tmp_path_factory.mktemp("cli")
    checkpoint = save_tiny_checkpoint(folder / "fas", save_tiny_whisper(folder / "whisper"))
    audio = folder / "audio"
    first, second = (row["audio"] for row in write_clips(audio, [0.6, 1.1]))
    (audio / "deeper").mkdir()
    second = (audio / "001.wav").rename(audio / "deeper" / "take[1] [b].wav")
    return SimpleNamespace(folder=folder, checkpoint=checkpoint, audio=audio, files=[first, str(second)])


@pytest.fixture(scope="module")
def fas(place):
    def invoke(*arguments, checkpoint=place.checkpoint):
        values = ["predict", *map(str, arguments), "--device", "cpu"]
        values += [] if "--speech-threshold" in arguments else ["--speech-threshold", "0"]  # noise stands for a voice
        return CliRunner().invoke(cli.app, values + (["--checkpoint", str(checkpoint)] if checkpoint else []))

    return invoke


@pytest.fixture
def broken(place, tmp_path):
    file = tmp_path / "broken.wav"
    file.write_bytes(b"RIFF, and then nothing")
    return file


class TestFormats:
    def test_json(self, fas, place):
        result = fas(place.audio, "--format", "json")
        assert result.exit_code == 0, result.output
        answers = json.loads(result.stdout)
        assert [a["file"] for a in answers] == place.files
        expected = EmotionPipeline.from_pretrained(place.checkpoint, device="cpu", speech_threshold=0)(place.files)
        for found, answer in zip(answers, expected, strict=True):
            assert found["label"] == answer.label and list(found["probabilities"]) == list(EMOTIONS)
            assert found["probabilities"] == pytest.approx(answer.probabilities, abs=1e-6)
            assert found["conflict"] == pytest.approx(answer.conflict, abs=1e-6)
            assert "kept_tokens" not in found
        with_tokens = json.loads(fas(place.files[0], "--format", "json", "--tokens").stdout)
        assert set(with_tokens[0]["kept_tokens"]) == {"acoustic", "semantic"}

    def test_csv(self, fas, place, broken):
        result = fas(place.audio, broken, "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert [r["file"] for r in rows] == [*place.files, str(broken)]
        for row in rows[:2]:
            probabilities = {e: float(row[f"p_{e}"]) for e in EMOTIONS}
            assert row["label"] == max(probabilities, key=probabilities.get)
            assert sum(probabilities.values()) == pytest.approx(1)
            assert row["acoustic"] in EMOTIONS and row["silent"] == "False" and row["error"] == ""
        assert rows[2]["label"] == "" and "broken.wav" in rows[2]["error"]

    def test_table_shows_names_as_they_are(self, fas, place):
        result = fas(place.audio)
        assert result.exit_code == 0
        for text in ("000.wav", "take[1] [b].wav", "emotion", "conflict", "tone", "words"):
            assert text in result.stdout

    def test_timeline(self, fas, place):
        result = fas(place.files[1], "--timeline", "--window", "0.5", "--hop", "0.5", "--format", "json")
        answers = json.loads(result.stdout)
        assert [(a["start"], a["end"]) for a in answers] == [(0.0, 0.5), (0.5, 1.0), (1.0, 1.1)]
        assert "0.5-1.0" in fas(place.files[1], "--timeline", "--window", "0.5", "--hop", "0.5").stdout


class TestNoSpeech:
    def test_it_is_said_in_every_format(self, fas, place):
        found = json.loads(fas(place.files[0], "--format", "json", "--speech-threshold", "0.5").stdout)[0]
        assert found["no_speech"] is True and found["label"] is None and found["speech"] == 0
        (row,) = csv.DictReader(io.StringIO(fas(place.files[0], "--format", "csv", "--speech-threshold", "0.5").stdout))
        assert (row["no_speech"], row["label"], row["speech"], row["acoustic"]) == ("True", "", "0.0", "")
        result = fas(place.files[0], "--speech-threshold", "0.5")
        assert result.exit_code == 0 and "no speech" in result.stdout
        assert not any(emotion in result.stdout for emotion in EMOTIONS)

    def test_a_threshold_that_cannot_be(self, fas, place):
        result = fas(place.files[0], "--speech-threshold", "2")
        assert result.exit_code == 2 and "--speech-threshold" in result.stderr


class TestOutput:
    def test_a_file_instead_of_the_screen(self, fas, place, tmp_path):
        target = tmp_path / "new folder" / "answers.json"
        result = fas(place.audio, "--format", "json", "--output", target)
        assert result.exit_code == 0 and result.stdout == ""
        assert len(json.loads(target.read_text())) == 2
        assert [f.name for f in target.parent.iterdir()] == ["answers.json"]

    def test_an_old_file_stays_whole_when_writing_fails(self, fas, place, tmp_path, monkeypatch):
        target = tmp_path / "answers.csv"
        target.write_text("what was there")
        half = SimpleNamespace(to_row=lambda: 1 / 0)
        monkeypatch.setattr(cli, "_answers", lambda *a: iter([half]))
        result = fas(place.audio, "--format", "csv", "--output", target)
        assert isinstance(result.exception, ZeroDivisionError)
        assert target.read_text() == "what was there" and list(tmp_path.iterdir()) == [target]

    def test_a_folder_is_no_file(self, fas, place, tmp_path):
        result = fas(place.files[0], "--output", tmp_path)
        assert result.exit_code == 2 and f"--output {tmp_path}" in result.stderr


class TestExitCodes:
    def test_a_bad_file_is_named_and_the_others_are_answered(self, fas, place, broken):
        result = fas(broken, place.files[0], "--format", "json")
        assert result.exit_code == 1
        answers = json.loads(result.stdout)
        assert "broken.wav" in answers[0]["error"] and answers[1]["label"] in EMOTIONS
        assert "broken.wav" in result.stderr and "1 of 2 files could not be used" in result.stderr

    def test_a_path_that_is_not_there_is_one_error(self, fas, place, tmp_path):
        result = fas(tmp_path / "nowhere.wav", place.files[0], "--format", "json")
        assert result.exit_code == 1 and "nowhere.wav: no such file" in result.stderr
        assert [("error" in a) for a in json.loads(result.stdout)] == [True, False]

    def test_a_bad_file_in_a_timeline(self, fas, place, broken):
        result = fas(broken, place.files[0], "--timeline", "--format", "json")
        assert result.exit_code == 1 and "1 of 2 files" in result.stderr
        assert [("error" in a) for a in json.loads(result.stdout)] == [True, False]

    def test_a_table_of_nothing_but_errors(self, fas, broken):
        result = fas(broken)
        assert result.exit_code == 1 and "broken.wav" in result.stdout

    def test_limits(self, fas, place):
        result = fas(*place.files, "--max-seconds", "1", "--format", "json")
        assert result.exit_code == 1 and "too long" in result.stderr
        assert "error" not in json.loads(result.stdout)[0]

    @pytest.mark.parametrize(
        "arguments, told",
        [
            (["EMPTY"], "no audio file found"),
            (["AUDIO", "--timeline", "--hop", "9"], "--hop"),
            (["AUDIO", "--timeline", "--hop", "0"], "--hop"),
            (["AUDIO", "--max-seconds", "0"], "max_seconds"),
            (["AUDIO", "--format", "xml"], "xml"),
        ],
    )
    def test_nothing_can_be_done(self, fas, place, tmp_path, arguments, told):
        places = {"EMPTY": tmp_path, "AUDIO": place.audio}
        result = fas(*(places.get(a, a) for a in arguments))
        assert result.exit_code == 2 and told in result.stderr and "Traceback" not in result.output

    def test_no_checkpoint(self, fas, place, tmp_path):
        result = fas(place.files[0], checkpoint=tmp_path / "nowhere")
        assert result.exit_code == 2 and "not a FAS checkpoint" in result.stderr


class TestHelp:
    def test_it_teaches(self):
        result = CliRunner().invoke(cli.app, ["predict", "--help"], env={"COLUMNS": "120"})
        assert result.exit_code == 0
        for text in ("fas predict call.wav", "--timeline", "Exit code", "--checkpoint", "--output", "[default: 4.0]"):
            assert text in result.output
        whole = CliRunner().invoke(cli.app, ["--help"])
        assert whole.exit_code == 0 and "predict" in whole.output

    def test_without_arguments(self):
        result = CliRunner().invoke(cli.app, [])
        assert result.exit_code == 2 and "Usage" in result.output

    def test_it_does_not_wait_for_torch(self):
        code = "import sys, fas_core.cli; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
