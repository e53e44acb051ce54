"""The gateway before stand-ins: what is passed on, what is refused, and that the next request is answered."""

import base64
import concurrent.futures
import http.server
import json
import logging
import socket
import struct
import threading
import time

import httpx
import numpy as np
import pytest
from serving import (
    FakeBackend,
    FakeListener,
    audios,
    encoded,
    events_of,
    fake_app,
    noise,
    part,
    question,
    running,
    url_part,
    wait_until,
    wav,
)

from fas_core.audio import AudioLimits, load_audio
from fas_serve import chat_request, remote
from fas_serve.backend_audio import as_json, samples_of, wav_part
from fas_serve.settings import Settings

CHAT, EMOTION = "/v1/chat/completions", "/v1/emotion"
SMALL = AudioLimits(max_bytes=2**20, max_seconds=60, max_decoded_bytes=8 * 2**20)


@pytest.fixture(scope="module")
def backend():
    return FakeBackend()


@pytest.fixture(scope="module")
def client(backend):
    settings = Settings(
        model="tiny", audio=SMALL, recording=SMALL, max_audios=2, max_body_bytes=4 * 2**20, max_upload_bytes=4 * 2**20,
        max_text=20_000, max_clips=4,
    )  # fmt: skip
    with running(fake_app(settings, backend)) as client:
        yield client


def forged_rate(rate: int) -> bytes:
    data = bytearray(wav())
    data[24:28] = struct.pack("<I", rate)
    return bytes(data)


def bomb(seconds: int = 30) -> bytes:
    """A FLAC at 192 kHz, eight channels of a click: some kB that decode to 6 MB a second."""
    samples = np.zeros((192_000 * seconds, 8), np.int16)
    samples[:10] = 999
    return encoded(samples, 192_000, "FLAC")


def error_of(response: httpx.Response) -> dict:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


def ten_minutes() -> bytes:
    """A small FLAC: clicks, and nothing between them."""
    samples = np.zeros(8000 * 600, np.int16)
    samples[::8000] = 9999
    return encoded(samples, 8000, "FLAC")


AUDIO_ABUSE = {
    "empty": (lambda: b"", "invalid_audio", "empty"),
    "empty wav": (lambda: encoded(np.zeros(0, np.int16), 16_000), "invalid_audio", "empty"),
    "silent": (lambda: encoded(np.zeros(16_000, np.int16), 16_000), "silent_audio", "silence"),
    "ten minutes": (ten_minutes, "invalid_audio", "too long"),
    "corrupt": (lambda: wav()[:44] + b"\x00", "invalid_audio", "truncated"),
    "not audio": (lambda: b"MZ" + bytes(range(256)) * 40, "invalid_audio", "not audio"),
    "forged rate": (lambda: forged_rate(2_000_000_000), "invalid_audio", "sample rate"),
    "rate of zero": (lambda: forged_rate(0), "invalid_audio", ""),
    "bomb": (bomb, "invalid_audio", "decodes to"),
    "NaN": (lambda: encoded(np.full(8000, np.nan, np.float32), 16_000, subtype="FLOAT"), "invalid_audio", "NaN"),
    "too many bytes": (lambda: wav(40), "audio_too_big", "too big"),
}


@pytest.mark.parametrize("kind", AUDIO_ABUSE)
def test_bad_audio_is_one_error_that_names_the_part(client, backend, kind):
    make, code, words = AUDIO_ABUSE[kind]
    data = make()
    before = len(backend.requests)
    response = client.post(CHAT, json=question(wav(), data))
    assert response.status_code == 400
    error = error_of(response)
    assert error["param"] == "messages[0].content[1]" and error["message"].startswith("messages[0].content[1]: ")
    assert error["code"] == code and words in error["message"]
    assert "--max" not in error["message"] and "AudioLimits" not in error["message"]  # options that no client has
    assert len(backend.requests) == before
    if kind != "silent":  # of which /v1/emotion says that nobody speaks
        emotion = client.post(EMOTION, json={"audio": part(data)})
        assert emotion.status_code == 400 and error_of(emotion)["code"] == code
    assert_answers(client)


def assert_answers(client):
    response = client.post(CHAT, json=question(wav()))
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == "heard 1"


def message(content, role="user"):
    return {"messages": [{"role": role, "content": content}]}


def nested(depth: int):
    return {"items": nested(depth - 1)} if depth else {}


TEXT = {"type": "text", "text": "x"}
REQUEST_ABUSE = {
    "placeholder": (question(wav(), text="What is <|audio|> ?"), "messages[0].content[1]", "placeholder_in_text"),
    "placeholder alone": (message("<|audio|>"), "messages[0].content", "placeholder_in_text"),
    "placeholder in two": (
        message([{"type": "text", "text": "<|aud"}, {"type": "text", "text": "io|>"}]),
        "messages[0].content",
        "placeholder_in_text",
    ),
    "system placeholder": (message("<|audio|>", "system"), "messages[0].content", "placeholder_in_text"),
    "own template": (question(wav(), chat_template="no placeholder"), "chat_template", "unsupported_field"),
    "cut prompt": (question(wav(), truncate_prompt_tokens=3), "truncate_prompt_tokens", "unsupported_field"),
    "server fetches": (question(wav(), media_io_kwargs={}), "media_io_kwargs", "unsupported_field"),
    "too many audios": (question(wav(), wav(), wav()), "messages[0].content[2]", "too_many_audios"),
    "audio of assistant": (message([part(wav())], "assistant"), "messages[0].content[0]", "invalid_value"),
    "audio of system": (message([part(wav())], "system"), "messages[0].content[0]", "invalid_value"),
    "role": (message("x", "tool"), "messages[0].role", "invalid_value"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_value"),
    "no parts": (message([]), "messages[0].content", "invalid_value"),
    "image": (message([{"type": "image_url", "image_url": {"url": "x"}}]), "messages[0].content[0]", "invalid_value"),
    "embeddings": (message([{"type": "audio_embeds", "audio_embeds": "x"}]), "messages[0].content[0]", "invalid_value"),
    "no messages": ({"messages": []}, "messages", "invalid_value"),
    "messages of text": ({"messages": "hello"}, "messages", "invalid_value"),
    "no base64": (message([{"type": "input_audio", "input_audio": {"data": "%%"}}]), "messages[0].content[0]", None),
    "no data": (message([{"type": "input_audio", "input_audio": {}}]), "messages[0].content[0]", None),
    "no object": (message([{"type": "input_audio", "input_audio": "x"}]), "messages[0].content[0]", None),
    "local path": (message([url_part("/etc/passwd")]), "messages[0].content[0]", "media_not_allowed"),
    "file url": (message([url_part("file:///etc/passwd")]), "messages[0].content[0]", "media_not_allowed"),
    "loopback url": (message([url_part("http://127.0.0.1/a.wav")]), "messages[0].content[0]", "media_not_allowed"),
    "private url": (message([url_part("http://10.0.0.1/a.wav")]), "messages[0].content[0]", "media_not_allowed"),
    "data url, text": (message([url_part("data:audio/wav,xyz")]), "messages[0].content[0]", None),
    "long prompt": (message("x" * 1_000_000), "messages", "context_length_exceeded"),
    "long schema": (
        question(wav(), response_format={"type": "text", "x": "y" * 30_000}),
        "messages",
        "context_length_exceeded",
    ),
    "temperature": (question(wav(), temperature="hot"), "temperature", "invalid_value"),
    "temperature nan": (question(wav(), temperature=True), "temperature", "invalid_value"),
    "tokens": (question(wav(), max_tokens=10**6), "max_tokens", "invalid_value"),
    "n": (question(wav(), n=1000), "n", "invalid_value"),
    "stop": (question(wav(), stop=[""]), "stop", "invalid_value"),
    "grammar": (question(wav(), structured_outputs={"grammar": "x"}), "structured_outputs", "unsupported_field"),
    "huge grammar": (
        question(wav(), response_format={"type": "json_schema", "json_schema": {"schema": {"minItems": 10**8}}}),
        "response_format",
        "invalid_value",
    ),
    "negative size": (
        question(wav(), response_format={"type": "json_schema", "json_schema": {"schema": {"minLength": -5}}}),
        "response_format",
        "invalid_value",
    ),
    "wide schema": (
        question(wav(), structured_outputs={"json": {"properties": {f"x{i}": {} for i in range(1001)}}}),
        "structured_outputs",
        "invalid_value",
    ),
    "long name": (question(wav(), **{"x" * 900_000: 1}), "x" * 64, "unsupported_field"),
    "schema as text": (question(wav(), structured_outputs={"json": "{}"}), "structured_outputs", "invalid_value"),
    "deep schema": (question(wav(), structured_outputs={"json": nested(60)}), "structured_outputs", "invalid_value"),
    "format": (question(wav(), response_format={"type": "structural_tag"}), "response_format", "invalid_value"),
    "stream": (question(wav(), stream="yes"), "stream", "invalid_value"),
    "tools": (question(wav(), tools=[{"type": "function"}]), "tools", "unsupported_field"),
    "bias of a word": (question(wav(), logit_bias={"happy": 5}), "logit_bias", "invalid_value"),
    "bias of text": (question(wav(), logit_bias={"5": "x"}), "logit_bias", "invalid_value"),
    "usage": (question(wav(), stream=True, stream_options={"include_usage": 1}), "stream_options", "invalid_value"),
    "role of another case": (message("x", "User"), "messages[0].role", "invalid_value"),
    "role that is a list": (message("x", ["user"]), "messages[0].role", "invalid_value"),
    "content null": (message(None), "messages[0].content", "invalid_value"),
    "part of another case": (message([{"type": "Text", "text": "x"}]), "messages[0].content[0]", "invalid_value"),
}


@pytest.mark.parametrize("kind", REQUEST_ABUSE)
def test_bad_request_is_one_error_that_names_the_field(client, backend, kind):
    body, param, code = REQUEST_ABUSE[kind]
    before = len(backend.requests)
    response = client.post(CHAT, json=body)
    assert response.status_code == 400, response.text
    error = error_of(response)
    assert error["param"] == param and error["type"] == "invalid_request_error"
    assert code is None or error["code"] == code
    assert len(error["message"]) < 700 and len(backend.requests) == before
    assert_answers(client)


OPENAI_DEFAULTS = {  # what OpenAI's clients send for options that their user left alone
    "n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False, "top_logprobs": None, "stop": None,
    "logit_bias": {}, "response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "stream_options": None,
    "parallel_tool_calls": True, "service_tier": "auto", "store": False, "metadata": {}, "user": "someone",
    "modalities": ["text"], "audio": None, "prediction": None, "functions": None, "stream": False, "seed": None,
}  # fmt: skip
NUMBERS = (0, 0.0, -0.0, 1, 5e-324, 1e-310, 1e-30, 0.5, 2, 3, -1, 1e308, 10**30, -(2**63), 2**63, True, "1", [1], {})


def test_the_same_samples_are_the_same_bytes():
    samples = noise(0.1)
    first = wav_part(samples)
    time.sleep(1.1)  # a stamp of seconds would differ
    assert wav_part(samples) == first
    np.testing.assert_array_equal(samples_of(first), samples.astype(np.float32))


def test_defaults_of_openai_say_nothing(client, backend):
    assert client.post(CHAT, json=question(wav())).status_code == 200
    plain = backend.requests[-1]
    for options in ({k: v} for k, v in OPENAI_DEFAULTS.items() if k != "stream"):
        assert client.post(CHAT, json=question(wav(), **options)).status_code == 200, options
        assert as_json(backend.requests[-1]) == as_json(plain), options
    assert client.post(CHAT, json=question(wav(), **OPENAI_DEFAULTS)).status_code == 200


@pytest.mark.parametrize("field", sorted(chat_request.NUMBERS))
def test_numbers_are_taken_or_refused_by_name(client, backend, field):
    for value in NUMBERS:
        response = client.post(CHAT, json=question(text="x", **{field: value}))
        assert response.status_code in (200, 400), (value, response.text)
        if response.status_code == 400:
            assert error_of(response)["param"] == field
        else:
            sent = backend.requests[-1]
            assert sent["temperature"] == 0 or sent["temperature"] >= 0.01
            assert sent.get("top_p", 1) >= 0.01 and isinstance(sent.get(field, 0.0), int | float)
    for text in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999"):
        body = json.dumps(question(text="x", **{field: 7777})).replace("7777", text)
        response = client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 400


@pytest.mark.parametrize("seed", [0, 1, -1])
def test_every_seed_is_passed_on(client, backend, seed):
    assert client.post(CHAT, json=question(text="x", seed=seed)).status_code == 200
    assert backend.requests[-1]["seed"] == seed


@pytest.mark.parametrize("content", ["be brief", [TEXT], [TEXT, TEXT]], ids=["text", "part", "parts"])
def test_developer_is_the_system_whatever_the_content(client, backend, content):
    messages = [{"role": "developer", "content": content}, {"role": "user", "content": "x"}]
    assert client.post(CHAT, json={"messages": messages}).status_code == 200
    assert [m["role"] for m in backend.requests[-1]["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"messages": NaN}', b'{"seed": 1e999}', b'{"\\ud800": 1}', b'{"\xed\xa0\x80": 1}',
     b"[" * 100_000, b"null", b"[1]"],
    ids=lambda b: b[:10].hex(),
)  # fmt: skip
@pytest.mark.parametrize("route", [CHAT, EMOTION])
def test_what_is_no_json_object_is_a_400(client, route, body):
    response = client.post(route, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400 and error_of(response)
    assert_answers(client)


def test_nesting_is_never_the_servers_failure(client):
    request = json.dumps(question(wav()))[:-1]
    for depth in range(960, 1000):  # around the depth that the interpreter takes
        body = request + ', "metadata": ' + "[" * depth + "]" * depth + "}"
        response = client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (200, 400), response.text
    assert_answers(client)


def test_pairs_of_surrogates_are_text(client, backend):
    body = json.dumps(question(wav(), text="\U0001f600"))
    assert "\\ud83d" in body
    assert client.post(CHAT, content=body, headers={"Content-Type": "application/json"}).status_code == 200
    assert backend.requests[-1]["messages"][0]["content"][1]["text"] == "\U0001f600"


def test_other_content_types_routes_and_methods(client):
    assert client.post(CHAT, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post(EMOTION, content=b"RIFF", headers={"Content-Type": "audio/wav"}).status_code == 415
    for response, status in (
        (client.get("/nothing"), 404),
        (client.get(CHAT), 405),
        (client.post("/invocations"), 404),
    ):
        assert response.status_code == status and error_of(response)


def test_other_model_is_404(client):
    response = client.post(CHAT, json=question(wav(), model="gpt-4o"))
    assert response.status_code == 404 and error_of(response)["code"] == "model_not_found"
    assert client.post(CHAT, json=question(wav(), model="tiny")).status_code == 200
    assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"


def test_backend_gets_mono_float_wav_at_16_khz_and_known_fields_only(client, backend):
    data = wav(0.7, rate=44_100, channels=2)
    body = question(
        data, url_part("data:audio/wav;base64," + base64.b64encode(wav(seed=1)).decode()), user="me", seed=3
    )
    assert client.post(CHAT, json=body | {"max_completion_tokens": 7}).status_code == 200
    sent = backend.requests[-1]
    first, second = audios(sent)
    np.testing.assert_array_equal(first, load_audio(data).samples)  # nothing is lost on the way
    np.testing.assert_array_equal(second, load_audio(wav(seed=1)).samples)
    assert set(sent) == {"messages", "model", "temperature", "seed", "max_tokens"}
    assert (sent["temperature"], sent["max_tokens"], sent["model"]) == (0.0, 7, "tiny")
    assert [p["type"] for p in sent["messages"][0]["content"]] == ["audio", "audio", "text"]


def test_body_that_is_too_large_is_413_whether_it_says_so_or_not(client):
    big = b"x" * (5 * 2**20)
    declared = client.post(CHAT, content=big, headers={"Content-Type": "application/json"})
    chunked = client.post(CHAT, content=iter([big]), headers={"Content-Type": "application/json"})
    files = client.post(EMOTION, files=[("file", ("a.wav", big))])
    for response in (declared, chunked, files):
        assert response.status_code == 413 and error_of(response)["code"] == "body_too_big"
    assert_answers(client)


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        status, body = {"/a.wav": (200, wav()), "/big": (200, bytes(2**21))}.get(self.path, (302, b""))
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1/secret")
        self.end_headers()
        self.wfile.write(body)
        self.server.hosts.append(self.headers["Host"])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.hosts = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def fetching(site):
    port = site.server_port
    hosts = (f"localhost:{port}", f"127.0.0.1:{port}", f"rebound.test:{port}")
    with running(fake_app(Settings(model="tiny", audio=SMALL, media_hosts=hosts))) as client:
        client.port = port
        yield client


def fetch_error(client, url) -> dict:
    response = client.post(CHAT, json=question(url_part(url)))
    assert response.status_code == 400
    return error_of(response)


def test_listed_host_with_a_loopback_address_is_refused(fetching, site):
    for host in ("localhost", "127.0.0.1"):
        assert fetch_error(fetching, f"http://{host}:{fetching.port}/a.wav")["code"] == "media_not_allowed"
    assert site.hosts == []
    assert_answers(fetching)


def test_listed_host_that_resolves_to_a_private_address_is_refused(fetching, site, monkeypatch):
    async def resolve(host, port):
        return ["93.184.216.34", "169.254.169.254"]

    monkeypatch.setattr(remote, "resolve", resolve)
    error = fetch_error(fetching, f"http://rebound.test:{fetching.port}/a.wav")
    assert error["code"] == "media_not_allowed" and "private" in error["message"]
    assert site.hosts == []


def test_listed_host_is_fetched_but_no_redirect_is_followed(fetching, site, monkeypatch):
    monkeypatch.setattr(remote, "is_public", lambda address: True)
    good = fetching.post(CHAT, json=question(url_part(f"http://localhost:{fetching.port}/a.wav")))
    assert good.status_code == 200 and site.hosts[-1] == f"localhost:{fetching.port}"
    assert "redirect" in fetch_error(fetching, f"http://localhost:{fetching.port}/elsewhere")["message"]
    assert fetch_error(fetching, f"http://localhost:{fetching.port}/big")["code"] == "audio_too_big"
    for url in ("http://other.test/a.wav", "http://localhost/a.wav", f"http://u:p@localhost:{fetching.port}/a.wav"):
        assert fetch_error(fetching, url)["code"] == "media_not_allowed"  # not listed like that
    for url in ("http://[::1", "http://localhost:99999/", "ftp://localhost/a.wav", ""):
        assert fetch_error(fetching, url)["code"] == "media_not_allowed"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("192.168.0.1", False), ("172.16.0.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
        ("0.0.0.0", False), ("224.0.0.1", False), ("::1", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("::", False),
    ],
)  # fmt: skip
def test_public_addresses(address, public):
    assert remote.is_public(address) is public


def test_key_guards_every_route_but_health():
    with running(fake_app(Settings(model="tiny", api_key="käy-1"))) as client:
        assert client.get("/health").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": b"Basic k\xc3\xa4y-1"}):
            for method, route in (("POST", CHAT), ("POST", EMOTION), ("GET", "/v1/models"), ("GET", "/metrics"),
                                  ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/nothing")):  # fmt: skip
                response = client.request(method, route, headers=headers)
                assert response.status_code == 401 and error_of(response)["code"] == "invalid_api_key"
        good = {"Authorization": "Bearer käy-1".encode()}
        assert client.post(CHAT, json=question(wav()), headers=good).status_code == 200


def test_without_a_key_only_localhost_is_answered(client):
    response = client.get("/v1/models", headers={"Host": "attacker.test"})
    assert response.status_code == 403 and error_of(response)["code"] == "host_not_allowed"
    for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_full_server_says_when_to_come_back():
    backend = FakeBackend(delay=0.5)
    with running(fake_app(Settings(model="tiny", concurrency=1, queue=1), backend)) as client:
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            futures = [threads.submit(client.post, CHAT, json=question(wav())) for _ in range(4)]
            responses = [f.result() for f in futures]
        statuses = sorted(r.status_code for r in responses)
        assert statuses == [200, 200, 429, 429]
        full = next(r for r in responses if r.status_code == 429)
        assert int(full.headers["retry-after"]) >= 1 and error_of(full)["type"] == "rate_limit_error"
        assert_answers(client)


def hang_up_after(client: httpx.Client, body: bytes, sent: int, then=lambda: None) -> None:
    """Sends the first bytes of a request's body, waits for `then`, and closes the connection."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
        connection.sendall(head.encode() + body[:sent])
        then()


def test_client_that_hangs_up_stops_the_work_and_gives_its_place_back():
    backend = FakeBackend(delay=60)
    app = fake_app(Settings(model="tiny", concurrency=1, queue=1), backend)
    body = json.dumps(question(wav())).encode()
    with running(app) as client:
        hang_up_after(client, body, len(body) // 2)  # midway through the body
        wait_until(lambda: app.state.gate.admitted == 0)
        assert not backend.requests
        hang_up_after(
            client, body, len(body), lambda: wait_until(lambda: app.state.gate.working == 1 and backend.requests)
        )
        wait_until(lambda: app.state.gate.admitted == app.state.gate.working == 0)
        assert backend.cancelled == 1
        backend.delay = 0
        assert_answers(client)
        assert b"fas_disconnects_total 2.0" in client.get("/metrics").content


def test_client_that_hangs_up_while_it_waits_is_forgotten():
    backend = FakeBackend(delay=60)
    app = fake_app(Settings(model="tiny", concurrency=1, queue=5), backend)
    body = json.dumps(question(wav())).encode()
    gate = app.state.gate

    def second():
        wait_until(lambda: len(backend.requests) == 1)
        hang_up_after(client, body, len(body), lambda: wait_until(lambda: gate.admitted == 2))
        wait_until(lambda: gate.admitted == 1)

    with running(app) as client:
        hang_up_after(client, body, len(body), second)
        wait_until(lambda: gate.admitted == 0)
        assert len(backend.requests) == 1


def test_stream_passes_events_on(client):
    response = client.post(CHAT, json=question(wav(), stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done = events_of(response.text)
    assert [json.loads(e)["choices"][0]["delta"]["content"] for e in events] == ["0 ", "1 ", "2 "] and done == "[DONE]"


def test_stream_that_is_refused_has_a_status_and_one_that_breaks_an_error_event(client):
    refused = client.post(CHAT, json=question(wav(), text="refuse", stream=True))
    assert refused.status_code == 400 and error_of(refused)["message"] == "refused by the model"
    broken = client.post(CHAT, json=question(wav(), text="break", stream=True))
    *_, error, done = events_of(broken.text)
    assert json.loads(error)["error"]["message"] == "broken midway" and done == "[DONE]"
    assert_answers(client)


def test_hanging_up_on_a_stream_stops_it():
    backend = FakeBackend(delay=0.02)
    app = fake_app(Settings(model="tiny", concurrency=1, queue=0), backend)
    with running(app) as client:
        with client.stream("POST", CHAT, json=question(wav(), stream=True, max_tokens=1000)) as response:
            pieces = response.iter_raw()
            next(pieces)
            assert app.state.gate.working == 1
            assert client.post(CHAT, json=question(wav())).status_code == 429
        wait_until(lambda: app.state.gate.admitted == 0)
        assert backend.cancelled == 1
        assert_answers(client)


def test_slow_answer_is_504():
    with running(fake_app(Settings(model="tiny", request_timeout=0.3), FakeBackend(delay=60))) as client:
        response = client.post(CHAT, json=question(wav()))
        assert response.status_code == 504 and error_of(response)["code"] == "timeout"


def test_slow_body_is_408():
    with running(fake_app(Settings(model="tiny", body_timeout=0.3))) as client:
        with socket.create_connection(("127.0.0.1", client.base_url.port)) as connection:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
            connection.sendall(head.encode())
            assert b"408" in connection.recv(100)


def test_failure_inside_is_a_500_without_its_text(caplog):
    class Broken(FakeBackend):
        async def chat(self, request):
            raise RuntimeError("secret detail")

    with running(fake_app(backend=Broken())) as client:
        response = client.post(CHAT, json=question(wav()))
        assert response.status_code == 500 and error_of(response)["type"] == "server_error"
        assert "secret" not in response.text
        assert client.get("/health").status_code == 200
        assert 'fas_requests_total{route="/v1/chat/completions",status="500"} 1.0' in client.get("/metrics").text


def test_health_follows_the_backend():
    backend = FakeBackend()
    with running(fake_app(backend=backend)) as client:
        assert client.get("/health").json() == {"status": "ok"}
        backend.up = False
        assert client.get("/health").status_code == 503
    assert backend.closed


def test_audio_and_text_are_never_logged(client, caplog):
    caplog.set_level(logging.DEBUG)
    data = wav(seed=7)
    client.post(CHAT, json=question(data, text="private words"))
    client.post(CHAT, json=question(data[:1000], text="private words"))
    client.post(EMOTION, files=[("file", ("private words.wav", data))])
    logged = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("httpx"))
    assert "POST /v1/emotion 200" in logged
    assert "private" not in logged and base64.b64encode(data).decode()[100:150] not in logged


def test_metrics_count_what_was_answered_and_refused():
    with running(fake_app(listener=FakeListener())) as client:
        client.post(CHAT, json=question(wav()))
        client.post(CHAT, json=question(b"no audio"))
        client.post(EMOTION, files=[("file", wav(2.0)), ("file", b"no audio")])
        text = client.get("/metrics").text
    for line in (
        'fas_requests_total{route="/v1/chat/completions",status="200"} 1.0',
        'fas_refused_total{code="invalid_audio"} 1.0', 'fas_clips_total{outcome="answered"} 1.0',
        'fas_clips_total{outcome="error"} 1.0', 'fas_words_total{outcome="known"} 1.0', "fas_audio_seconds_total 2.0", 'fas_tokens_total{kind="prompt"} 5.0',
        "fas_working 0.0",
    ):  # fmt: skip
        assert line in text
