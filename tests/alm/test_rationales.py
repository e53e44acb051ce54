"""Explicit chains of thought: what writers write is what the check reads, lines that are wrong are named, and runs go on."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import completion, standin

from fas_alm.conversations import read_conversations
from fas_alm.conversations.__main__ import app
from fas_alm.conversations.rationales import command
from fas_alm.conversations.rationales.build import KeptTexts, build_rationales
from fas_alm.conversations.rationales.checking import named_levels, problems_of
from fas_alm.conversations.rationales.wordings import FRAMES, JOINED, PHRASES, SAID
from fas_alm.conversations.rationales.writing import EndpointWriter, Facts, instruction, write_by_template
from fas_alm.endpoint import ChatEndpoint, EndpointError
from fas_alm.prompts import LANGUAGES
from fas_core.cli.app import runner
from fas_core.cues.attributes import ATTRIBUTES
from fas_core.cues.levels import LEVELS, Statistics
from fas_core.labels import EMOTIONS

LEVELS_OF = {"rate": "low", "pitch": "high", "loudness": "medium"}
levels_of = st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from(LEVELS), min_size=1)


class TestTemplates:
    @given(levels_of, st.sampled_from(EMOTIONS), st.text(max_size=30), st.sampled_from(LANGUAGES), st.integers(0, 999))
    @settings(max_examples=300, deadline=None)
    def test_the_check_reads_exactly_what_a_template_says(self, levels, emotion, text, language, seed):
        written = write_by_template(Facts(levels, emotion, text, language), (seed,))
        assert problems_of(written, levels, emotion) == []

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_every_wording_of_every_level_is_read_as_that_level(self, language):
        for attribute, level in itertools.product(ATTRIBUTES, LEVELS):
            for phrase, said in itertools.product(PHRASES[language][attribute], SAID[language][attribute][level]):
                for frame in FRAMES[language]:
                    text = frame.format(sound=phrase.format(level=said), said="", emotion="sad")
                    assert named_levels(text) == {attribute: {level}}, text

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_wordings_beside_each_other_are_told_apart(self, language):
        (comma, last), frame = JOINED[language], FRAMES[language][0]
        for one, other in itertools.permutations(ATTRIBUTES, 2):
            phrases = itertools.product(PHRASES[language][one], PHRASES[language][other], LEVELS, LEVELS, (comma, last))
            for first, second, low, high, join in phrases:
                words = (SAID[language][name][level][0] for name, level in ((one, low), (other, high)))
                sound = join.join(p.format(level=word) for p, word in zip((first, second), words, strict=True))
                text = frame.format(sound=sound, said="", emotion="sad")
                assert named_levels(text) == {one: {low}, other: {high}}, text

    def test_a_seed_draws_one_wording_and_others_draw_others(self):
        facts = Facts(LEVELS_OF, "sad", "I am fine.")
        assert write_by_template(facts, (1, 2)) == write_by_template(facts, (1, 2))
        assert len({write_by_template(facts, (seed,)) for seed in range(40)}) > 30


class TestCheck:
    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("The speaker spoke at a moderate pace, with a low-pitched tone and a soft volume: “a fast pace”.",
             {"rate": {"medium"}, "pitch": {"low"}, "loudness": {"low"}}),
            ("She speaks slowly. Her pitch is rather high; the volume was very loud.",
             {"rate": {"low"}, "pitch": {"high"}, "loudness": {"high"}}),
            ("A high pitch at a slow rate", {"pitch": {"high"}, "rate": {"low"}}),
            ("Her pitch is high and the pitch is low", {"pitch": {"high", "low"}}),
            ("语速比较快，较低的音调，音量很大。", {"rate": {"high"}, "pitch": {"low"}, "loudness": {"high"}}),
            ("A high-pitched tone and a normal pace", {"pitch": {"high"}, "rate": {"medium"}}),
            ("She is fast asleep.", {}),
        ],
    )  # fmt: skip
    def test_levels_are_read(self, text, named):
        assert named_levels(text) == named

    def test_what_is_wrong_is_named(self):
        text = "The speaker talks at a fast pace, with a high pitch. The emotion is sad, or angry."
        assert problems_of(text, LEVELS_OF, "sad") == [
            "rate: names high; expected low", "loudness: names none; expected medium",
            "emotion: names angry and sad; expected sad and no other",
        ]  # fmt: skip
        assert problems_of("At a slow pace. Sad.", {}, "sad") == ["rate: names low; expected none"]

    def test_an_emotion_that_is_only_said_in_the_words_is_no_other(self):
        assert problems_of("A slow pace: “I am so happy”. The emotion is sad.", {"rate": "low"}, "sad") == []


class TestEndpoint:
    def writer(self, server, **options):
        return EndpointWriter(ChatEndpoint("m", server.url, retries=0, timeout=5), **options)

    def test_an_answer_that_names_its_levels_is_taken_and_another_asked_for_again(self):
        good = "A slow pace, a high pitch and a moderate volume. The emotion is sad."
        replies = iter(["A fast pace. The emotion is happy.", good])
        with standin(lambda number, body: completion(next(replies))) as server:
            writer = self.writer(server)
            assert writer(Facts(LEVELS_OF, "sad", "Hi."), (1, 2)) == good
            assert len(server.asked) == 2 and server.asked[0]["seed"] != server.asked[1]["seed"]
            asked = server.asked[0]["messages"][0]["content"]
        assert "a speaking rate of low, a volume level of medium, and a pitch of high" in asked and "‘Hi.’" in asked
        assert not writer.replaced

    def test_a_template_takes_the_place_of_what_never_fits_and_is_counted(self):
        with standin(lambda number, body: completion("Who knows.")) as server:
            writer = self.writer(server, tries=2)
            text = writer(Facts(LEVELS_OF, "sad", None, "zh"), (1, 2))
        assert problems_of(text, LEVELS_OF, "sad") == [] and "rate: names none" in writer.replaced[1, 2]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_what_was_not_measured_is_not_asked_for(self, language):
        asked = instruction(Facts({"pitch": "high"}, "sad", None, language))
        assert not any(name in asked for name in ("speaking rate", "volume", "语速", "音量", "{", "“”"))

    def test_an_endpoint_that_is_stopped_is_asked_for_the_rest_only(self, tmp_path):
        rows = [
            dict(id=f"c{i}", audio="x", emotion="sad", speaker=None, text="a", corpus="c", split="train")
            for i in range(4)
        ]
        values = [{"pitch": 100.0 + i} for i in range(4)]
        statistics, seen = Statistics({"pitch": (101.0, 100.0)}), []

        def reply(number, body):
            seen.append(number)
            return (500, {}, "no") if number == 3 else completion("A medium pitch. The emotion is sad.")

        def build(writer):
            kept = KeptTexts(tmp_path / "x.partial", {"writer": "m"})
            return build_rationales(rows, values, statistics, writer, kept=kept, at_once=1)[0]

        with standin(reply) as server:
            with pytest.raises(EndpointError):
                build(self.writer(server))
            assert len(build(self.writer(server))) == 4
            assert len(seen) == 5  # two, the failure, and the two that were missing


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Clips whose loudness and pitch differ, and a reader that needs no package."""
    rows = ["id,audio,emotion,speaker,text,language"]
    for number, level in enumerate((0.02, 0.1, 0.1, 0.1, 0.5)):
        soundfile.write(tmp_path / f"{number}.wav", level * np.random.default_rng(0).standard_normal(8000), 16_000)
        rows.append(f"c{number},{number}.wav,{'angry' if number == 4 else 'sad'},s,Hello there.,en")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")

    class Reader:
        def __init__(self, folder, pitch):
            pass

        def __call__(self, rows):
            levels = [float(np.std(soundfile.read(row["audio"])[0])) for row in rows]
            return [{"rate": 10.0 * level, "pitch": None, "loudness": level} for level in levels]

    monkeypatch.setattr(command, "AttributeReader", Reader)
    return tmp_path


@pytest.fixture
def invoke(capsys):
    """The command in this process: its exit code, and what it printed."""

    def run(*arguments: str) -> SimpleNamespace:
        capsys.readouterr()
        code = runner(app)(list(arguments))
        return SimpleNamespace(exit_code=code, output="".join(capsys.readouterr()))

    return run


def test_the_command_writes_what_training_reads_and_the_check_finds_right(corpus, invoke):
    out = corpus / "r.jsonl"
    options = ("--output", str(out), "--cache", str(corpus / "cache"), "--languages", "en")
    made = invoke("rationales", f"own={corpus}", *options)
    assert made.exit_code == 0, made.output
    assert (
        "loudness: 0 low, 4 medium, 1 high" in made.output and "pitch: 0 low, 0 medium, 0 high; 5 could" in made.output
    )
    found = read_conversations(out)
    assert [c.levels for c in found][-1] == {"rate": "high", "loudness": "high"}
    assert Statistics.load(corpus / "r.statistics.json").clips == 5
    assert "“Hello there”" in found[0].messages[1]["content"][0]["text"] and found[0].task == "explain"
    first = out.read_bytes()
    invoke("rationales", f"own={corpus}", *options, "--statistics", str(corpus / "r.statistics.json"))
    assert out.read_bytes() == first
    assert invoke("check", str(out)).exit_code == 0


def test_the_check_says_which_line_and_what_was_wrong(corpus, invoke):
    out = corpus / "r.jsonl"
    invoke("rationales", f"own={corpus}", "--output", str(out), "--languages", "en", "--cache", str(corpus / "cache"))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    lines[1]["levels"]["loudness"] = "high"
    lines[3]["emotion"] = "happy"
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    checked = invoke("check", str(out))
    assert checked.exit_code == 2
    assert "line 2: loudness: names medium; expected high" in checked.output
    assert "line 4: emotion: names sad; expected happy" in checked.output
    assert "line 1" not in checked.output


@pytest.mark.parametrize("levels", [{"tempo": "low"}, {"rate": "fast"}, ["low"]])
def test_levels_of_another_form_are_named(corpus, levels, invoke):
    record = dict(messages=[dict(role="user", content="?"), dict(role="assistant", content="!")], levels=levels)
    (corpus / "x.jsonl").write_text(json.dumps(record) + "\n")
    checked = invoke("check", str(corpus / "x.jsonl"))
    assert checked.exit_code == 2 and "line 1: levels" in checked.output
