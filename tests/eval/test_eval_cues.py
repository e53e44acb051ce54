"""Acoustic cues in the prompts of systems: what is told, that it is the same each time, and the figures of it."""

import math
from types import SimpleNamespace

import fake_opensmile
import numpy as np
import pytest
import soundfile
from standin import completion, standin

from fas_core.cues.perturbing import INVALID
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.report.cues import cue_tables
from fas_eval.report.reading import Run
from fas_eval.statistics.cues import cue_effect
from fas_eval.suite.ask import keyed
from fas_eval.suite.cli import parse_arguments, preset_of
from fas_eval.suite.score import ScoredSet, cue_effects
from fas_eval.systems import endpoint
from fas_eval.systems.audio_llm import AudioLLM
from fas_eval.systems.base import BenchmarkClip, SystemAnswer
from fas_eval.systems.cascade import EndpointCascade
from fas_eval.systems.cues import CuedSystem, study

LOUD = {"D": math.log(0.9)}


@pytest.fixture
def clips(tmp_path) -> list[BenchmarkClip]:
    found = []
    for number, level in enumerate((0.01, 0.05, 0.1, 0.3)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, level * np.random.default_rng(number).standard_normal(8000), 16_000)
        found.append(BenchmarkClip(f"clip-{number}", str(path), f"digest-{number}"))
    return found


@pytest.fixture(autouse=True)
def opensmile(monkeypatch):
    fake_opensmile.use(monkeypatch)


def system(url: str, tmp_path, **options):
    values = dict(name="e", model="m", base_url=url, retries=0, timeout=5) | options
    return endpoint.build(values, SimpleNamespace(cache_dir=tmp_path / "cache", device="cpu", quiet=True))


def answers(url, clips, tmp_path, **options) -> dict[str, SystemAnswer]:
    built = system(url, tmp_path, **options)
    found = {answer.clip: answer for answer in built.answer(clips)}
    built.close()
    return found


@pytest.fixture(scope="module")
def server():
    with standin(lambda number, body: completion("D", LOUD)) as served:
        yield served


def lines(server, start: int) -> list[str]:
    return sorted(
        body["messages"][0]["content"][1]["text"].partition("Acoustic cues: ")[2] for body in server.asked[start:]
    )


def test_the_endpoint_is_told_the_cues_behind_the_question(server, clips, tmp_path):
    start = len(server.asked)
    found = answers(server.url, clips, tmp_path, cues="aligned")
    told = [line.split(" ") for line in lines(server, start)]
    assert sorted(line[0] for line in told) == ["energy=high", "energy=low", "energy=low", "energy=medium"]
    assert all(answer.cues["told"] == answer.cues["measured"] for answer in found.values())
    assert SystemAnswer.from_dict(found["clip-0"].to_dict()) == found["clip-0"]


def test_without_cues_nothing_changes(server, clips, tmp_path):
    plain, none = (system(server.url, tmp_path, **options) for options in ({}, {"cues": "none"}))
    assert plain.identity() == none.identity() and not isinstance(none, CuedSystem)
    start = len(server.asked)
    assert all(not answer.cues for answer in none.answer(clips))
    assert lines(server, start) == [""] * len(clips)


@pytest.mark.parametrize("mode", ["aligned", "shuffled", "conflict", "corrupted"])
def test_what_is_told_is_the_same_in_any_order_and_again(server, clips, tmp_path, mode):
    first = answers(server.url, clips, tmp_path, cues=mode)
    again = answers(server.url, clips[::-1], tmp_path, cues=mode)
    assert {name: a.cues for name, a in first.items()} == {name: a.cues for name, a in again.items()}
    told, measured = ([first[c.id].cues[key] for c in clips] for key in ("told", "measured"))
    if mode == "corrupted":
        assert {symbol for each in told for symbol in each} <= set(INVALID)
    if mode == "shuffled":
        assert sorted(told) == sorted(measured)
    if mode == "conflict":
        assert told != measured


def test_an_answer_that_depends_on_the_other_clips_is_kept_as_one_to_that_set(server, clips, tmp_path):
    statistics = tmp_path / "s.json"
    own = system(server.url, tmp_path, cues="aligned")
    from fas_core.cues.acoustic import fit_statistics

    fit_statistics([fake_opensmile.functionals(soundfile.read(c.audio)[0]) for c in clips]).save(statistics)
    fixed = system(server.url, tmp_path, cues="conflict", cue_statistics=str(statistics))
    shuffled = system(server.url, tmp_path, cues="shuffled", cue_statistics=str(statistics))
    assert (own.whole_benchmark, fixed.whole_benchmark, shuffled.whole_benchmark) == (True, False, True)
    assert keyed(fixed, clips) == clips and keyed(own, clips) != clips
    assert len({built.digest for built in (own, fixed, shuffled)}) == 3
    one, every = ({a.clip: a.cues for a in fixed.answer(some)} for some in (clips[:1], clips))
    assert one["clip-0"] == every["clip-0"]


def test_a_clip_that_cannot_be_read_fails_by_itself(server, clips, tmp_path):
    (tmp_path / "3.wav").write_bytes(b"RIFF no audio")
    found = answers(server.url, clips, tmp_path, cues="shuffled")
    assert found["clip-3"].how == "failed" and found["clip-0"].cues


def test_every_system_that_is_asked_in_words_tells_them(clips):
    cascade = EndpointCascade.__new__(EndpointCascade)
    from fas_eval.prompts import load_prompt

    cascade.prompt, cascade._said = load_prompt("cascade-en@1"), {"clip-0": "hello"}
    cascade.told = {"clip-0": ("high",) * 6}
    assert cascade.content(clips[0]).endswith(
        "\nAcoustic cues: energy=high pitch=high dynamics=high brightness=high formants=high voice_quality=high"
    )
    llm = AudioLLM.__new__(AudioLLM)
    llm.prompt = load_prompt("options-zh@1")
    llm.processor = SimpleNamespace(apply_chat_template=lambda messages, **_: messages[-1]["content"][1]["text"])
    assert llm.rendered(("low",) * 6).endswith("声学线索：能量=低 音高=低 动态=低 明亮度=低 共振峰=低 音质=低")
    assert "声学线索" not in llm.rendered()


def test_options_that_are_wrong_are_named(server, tmp_path):
    with pytest.raises(FASError, match="none, aligned, shuffled, conflict, corrupted"):
        system(server.url, tmp_path, cues="inverted")
    with pytest.raises(FASError, match=r"no\.json"):
        system(server.url, tmp_path, cues="aligned", cue_statistics=str(tmp_path / "no.json"))
    with pytest.raises(FASError, match="learned no cues"):
        system(server.url, tmp_path, cues="aligned", cue_statistics="model")


def test_a_study_asks_each_system_in_every_way():
    entries = study(["endpoint:m", {"type": "cascade", "name": "c"}], shares=(0.5, 1.0))
    assert [entry["name"] for entry in entries[:8]] == [
        "endpoint:m", "endpoint:m+aligned", "endpoint:m+shuffled-50", "endpoint:m+shuffled-100", "endpoint:m+conflict-50",
        "endpoint:m+conflict-100", "endpoint:m+corrupted-50", "endpoint:m+corrupted-100",
    ]  # fmt: skip
    assert len(entries) == 16 and all(entry["cues_of"] == "c" for entry in entries[9:])
    with pytest.raises(FASError, match="not asked in words"):
        study(["fas"])
    options = parse_arguments(["--output", "x", "--systems", "endpoint:m", "--benchmarks", "emodb", "--study", "cues"])
    assert len(preset_of(options).systems) == 8


HIGH, LOW = ["high"] * 6, ["low"] * 6


def test_the_figures_are_those_that_are_counted():
    labels, without, said = (
        np.array([EMOTIONS.index(e) for e in each])
        for each in (
            ["angry", "sad", "happy", "neutral"],
            ["angry", "sad", "happy", "angry"],
            ["neutral", "sad", "angry", "neutral"],
        )
    )
    cues = [dict(told=LOW, measured=HIGH), dict(told=HIGH, measured=LOW), dict(told=HIGH, measured=HIGH), None]
    found = cue_effect(labels, without, said, cues)
    assert found["changed"] == 0.75
    assert found["to_neutral"] == 0.5  # 2 of the 4 that were not neutral
    assert (found["neutral"], found["neutral_without"]) == (pytest.approx(1 / 3, abs=1e-6), 0)
    assert found["follows"] == dict(clips=2, cues=0.5, audio=0.5, neither=0.0, without=0.0)
    assert cue_effect(labels, without, said, [None] * 4)["follows"]["cues"] is None


def test_the_report_shows_a_row_for_each_way_and_the_curves():
    def run(name, label, cues):
        answered = [SystemAnswer(f"c{i}", label, "exact", cues=dict(told=LOW, measured=HIGH)) for i in range(2)]
        return SimpleNamespace(planned=SimpleNamespace(name=name), answers={"b": answered}, facts=cues)

    ways = [("aligned", 1.0), ("conflict", 0.5), ("conflict", 1.0)]
    runs = [run("e", "angry", {})]
    runs += [run(f"e{n}", "sad", {"cues": dict(of="e", mode=m, share=s)}) for n, (m, s) in enumerate(ways)]
    rows = [dict(emotion=e, semantic_emotion=None) for e in ("angry", "sad")]
    effects = cue_effects(runs, ScoredSet("b", [], rows, []))
    assert [entry["system"] for entry in effects] == ["e0", "e1", "e2"]
    results = dict(cues=effects, benchmarks={"b": dict(title="B")}, systems={"e": dict(title="E")}, scores=[])
    (table,) = cue_tables(Run(None, results))
    assert [row[0] for row in table.rows] == ["aligned", "conflict 50 %", "conflict 100 %"]
    assert "conflict" in table.plot and table.rows[2][1] == "50.0"
