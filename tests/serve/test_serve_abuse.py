"""Issue 3's list of abuse against the real thing: `python -m serve` with vLLM behind it, over HTTP.

The server starts once. After every case a request with audio is answered, by the engine process that was there at the start.
The stand-ins of test_serve_gateway.py cover more kinds of bad requests, in less time.
"""

import contextlib
import http.server
import importlib.util
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import psutil
import pytest
from repository import ROOT
from serving import encoded, part, question, started_server, url_part, wait_until, wav
from test_serve_gateway import bomb, forged_rate, ten_minutes

pytestmark = pytest.mark.slow
CHAT, EMOTION = "/v1/chat/completions", "/v1/emotion"
KEY = "the key"
# A host of the open internet cannot be had here: this address plays one, every other keeps its meaning.
PUBLIC = "127.0.0.2"
PLAY_PUBLIC = f"""
import ipaddress
real = ipaddress.IPv4Address.is_global
ipaddress.IPv4Address.is_global = property(lambda self: str(self) == {PUBLIC!r} or real.fget(self))
"""


class Site(http.server.BaseHTTPRequestHandler):
    """Audio under /a.wav; /elsewhere leads to the audio of the loopback address."""

    def do_GET(self):  # noqa: N802
        self.server.asked.append(self.path)
        self.send_response(302 if self.path == "/elsewhere" else 200)
        self.send_header("Location", self.server.secret)
        self.end_headers()
        self.wfile.write(wav())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def site(address: str, secret: str = "") -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer((address, 0), Site) as server:
        server.asked, server.secret, server.url = [], secret, f"http://{address}:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Served:
    """The running server, and the sites that it might be led to."""

    def __init__(self, client: httpx.Client, process, inside, outside):
        self.client, self.process, self.inside, self.outside = client, process, inside, outside
        self.engine = self.engines()

    def engines(self) -> dict[int, float]:
        """Number and time of birth of every process of vLLM."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return {p.pid: p.create_time() for p in family if not any("container_worker" in word for word in p.cmdline())}

    def post(self, route: str, body: dict | bytes, key: str = KEY) -> httpx.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        return self.client.post(route, content=data, headers=headers)

    def error(self, route: str, body: dict | bytes, status: int = 400, key: str = KEY) -> dict:
        """Of a request that is refused with this status."""
        response = self.post(route, body, key)
        assert response.status_code == status, response.text[:500]
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and 0 < len(error["message"]) < 700
        return error

    @contextlib.contextmanager
    def sent(self, route: str, body: bytes, length: int) -> Iterator[socket.socket]:
        """A connection over which the first bytes of a request went; closed at the end."""
        head = (
            f"POST {route} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.client.base_url.port)) as connection:
            connection.sendall(head.encode() + body[:length])
            yield connection

    def figure(self, name: str, label: str = "") -> float:
        """One of the figures of /metrics."""
        lines = self.client.get("/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name) and label in line)

    def finished(self) -> float:
        """Answers that vLLM wrote to the last token that was allowed."""
        return self.figure("vllm:request_success_total", 'finished_reason="length"')

    def assert_unharmed(self, route: str) -> None:
        """The next request is answered, by the same processes."""
        good = question(wav(), max_tokens=2) if route == CHAT else {"audio": part(wav())}
        response = self.post(route, good)
        assert response.status_code == 200, response.text
        if route == EMOTION:
            assert response.json()["data"][0]["language_model"]["label"]
        assert self.engines() == self.engine


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    from test_serve_vllm import complete, plugin_path
    from test_vllm_plugin import save_model

    directory = save_model(tmp_path_factory.mktemp("vllm") / "model")
    complete(directory)
    hook = tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(PLAY_PUBLIC)
    path = os.pathsep.join([str(hook), plugin_path(tmp_path_factory), str(ROOT)])
    with site("127.0.0.1") as inside, site(PUBLIC, f"{inside.url}/a.wav") as outside:
        hosts = [word for each in (inside, outside) for word in ("--allowed-media-hosts", each.url[7:])]
        options = [
            "--backend",
            "vllm",
            "--enforce-eager",
            "--speech-threshold",
            "0",
            "--max-audios",
            "1",
            "--max-clips",
            "1",
        ]
        options += ["--name", "tiny"]
        options += [*hosts, "--allowed-media-hosts", "10.0.0.1", "--max-bytes", str(2**20)]
        environment = {"PYTHONPATH": path, "FAS_API_KEY": KEY}
        with started_server([str(directory), *options], environment, python=sys.executable) as (client, process):
            client.headers["Authorization"] = f"Bearer {KEY}"
            served = Served(client, process, inside, outside)
            assert len(served.engine) > 1
            yield served


def silence() -> bytes:
    return encoded(np.zeros(16_000, np.int16), 16_000)


BAD_AUDIO = {
    "empty": (lambda: b"", "invalid_audio"),
    "silent": (silence, "silent_audio"),
    "ten minutes": (ten_minutes, "invalid_audio"),
    "corrupt": (lambda: wav()[:2000] + os.urandom(100), "invalid_audio"),
    "forged rate": (lambda: forged_rate(2_000_000_000), "invalid_audio"),
    "decompression bomb": (lambda: bomb(45), "invalid_audio"),
}


def chat_about(data: bytes) -> dict:
    return question(data, max_tokens=2)


def clip_of(data: bytes) -> dict:
    return {"audio": part(data)}


@pytest.mark.parametrize("route", [CHAT, EMOTION])
@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_bad_audio(served, kind, route):
    make, code = BAD_AUDIO[kind]
    data = make()
    if route == EMOTION and kind in ("silent", "ten minutes", "decompression bomb"):
        assert (
            served.post(route, clip_of(data)).status_code == 200
        )  # FAS answers silence and recordings, a window at a time
        return
    error = served.error(route, chat_about(data) if route == CHAT else clip_of(data))
    assert error["code"] == code and error["param"] == ("messages[0].content[0]" if route == CHAT else "audio[0]")
    served.assert_unharmed(route)


BAD_REQUESTS = {
    "placeholder as text": (CHAT, question(wav(), text="<|audio|>"), "placeholder_in_text"),
    "placeholder and no audio": (CHAT, {"messages": [{"role": "user", "content": "<|audio|>"}]}, "placeholder_in_text"),
    "audio without placeholder": (CHAT, question(wav(), chat_template="{{ 'no placeholder' }}"), "unsupported_field"),
    "two audios": (CHAT, question(wav(), wav(seed=1)), "too_many_audios"),
    "1 MB prompt": (CHAT, question(wav(), text="x " * 500_000), "context_length_exceeded"),
    "prompt beyond the context": (CHAT, question(wav(), text="x " * 20_000), "context_length_exceeded"),
    "malformed JSON": (CHAT, json.dumps(question(wav())).encode()[:-1], "malformed_json"),
    "half a character": (CHAT, json.dumps(question(wav(), text="\ud800")).encode(), "malformed_json"),
    "no number": (CHAT, json.dumps(question(wav(), seed=1)).replace(": 1", ": 1e999").encode(), "malformed_json"),
    "schema without end": (
        CHAT,
        question(wav(), response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}),
        "invalid_grammar",
    ),
    "emotion, placeholder as text": (EMOTION, clip_of(wav()) | {"language": "<|audio|>"}, "invalid_value"),
    "emotion, placeholder as audio": (EMOTION, {"audio": "<|audio|>"}, "media_not_allowed"),
    "emotion, template": (EMOTION, clip_of(wav()) | {"chat_template": "{{ 'no placeholder' }}"}, "invalid_value"),
    "emotion, two audios": (EMOTION, {"audio": [part(wav()), part(wav(seed=1))]}, "too_many_audios"),
    "emotion, 1 MB prompt": (EMOTION, clip_of(wav()) | {"text": "x " * 500_000}, "invalid_value"),
    "emotion, malformed JSON": (EMOTION, json.dumps(clip_of(wav())).encode()[:-1], "malformed_json"),
}


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_bad_request(served, kind):
    route, body, code = BAD_REQUESTS[kind]
    assert served.error(route, body)["code"] == code
    served.assert_unharmed(route)


@pytest.mark.parametrize("route", [CHAT, EMOTION])
def test_addresses_inside_and_redirects(served, route):
    """All these hosts are listed; what is refused is where they lead."""

    def body(url: str) -> dict:
        return question(url_part(url), max_tokens=2) if route == CHAT else {"audio": url}

    inside, outside = served.inside, served.outside
    loopback = served.error(route, body(f"{inside.url}/a.wav"))
    assert loopback["code"] == "media_not_allowed" and "loopback" in loopback["message"]
    served.assert_unharmed(route)
    assert served.error(route, body("http://10.0.0.1/a.wav"))["code"] == "media_not_allowed"
    served.assert_unharmed(route)
    redirect = served.error(route, body(f"{outside.url}/elsewhere"))
    assert redirect["code"] == "media_unavailable" and "redirect" in redirect["message"]
    served.assert_unharmed(route)
    assert outside.asked[-1] == "/elsewhere" and not inside.asked
    assert served.post(route, body(f"{outside.url}/a.wav")).status_code == 200  # what is refused is not the host


@pytest.mark.parametrize("route", [CHAT, EMOTION])
def test_wrong_key(served, route):
    body = chat_about(wav()) if route == CHAT else clip_of(wav())
    for key in ("wrong", KEY[:-1]):
        assert served.error(route, body, 401, key)["code"] == "invalid_api_key"
    served.assert_unharmed(route)


LONG = {"max_tokens": 1000, "logit_bias": {"2": -100}}  # without the token that ends an answer: seconds of work


@pytest.mark.parametrize("route", [CHAT, EMOTION])
def test_client_that_hangs_up_in_its_request(served, route):
    body = json.dumps(chat_about(wav(5)) if route == CHAT else clip_of(wav(5))).encode()
    before = served.figure("fas_disconnects_total")
    with served.sent(route, body, len(body) // 2):
        pass
    wait_until(lambda: served.figure("fas_disconnects_total") == before + 1, 60)
    served.assert_unharmed(route)


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_hangs_up_on_its_answer(served, stream):
    body = json.dumps(question(wav(), stream=stream, **LONG)).encode()
    before = served.finished()
    with served.sent(CHAT, body, len(body)) as connection:
        if stream:
            assert b"200" in connection.recv(4096)  # it has begun to answer
        else:
            wait_until(lambda: served.figure("vllm:num_requests_running") == 1, 60)
    wait_until(lambda: served.figure("vllm:num_requests_running") == 0, 60)
    if not stream:  # a stream of the tiny model may be at its end before the hang-up is seen
        assert served.finished() == before  # nobody waited for the rest
    assert served.figure("fas_working") == 0
    served.assert_unharmed(CHAT)


def test_engine_is_the_one_of_the_start(served):
    """Last: every process of vLLM, the engine among them, lived through all of it."""
    assert served.engines() == served.engine
    assert any("EngineCore" in " ".join(psutil.Process(pid).cmdline()) for pid in served.engine)
    assert served.client.get("/health").status_code == 200
