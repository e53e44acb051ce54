"""Benchmarks of the suite: entries, what is missing, one side for several systems, clips that do not decode."""

import csv
import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from corpus_layouts import MAKERS, touch
from repository import ROOT
from synthetic import noise

from fas_alm.conversations import build_conversations, read_conversations, write_conversations
from fas_core.audio import load_audio
from fas_core.data import CORPORA, load_corpus, read_corpus
from fas_core.errors import AudioError, CorpusError, FASError, MissingDependencyError
from fas_core.sources import audio_digest
from fas_eval.benchmarks import clips as clips_module
from fas_eval.benchmarks import entries as registry
from fas_eval.benchmarks.clips import clips_of, facts
from fas_eval.benchmarks.entries import BENCHMARKS, Benchmark, missing, missing_entry, register
from fas_eval.benchmarks.loading import digest_of_digests, load_benchmark, shared_side
from fas_eval.benchmarks.locations import DataLocations
from fas_eval.suite import cli as suite

PAPER = {"CASE", "Emo-Emilia", "EMOVO", "EmoDB", "MELD", "RAVDESS", "ESD"}
OTHERS = {"IEMOCAP", "TESS", "CREMA-D", "CASIA", "M3ED", "EmoV-DB", "ASVP-ESD", "MESD", "FAU-Aibo"}
DOCS = ROOT / "docs" / "corpora.md"
PUBLISHED = Path(registry.__file__).with_name("published_results.csv")


@pytest.fixture
def own_entries(monkeypatch):
    """What a test registers goes with it."""
    for entries in (BENCHMARKS, CORPORA):
        for name in ("my-calls", "mine"):
            monkeypatch.setitem(entries, name, None)  # so that monkeypatch takes it out at the end
            del entries[name]


class TestEntries:
    def test_those_of_the_issue_are_there(self):
        titles = {benchmark.title for benchmark in BENCHMARKS.values()}
        assert titles >= PAPER | OTHERS
        assert {benchmark.title for benchmark in BENCHMARKS.values() if benchmark.paper} == PAPER

    @pytest.mark.parametrize("name", BENCHMARKS)
    def test_complete(self, name):
        entry = BENCHMARKS[name]
        assert entry.name == name and entry.corpus in CORPORA
        assert entry.title and entry.source and entry.licence and entry.protocol and entry.languages
        assert entry.clips or entry.synthetic or name == "listen"  # whose page gives no number

    def test_published_names_are_those_of_the_table(self):
        with PUBLISHED.open(encoding="utf-8", newline="") as file:
            datasets = {row["dataset"].removesuffix(" human") for row in csv.DictReader(file)}
        named = {benchmark.published for benchmark in BENCHMARKS.values()} - {""}
        assert named <= datasets
        assert {name for name in datasets if "synthesized" not in name} - {"-", "mixed"} == named

    def test_the_file_has_no_name_twice(self):
        entries = yaml.safe_load(Path(registry.__file__).with_name("benchmarks.yaml").read_text(encoding="utf-8"))
        assert len({entry["name"] for entry in entries}) == len(entries) == len(BENCHMARKS)


@pytest.mark.usefixtures("own_entries")
class TestOwnBenchmarks:
    def block(self, language, mark):
        """The example of the docs in which `mark` stands."""
        blocks = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        return next(block for block in blocks if mark in block)

    def test_a_benchmark_with_its_reader_in_ten_lines(self, tmp_path):
        plugin = self.block("python", "register(Benchmark(")
        assert len([line for line in plugin.splitlines() if line]) <= 10
        exec(compile(plugin, "plugin.py", "exec"), {})
        touch(tmp_path, "my-calls/joy_anna_1.wav", "my-calls/sad_ben_1.wav", "my-calls/odd_ben_2.wav")
        with pytest.raises(CorpusError, match="unknown label 'odd'"):
            load_benchmark("my-calls", DataLocations(tmp_path))
        loaded = load_benchmark("my-calls", DataLocations(tmp_path, exclude_labels=("odd",)))
        assert sorted(loaded.dataset["emotion"]) == ["happy", "sad"] and loaded.side == "all"
        assert loaded.excluded == {"label left out: odd": 1} and loaded.incomplete is None

    def test_a_manifest_in_yaml(self, tmp_path):
        (entry,) = yaml.safe_load(self.block("yaml", "benchmarks:"))["benchmarks"]
        register(Benchmark.from_dict(entry))
        touch(tmp_path, "my-calls/a.wav")
        (tmp_path / "my-calls/calls.csv").write_text("audio,emotion\na.wav,joy\n")
        assert load_benchmark("my-calls", DataLocations(tmp_path)).dataset["emotion"] == ["happy"]

    def test_options_of_the_reader(self, tmp_path):
        text = "{name: my-calls, corpus: asvp-esd, languages: [en], options: {speech_only: true}, clips: 9}"
        entry = register(Benchmark.from_dict(yaml.safe_load(text)))
        assert entry.languages == ("en",) and register(entry) is entry
        MAKERS["asvp-esd"](tmp_path / "my-calls")
        loaded = load_benchmark("my-calls", DataLocations(tmp_path))
        assert loaded.excluded["not speech"] == 1
        assert len(load_benchmark("asvp-esd", DataLocations(None, {"asvp-esd": tmp_path / "my-calls"})).dataset) == 3

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"name": "x"}, "at least name and corpus"),
            ("ravdess", "at least name and corpus"),
            ({"name": "x", "corpus": "emodb", "colour": "red"}, "no field 'colour'"),
            ({"name": "x", "corpus": "emodb", "clips": True}, "clips is True; expected int"),
            ({"name": "x", "corpus": "emodb", "languages": "de"}, "languages is 'de'"),
            ({"name": 3, "corpus": "emodb"}, "name is 3"),
        ],
    )
    def test_bad_fields(self, values, message):
        with pytest.raises(CorpusError, match=message):
            Benchmark.from_dict(values)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (Benchmark("ravdess", "emodb"), "there is one of this name"),
            (Benchmark("a=b", "emodb"), "expected a name without"),
            (Benchmark("mine", "emodbb"), "corpus 'emodbb'; expected one of"),
            (Benchmark("mine", "ravdess", options={"fold": 1}), "takes no option fold"),
            (Benchmark("mine", "emodb", published="Berlin"), "no figures of 'Berlin'"),
        ],
    )
    def test_bad_entries(self, entry, message):
        with pytest.raises(CorpusError, match=message):
            register(entry)
        assert "mine" not in BENCHMARKS


def test_what_is_missing_is_named_with_its_source(tmp_path):
    MAKERS["mesd"](tmp_path / "mesd")
    found = missing(DataLocations(tmp_path), ["mesd", "esd", f"manifest:{tmp_path / 'none.csv'}"])
    assert [entry["name"] for entry in found] == ["esd", f"manifest:{tmp_path / 'none.csv'}"]
    assert found[0]["kind"] == "benchmark" and "--data esd=DIR" in found[0]["why"]
    assert "https://hltsingapore.github.io/ESD" in found[0]["where"] and "research" in found[0]["where"]
    assert missing_entry("tess", "of another layout")["why"] == "of another layout"
    with pytest.raises(CorpusError, match="'emodbb': expected one of"):
        missing(DataLocations(tmp_path), ["emodbb"])


def test_a_part_of_a_corpus_is_said(tmp_path, caplog):
    touch(tmp_path, *(f"emodb/03a01{letter}a.wav" for letter in "FWL"))
    with caplog.at_level(logging.WARNING, logger="fas_eval.benchmarks.loading"):
        loaded = load_benchmark("emodb", DataLocations(tmp_path))
    assert loaded.incomplete.startswith("emodb: 3 of the release's 535 clips")  # boredom is part of the release
    assert loaded.incomplete in caplog.text


class TestSharedSide:
    @pytest.mark.parametrize(
        ("systems", "options", "expected"),
        [
            ([], {}, ((), None)),
            ([((), None), (("tess",), None)], {}, (("tess",), None)),
            ([(("ravdess", "tess"), 2), (("tess",), None)], {}, (("ravdess", "tess"), 2)),
            ([(("ravdess",), 2), (("ravdess",), 2)], {"fold": 2}, (("ravdess",), 2)),
            ([(("ravdess",), None)], {}, (("ravdess",), None)),  # load_benchmark then asks for --fold
            ([(("ravdess",), None), (("ravdess",), 3)], {"fold": 3}, (("ravdess",), 3)),
            ([(("ravdess",), 1), (("iemocap",), 5)], {"corpus": "iemocap"}, (("iemocap", "ravdess"), 5)),
            ([(("tess",), None)], {"fold": 4}, (("tess",), 4)),
            ([(("tess",), 1), (("tess",), 2)], {}, (("tess",), None)),  # no folds in this corpus
        ],
    )
    def test_sides(self, systems, options, expected):
        assert shared_side(systems, **options) == expected

    @pytest.mark.parametrize(
        ("systems", "fold", "message"),
        [
            ([(("ravdess",), 1), (("ravdess", "tess"), 2)], None, "ravdess: folds 1, 2"),
            ([(("ravdess",), 1)], 2, "ravdess: folds 1, 2"),
            ([(("ravdess",), 1), (("ravdess",), None)], None, "give --fold 1"),
        ],
    )
    def test_no_side_is_unseen_by_all(self, systems, fold, message):
        with pytest.raises(CorpusError, match=message):
            shared_side(systems, "ravdess", fold)

    def test_nobody_is_scored_on_speakers_of_its_training(self, tmp_path):
        names = (f"03-01-{emotion}-01-01-01-{actor:02d}.wav" for actor in range(1, 25) for emotion in ("03", "05"))
        touch(tmp_path, *(f"ravdess/{name}" for name in names))
        corpora, fold = shared_side([((), None), (("ravdess",), 2)], "ravdess")
        loaded = load_benchmark("ravdess", DataLocations(tmp_path), training_corpora=corpora, trained_fold=fold)
        assert set(loaded.dataset["speaker"]) == {"04", "10", "12", "14"} and loaded.setting == "in-domain"
        assert (loaded.setting_for(["ravdess"]), loaded.setting_for(["tess"])) == ("in-domain", "zero-shot")


class TestClips:
    @pytest.fixture
    def loaded(self, tmp_path):
        """Four synthetic clips of an EmoDB of ours, one of which is no audio."""
        folder = tmp_path / "data" / "emodb"
        folder.mkdir(parents=True)
        for seed, name in enumerate(("03a01Fa", "03a01Wb", "08a02Na")):
            soundfile.write(folder / f"{name}.wav", noise(0.5 + seed / 4, seed), 16_000)
        (folder / "16a01Ta.wav").write_bytes(b"RIFF, and nothing of it")
        return load_benchmark("emodb", DataLocations(tmp_path / "data"))

    @pytest.fixture
    def decoded(self, monkeypatch):
        """Names of the files that were decoded."""
        names = []

        def load(path):
            names.append(Path(path).stem)
            return real(path)

        real = clips_module.load_audio
        monkeypatch.setattr(clips_module, "load_audio", load)
        return names

    def check(self, loaded, cache=None):
        return clips_of(loaded, cache, progress=False)

    def test_a_corrupt_clip_is_reported_and_the_others_go_on(self, loaded, tmp_path):
        checked = self.check(loaded)
        assert [entry["file"] for entry in checked.unreadable] == ["emodb/16a01Ta"]
        assert checked.unreadable[0]["error"] and str(tmp_path) not in json.dumps(checked.unreadable)
        assert [clip.id for clip in checked.clips] == [row["id"] for row in checked.rows]
        assert [clip.id for clip in checked.clips] == ["emodb/03a01Fa", "emodb/03a01Wb", "emodb/08a02Na"]
        assert checked.seconds == [0.5, 0.75, 1.0]
        assert (checked.clips[2].speaker, checked.clips[2].language) == ("08", "de")
        assert len({clip.digest for clip in checked.clips}) == 3
        pairs = [(row["id"], audio_digest(row["audio"])) for row in loaded.dataset]
        assert checked.data_sha256 == digest_of_digests(pairs)

    def test_decoded_once_and_again_when_the_file_changes(self, loaded, tmp_path, decoded):
        first = self.check(loaded, tmp_path / "cache")
        assert sorted(decoded) == ["03a01Fa", "03a01Wb", "08a02Na", "16a01Ta"]
        decoded.clear()
        assert self.check(loaded, tmp_path / "cache") == first and decoded == []
        path = tmp_path / "data/emodb/16a01Ta.wav"
        soundfile.write(path, noise(0.25), 16_000)
        mended = self.check(loaded, tmp_path / "cache")
        assert decoded == ["16a01Ta"] and not mended.unreadable and len(mended.clips) == 4
        decoded.clear()
        stamp = path.stat()
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1_000_000_000))
        self.check(loaded, tmp_path / "cache")
        assert decoded == ["16a01Ta"]

    @pytest.mark.parametrize("content", ["{", "[]", '{"version": 0}', '{"version": 1, "files": {"a": {"colour": 1}}}'])
    def test_a_damaged_memory_is_made_again(self, loaded, tmp_path, decoded, content):
        first = self.check(loaded, tmp_path / "cache")
        (memory,) = (tmp_path / "cache/clips").iterdir()
        memory.write_text(content)
        decoded.clear()
        assert self.check(loaded, tmp_path / "cache") == first and len(decoded) == 4

    def test_another_side_is_added_to_the_memory(self, loaded, tmp_path, decoded):
        self.check(replace(loaded, dataset=loaded.dataset.select([0, 1])), tmp_path / "cache")
        self.check(replace(loaded, dataset=loaded.dataset.select([2, 3])), tmp_path / "cache")
        decoded.clear()
        assert len(self.check(loaded, tmp_path / "cache").rows) == 3 and decoded == []

    def test_a_file_that_went_away(self, loaded, tmp_path):
        (tmp_path / "data/emodb/03a01Fa.wav").unlink()
        errors = {entry["file"]: entry["error"] for entry in self.check(loaded, tmp_path / "cache").unreadable}
        assert "No such file" in errors["emodb/03a01Fa"] and str(tmp_path) not in errors["emodb/03a01Fa"]

    def test_a_missing_package_is_not_remembered_of_the_file(self, loaded, tmp_path, monkeypatch, decoded):
        def needs_av(path):
            raise MissingDependencyError("install av")

        with monkeypatch.context() as patch:
            patch.setattr(clips_module, "load_audio", needs_av)
            assert len(self.check(loaded, tmp_path / "cache").unreadable) == 4
        assert len(self.check(loaded, tmp_path / "cache").clips) == 3

    def test_the_hint_stays_and_the_path_goes(self, loaded, monkeypatch):
        def fail(path):
            raise AudioError(path, "too long", "at most 7200 s")

        monkeypatch.setattr(clips_module, "load_audio", fail)
        assert {entry["error"] for entry in self.check(loaded).unreadable} == {"too long (at most 7200 s)"}

    def test_facts_are_json_and_count_what_is_scored(self, loaded):
        entry = facts(loaded, self.check(loaded))
        assert entry == json.loads(json.dumps(entry))
        assert (entry["clips"], entry["corpus_clips"], entry["speakers"], entry["title"]) == (3, 4, 2, "EmoDB")
        assert entry["emotions"] == {"angry": 1, "happy": 1, "neutral": 1} and not entry["conflict"]
        assert entry["published"] and entry["source"] and len(entry["unreadable"]) == 1


@pytest.mark.usefixtures("own_entries")
class TestSegmentsAndOwnNames:
    @pytest.fixture
    def calls(self, tmp_path):
        """A recording of two seconds, one of each emotion, without speakers or sides."""
        levels = np.repeat([0.1, 0.2], 16_000)
        soundfile.write(tmp_path / "call.wav", levels, 16_000, subtype="FLOAT")
        (tmp_path / "manifest.csv").write_text("file;start;end;emotion\ncall.wav;0;1;sad\ncall.wav;1;NaT;happy\n")
        return tmp_path

    def test_any_name_with_a_manifest_is_a_benchmark(self, calls):
        name, folder = suite._place(f"my-calls={calls}")
        loaded = load_benchmark(name, DataLocations(overrides={name: folder}))
        assert loaded.side == "all" and loaded.setting == "zero-shot"  # its division was drawn, nobody's test side
        with pytest.raises(CorpusError, match="no clip with split 'test'"):  # of one file all is on the training side
            load_benchmark(name, DataLocations(overrides={name: folder}), training_corpora=["my-calls"])
        assert set(loaded.dataset["corpus"]) == {"my-calls"}
        with pytest.raises(FASError, match="a name of your own and a FOLDER with a manifest"):
            suite._place("my-cals=/nowhere")

    def test_clips_are_the_segments(self, calls):
        name, folder = suite._place(f"my-calls={calls}")
        loaded = load_benchmark(name, DataLocations(overrides={name: folder}))
        for _ in range(2):  # decoded, then remembered
            checked = clips_of(loaded, calls / "cache", progress=False)
            assert checked.seconds == [1.0, 1.0] and not checked.unreadable
            assert len({clip.digest for clip in checked.clips} | {audio_digest(calls / "call.wav")}) == 3
        assert [load_audio(clip.audio).samples.mean() for clip in checked.clips] == pytest.approx([0.1, 0.2])

    def test_conversations_name_segments(self, calls):
        made, _ = build_conversations(read_corpus("my-calls", calls).dataset, tasks=("name",), languages=("en",))
        kept = read_conversations(write_conversations(calls / "c.jsonl", made))
        assert [c.audio_paths for c in kept] == [[f"{calls}/call.wav#t=0,1"], [f"{calls}/call.wav#t=1"]]

    def test_exclusions_name_segments(self, calls):
        (calls / "list.json").write_text('{"version": 1, "files": {"call.wav#t=0,1": "noise"}}')
        assert load_corpus("my-calls", calls, exclude=calls / "list.json")["emotion"] == ["happy"]
