"""`python -m fas_core.data`: what it finds in synthetic clips, and that training honours its list."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from repository import SPEECH
from typer.testing import CliRunner

import fas_core.audio
from fas_core.data import load_corpus
from fas_core.data.__main__ import app
from fas_core.data.check import check_corpus
from fas_core.data.exclusions import ExclusionList
from fas_core.errors import CorpusError, MissingDependencyError

RATE = 16_000


def tone(seconds, hertz):
    return (10_000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.int16)


def save(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="PCM_16")


@pytest.fixture
def emodb(tmp_path):
    """Synthetic clips under EmoDB names: two good ones, silence, noise that is no audio, and copies."""
    root = tmp_path / "emodb"
    save(root / "wav/03a01Fa.wav", tone(0.5, 200))
    save(root / "wav/08a01Wa.wav", tone(1.0, 250))
    save(root / "wav/08a02Na.wav", np.zeros(RATE, np.int16))
    (root / "wav/09a01Ta.wav").write_bytes(b"this is no audio at all, only a name that ends in wav")
    save(root / "wav/10a01Fb.flac", tone(0.5, 200))  # 03a01Fa again, happy again, losslessly packed
    save(root / "wav/11a01Wa.wav", tone(0.7, 300))
    save(root / "wav/11a01Ta.wav", tone(0.7, 300))  # one recording as angry and as sad
    save(root / "wav/11a01La.wav", tone(0.8, 310))  # boredom
    return root


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class TestCheck:
    def test_finds_what_is_wrong(self, emodb):
        report = check_corpus(emodb, "emodb", progress=False)
        assert list(report.errors) == ["wav/09a01Ta.wav"] and report.errors["wav/09a01Ta.wav"]
        assert report.silent == ["wav/08a02Na.wav"]
        assert [(group.files, group.kept) for group in report.duplicates] == [
            (["wav/03a01Fa.wav", "wav/10a01Fb.flac"], "wav/03a01Fa.wav"),
            (["wav/11a01Ta.wav", "wav/11a01Wa.wav"], None),
        ]
        assert report.duplicates[1].labels == ["angry", "sad"]
        assert not report.clean and not report.not_checked

    def test_counts_and_durations(self, emodb):
        report = check_corpus(emodb, "emodb", progress=False)
        assert report.files == 7 and report.left_out == {"boredom has no place": 1}
        assert report.labels == {"angry": 2, "happy": 2, "neutral": 1, "sad": 2}
        assert report.speakers == {"03": 1, "08": 2, "09": 1, "10": 1, "11": 2}
        assert report.durations == {"min": 0.5, "median": 0.7, "max": 1.0, "total": 4.4}

    def test_exclusions_keep_the_first_of_equal_label_and_none_of_a_contradiction(self, emodb):
        files = check_corpus(emodb, "emodb", progress=False).exclusions().files
        assert set(files) == {f"wav/{name}" for name in ("08a02Na.wav", "09a01Ta.wav", "10a01Fb.flac")} | {
            "wav/11a01Ta.wav",
            "wav/11a01Wa.wav",
        }
        assert files["wav/10a01Fb.flac"] == "duplicate of wav/03a01Fa.wav"
        assert files["wav/11a01Ta.wav"] == "same audio with other labels (angry, sad)"
        assert files["wav/09a01Ta.wav"].startswith("decode error: ")

    def test_any_audio_without_a_corpus(self, emodb):
        report = check_corpus(emodb, progress=False)
        assert report.files == 8 and report.labels == {} and report.speakers == {}
        assert all(group.kept for group in report.duplicates)  # no labels, no contradiction

    def test_threads_do_not_change_the_report(self, emodb):
        one, four = (check_corpus(emodb, "emodb", jobs=jobs, progress=False).to_dict() for jobs in (1, 4))
        assert one == four

    def test_a_decoder_that_breaks_is_one_error(self, emodb, monkeypatch):
        load_audio = fas_core.audio.load_audio

        def breaks(path):
            if Path(path).name == "03a01Fa.wav":
                raise RuntimeError("codec gave up")
            return load_audio(path)

        monkeypatch.setattr(fas_core.audio, "load_audio", breaks)
        report = check_corpus(emodb, "emodb", progress=False)
        assert report.errors["wav/03a01Fa.wav"] == "RuntimeError: codec gave up" and len(report.errors) == 2

    def test_a_missing_package_does_not_condemn_the_file(self, emodb, monkeypatch):
        def needs_av(path):
            raise MissingDependencyError("m4a needs PyAV: pip install av")

        monkeypatch.setattr(fas_core.audio, "load_audio", needs_av)
        report = check_corpus(emodb, "emodb", progress=False)
        assert len(report.not_checked) == 7 and not report.clean and report.exclusions().files == {}
        assert report.durations == {}

    def test_nothing_to_check(self, tmp_path):
        with pytest.raises(CorpusError, match="no audio file"):
            check_corpus(tmp_path, progress=False)
        with pytest.raises(CorpusError, match="no such folder"):
            check_corpus(tmp_path / "missing", progress=False)


class TestCommands:
    def test_problems_give_exit_code_1_and_a_list_that_training_honours(self, emodb, tmp_path):
        out, report = tmp_path / "lists" / "exclusions.json", tmp_path / "report.json"
        result = run("check", emodb, "--corpus", "emodb", "--out", out, "--json", report, "--jobs", 2)
        assert result.exit_code == 1, result.output
        assert "decode errors: 1" in result.output and "problems found" in result.output
        assert "wav/11a01Ta.wav = wav/11a01Wa.wav (labels angry, sad)" in result.output
        kept = load_corpus("emodb", emodb, exclude=out)
        assert kept["id"] == ["emodb/03a01Fa", "emodb/08a01Wa"]
        written = json.loads(report.read_text())
        assert written["version"] == 1 and written["clean"] is False and written["silent"] == ["wav/08a02Na.wav"]
        assert not list(out.parent.glob(".*"))  # nothing half-written stays

    def test_what_is_left_is_clean(self, emodb, tmp_path):
        out = tmp_path / "exclusions.json"
        run("check", emodb, "--corpus", "emodb", "--out", out)
        for file in ExclusionList.load(out).files:
            (emodb / file).unlink()
        result = run("check", emodb, "--corpus", "emodb", "--out", out)
        assert result.exit_code == 0 and "no problems" in result.output
        assert ExclusionList.load(out).files == {}

    def test_audio_that_a_table_misses_is_a_problem(self, tmp_path):
        save(tmp_path / "a.wav", tone(0.5, 200))
        (tmp_path / "m.csv").write_text("audio,emotion\na.wav,sad\ngone.wav,sad\n")
        result = run("check", tmp_path, "--corpus", "manifest")
        assert result.exit_code == 1 and "audio file missing 1" in result.output
        assert run("check", tmp_path).exit_code == 0

    def test_long_lists_are_cut_on_the_screen_only(self, tmp_path):
        for number in range(25):
            (tmp_path / f"{number}.wav").write_bytes(b"no audio")
        result = run("check", tmp_path, "--json", tmp_path / "report.json")
        assert "decode errors: 25" in result.output and "and 5 more" in result.output
        assert len(json.loads((tmp_path / "report.json").read_text())["errors"]) == 25

    def test_wrong_corpus_is_exit_code_2(self, emodb):
        for arguments in (("check", emodb, "--corpus", "emovo"), ("list", emodb, "--corpus", "none")):
            result = run(*arguments)
            assert result.exit_code == 2 and "expected" in result.stderr and "Traceback" not in result.output

    def test_list_counts_labels_by_split(self, emodb):
        result = run("list", emodb, "--corpus", "emodb")
        assert result.exit_code == 0 and "left out, boredom has no place: 1" in result.output
        row = next(line for line in result.output.splitlines() if "angry" in line)
        assert [field.strip() for field in row.replace("│", "|").split("|")[1:-1]] == [
            "angry",
            "0",
            "0",
            "2",
            "2",
        ]

    @pytest.mark.parametrize("command", ["check", "list"])
    def test_help_names_the_corpora(self, command):
        output = run(command, "--help").output
        assert "ravdess" in output and "corpus" in output


@pytest.mark.real_speech
@pytest.mark.skipif(not SPEECH.is_dir(), reason="no corpora in FAS_SPEECH_DATA")
def test_ravdess_holds_one_recording_twice(tmp_path):
    """Found by `check` on the real corpus: actor 7, happy, statement 2, both repetitions."""
    shutil.copytree(SPEECH / "ravdess" / "Actor_07", tmp_path / "Actor_07")
    report = check_corpus(tmp_path, "ravdess", progress=False)
    assert report.files == 60 and not report.errors and not report.silent
    assert [[Path(file).stem for file in group.files] for group in report.duplicates] == [
        ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]
    ]
