"""The command `fas predict`: formats, files, exit codes."""

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from synthetic import noise, save_tiny_whisper, write_clips
from tiny_fas import save_tiny_checkpoint
from typer.testing import CliRunner

from fas_core import EmotionPipeline, answer_output
from fas_core.answer_output import ScreenOutput
from fas_core.answer_table import short_names
from fas_core.cli import door
from fas_core.cli import predict as cli
from fas_core.labels import EMOTIONS
from fas_core.prediction import Run


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
        return CliRunner().invoke(door.app, values + (["--checkpoint", str(checkpoint)] if checkpoint else []))

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
            assert found["tone"]["probabilities"] == pytest.approx(answer.tone.probabilities, abs=1e-6)
            assert found["pathways"]["divergence"] == pytest.approx(answer.pathways.divergence, abs=1e-6)
            assert found["kept_tokens"] is None
        with_tokens = json.loads(fas(place.files[0], "--format", "json", "--tokens").stdout)
        assert set(with_tokens[0]["kept_tokens"]) == {"acoustic", "semantic"}

    def test_csv(self, fas, place, broken):
        result = fas(place.audio, broken, "--format", "csv")
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert [r["file"] for r in rows] == [*place.files, str(broken)]
        for row in rows[:2]:
            probabilities = {e: float(row[f"probabilities.{e}"]) for e in EMOTIONS}
            assert row["label"] == max(probabilities, key=probabilities.get)
            assert sum(probabilities.values()) == pytest.approx(1)
            assert row["tone.label"] in EMOTIONS and row["audio.silent"] == "False" and row["error"] == ""
        assert rows[2]["label"] == "" and "broken.wav" in rows[2]["error"]

    def test_table_shows_names_as_they_are(self, fas, place):
        result = fas(place.audio)
        assert result.exit_code == 0
        for text in ("000.wav", "take[1] [b].wav", "emotion", "conflict", "tone", "words"):
            assert text in result.stdout

    def test_timeline(self, fas, place):
        result = fas(place.files[1], "--timeline", "--window", "0.5", "--hop", "0.5", "--format", "json")
        answers = json.loads(result.stdout)
        assert [(a["start"], a["end"]) for a in answers] == [(0.0, 0.5), (0.5, 1.0), (1.0, 1.1), (None, None)]
        assert answers[-1]["audio"]["windows"] == 3
        assert "0.5-1.0" in fas(place.files[1], "--timeline", "--window", "0.5", "--hop", "0.5").stdout


class TestNoSpeech:
    def test_it_is_said_in_every_format(self, fas, place):
        found = json.loads(fas(place.files[0], "--format", "json", "--speech-threshold", "0.5").stdout)[0]
        assert found["words_missing"] == "no speech" and found["label"] is None and found["speech"] == 0
        (row,) = csv.DictReader(io.StringIO(fas(place.files[0], "--format", "csv", "--speech-threshold", "0.5").stdout))
        assert (row["words_missing"], row["label"], row["speech"], row["tone.label"]) == ("no speech", "", "0.0", "")
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
        assert sorted(f.name for f in target.parent.iterdir()) == [".answers.json.journal", "answers.json"]

    @pytest.mark.parametrize("format", ["csv", "json", "jsonl", "table"])
    def test_as_on_the_screen(self, fas, place, broken, tmp_path, format):
        printed = fas(place.audio, broken, "--format", format)
        written = fas(place.audio, broken, "--format", format, "--output", tmp_path / "answers")
        assert (tmp_path / "answers").read_bytes() == printed.stdout_bytes
        assert printed.exit_code == written.exit_code == 1

    def test_lines_of_json(self, fas, place, broken):
        lines = fas(place.audio, broken, "--format", "jsonl").stdout.splitlines()
        assert [json.loads(line) for line in lines] == json.loads(fas(place.audio, broken, "--format", "json").stdout)

    @pytest.mark.parametrize("kind", ["folder", "pipe"])
    def test_what_is_no_file_stays_as_it_is(self, fas, place, tmp_path, kind):
        target = tmp_path / kind
        target.mkdir() if kind == "folder" else os.mkfifo(target)
        result = fas(place.files[0], "--output", target)
        assert result.exit_code == 2 and f"--output {target}: is no file" in result.stderr
        assert list(tmp_path.iterdir()) == [target] and not target.is_file()

    def test_through_a_link(self, fas, place, tmp_path):
        (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
        for _ in range(2):
            assert fas(place.files[0], "--format", "csv", "--output", tmp_path / "link.csv").exit_code == 0
        assert (tmp_path / "link.csv").is_symlink() and "000.wav" in (tmp_path / "real.csv").read_text()


@pytest.fixture
def stops_after(monkeypatch):
    """Lets the next run stop at its second file, by an exception of that kind."""

    def arm(error: BaseException) -> None:
        answers = Run.answers

        def stopping(self, start):
            for number, each in enumerate(answers(self, start), start):
                if number == 1:
                    monkeypatch.setattr(Run, "answers", answers)
                    raise error
                yield each

        monkeypatch.setattr(Run, "answers", stopping)

    return arm


class TestStopped:
    @pytest.mark.parametrize(
        ("format", "timeline"),
        [("csv", ()), ("json", ()), ("jsonl", ("--timeline", "--window", "0.5", "--hop", "0.5"))],
    )
    def test_what_is_answered_is_kept_and_the_run_goes_on(self, fas, place, tmp_path, stops_after, format, timeline):
        arguments = (place.audio, "--format", format, *timeline, "--output")
        fas(*arguments, tmp_path / "undisturbed")
        stops_after(KeyboardInterrupt())
        target = tmp_path / "answers"
        stopped = fas(*arguments, target)
        assert stopped.exit_code == 130 and "1 of 2 files are answered and kept in" in stopped.stderr
        assert "--resume" in stopped.stderr
        kept = target.read_bytes()
        assert b"000.wav" in kept and b"take[1]" not in kept
        if format == "json":
            assert json.loads(kept)
        resumed = fas(*arguments, target, "--resume")
        assert resumed.exit_code == 0, resumed.stderr
        text, expected = (path.read_text() for path in (target, tmp_path / "undisturbed"))
        assert re.sub(FIGURE, "#", text) == re.sub(FIGURE, "#", expected)
        figures = ([float(x) for x in re.findall(FIGURE, each)] for each in (text, expected))
        np.testing.assert_allclose(*figures, atol=1e-5)  # other batches round otherwise
        written = target.read_bytes()
        again = fas(*arguments, target, "--resume")  # nothing is left to do
        assert again.exit_code == 0 and target.read_bytes() == written

    @pytest.mark.parametrize(
        ("error", "code"), [(KeyboardInterrupt(), 130), (cli.Stopped(15), 143), (BrokenPipeError(), 141)]
    )
    def test_printed_answers_are_whole(self, fas, place, stops_after, error, code):
        stops_after(error)
        result = fas(place.audio, "--format", "json")
        assert result.exit_code == code and "1 of 2 files are answered" in result.stderr
        assert [a["file"] for a in json.loads(result.stdout)] == place.files[:1]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_that_comes_in_a_destructor_is_not_lost(self, number):
        """Python prints exceptions that are raised there, and goes on."""

        class Ends:
            def __del__(self):
                os.kill(os.getpid(), number)

        with pytest.raises(cli.Stopped) as stopped, cli.stops() as check:
            Ends()
            check()
        assert stopped.value.code == 128 + number

    def test_an_error_of_the_program_keeps_what_is_answered(self, fas, place, tmp_path, stops_after):
        stops_after(ZeroDivisionError())
        result = fas(place.audio, "--format", "json", "--output", tmp_path / "a.json")
        assert isinstance(result.exception, ZeroDivisionError) and "1 of 2 files are answered" in result.stderr
        assert len(json.loads((tmp_path / "a.json").read_text())) == 1

    def test_an_old_file_is_there_until_the_run_is_complete(self, fas, place, tmp_path, stops_after):
        target = tmp_path / "answers.csv"
        target.write_text("what was there")
        stops_after(KeyboardInterrupt())
        fas(place.audio, "--format", "csv", "--output", target)
        assert (tmp_path / ".answers.csv.before").read_text() == "what was there"
        assert fas(place.audio, "--format", "csv", "--output", target, "--resume").exit_code == 0
        assert sorted(f.name for f in tmp_path.iterdir()) == [".answers.csv.journal", "answers.csv"]

    @pytest.mark.parametrize("end", ["half an answer", "\n", "\u00e9"])
    def test_what_stands_behind_the_last_finished_file_is_written_anew(self, fas, place, tmp_path, stops_after, end):
        stops_after(KeyboardInterrupt())
        target = tmp_path / "answers.csv"
        fas(place.audio, "--format", "csv", "--output", target)
        with open(target, "a") as file:
            file.write(end)
        assert fas(place.audio, "--format", "csv", "--output", target, "--resume").exit_code == 0
        assert [r["file"] for r in csv.DictReader(target.open())] == place.files

    def test_a_journal_cut_midway(self, fas, place, tmp_path):
        target = tmp_path / "answers.csv"
        fas(place.audio, "--format", "csv", "--output", target)
        journal = tmp_path / ".answers.csv.journal"
        journal.write_bytes(journal.read_bytes()[:-20])
        assert fas(place.audio, "--format", "csv", "--output", target, "--resume").exit_code == 0
        assert [r["file"] for r in csv.DictReader(target.open())] == place.files

    def test_a_file_of_another_content_is_answered_anew(self, fas, place, tmp_path):
        audio = shutil.copytree(place.audio, tmp_path / "audio")
        target = tmp_path / "answers.csv"
        fas(audio, "--format", "csv", "--output", target)
        before = list(csv.DictReader(target.open()))
        shutil.copy(place.files[1], audio / "000.wav")
        fas(audio, "--format", "csv", "--output", target, "--resume")
        first, second = csv.DictReader(target.open())
        assert first["probabilities.angry"] != before[0]["probabilities.angry"] and second["file"] == before[1]["file"]
        assert float(first["probabilities.angry"]) == pytest.approx(float(second["probabilities.angry"]), abs=1e-5)

    def test_failed_files_still_count(self, fas, place, broken, tmp_path, stops_after):
        stops_after(KeyboardInterrupt())
        arguments = (broken, place.files[0], "--format", "csv", "--output", tmp_path / "a.csv")
        assert fas(*arguments).exit_code == 130
        resumed = fas(*arguments, "--resume")
        assert resumed.exit_code == 1 and "1 of 2 files could not be used" in resumed.stderr

    @pytest.mark.parametrize(
        "changed",
        [
            ("--speech-threshold", "0.4"),
            ("--channels", "1"),
            ("--timeline",),
            ("--max-seconds", "9"),
            ("--csv-separator", ";"),
        ],
    )
    def test_other_options_are_refused(self, fas, place, tmp_path, changed):
        arguments = (place.audio, "--format", "csv", "--output", tmp_path / "a.csv")
        fas(*arguments)
        written = (tmp_path / "a.csv").read_bytes()
        result = fas(*arguments, "--resume", *changed)
        name = changed[0].lstrip("-").replace("-", "_")
        assert result.exit_code == 2 and f"these differ: {name}" in result.stderr
        assert (tmp_path / "a.csv").read_bytes() == written

    def test_another_checkpoint_is_refused(self, fas, place, tmp_path):
        arguments = (place.audio, "--format", "csv", "--output", tmp_path / "a.csv")
        fas(*arguments)
        other = save_tiny_checkpoint(tmp_path / "fas", place.folder / "whisper", temperature=0.6, hidden_size=32)
        result = fas(*arguments, "--resume", checkpoint=other)
        assert result.exit_code == 2 and "these differ: checkpoint" in result.stderr

    @pytest.mark.parametrize("what", ["output", "journal"])
    def test_what_cannot_be_resumed_is_refused(self, fas, place, tmp_path, what):
        arguments = (place.audio, "--format", "csv", "--output", tmp_path / "a.csv")
        fas(*arguments)
        if what == "output":
            (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text().replace("000.wav", "my file"))
        else:
            (tmp_path / ".a.csv.journal").unlink()
        result = fas(*arguments, "--resume")
        assert result.exit_code == 2 and "leave out --resume" in result.stderr

    def test_nothing_to_resume_is_a_beginning(self, fas, place, tmp_path):
        assert fas(place.audio, "--format", "csv", "--output", tmp_path / "a.csv", "--resume").exit_code == 0

    @pytest.mark.parametrize("arguments", [("--resume",), ("--resume", "--output", "x.txt")])
    def test_resume_needs_an_output_that_can_be_read(self, fas, place, arguments):
        result = fas(place.audio, *arguments)
        assert result.exit_code == 2 and "--resume: expected together with" in result.stderr


FIGURE = r"-?\d+\.\d+(?:e-?\d+)?"
NAMES = [
    "new\nline.wav",
    "\x1b[31mred.wav",
    "=1+1.wav",
    "-x.wav",
    "@a.wav",
    "caf\udce9.wav",
    "\u202egnp.wav",
    "日本.wav",
]


class TestNames:
    @pytest.fixture(scope="class")
    @staticmethod
    def audio(place, tmp_path_factory):
        folder = tmp_path_factory.mktemp("names")
        for name in NAMES:
            try:
                shutil.copy(place.files[0], folder / name)
            except OSError:
                pytest.skip("a file system that refuses such names")
        return folder

    @pytest.mark.parametrize(
        ("format", "to_file"), [("table", False), ("csv", True), ("csv", False), ("json", True), ("jsonl", False)]
    )
    def test_all_are_answered_and_none_does_harm(self, fas, audio, tmp_path, format, to_file):
        result = fas(audio, "--format", format, *(("--output", tmp_path / "out") if to_file else ()))
        assert result.exit_code == 0, result.stderr
        text = (tmp_path / "out").read_bytes().decode() if to_file else result.stdout_bytes.decode()  # is UTF-8
        assert "\x1b" not in text and "\u202e" not in text and "日本.wav" in text
        assert "caf\\xe9.wav" in text.replace("\\\\", "\\") and "new\\nline.wav" in text.replace("\\\\", "\\")
        if format == "csv":
            assert len(list(csv.DictReader(io.StringIO(text)))) == len(NAMES) == len(text.splitlines()) - 1

    def test_formulas_are_texts_in_a_spreadsheet(self, fas, audio, monkeypatch):
        monkeypatch.chdir(audio)
        result = fas("=1+1.wav", "./-x.wav", "@a.wav", "--format", "csv")
        files = [row["file"] for row in csv.DictReader(io.StringIO(result.stdout))]
        assert files == ["'=1+1.wav", "'-x.wav", "'@a.wav"]

    def test_errors_name_them_safely(self, fas, place, tmp_path):
        for name in NAMES[:2]:
            (tmp_path / name).write_bytes(b"no audio")
        result = fas(tmp_path, place.files[0], "--format", "csv")
        assert result.exit_code == 1 and "\x1b" not in result.stderr
        assert len(result.stderr.splitlines()) == 3

    def test_files_of_one_name_are_told_apart(self, fas, place, tmp_path):
        for folder in ("s1/a", "s2/a"):
            (tmp_path / folder).mkdir(parents=True)
            shutil.copy(place.files[0], tmp_path / folder / "001.wav")
        lines = fas(tmp_path, place.files[0]).stdout.splitlines()
        assert [line.split()[0] for line in lines[1:4]] == ["s1/a/001.wav", "s2/a/001.wav", "000.wav"]

    @pytest.mark.parametrize(
        ("files", "names"),
        [
            (["a/1.wav", "b/1.wav", "b/2.wav"], ["a/1.wav", "b/1.wav", "2.wav"]),
            (["/x/a/1.wav", "1.wav"], ["a/1.wav", "1.wav"]),
            (["a/b/1.wav", "c/b/1.wav", "c/d/1.wav"], ["a/b/1.wav", "c/b/1.wav", "d/1.wav"]),
            (["1.wav", "1.wav"], ["1.wav"]),
        ],
    )
    def test_short_names(self, files, names):
        assert list(short_names(files).values()) == names


class TestSpreadsheet:
    def test_rounded_and_marked(self, fas, place):
        result = fas(place.audio, "--csv-excel")
        assert result.stdout_bytes.startswith(b"\xef\xbb\xbf")
        rows = list(csv.DictReader(io.StringIO(result.stdout_bytes.decode("utf-8-sig"))))
        for row in rows:
            for head in ("probabilities.", "tone.", "pathways.semantic."):
                figures = [row[f"{head}{e}"] for e in EMOTIONS]
                assert all(re.fullmatch(r"[01]\.\d{3}", f) for f in figures)
                assert sum(map(float, figures)) == pytest.approx(1, abs=0.004)

    def test_as_a_european_spreadsheet_expects(self, fas, place):
        text = fas(place.audio, "--csv-excel", "--csv-separator", ";").stdout_bytes.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text), delimiter=";"))
        assert len(rows) == 2 and all(re.fullmatch(r"[01],\d{3}", row["pathways.divergence"]) for row in rows)

    @pytest.mark.parametrize(
        "arguments", [("--csv-separator", "x"), ("--csv-excel", "--format", "json"), ("--csv-separator", ";")]
    )
    def test_what_cannot_be(self, fas, place, arguments):
        arguments += () if "--csv-excel" in arguments or "x" not in arguments else ("--format", "csv")
        result = fas(place.audio, *arguments)
        assert result.exit_code == 2 and "--csv-separator" in result.stderr


class TestCalls:
    @pytest.fixture(scope="class")
    @staticmethod
    def call(place, tmp_path_factory):
        path = tmp_path_factory.mktemp("call") / "call.wav"
        soundfile.write(path, np.stack([noise(1.0, 1), noise(1.0, 2)], axis=1), 16_000)
        return path

    def test_mixing_is_said_once(self, fas, place, call):
        result = fas(call, place.files[0], call, "--format", "json")
        assert [a["audio"]["channel"] for a in json.loads(result.stdout)] == ["mix", None, "mix"]
        (line,) = result.stderr.splitlines()
        assert line.startswith("2 of 3 files have several channels") and "--channels each" in line

    def test_each(self, fas, place, call):
        result = fas(call, place.files[0], "--channels", "each", "--format", "csv")
        assert result.exit_code == 0 and result.stderr == ""
        assert [r["audio.channel"] for r in csv.DictReader(io.StringIO(result.stdout))] == ["1", "2", ""]
        table = fas(call, place.files[0], "--channels", "each").stdout.splitlines()
        assert table[0].split()[1] == "channel" and [line.split()[1] for line in table[1:4]] == ["1", "2", "-"]

    def test_timeline_of_one(self, fas, call):
        result = fas(call, "--channels", "2", "--timeline", "--window", "0.5", "--hop", "0.5", "--format", "jsonl")
        assert [json.loads(line)["audio"]["channel"] for line in result.stdout.splitlines()] == [2, 2, 2]

    @pytest.mark.parametrize(("channels", "code"), [("left", 2), ("0", 2), ("3", 1)])
    def test_what_cannot_be(self, fas, call, channels, code):
        result = fas(call, "--channels", channels)
        assert result.exit_code == code and "channel" in result.stderr


class TestPlaces:
    def test_a_broken_link_is_one_error(self, fas, place, tmp_path):
        (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
        shutil.copy(place.files[0], tmp_path / "there.wav")
        result = fas(tmp_path / "gone.wav", tmp_path / "there.wav", "--format", "json")
        assert result.exit_code == 1 and "gone.wav: a link to a file that is not there" in result.stderr
        assert [a["error"] is not None for a in json.loads(result.stdout)] == [True, False]

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_without_permission_is_one_error(self, fas, place, tmp_path):
        shutil.copy(place.files[0], tmp_path / "there.wav")
        (tmp_path / "closed").mkdir(mode=0)
        result = fas(tmp_path, tmp_path / "closed", "--format", "json")
        assert result.exit_code == 1 and "closed" in result.stderr
        assert len(json.loads(result.stdout)) == 2

    def test_a_name_that_is_too_long(self, fas, place):
        result = fas("x" * 300, place.files[0], "--format", "json")
        assert result.exit_code == 1 and len(json.loads(result.stdout)) == 2

    @pytest.mark.parametrize(
        ("number", "code", "told"),
        [(errno.ENOSPC, 2, "cannot be printed: No space left"), (errno.EPIPE, 141, "stopped: 0 of 1 files")],
    )
    def test_a_screen_that_takes_no_more(self, fas, place, monkeypatch, number, code, told):
        monkeypatch.setattr(cli, "ScreenOutput", lambda stream, format: ScreenOutput(Refusing(number), format))
        result = fas(place.files[0], "--format", "csv")
        assert result.exit_code == code and told in result.stderr and "Traceback" not in result.output

    def test_a_full_disk_keeps_what_is_written(self, fas, place, tmp_path, monkeypatch):
        room = iter([10_000, 10_000, 7])  # header, first answer, and a part of the second
        monkeypatch.setattr(
            answer_output, "open", lambda *a, **k: Full(*a, room=room) if a[1] == "wb" else open(*a, **k), raising=False
        )
        target = tmp_path / "answers.json"
        result = fas(place.audio, "--format", "json", "--output", target)
        assert result.exit_code == 2 and f"--output {target}: cannot be written: No space left" in result.stderr
        assert "1 of 2 files are answered and kept in" in result.stderr
        assert [a["file"] for a in json.loads(target.read_text())] == place.files[:1]
        monkeypatch.undo()
        assert fas(place.audio, "--format", "json", "--output", target, "--resume").exit_code == 0
        assert [a["file"] for a in json.loads(target.read_text())] == place.files

    @pytest.mark.slow
    def test_nobody_reads(self, place):
        command = [
            sys.executable,
            "-m",
            "fas_core",
            "predict",
            place.files[0],
            "--checkpoint",
            str(place.checkpoint),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        assert process.wait(timeout=120) == 141 and "stopped: 0 of 1 files" in errors
        assert "Traceback" not in errors and "Exception" not in errors


class Full(io.FileIO):
    """A file on a disk with room for so many bytes of each write."""

    def __init__(self, path, mode, room):
        self.room = room
        super().__init__(path, mode)

    def write(self, data):
        return super().write(data[: next(self.room, None)])


class Refusing(io.RawIOBase):
    """A stream on which every write fails."""

    def __init__(self, number: int):
        self.number = number

    def write(self, data):
        raise OSError(self.number, os.strerror(self.number))


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
        assert [a["error"] is not None for a in json.loads(result.stdout)] == [True, False]

    def test_a_bad_file_in_a_timeline(self, fas, place, broken):
        result = fas(broken, place.files[0], "--timeline", "--format", "json")
        assert result.exit_code == 1 and "1 of 2 files" in result.stderr
        assert [a["error"] is not None for a in json.loads(result.stdout)] == [True, False, False]  # window, summary

    def test_a_table_of_nothing_but_errors(self, fas, broken):
        result = fas(broken)
        assert result.exit_code == 1 and "broken.wav" in result.stdout

    def test_limits(self, fas, place):
        result = fas(*place.files, "--max-seconds", "1", "--format", "json")
        assert result.exit_code == 1 and "too long" in result.stderr
        assert json.loads(result.stdout)[0]["error"] is None

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["EMPTY"], "no audio file found"),
            (["AUDIO", "--timeline", "--hop", "9"], "--hop"),
            (["AUDIO", "--timeline", "--hop", "0"], "--hop"),
            (["AUDIO", "--max-seconds", "0"], "max_seconds"),
            (["AUDIO", "--format", "xml"], "--format 'xml': expected one of 'table', 'json'"),
            (["AUDIO", "--tokns"], "--tokns: no such option; did you mean --tokens?"),
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
        result = CliRunner().invoke(door.app, ["predict", "--help"], env={"COLUMNS": "120"})
        assert result.exit_code == 0
        for text in ("fas predict call.wav", "--timeline", "Exit code", "--checkpoint", "--output", "[default: 4.0]"):
            assert text in result.output
        whole = CliRunner().invoke(door.app, ["--help"])
        assert whole.exit_code == 0 and "predict" in whole.output

    def test_without_arguments(self):
        result = CliRunner().invoke(door.app, [])
        assert result.exit_code == 2 and "Usage" in result.output
