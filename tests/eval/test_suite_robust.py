"""What goes wrong in a run of the suite, through its command: endpoints, damaged files, kill -9, full disks, systems that misbehave."""

import csv
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import misbehaving_systems
import numpy as np
import pytest
import soundfile
import yaml
from standin import completion, error, standin
from warm import KILL, PYTHON

from fas_core.cells import cell_text
from fas_core.errors import FASError
from fas_eval.report.formats import unique_slugs
from fas_eval.suite import cli as suite
from fas_eval.suite import store as answers
from fas_eval.suite.store import AnswerStore
from fas_eval.systems.base import LONGEST_TEXT, BenchmarkClip, SystemAnswer

PLUGIN = str(Path(misbehaving_systems.__file__))
SECRET = "sk-this-is-a-secret-0123456789"
CLIPS = 8


def write_corpus(folder: Path, rows: list[tuple[str, dict]], level: float = 0.1) -> Path:
    """manifest.csv and noise of 0.1 s for each (file name, other columns); files that are there stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(rows))
    columns = ["audio", *dict.fromkeys(column for _, row in rows for column in row)]
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for name, row in rows:
            writer.writerow({"audio": name} | row)
            if not (folder / name).exists():
                soundfile.write(folder / name, np.clip(random.normal(0, level, 1600), -1, 1), 16000)
    return folder


def plain_rows(clips=CLIPS, **more):
    return [(f"c{i:02}.wav", {"emotion": ("angry", "sad")[i % 2], "split": "test"} | more) for i in range(clips)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the suite; gives exit code, results.json, and which clips were asked about. Corpora are in `tmp_path / "data"`."""
    log = tmp_path / "asked.txt"
    monkeypatch.setenv(misbehaving_systems.LOG, str(log))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_corpus(tmp_path / "data" / "synthetic-conflict", plain_rows())

    def run(*systems, benchmarks=("synthetic-conflict",), flags=(), output="report"):
        log.write_text("")
        results = tmp_path / output / "results.json"
        results.unlink(missing_ok=True) if results.parent.is_dir() else None
        code = suite.main(command(tmp_path, systems, benchmarks, flags, output))
        found = json.loads(results.read_text()) if results.parent.is_dir() and results.is_file() else None
        return code, found, log.read_text().splitlines()

    return run


def command(place: Path, systems, benchmarks, flags=(), output="report") -> list[str]:
    file = place / "systems.yaml"
    file.write_text(yaml.safe_dump({"systems": list(systems)}))
    chosen = ["--benchmarks", *map(str, benchmarks)] if benchmarks else []
    return [
        "--plugin", PLUGIN, "--systems-file", str(file), *chosen, "--data-root", str(place / "data"), "--cache",
        str(place / "cache"), "--output", str(place / output), "--quiet", "--bootstrap", "20", *flags,
    ]  # fmt: skip


def entry(does="nothing", name="system", **options):
    return {"type": "misbehaves", "name": name, "does": does} | options


def only_score(found):
    (score,) = found["scores"]
    return score


class TestEndpoint:
    """Eight clips, asked one after the other: what the stand-in does to each, and to a retry of it."""

    @staticmethod
    def script(state):
        """Which clip a request is about is told by its audio; `state` counts the requests of each."""

        def reply(number, body):
            audio = next(
                p["input_audio"]["data"] for p in body["messages"][-1]["content"] if p["type"] == "input_audio"
            )
            state["audio"].setdefault(audio, len(state["audio"]))
            clip = state["audio"][audio]
            state["asked"][clip] += 1
            first = state["asked"][clip] == 1
            if clip == 0 and first:
                return 429, {"retry-after-ms": "20"}, error("slow down")
            if clip == 1 and first:
                return 500, {}, error("oops")
            if clip == 2 and not state["well"]:
                return 503, {"retry-after-ms": "20"}, error(f"key {SECRET} sent {audio}")
            if clip == 3 and not state["well"]:
                return 200, {}, "<html>welcome</html>"
            if clip == 4 and not state["well"]:
                time.sleep(1)
            if clip == 5:
                return completion("I would rather not say \u2028 =1+1")
            return completion("A")

        return reply

    def test_all_that_goes_wrong_is_retried_counted_and_reported_and_the_next_run_asks_what_failed(
        self, run, tmp_path, monkeypatch, caplog, capsys
    ):
        monkeypatch.setenv("STANDIN_KEY", SECRET)
        caplog.set_level(logging.DEBUG)
        folder = tmp_path / "data" / "damaged"
        folder.mkdir()
        (folder / "c99.wav").write_bytes(b"RIFF and then nothing")
        write_corpus(folder, [*plain_rows(), ("c99.wav", {"emotion": "sad", "split": "test"})])
        state = {"audio": {}, "asked": Counter(), "well": False}
        benchmark = f"manifest:{folder}"
        with standin(self.script(state)) as server:
            system = dict(type="endpoint", name="served", model="m", base_url=server.url, api_key_env="STANDIN_KEY",
                          concurrency=1, timeout=0.4, retries=1)  # fmt: skip
            code, found, _ = run(system, benchmarks=[benchmark])
            keys, times = set(server.keys), list(server.times)
            report = (tmp_path / "report" / "report.html").read_text()
            first = [p.read_bytes() for p in (tmp_path / "report").rglob("*") if p.is_file()]
            state |= {"well": True, "asked": Counter()}
            again, healed, _ = run(system, benchmarks=[benchmark])
        assert code == 1
        score = only_score(found)
        assert score["how"] == {"exact": 4, "failed": 3, "unparsed": 1} and score["clips"] == CLIPS
        assert score["retries"] == 5  # of the clips 0 to 4
        assert [f["clip"].rsplit("/", 1)[-1] for f in score["failed"]] == ["c02.wav", "c03.wav", "c04.wav"]
        assert "503" in score["failed"][0]["error"] and "no chat completion" in score["failed"][1]["error"]
        assert "timed out" in score["failed"][2]["error"].lower()
        assert score["accuracy"] == 2 / CLIPS  # c00 and c06 are angry, and the other answers wrong or missing
        assert len(found["benchmarks"][benchmark]["unreadable"]) == 1
        for shown in ("could not be read", "no chat completion", "503"):
            assert shown in report
        assert times[3] - times[2] > 0.2  # of clip 1: backs off where the endpoint does not say for how long

        assert again == 1 and set(state["asked"]) == {2, 3, 4}  # the damaged file is still damaged
        assert only_score(healed)["how"] == {"exact": 7, "unparsed": 1} and only_score(healed)["failed"] == []

        assert keys == {f"Bearer {SECRET}"}
        said = capsys.readouterr()
        written = first + [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".wav"]
        written += [caplog.text.encode(), said.out.encode(), said.err.encode()]
        pieces = [audio[len(audio) // 2 :][:48].encode() for audio in state["audio"]]
        for content in written:
            assert SECRET.encode() not in content
            assert not any(piece in content for piece in pieces)

    def test_a_key_that_is_not_set_is_a_missing_system(self, run, monkeypatch):
        monkeypatch.delenv("STANDIN_KEY", raising=False)
        served = dict(
            type="endpoint", name="served", model="m", base_url="http://127.0.0.1:9/v1", api_key_env="STANDIN_KEY"
        )
        code, found, _ = run(served, entry())
        assert code == 1 and "STANDIN_KEY" in found["missing"][0]["why"]


class TestStopped:
    def test_kill_9_and_again(self, run, tmp_path):
        """Scores as undisturbed, nobody asked twice who had answered, also where the last line was cut off."""
        wanted = command(tmp_path, [entry("is_slow")], ["synthetic-conflict"])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen([PYTHON, "-m", "eval.suite", *wanted], env=environment)
        store = tmp_path / "report" / "answers"
        deadline = time.monotonic() + 500
        while kept_lines(store) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(KILL)
        assert process.wait() == -signal.SIGKILL
        before = kept_lines(store)
        assert 3 <= before < CLIPS
        (file,) = store.glob("*/answers-*.jsonl")
        with file.open("a") as cut:
            cut.write('{"digest": "abc", "clip": "x", "lab')
        code, found, asked = run(entry("is_slow"))
        assert code == 0 and len(asked) == CLIPS - before
        assert run(entry("is_slow"))[2] == []  # the cut line did not swallow the first answer after it
        _, undisturbed, all_asked = run(entry("is_slow"), output="other")
        assert found["scores"] == undisturbed["scores"] and len(all_asked) == CLIPS

    def test_ctrl_c_does_not_wait_for_an_endpoint(self, run, tmp_path):
        released = threading.Event()

        def hangs(number, body):
            released.wait(600 if number > 3 else 0)
            return completion("A")

        with standin(hangs) as server:
            served = dict(type="endpoint", name="served", model="m", base_url=server.url, timeout=500)
            wanted = command(tmp_path, [served], ["synthetic-conflict"])
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
            process = subprocess.Popen(
                [PYTHON, "-m", "eval.suite", *wanted], env=environment, stderr=subprocess.PIPE,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
            )  # fmt: skip
            deadline = time.monotonic() + 500
            while kept_lines(tmp_path / "report" / "answers") < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=500)[
                1
            ].decode()  # a machine may be busy, but not for the time-out of an answer
            released.set()
        assert process.returncode == 130 and "kept in" in said and "Traceback" not in said

    def test_ctrl_c_keeps_the_answers(self, run, tmp_path, capsys):
        code, found, asked = run(entry("is_interrupted", at=3))
        assert code == 130 and found is None and len(asked) == 4
        said = capsys.readouterr().err
        assert "kept in" in said and "Traceback" not in said
        assert kept_lines(tmp_path / "report" / "answers") == 3
        code, _, asked = run(entry())
        assert code == 0 and len(asked) == CLIPS - 3

    def test_a_full_disk_ends_the_run_with_what_was_kept(self, run, tmp_path, monkeypatch, capsys):
        real, written = Path.open, []

        def full(self, mode="r", *args, **kwargs):
            if mode == "a" and self.name.startswith("answers-"):
                written.append(self)
                if len(written) > 3:
                    raise OSError(errno.ENOSPC, "No space left on device")
            return real(self, mode, *args, **kwargs)

        monkeypatch.setattr(Path, "open", full)
        code, found, asked = run(entry(), entry(name="next"))
        assert code == 2 and found is None and len(asked) == 4  # the next system is not asked for nothing
        said = capsys.readouterr().err
        assert "No space left" in said and "--answers" in said and "Traceback" not in said
        monkeypatch.setattr(Path, "open", real)
        assert len(run(entry())[2]) == CLIPS - 3

    def test_a_folder_of_answers_that_can_only_be_read(self, run, tmp_path, monkeypatch, capsys):
        kept = ["--answers", str(tmp_path / "kept")]
        run(entry(), flags=kept)

        def refused(path, content):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(answers, "write_json", refused)
        monkeypatch.setattr("fas_eval.suite.ask.write_json", refused)
        code, found, asked = run(entry(), flags=kept, output="again")
        assert code == 0 and asked == [] and only_score(found)["answered"] == CLIPS  # nothing new has to be kept
        code, _, _ = run(entry(), entry(name="new", model="other"), flags=kept, output="again")
        assert code == 2 and "Permission denied" in capsys.readouterr().err

    def test_an_output_that_is_a_file_is_told_before_anybody_is_asked(self, run, tmp_path, capsys):
        (tmp_path / "taken").write_text("")
        for output in ("taken", "taken/below"):
            code, _, asked = run(entry(), output=output)
            assert code == 2 and asked == [] and "--output" in capsys.readouterr().err

    def test_a_report_that_cannot_be_written_says_where_the_answers_are(self, run, monkeypatch, capsys):
        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("fas_eval.suite.run.write_answers", full)
        assert run(entry())[0] == 2
        said = capsys.readouterr().err
        assert "No space left" in said and "answers are kept" in said


class TestSystems:
    @pytest.mark.parametrize(
        ("does", "message", "answered"),
        [
            ("answers_another", "of-another-benchmark.*not of this benchmark", 2),
            ("answers_twice", "answered twice", 3),
            ("is_not_sure", "expected 7 numbers", 2),
        ],
    )
    def test_an_answer_that_was_not_asked_for_stops_that_system(self, run, does, message, answered):
        code, found, asked = run(entry(does), entry(name="good", model="other"))
        assert code == 1 and len(asked) == 3 + CLIPS
        scores = {score["system"]: score for score in found["scores"]}
        assert scores["system"]["answered"] == answered and scores["good"]["answered"] == CLIPS
        assert __import__("re").search(message, scores["system"]["stopped"])

    def test_a_clip_that_is_forgotten_counts_as_failed_and_is_asked_again(self, run):
        code, found, _ = run(entry("forgets"))
        score = only_score(found)
        assert code == 1 and score["how"] == {"classifier": CLIPS - 1, "failed": 1}
        assert score["failed"][0]["error"] == "the system gave no answer"
        assert run(entry())[2] == [f"system {score['failed'][0]['clip']}"]

    def test_a_mistake_in_a_plugin_costs_that_system_only(self, run):
        code, found, _ = run({"type": "unbuilt", "name": "unbuilt"}, entry())
        assert code == 1 and found["missing"][0]["why"] == "ZeroDivisionError: a mistake of the plugin"

    @pytest.mark.parametrize("content", ["1 / 0", "import sys; sys.exit(0)", "def"])
    def test_a_plugin_that_fails_ends_the_run(self, run, tmp_path, capsys, content):
        (tmp_path / "broken.py").write_text(content)
        assert run(entry(), flags=["--plugin", str(tmp_path / "broken.py")])[0] == 2
        assert "broken.py" in capsys.readouterr().err

    def test_a_reference_that_could_not_be_run_leaves_no_comparisons(self, run):
        code, found, _ = run(
            {"type": "unbuilt", "name": "unbuilt"},
            entry(),
            entry(name="b", model="b"),
            flags=["--reference", "unbuilt"],
        )
        assert code == 1 and found["comparisons"] == [] and len(found["scores"]) == 2

    def test_odd_names_have_answers_of_their_own(self, run, tmp_path):
        names = ["a b", "a/b", "系统", "é" * 30, "n" * 300, "n" * 299 + "m", "-x", "=1+1"]
        code, found, asked = run(*[entry(name=name, model=str(i)) for i, name in enumerate(names)])
        assert code == 0 and len(asked) == len(names) * CLIPS
        assert [score["system"] for score in found["scores"]] == names
        assert len(list((tmp_path / "report" / "answers").iterdir())) == len(names)
        rows = list(csv.DictReader((tmp_path / "report" / "answers.csv").open(encoding="utf-8")))
        assert {cell_text(row["system"]) for row in rows} == set(names)

    def test_a_model_is_told_apart_by_its_name_where_nothing_else_does(self, run):
        assert len(run(entry(model="one"))[2]) == CLIPS
        assert len(run(entry(model="two"))[2]) == CLIPS

    @pytest.mark.parametrize(
        "text",
        ["two\nlines\r\nand\rmore", 'a, "b"; c', "=HYPERLINK(1)", "-1", "'=1", "\u2028 \x85 \x0b", "\x00", "half \ud800 of one",
         "<script>alert(1)</script>", "long" * 50_000],
    )  # fmt: skip
    def test_whatever_a_model_writes_is_kept_and_read_back(self, run, tmp_path, text):
        code, found, _asked = run(entry("writes", text=text), flags=["--limit", "2"])
        assert code == 0 and only_score(found)["answered"] == 2
        assert run(entry("writes", text=text), flags=["--limit", "2"])[2] == []
        with (tmp_path / "report" / "answers.csv").open(encoding="utf-8", newline="") as file:
            cells = [row["text"] for row in csv.DictReader(file)]
        assert cells[0][:1] not in "=+-@\t\r" or not cells[0]
        assert cell_text(cells[0]) == text[:LONGEST_TEXT].encode("utf-8", "replace").decode()
        page = next((tmp_path / "report" / "clips").glob("*/1.html")).read_text()
        assert "<script>alert" not in page


def test_names_of_pages_fit_a_file_system():
    slugs = unique_slugs([f"manifest:{'/long' * 100}/{i}" for i in range(12)])
    assert len(set(slugs.values())) == 12 and max(map(len, slugs.values())) < 100


class TestBenchmarks:
    @pytest.mark.parametrize("limit", ["0", "-3"])
    def test_a_limit_below_one(self, run, capsys, limit):
        code, _, asked = run(entry(), flags=["--limit", limit])
        assert code == 2 and asked == [] and f"--limit {limit}" in capsys.readouterr().err

    def test_one_without_rows(self, run, tmp_path, capsys):
        (tmp_path / "data" / "empty").mkdir()
        (tmp_path / "data" / "empty" / "manifest.csv").write_text("audio,emotion\n")
        code, _, asked = run(entry(), benchmarks=[f"manifest:{tmp_path / 'data' / 'empty'}", "synthetic-conflict"])
        assert code == 2 and asked == [] and "no rows" in capsys.readouterr().err

    def test_one_of_which_nothing_can_be_read_is_told_before_anybody_is_asked(self, run, tmp_path, capsys):
        folder = tmp_path / "data" / "noise"
        folder.mkdir()
        for i in range(3):
            (folder / f"c{i:02}.wav").write_bytes(b"no audio")
        write_corpus(folder, plain_rows(3))
        code, _, asked = run(entry(), benchmarks=["synthetic-conflict", f"manifest:{folder}"])
        assert code == 2 and asked == [] and "none of its 3 clips can be read" in capsys.readouterr().err

    def test_one_of_a_single_class(self, run, tmp_path):
        folder = write_corpus(tmp_path / "data" / "angry", plain_rows(emotion="angry", semantic_emotion="angry"))
        code, found, _ = run(entry(), entry(name="b", model="b"), benchmarks=[f"manifest:{folder}"])
        assert code == 0 and [score["ua"] for score in found["scores"]] == [1.0, 1.0]
        assert found["comparisons"][0]["p"] == 1.0

    def test_one_of_a_single_clip(self, run, tmp_path):
        folder = write_corpus(tmp_path / "data" / "one", plain_rows(1))
        code, found, _ = run(entry(), entry(name="b", model="b"), benchmarks=[f"manifest:{folder}"])
        assert code == 0 and found["scores"][0]["clips"] == 1

    def test_rows_of_one_id_are_one_clip_and_the_rest_is_named(self, run, tmp_path):
        folder = write_corpus(tmp_path / "data" / "double", [*plain_rows(), *plain_rows(2)])
        code, found, asked = run(entry(), benchmarks=[f"manifest:{folder}"])
        (facts,) = found["benchmarks"].values()
        assert code == 0 and facts["clips"] == CLIPS == len(asked)
        assert sum(facts["excluded"].values()) == 2

    def test_what_a_system_is_trained_on_here_is_not_what_it_is_scored_on(self, run, tmp_path):
        rows = plain_rows()[:3] + [(name, row | {"split": "train"}) for name, row in plain_rows()[3:]]
        write_corpus(tmp_path / "data" / "synthetic-conflict", rows)
        code, found, asked = run({"type": "learns", "name": "learns"}, flags=["--train", "synthetic-conflict"])
        assert code == 0 and len(asked) == 3
        assert (
            found["benchmarks"]["synthetic-conflict"]["side"] == "test" and only_score(found)["setting"] == "in-domain"
        )

    def test_training_that_shows_only_in_a_loaded_system_has_to_be_said(self, run):
        code, found, asked = run(entry(really=["ravdess"]), entry(name="good", model="b"))
        assert code == 1 and len(asked) == CLIPS and "training_corpora: [ravdess]" in found["missing"][0]["why"]
        assert run(entry(really=["ravdess"], training_corpora=["ravdess"]))[0] == 0

    def test_systems_that_hold_out_different_folds_are_refused_with_the_way_out(self, run, tmp_path, capsys):
        (tmp_path / "data" / "ravdess").mkdir()
        folded = [dict(type="folded", name=f"f{fold}", corpora=["ravdess"], fold=fold) for fold in (1, 2)]
        code, _, asked = run(*folded, benchmarks=["ravdess"])
        said = capsys.readouterr().err
        assert code == 2 and asked == [] and "folds 1, 2" in said and "--fold" in said
        preset = tmp_path / "mine.yaml"
        preset.write_text(yaml.safe_dump({"benchmarks": ["ravdess", "synthetic-conflict"]}))
        code, found, _ = run(*folded, benchmarks=(), flags=["--preset", str(preset)])
        (missing,) = found["missing"]
        assert code == 0 and missing["name"] == "ravdess" and "folds 1, 2" in missing["why"]


class TestStore:
    def test_a_later_failure_does_not_replace_an_answer(self, tmp_path):
        store = AnswerStore(tmp_path, misbehaving_systems.Misbehaving({"name": "x"}))
        store.add("d", SystemAnswer("a", "sad", "rules"))
        store.add("d", SystemAnswer.failure("a", "late"))
        again = AnswerStore(tmp_path, misbehaving_systems.Misbehaving({"name": "x"}))
        assert (
            store.get(BenchmarkClip("a", "a.wav", "d"))
            == again.get(BenchmarkClip("a", "a.wav", "d"))
            == SystemAnswer("a", "sad", "rules")
        )

    @pytest.mark.parametrize(
        "more", [{"probabilities": [0.5, 0.5]}, {"probabilities": [1.5, -0.5, 0, 0, 0, 0, 0]}, {"heads": {"acoustic": [1.0]}},
                 {"conflict": float("nan")}]
    )  # fmt: skip
    def test_figures_that_are_none_are_refused_where_they_come_up(self, more):
        with pytest.raises(FASError, match="answer to x"):
            SystemAnswer("x", "sad", "classifier", **more)


def kept_lines(store: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in store.glob("*/answers-*.jsonl"))


@pytest.mark.parametrize("changed", [{"k_acoustic": 4}, {"ensemble": 0.5}, {"temperature": 2.0}, {"selection": "all"}])
def test_what_a_fas_decides_beside_its_weights_is_part_of_its_identity(changed):
    from fas_core.configuration_fas import FASConfig
    from fas_eval.systems.fas import decisions

    plain, other = (json.dumps(decisions(FASConfig(**values)), sort_keys=True) for values in ({}, changed))
    assert plain != other
