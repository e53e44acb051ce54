"""Recordings of minutes and hours, and many requests at once: pieces that take turns, a timeline, budgets, hanging up."""

import asyncio
import json
import socket
import threading

import pytest
from serving import FakeListener, encoded, events_of, fake_app, part, running, wait_until, wav
from synthetic import noise, save_tiny_whisper
from tiny_fas import save_tiny_checkpoint

from fas_core.audio import AudioLimits
from fas_core.pipeline import EmotionPipeline
from fas_serve import batching
from fas_serve.app import create_app
from fas_serve.batching import Batcher, Turn
from fas_serve.emotion import EmotionService
from fas_serve.errors import APIError
from fas_serve.gate import Gate
from fas_serve.listening import Listener
from fas_serve.settings import Settings

EMOTION = "/v1/emotion"
SMALL_MEMORY = Settings(
    model="tiny", memory_budget=2**20, disk_budget=16 * 2**20, clips_budget=8, body_timeout=1.0,
    recording=AudioLimits(max_bytes=12 * 2**20, max_seconds=400),
)  # fmt: skip


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fas")
    checkpoint = save_tiny_checkpoint(folder / "fas", save_tiny_whisper(folder / "whisper"))
    return EmotionPipeline.from_pretrained(checkpoint, speech_threshold=0)  # noise counts as a voice


@pytest.fixture(scope="module")
def client(pipeline):
    with running(create_app(Settings(), EmotionService(Batcher(Listener(pipeline))))) as client:
        yield client


@pytest.fixture
def small():
    app = fake_app(SMALL_MEMORY, fas_only=True)
    with running(app) as client:
        yield app, client
        wait_until(lambda: app.state.gate.admitted == 0)
        assert {budget.used for budget in vars(app.state.budgets).values()} == {0}


def upload(*data: bytes):
    return [("file", (f"{i}.wav", each)) for i, each in enumerate(data)]


def test_timeline_is_that_of_the_pipeline(client, pipeline):
    audio = encoded(noise(11.0), 16_000, subtype="FLOAT")
    response = client.post(EMOTION, files=upload(audio), data={"timeline": "true", "window": "4", "hop": "2"})
    (clip,) = response.json()["data"]
    expected = list(pipeline.timeline(audio, window=4, hop=2))
    assert [(w["start"], w["end"]) for w in clip["timeline"]] == [(e.start, e.end) for e in expected]
    for window, wanted in zip(clip["timeline"], expected, strict=True):
        assert window["label"] == wanted.label
        assert window["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-5)
    assert clip["audio"]["seconds"] == pytest.approx(11.0) and clip["audio"]["windows"] == len(expected)
    assert clip["probabilities"]["sad"] == pytest.approx(
        sum(e.probabilities["sad"] * (e.end - e.start) for e in expected) / sum(e.end - e.start for e in expected), abs=1e-5
    )  # fmt: skip


def test_stream_has_the_windows_and_then_the_summary(client):
    audio, options = encoded(noise(11.0), 16_000, subtype="FLOAT"), {"timeline": "true", "stream": "true"}
    whole = client.post(EMOTION, files=upload(audio), data={"timeline": "true"}).json()["data"][0]
    response = client.post(EMOTION, files=upload(audio, b"no audio"), data=options)
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done = events_of(response.text)
    *windows, summary, failed = map(json.loads, events)
    assert done == "[DONE]" and failed["error"].startswith("audio[1]") and failed["index"] == 1
    assert [w["start"] for w in windows] == [w["start"] for w in whole["timeline"]] and summary["start"] is None
    assert summary["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-6)
    alone = client.post(EMOTION, files=upload(b"no audio"), data=options)
    assert alone.status_code == 400 and alone.json()["error"]["param"] == "audio[0]"


@pytest.mark.parametrize(
    "options",
    [{"window": 0}, {"window": "nan"}, {"window": "inf"}, {"hop": 0.1}, {"window": 20, "hop": 1}, {"hop": 9}, {"hop": -2},
     {"hop": 1e-310}, {"stream": True}],
    ids=str,
)  # fmt: skip
def test_windows_that_are_none_are_refused_by_name(client, options):
    data = {k: str(v).lower() for k, v in options.items()} | {"timeline": str("stream" not in options).lower()}
    response = client.post(EMOTION, files=upload(wav()), data=data)
    assert response.status_code == 400 and response.json()["error"]["param"] in options | {"hop": 0}


def test_a_recording_needs_disk_and_no_memory(small):
    _app, client = small
    recording = wav(350.0)
    assert len(recording) > 10 * 2**20 > SMALL_MEMORY.memory_budget
    answer = client.post(EMOTION, files=upload(recording))
    assert answer.status_code == 200 and answer.json()["data"][0]["audio"]["windows"] == 12
    assert client.post(EMOTION, json={"audio": part(wav(30.0))}).status_code == 413
    assert client.post(EMOTION, files=upload(recording[: 17 * 2**20], recording)).status_code == 413


@pytest.mark.parametrize("clips", [1, 3])
def test_seconds_of_a_request_are_counted_together(small, clips):
    """Which of several clips is one too many depends on which is decoded first."""
    _, client = small
    body = client.post(EMOTION, files=upload(*[wav(450.0 / clips, rate=8000)] * clips)).json()
    errors = {i: c["error"] for i, c in enumerate(body["data"]) if c["error"]} if clips > 1 else {0: body["error"]}
    assert errors and all("too long" in (error if clips > 1 else error["message"]) for error in errors.values())
    assert clips == 1 or all(error.startswith(f"audio[{i}]") for i, error in errors.items())
    assert clips > 1 or errors[0]["param"] == "audio[0]"


@pytest.mark.parametrize("kind", ["json", "files", "clips"])
def test_requests_share_what_there_is(small, kind):
    """One that has sent half of its body holds what it took; the next is told to come again, and is answered then."""
    app, client = small
    budget = {"json": app.state.budgets.memory, "files": app.state.budgets.disk, "clips": app.state.budgets.clips}[kind]
    body = {"json": {"json": {"audio": part(wav())}}, "files": {"files": upload(wav(30.0))}, "clips": {"files": upload(wav())}}[kind]  # fmt: skip
    budget.used += budget.size - 10 if kind != "clips" else budget.size
    response = client.post(EMOTION, **body)
    assert response.status_code == 429 and int(response.headers["retry-after"]) > 0
    assert response.json()["error"]["code"] == "server_full"
    budget.used -= budget.size - 10 if kind != "clips" else budget.size
    assert client.post(EMOTION, **body).status_code == 200


@pytest.mark.parametrize("form", [False, True])
def test_a_body_that_dribbles_is_408_and_gives_back_what_it_took(small, form):
    app, client = small
    kind = "multipart/form-data; boundary=x" if form else "application/json"
    head = f"POST {EMOTION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 9999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=10) as connection:
        connection.sendall(head.encode() + b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
        wait_until(lambda: app.state.budgets.disk.used + app.state.budgets.memory.used > 0)
        assert b" 408 " in connection.recv(65_536)


def test_who_asks_for_hours_does_not_hold_up_who_asks_for_seconds(monkeypatch):
    monkeypatch.setattr(batching, "TURN", 0.0)  # of a machine that does no more than the smallest batch in that time
    batches, started, go = [], threading.Event(), threading.Event()

    def answer(items):
        started.set()
        go.wait(10)
        batches.append(items)
        return items

    async def ask() -> list:
        batcher = Batcher(answer, weigh=lambda item: item[1])
        long = [Turn("attacker") for _ in range(3)]
        work = [batcher((f"long {i}", 30.0), long[i % 3]) for i in range(60)]
        tasks = [asyncio.ensure_future(each) for each in work]
        await asyncio.to_thread(started.wait, 10)
        tasks += [asyncio.ensure_future(batcher((f"short {i}", 4.0), Turn(f"honest {i}"))) for i in range(3)]
        tasks += [asyncio.ensure_future(batcher(("same address", 4.0), Turn("attacker")))]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(*tasks)
        await batcher.close()

    asyncio.run(ask())
    order = [name for items in batches for name, _ in items]
    assert {name for name, _ in batches[1]} == {"short 0", "short 1", "short 2"}
    assert order.index("same address") < 8 and all(sum(weight for _, weight in items) <= 60 for items in batches)


@pytest.mark.parametrize("options", [{}, {"timeline": "true"}, {"timeline": "true", "stream": "true"}], ids=str)
def test_hanging_up_ends_decoding_and_listening(options):
    listener = FakeListener(delay=0.02)
    app = fake_app(Settings(model="tiny"), listener=listener, fas_only=True)
    body = wav(3600.0, rate=4000)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    fields = b"".join(b'\r\n--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s' % (k.encode(), v.encode()) for k, v in options.items())  # fmt: skip
    body = head + body + fields + b"\r\n--x--\r\n"
    with running(app) as client:
        lines = f"POST {EMOTION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"  # fmt: skip
        with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
            connection.sendall(lines.encode() + body)
            wait_until(lambda: sum(listener.batches) > 4, 20)
        wait_until(lambda: app.state.gate.admitted == 0)
        heard = sum(listener.batches)
        assert client.post(EMOTION, json={"audio": part(wav())}).status_code == 200
        assert sum(listener.batches) <= heard + 17 and sum(listener.batches) < 115  # what was at work, and the one
        assert app.state.budgets.disk.used == 0


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16", "idna", "undefined", "rot13", "zlib", "hex", "punycode", "x" * 300, "\x7f", ""])  # fmt: skip
def test_a_charset_that_a_client_names_decides_nothing(small, charset):
    _, client = small
    body = b'--x\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n%s\r\n' % charset.encode()
    kind = f"multipart/form-data; charset={charset}; boundary=x"
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="\xff\xfea.wav"\r\nContent-Type: audio/wav; charset=%s\r\n\r\n%s\r\n--x--\r\n' % (charset.encode(), wav())  # fmt: skip
    answer = client.post(EMOTION, content=file, headers={"Content-Type": kind})
    assert answer.status_code == 200
    refused = client.post(EMOTION, content=body + file, headers={"Content-Type": kind})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "_charset_"
    text = json.dumps({"audio": part(wav())}).encode()
    json_kind = {"Content-Type": f"application/json; charset={charset}"}
    assert client.post(EMOTION, content=text, headers=json_kind).status_code == 200
    assert client.post(EMOTION, content=text.decode().encode("utf-16"), headers=json_kind).status_code == 400


@pytest.mark.parametrize("boundary", ["", "x" * 71, '"', "\x7f", "é"])
def test_boundaries_that_are_none_are_400(small, boundary):
    _, client = small
    kind = f"multipart/form-data; boundary={boundary}".encode("latin-1")
    assert client.post(EMOTION, content=b"--x\r\n", headers={"Content-Type": kind}).status_code == 400


def test_one_address_leaves_places_to_others_and_who_has_fewest_is_next():
    async def ask() -> None:
        gate, release = Gate(concurrency=2, queue=6), asyncio.Event()
        order: list[str] = []

        async def work(address: str, number: int) -> None:
            async with gate.admission(address), gate.slot(address):
                order.append(f"{address} {number}")
                await release.wait()

        many = [asyncio.ensure_future(work("many", i)) for i in range(6)]
        await asyncio.sleep(0)
        with pytest.raises(APIError) as refused:
            await work("many", 6)
        few = asyncio.ensure_future(work("few", 0))
        gone = asyncio.ensure_future(work("gone", 0))
        await asyncio.sleep(0)
        gone.cancel()
        release.set()
        await asyncio.gather(*many, few)
        assert refused.value.status == 429 and gone.cancelled()
        assert order.index("few 0") == 2 and len(order) == 7
        assert gate.admitted == gate.working == 0 and not gate._working_of and not gate._admitted_of

    asyncio.run(ask())
