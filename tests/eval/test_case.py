"""The builder of conflict sets: scenarios, speakers, speech, the panel's page and answers, the published set.

Votes, endpoints and items called "made" are synthetic, made by these tests; nobody listened to anything.
"""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product

import numpy as np
import pytest
import soundfile

from fas_core.cli.app import runner
from fas_core.data import load_corpus
from fas_core.errors import FASError
from fas_core.labels import EMOTIONS
from fas_eval.case import __main__ as command
from fas_eval.case.agreement import agreement_report, alpha, alpha_with_interval, count_matrix, fleiss_kappa, judge
from fas_eval.case.manifest import COLUMNS, load_verdicts, manifest_row
from fas_eval.case.panel import panel_id, write_pages
from fas_eval.case.rendering import RECORDS, read_takes, render
from fas_eval.case.responses import Vote, load_votes, read_response, split_known
from fas_eval.case.scenarios import LENGTHS, PAIRS, Scenario, load_scenarios, problems, text_length
from fas_eval.case.speakers import Voice, assign_speakers, load_voices, shipped_voices
from fas_eval.case.speech import EndpointSpeech, EspeakSpeech, SpeechError, describe_delivery

ITEMS = load_scenarios()
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def wav(seconds: float = 1.0, rate: int = 24_000, level: float = 0.3) -> bytes:
    file = io.BytesIO()
    tone = level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(file, tone, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


class Tone:
    """A generator for tests: a sine for every item, or what `outcomes` has for its id (bytes, or an exception)."""

    title = "a sine, made by a test"

    def __init__(self, outcomes=None, version: int = 1):
        self.outcomes, self.version, self.asked = outcomes or {}, version, []

    def identity(self) -> dict:
        return {"type": "tone", "version": self.version}

    def instructions(self, item) -> str:
        return describe_delivery(item)

    def speak(self, item, voice) -> bytes:
        self.asked.append(item.id)
        outcome = self.outcomes.get(item.id) or wav(0.6 + len(item.text) / 100)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def assigned(items):
    return assign_speakers(items, shipped_voices("espeak"))


def run(monkeypatch, *arguments) -> int:
    """Exit code of the command."""
    return runner(command.app)([*map(str, arguments)])


# --- scenarios


def test_shipped_items_cover_every_pair_in_both_languages():
    counts = Counter((item.language, item.semantic_emotion, item.acoustic_emotion) for item in ITEMS)
    assert len(ITEMS) >= 150 and len(PAIRS) == 42
    assert set(Counter(item.language for item in ITEMS)) == {"en", "zh"}
    for words, tone in product(EMOTIONS, EMOTIONS):
        per_language = [counts[language, words, tone] for language in ("en", "zh")]
        assert (sum(per_language) >= 3 and min(per_language) >= 1) if words != tone else not any(per_language)


def test_shipped_items_are_written_in_their_language():
    for item in ITEMS:
        shortest, longest, _ = LENGTHS[item.language]
        assert shortest <= text_length(item) <= longest, item.id
        chinese = len(re.findall(r"[\u4e00-\u9fff]", item.text + item.scenario))
        assert chinese == 0 if item.language == "en" else chinese > 20, item.id
    openings = Counter(item.text.split(",")[0][:12] for item in ITEMS if item.language == "en")
    assert max(openings.values()) <= 3, "texts begin alike"


def changed(**fields) -> list[Scenario]:
    """The shipped items, the first of them changed."""
    return [replace(ITEMS[0], **fields), *ITEMS[1:]]


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (changed(acoustic_emotion="angry"), "words and tone are both angry"),
        (changed(acoustic_emotion="bored"), "acoustic_emotion 'bored'; expected one of angry"),
        (changed(id="../up"), "becomes a file name"),
        (changed(id="EN-002"), "the id of 2 items"),
        (changed(language="English"), "ISO 639"),
        (changed(text="Go away!"), "text of 2 words; expected 8 to 25"),
        (changed(text="word " * 26), "text of 26 words"),
        (changed(text="  "), "expected one line that is not empty"),
        (changed(text=ITEMS[1].text.upper() + " Now."), "en-002: almost the text of en-001"),
        (changed(scenario=ITEMS[1].scenario), "almost the scenario"),
        (
            [i for i in ITEMS if (i.semantic_emotion, i.acoustic_emotion) != ("sad", "happy")],
            "sad words in happy tone: 0",
        ),
    ],
)
def test_validator_names_the_mistake(items, says):
    found = problems(items)
    assert any(says in problem for problem in found), found


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{not json", "line 1: not JSON"),
        ("[1]", "expected an object with the texts id, language"),
        (
            '{"id": "a", "mood": "x"}',
            "no acoustic_emotion, language, scenario, semantic_emotion, text and unknown mood",
        ),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, line, says):
    (tmp_path / "items.jsonl").write_text(line, "utf-8")
    with pytest.raises(FASError, match=re.escape(says)):
        load_scenarios(tmp_path / "items.jsonl")
    with pytest.raises(FASError, match="cannot be read"):
        load_scenarios(tmp_path / "none.jsonl")


def test_a_set_of_ones_own_may_lack_pairs(tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps(item.to_dict()) + "\n" for item in ITEMS[:5]), "utf-8")
    assert load_scenarios(path, per_pair=0) == ITEMS[:5]
    with pytest.raises(FASError, match="few.jsonl: 42 problems(?s:.*)angry words in sad tone: 0 items"):
        load_scenarios(path)


# --- speakers


@pytest.mark.parametrize("generator", ["espeak", "openai"])
@pytest.mark.parametrize("seed", [0, 42])
def test_speakers_are_balanced(generator, seed):
    chosen = assign_speakers(ITEMS, shipped_voices(generator), seed)
    for language in ("en", "zh"):
        items = [item for item in ITEMS if item.language == language]
        assert all(language in chosen[item.id].languages for item in items)
        for field in ("acoustic_emotion", "semantic_emotion"):
            counts = Counter((chosen[item.id].gender, getattr(item, field)) for item in items)
            for emotion in EMOTIONS:
                assert abs(counts["female", emotion] - counts["male", emotion]) <= 1
        voices = Counter(chosen[item.id].name for item in items)
        assert len(voices) == len(shipped_voices(generator)) and max(voices.values()) - min(voices.values()) <= 1
        by_emotion = Counter((chosen[item.id].name, item.acoustic_emotion) for item in items)
        even = len(items) / len(voices) / len(EMOTIONS)
        assert max(by_emotion.values()) <= even + 1, "a voice that speaks one emotion more than its share gives it away"


def test_assignment_is_a_function_of_its_seed():
    voices = shipped_voices("espeak")
    first = assign_speakers(ITEMS, voices, 1)
    assert assign_speakers(ITEMS[::-1], voices[::-1], 1) == first
    assert assign_speakers(ITEMS, voices, 2) != first
    chinese = [item for item in ITEMS if item.language == "zh"]
    assert assign_speakers(chinese, voices, 1).items() <= first.items(), (
        "one language alone is spoken by the same voices"
    )


def test_a_language_without_a_voice_is_an_error(tmp_path):
    with pytest.raises(FASError, match="zh: no voice speaks it.*--voices"):
        assign_speakers(ITEMS, [Voice("nova", "female", ("en",))])
    for content in ("[]", '[{"name": "a"}]', "{}", '[{"name": "a", "gender": "f", "languages": [1]}]'):
        (tmp_path / "voices.json").write_text(content)
        with pytest.raises(FASError, match="voices.json"):
            load_voices(tmp_path / "voices.json")


# --- rendering


def test_espeak_speaks_both_languages_and_the_set_reads_back(tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader")
    items = [ITEMS[0], ITEMS[10], ITEMS[84], ITEMS[94]]
    report = render(items, assigned(ITEMS), EspeakSpeech(), tmp_path / "work")
    assert report.rendered == [item.id for item in items] and not report.failed
    assert all(1 < take.seconds < 15 for take in report.takes)
    assert run(monkeypatch, "publish", tmp_path / "work", tmp_path / "set", "--unscreened") == 0

    rows = load_corpus("case", tmp_path / "set").to_list()
    by_id = {item.id: item for item in items}
    assert len(rows) == 4
    for row in rows:
        corpus, _, name = row["id"].partition("/")
        item = by_id[name]
        assert (row["emotion"], row["semantic_emotion"]) == (item.acoustic_emotion, item.semantic_emotion)
        assert (row["text"], row["language"], row["split"]) == (item.text, item.language, "test")
        assert corpus == row["corpus"] == "fas-case", "the published figures of CASE are not for this set"
        assert row["speaker"] == assigned(ITEMS)[item.id].name
        samples, rate = soundfile.read(row["audio"])
        assert rate == 16_000 and np.abs(samples).max() > 0.05
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    assert "All speech in this set is synthetic" in card and "espeak-ng" in card and "no panel has listened" in card


def test_the_tone_is_in_the_audio():
    """By the rules: the same words and voice are faster and louder in anger than in sadness."""
    pytest.importorskip("espeakng_loader")
    generator = EspeakSpeech()
    spoken = {}
    for emotion in ("angry", "sad"):
        content = generator.speak(replace(ITEMS[2], acoustic_emotion=emotion), "f2")
        spoken[emotion], _ = soundfile.read(io.BytesIO(content))
    assert len(spoken["angry"]) < 0.8 * len(spoken["sad"])
    assert np.std(spoken["angry"]) > 1.5 * np.std(spoken["sad"])
    with pytest.raises(SpeechError, match="'de'"):
        generator.speak(replace(ITEMS[2], language="de"), "f2")


def test_a_second_run_asks_only_for_what_is_missing_or_changed(tmp_path):
    items, voices = ITEMS[:6], assigned(ITEMS)
    first = Tone({"en-003": SpeechError("status 500"), "en-004": b"<html>busy</html>", "en-005": wav(level=0.0)})
    report = render(items, voices, first, tmp_path, workers=3)
    assert sorted(report.failed) == ["en-003", "en-004", "en-005"] and len(report.takes) == 3
    assert "no usable audio" in report.failed["en-004"] and "silence" in report.failed["en-005"]

    second = Tone()
    report = render(items, voices, second, tmp_path)
    assert second.asked == report.rendered == ["en-003", "en-004", "en-005"] and not report.failed
    assert len(read_takes(tmp_path)) == 6

    (tmp_path / "audio" / "en-001.flac").write_bytes(b"changed")
    edited = [*items[:5], replace(items[5], text="You are the worst brother anybody ever had to live with!")]
    third = Tone()
    render(edited, voices, third, tmp_path)
    assert sorted(third.asked) == ["en-001", "en-006"]

    fourth = Tone(version=2)  # another generator
    assert len(render(edited[:1], voices, fourth, tmp_path).rendered) == 1
    assert len(read_takes(tmp_path)) == 6, "items outside this run stay"


def test_a_failed_replacement_leaves_no_outdated_take(tmp_path):
    voices = assigned(ITEMS)
    render(ITEMS[:2], voices, Tone(), tmp_path)
    render(ITEMS[:2], voices, Tone({"en-001": SpeechError("status 500")}, version=2), tmp_path)
    assert [take.item.id for take in read_takes(tmp_path)] == ["en-002"]


def test_a_cut_record_is_spoken_again(tmp_path):
    render(ITEMS[:3], assigned(ITEMS), Tone(), tmp_path)
    file = tmp_path / RECORDS
    file.write_text(file.read_text("utf-8")[:-40], "utf-8")
    again = Tone()
    render(ITEMS[:3], assigned(ITEMS), again, tmp_path)
    assert again.asked == ["en-003"]


def test_changed_audio_is_not_passed_on(tmp_path):
    with pytest.raises(FASError, match="render first"):
        read_takes(tmp_path)
    render(ITEMS[:2], assigned(ITEMS), Tone(), tmp_path)
    (tmp_path / "audio" / "en-002.flac").unlink()
    with pytest.raises(FASError, match="en-002.flac: missing"):
        read_takes(tmp_path)


# --- endpoint


@pytest.fixture
def endpoint(monkeypatch):
    """A server in the place of a model; `script` maps a text to its answers (status, body), one a request, the last for ever."""
    script, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append({**request, "path": self.path, "key": self.headers["authorization"]})
            answers = script.get(request["input"], [(200, wav())])
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("retry-after-ms", "1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    pytest.importorskip("openai")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", "made-key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", script, asked
    server.shutdown()
    server.server_close()


def test_an_endpoint_is_retried_and_its_failures_are_reported(tmp_path, endpoint):
    url, script, asked = endpoint
    items, busy = ITEMS[82:86], (429, b'{"error": {"message": "slow down"}}')
    script[items[0].text] = [busy, (503, b""), (200, wav())]
    script[items[1].text] = [(500, b'{"error": {"message": "out of memory"}}')]
    script[items[2].text] = [(400, b'{"error": {"message": "no such voice"}}')]
    generator = EndpointSpeech(url, "made-model", retries=2)
    report = render(items, assigned(ITEMS), generator, tmp_path, workers=2)
    assert report.failed == {items[1].id: "status 500: out of memory", items[2].id: "status 400: no such voice"}
    counts = Counter(request["input"] for request in asked)
    assert [counts[item.text] for item in items] == [3, 3, 1, 1]

    request = next(request for request in asked if request["input"] == items[3].text)
    assert request["instructions"] == describe_delivery(items[3])
    assert (request["model"], request["path"], request["key"]) == ("made-model", "/v1/audio/speech", "Bearer made-key")
    assert request["voice"] == assigned(ITEMS)[items[3].id].name and request["response_format"] == "wav"
    assert "made-key" not in (tmp_path / RECORDS).read_text("utf-8")
    assert soundfile.info(tmp_path / "audio" / f"{items[0].id}.flac").samplerate == 24_000

    asked.clear()
    script.clear()
    report = render(items, assigned(ITEMS), generator, tmp_path, workers=2)
    assert sorted(request["input"] for request in asked) == sorted(item.text for item in items[1:3])
    assert len(report.takes) == 4 and not report.failed


def test_a_refused_key_stops_at_once(tmp_path, endpoint):
    url, script, asked = endpoint
    script.update({item.text: [(401, b'{"error": {"message": "bad key"}}')] for item in ITEMS})
    with pytest.raises(FASError, match="refuses every request.*bad key.*OPENAI_API_KEY"):
        render(ITEMS, assigned(ITEMS), EndpointSpeech(url, "m"), tmp_path)
    assert len(asked) < 10
    with pytest.raises(FASError, match="cannot be reached.*--endpoint"):
        render(ITEMS, assigned(ITEMS), EndpointSpeech("http://127.0.0.1:9/v1", "m", retries=0), tmp_path)


def test_instructions_speak_the_language_and_name_the_tone():
    english, chinese = (
        ITEMS[0],
        next(item for item in ITEMS if item.language == "zh" and item.acoustic_emotion == "fear"),
    )
    assert "disgusted" in describe_delivery(english) and english.scenario in describe_delivery(english)
    assert "恐惧" in describe_delivery(chinese)
    assert "frightened" in describe_delivery(replace(chinese, language="de", scenario="..."))
    assert len({describe_delivery(item) for item in ITEMS}) == len(ITEMS)


def test_options_of_the_endpoint_are_checked(tmp_path, monkeypatch, capsys):
    pytest.importorskip("openai")
    for arguments, says in (
        (("--endpoint", "localhost:8000", "--model", "m"), "--endpoint 'localhost:8000'"),
        (("--endpoint", "http://localhost/v1"), "go together"),
        (("--endpoint", "http://localhost/v1", "--model", "m", "--format", "pcm"), "--format 'pcm'"),
        (("--language", "fr"), "--language fr"),
    ):
        assert run(monkeypatch, "render", tmp_path / "work", *arguments) == 2
        assert says in capsys.readouterr().err


# --- the page


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder of eight takes, four in each language: sines, made by this test."""
    folder = tmp_path_factory.mktemp("case")
    items = [*ITEMS[0:84:21], *ITEMS[84:168:21]]
    render(items, assigned(ITEMS), Tone(), folder)
    return folder, read_takes(folder)


def page_data(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


@pytest.mark.parametrize("embed", [True, False])
def test_the_page_is_blind_and_self_contained(work, tmp_path, embed):
    folder, takes = work
    pages = write_pages(takes, folder, tmp_path, embed=embed)
    assert sorted(pages) == ["en", "zh"]
    for language, path in pages.items():
        text = path.read_text("utf-8")
        mine = [take for take in takes if take.item.language == language]
        for take in takes:  # nothing that is known of a clip but its sound
            for secret in (
                take.item.id,
                take.item.text,
                take.item.scenario,
                take.speaker,
                take.instructions,
                take.sha256,
            ):
                assert not re.search(rf"(?<![A-Za-z0-9+/]){re.escape(secret)}(?![A-Za-z0-9+/])", text)
        data = page_data(text)
        assert all(set(clip) == {"key", "src"} for clip in data["clips"])
        assert [clip["key"] for clip in data["clips"]] == sorted(take.key for take in mine)
        markup = re.sub(r"data:audio/flac;base64,[A-Za-z0-9+/=]+", "", text)
        assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|src=\"|fetch\(|XMLHttp|sendBeacon|WebSocket", markup)
        assert "default-src 'none'" in text
        for clip in data["clips"]:
            if not embed:
                assert clip["src"] == f"clips/{clip['key']}.flac" and (tmp_path / clip["src"]).is_file()
    counts = Counter(path.suffix for path in tmp_path.rglob("*") if path.is_file())
    assert counts == ({".html": 2} if embed else {".html": 2, ".flac": 8})


def test_a_new_take_has_a_new_key(work, tmp_path):
    folder, takes = work
    shutil.copytree(folder, tmp_path / "copy")
    louder = Tone({takes[0].item.id: wav(2.0)}, version=2)
    render([takes[0].item], assigned(ITEMS), louder, tmp_path / "copy")
    again = read_takes(tmp_path / "copy")
    assert [a.key == b.key for a, b in zip(takes, again, strict=True)] == [False] + [True] * 7
    assert panel_id(again) != panel_id(takes)


DRIVER = """
const key = k => document.dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true, cancelable: true}));
const heardAll = () => $("audio").dispatchEvent(new Event("ended")), $ = id => document.getElementById(id), out = {};
const begin = code => { $("code").value = code; $("start").click(); };
begin("no spaces!"); out.refused = !$("code-bad").hidden && $("listen").hidden;
begin("Ana-1"); out.order = order.map(c => c.key); out.width = document.documentElement.scrollWidth;
key("1"); out.before_listening = JSON.stringify(state.answers);
heardAll(); key("1"); key("Enter"); out.half = at;
key("c"); key("Enter"); out.second = at;
heardAll(); key("8"); key("n"); key("ArrowLeft"); out.back = at; key("2"); key("Enter");
out.json = responses(); out.csv = csv(responses()); out.first = [...document.querySelectorAll("#heard input")].map(i => i.value);
begin("ben"); out.other_order = order.map(c => c.key); out.other_answers = responses().responses.length;
begin("ana-1"); out.resumed = [at, order.map(c => c.key).join() === out.order.join(), responses().responses.length];
document.body.innerHTML = ""; document.body.dataset.out = btoa(unescape(encodeURIComponent(JSON.stringify(out))));
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_the_page_in_a_browser(work, tmp_path):
    """By keyboard: nothing before listening, both answers needed, back, resume, seeded order; the export reads back as votes."""
    folder, takes = work
    page = write_pages(takes, folder, tmp_path)["en"]
    page.write_text(page.read_text("utf-8").replace("</body>", f"<script>{{{DRIVER}}}</script></body>"), "utf-8")
    arguments = (
        "--headless --no-sandbox --disable-gpu --virtual-time-budget=2000 --window-size=500,800 --dump-dom".split()
    )
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run([CHROMIUM, *arguments, profile, page.as_uri()], capture_output=True, text=True, timeout=100)
    found = re.search(r'data-out="([^"]+)"', done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-1000:]
    out = json.loads(base64.b64decode(found[1]))

    keys = sorted(take.key for take in takes if take.item.language == "en")
    assert out["refused"] and out["before_listening"] == "{}" and out["width"] <= 500
    assert (out["half"], out["second"], out["back"]) == (0, 1, 0)
    assert sorted(out["order"]) == sorted(out["other_order"]) == keys
    assert out["order"] != out["other_order"] and out["other_answers"] == 0
    assert out["resumed"] == [2, True, 2]

    (tmp_path / "a.json").write_text(json.dumps(out["json"]), "utf-8")
    (tmp_path / "a.csv").write_text(out["csv"], "utf-8")
    from_json, from_csv = (read_response(tmp_path / name) for name in ("a.json", "a.csv"))
    assert sorted(out["first"][:7]) == list(EMOTIONS) and out["first"][7] == "none"
    expected = (Vote("ana-1", out["order"][0], out["first"][1], True), Vote("ana-1", out["order"][1], "none", False))
    assert from_json.votes == from_csv.votes == expected
    assert from_json.panel == panel_id([take for take in takes if take.item.language == "en"])


# --- the panel's answers


def vote(listener, clip, heard, clear=True) -> Vote:
    return Vote(listener, clip, heard, clear)


def save_response(path, votes, *, listener="ana", panel="p", session="s", exported="2026-01-01T00:00:00Z"):
    head = {"panel": panel, "language": "en", "listener": listener, "session": session, "exported": exported}
    rows = [{"clip": v.clip, "heard": v.heard, "clear": v.clear, "plays": 1} for v in votes]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps({**head, "responses": rows}), "utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*head, *rows[0]])
            writer.writeheader()
            writer.writerows({**head, **row, "clear": str(row["clear"]).upper()} for row in rows)  # as spreadsheets do
    return path


def test_the_newest_file_of_a_session_counts(tmp_path):
    save_response(tmp_path / "1.json", [vote("ana", "c1", "sad")])
    later = [vote("ana", "c1", "fear", False), vote("ana", "c2", "none")]
    save_response(tmp_path / "0.csv", later, exported="2026-01-02T00:00:00Z")
    save_response(tmp_path / "2.json", [vote("ben", "c1", "sad")], listener="ben", session="t")
    assert sorted(load_votes([tmp_path]), key=str) == sorted([*later, vote("ben", "c1", "sad")], key=str)
    known, strange = split_known(load_votes([tmp_path]), ["c1"])
    assert len(known) == 2 and [v.clip for v in strange] == ["c2"]

    newer_panel = [vote("ana", "c1", "happy")]  # part of the set was rendered anew and the rest heard twice
    save_response(tmp_path / "3.json", newer_panel, panel="q", session="u", exported="2026-01-03T00:00:00Z")
    assert [v.heard for v in load_votes([tmp_path]) if v.clip == "c1" and v.listener == "ana"] == ["happy"]


def test_two_people_under_one_code_are_an_error(tmp_path):
    save_response(tmp_path / "1.json", [vote("ana", "c1", "sad")])
    save_response(tmp_path / "2.json", [vote("ana", "c1", "sad")], session="other")
    with pytest.raises(FASError, match="two sessions of listener 'ana'"):
        load_votes([tmp_path])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ('{"responses": [], "responses": []}', "'responses' is there twice"),
        ("[]", "cannot be read"),
        ('{"responses": [3]}', "cannot be read"),
        ('{"responses": []}', "no answer in it"),
        ('{"responses": [{"clip": "c"}]}', "no clear, exported, heard, listener, panel, session"),
    ],
)
def test_damaged_responses_are_named(tmp_path, content, says):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(FASError, match=f"r.json.*{says}"):
        load_votes([tmp_path / "r.json"])


def test_responses_that_went_through_a_spreadsheet(tmp_path):
    text = "panel;listener;session;exported;clip;heard;clear\np;ana;s;2026;c1;none;FALSE\np;ana;s;2026;c2;sad;TRUE\n"
    (tmp_path / "r.csv").write_bytes(text.encode("utf-16"))
    assert [(v.heard, v.clear) for v in read_response(tmp_path / "r.csv").votes] == [("none", False), ("sad", True)]
    (tmp_path / "r.csv").write_text(text.replace("c2;sad", "c2;sad;more"))
    with pytest.raises(FASError, match="r.csv, line 3: 8 cells for 7 columns"):
        read_response(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("votes", "says"),
    [
        ([vote("a", "c", "bored")], "answer 1: heard 'bored'; expected one of"),
        ([vote("a", "c", "sad", "perhaps")], "clear 'perhaps'; expected true or false"),
        ([vote("a", "c", "sad"), vote("a", "c", "sad")], "answered twice"),
    ],
)
def test_answers_that_say_nothing_are_named(tmp_path, votes, says):
    with pytest.raises(FASError, match=says):
        read_response(save_response(tmp_path / "r.json", votes))


def panel_of(clear_hits: int, listeners: int, clip="c", target="sad") -> list[Vote]:
    """So many of the listeners hear the target clearly; the others hear it unclearly, or something else clearly."""
    rest = [
        vote(f"r{i}", clip, target, False) if i % 2 else vote(f"r{i}", clip, "happy")
        for i in range(listeners - clear_hits)
    ]
    return [vote(f"h{i}", clip, target) for i in range(clear_hits)] + rest


@pytest.mark.parametrize(
    ("hits", "listeners", "options", "kept"),
    [
        (6, 12, {}, False),  # half is not more than half
        (7, 12, {}, True),
        (12, 12, {}, True),
        (6, 12, {"share": 0.5}, True),  # at least half
        (7, 10, {"share": 0.7}, True),
        (6, 10, {"share": 0.7}, False),
        (3, 10, {"share": 0.3}, True),
        (11, 12, {"share": 1}, False),
        (2, 2, {}, False),  # too few listeners
        (2, 2, {"min_listeners": 2}, True),
        (0, 0, {}, False),
    ],
)
def test_majority_rule(hits, listeners, options, kept):
    (verdict,) = judge(panel_of(hits, listeners), {"c": "sad"}, **options)
    assert (verdict.hits, verdict.listeners, verdict.kept) == (hits, listeners, kept)


def test_rules_out_of_range_are_refused():
    for options in ({"share": 0}, {"share": 1.1}, {"min_listeners": 0}):
        with pytest.raises(FASError, match="expected"):
            judge([], {"c": "sad"}, **options)


# Four clips, two listeners: (a, a), (a, a), (b, b), (a, b). Coincidences: aa 4, bb 2, ab 1, ba 1; n 8, n_a 5, n_b 3.
FOUR = np.array([[2, 0], [2, 0], [0, 2], [1, 1]])


def test_alpha_and_kappa_by_hand():
    pytest.importorskip("krippendorff")
    observed, expected = 2 / 8, (8 * 8 - 5 * 5 - 3 * 3) / (8 * 7)
    assert alpha(FOUR) == pytest.approx(1 - observed / expected) == pytest.approx(0.53333, abs=1e-5)
    agreement, chance = 3 / 4, (5 / 8) ** 2 + (3 / 8) ** 2
    pytest.importorskip("statsmodels")
    assert fleiss_kappa(FOUR) == pytest.approx((agreement - chance) / (1 - chance), abs=1e-4)
    with pytest.raises(FASError, match="as many for each"):
        fleiss_kappa(np.array([[2, 0], [1, 2]]))


def test_alpha_of_krippendorffs_own_example():
    """Four observers, twelve units, missing values (Krippendorff 2011, Computing Krippendorff's alpha-reliability): 0.743."""
    krippendorff = pytest.importorskip("krippendorff")
    rows = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    table = np.array([[np.nan if value == "." else float(value) for value in row] for row in rows])
    counts = np.array([[(column == value).sum() for value in range(1, 6)] for column in table.T])
    assert alpha(counts) == pytest.approx(0.743, abs=5e-4)
    assert alpha(counts) == pytest.approx(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))


def test_alpha_where_nothing_can_be_said():
    pytest.importorskip("krippendorff")
    alike = alpha_with_interval(np.array([[3, 0], [3, 0]]))
    assert alike == {"alpha": None, "interval": None, "clips": 2}
    lonely = count_matrix([vote("a", "c1", "sad"), vote("a", "c2", "happy")], EMOTIONS, lambda v: v.heard)
    assert len(lonely) == 0 and alpha(lonely) is None


def test_the_interval_holds_alpha_and_narrows_with_clips():
    pytest.importorskip("krippendorff")
    rng = np.random.default_rng(0)
    widths = []
    for clips in (20, 320):
        target = rng.integers(2, size=clips)
        yes = rng.binomial(12, np.where(target, 0.85, 0.15))
        found = alpha_with_interval(np.stack([12 - yes, yes], axis=1))
        low, high = found["interval"]
        assert low <= found["alpha"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_report_counts_emotion_by_emotion():
    pytest.importorskip("krippendorff")
    votes = [*panel_of(4, 4, "c1", "sad"), *panel_of(1, 4, "c2", "sad"), *panel_of(3, 4, "c3", "happy")]
    verdicts = judge(votes, {"c1": "sad", "c2": "sad", "c3": "happy"})
    report = agreement_report(votes, verdicts, fleiss=True)
    sad = report["emotions"]["sad"]
    assert (sad["clips"], sad["kept"], sad["votes"]) == (2, 1, 8)
    assert (sad["heard"], sad["clearly"]) == (6 / 8, 5 / 8)  # c2: one clear, one unclear, two others heard happy
    assert report["confusion"]["sad"] == {"happy": 2, "sad": 6}
    assert report["emotions"]["fear"]["heard"] is None and report["kept"] == 2
    heard = np.array([[0, 4], [2, 2], [4, 0]])  # happy, sad
    assert report["heard"]["alpha"] == pytest.approx(alpha(heard), abs=1e-4)
    assert report["heard"]["fleiss"] == pytest.approx(fleiss_kappa(heard), abs=1e-4)
    json.dumps(report)


# --- the published set


def test_from_answers_to_the_published_set(work, tmp_path, monkeypatch, capsys):
    """Made listeners hear six of eight clips clearly: those six are published, with their votes."""
    pytest.importorskip("krippendorff")
    folder, takes = tmp_path / "work", work[1]
    shutil.copytree(work[0], folder)
    assert run(monkeypatch, "publish", folder, tmp_path / "set") == 2
    assert "no verdicts yet" in capsys.readouterr().err

    lost = {takes[1].key, takes[6].key}
    for listener in ("ana", "ben", "cem", "dua"):
        votes = [
            vote(listener, t.key, t.item.acoustic_emotion, not (t.key in lost and listener != "ana")) for t in takes
        ]
        votes += [vote(listener, "ffffffffffff", "sad")]
        save_response(tmp_path / "responses" / f"{listener}.json", votes, listener=listener, session=listener)
    assert run(monkeypatch, "collect", folder, tmp_path / "responses", "--fleiss") == 0
    said = capsys.readouterr()
    assert "6 of 8 clips stay" in said.out and "left out: 4 votes" in said.err
    assert run(monkeypatch, "publish", folder, tmp_path / "set", "--name", "Made", "--audio-licence", "cc-by-4.0") == 0
    assert run(monkeypatch, "publish", folder, tmp_path / "set") == 0, "an earlier set is replaced"

    verdicts, summary = load_verdicts(folder, takes)
    with (tmp_path / "set" / "case.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [take for take in takes if take.key not in lost]
    assert rows == [manifest_row(take, verdicts[take.key]) for take in kept]
    assert list(rows[0]) == list(COLUMNS) and {(row["votes"], row["listeners"]) for row in rows} == {("4", "4")}
    assert {row["synthetic"] for row in rows} == {"true"} and {row["generator"] for row in rows} == {Tone.title}
    read = load_corpus("case", tmp_path / "set")
    assert sorted(read["id"]) == sorted(f"fas-case/{take.item.id}" for take in kept)
    assert sorted(read["text"]) == sorted(take.item.text for take in kept)
    assert json.loads((tmp_path / "set" / "agreement.json").read_text("utf-8")) == summary
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    assert "A panel of 4 listeners" in card and "All speech in this set is synthetic" in card and Tone.title in card
    assert "by the project FAS-ALM, CC BY 4.0" in card

    render([takes[0].item], assigned(ITEMS), Tone(version=2, outcomes={takes[0].item.id: wav(3)}), folder)
    assert run(monkeypatch, "publish", folder, tmp_path / "set") == 2, "votes never pass to another take"
    assert "rendered since" in capsys.readouterr().err


def test_nothing_of_others_is_overwritten(work, tmp_path, monkeypatch, capsys):
    folder, _ = work
    (tmp_path / "thesis.txt").write_text("mine")
    assert run(monkeypatch, "publish", folder, tmp_path, "--unscreened") == 2
    assert "expected a new folder" in capsys.readouterr().err and (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_card_says_whose_texts_they_are(tmp_path, monkeypatch):
    items = [replace(ITEMS[0], text="This text was made by a test and is nobody else's at all."), ITEMS[1]]
    render(items, assigned(ITEMS), Tone(), tmp_path / "work")
    run(monkeypatch, "publish", tmp_path / "work", tmp_path / "set", "--unscreened")
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    assert "1 written by the project FAS-ALM, CC BY 4.0; the other 1 under the terms of their authors" in card


def test_the_command_checks_and_renders(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "check") == 0
    assert "168 items (84 en, 84 zh), 42 of 42 pairs" in capsys.readouterr().out
    pytest.importorskip("espeakng_loader")
    arguments = ("render", tmp_path / "work", "--language", "zh", "--limit", 3)
    assert run(monkeypatch, *arguments) == 0 and "3 takes, 3 of them spoken now" in capsys.readouterr().out
    assert run(monkeypatch, *arguments) == 0 and "3 takes, 0 of them spoken now" in capsys.readouterr().out
    assert run(monkeypatch, "page", tmp_path / "work") == 0
    assert [path.name for path in (tmp_path / "work" / "panel").iterdir()] == ["panel-zh.html"]
