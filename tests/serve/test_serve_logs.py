"""Nothing of a request is in any log or output: a word in every field of every route, and a search for it."""

import json
import logging
import socket

import pytest
from serving import FakeBackend, FakeListener, fake_app, part, question, running, url_part, wav

from fas_serve.launch import configure_logging
from fas_serve.settings import Settings

CANARY = "canarybird"
CHAT, EMOTION = "/v1/chat/completions", "/v1/emotion"


class FailingListener(FakeListener):
    """Fails with what it heard, as a library may."""

    def __call__(self, questions):
        if any(q.audio.duration == 0.75 for q in questions):
            raise RuntimeError(f"{CANARY} was said")
        return super().__call__(questions)


class FailingBackend(FakeBackend):
    async def chat(self, request: dict) -> dict:
        if request.get("seed") == 500:
            raise ValueError(f"cannot render {request['messages']}")
        return await super().chat(request)


def chat_requests() -> list[dict]:
    asked = question(wav(), text=CANARY)
    fields = (
        "model",
        "stop",
        "user",
        "metadata",
        "response_format",
        "structured_outputs",
        "logit_bias",
        "temperature",
        "tools",
    )
    whole = [asked | {field: value} for field in fields for value in (CANARY, [CANARY], {CANARY: CANARY})]
    schema = {"type": "json_schema", "json_schema": {"name": CANARY, "schema": {"const": CANARY}}}
    return [
        *whole, asked, asked | {"seed": 500}, asked | {"stream": True}, asked | {"response_format": schema}, asked | {CANARY: 1},
        {"messages": [{"role": CANARY, "content": CANARY}]}, {"messages": [{"role": "user", "content": [{"type": CANARY}]}]},
        question(url_part(f"http://{CANARY}.example/{CANARY}.wav?{CANARY}"), text=CANARY),
        question(url_part(f"file:///{CANARY}")), question(CANARY.encode()),
    ]  # fmt: skip


def test_no_word_of_a_request_is_told(caplog, capfd):
    configure_logging("info")
    caplog.set_level(logging.DEBUG)
    settings = Settings(model="tiny", media_hosts=(f"{CANARY}.example",))
    with running(fake_app(settings, FailingBackend(), FailingListener())) as client:
        for body in chat_requests():
            assert client.post(f"{CHAT}?{CANARY}={CANARY}", json=body, headers={"X-Canary": CANARY}).status_code < 504
        for clip in (wav(0.5), wav(0.75), CANARY.encode()):
            for route in (EMOTION, f"{EMOTION}?{CANARY}"):
                files = [("file", (f"{CANARY}.wav", clip, f"audio/{CANARY}"))]
                for data in (
                    {},
                    {"words": "true"},
                    {CANARY: CANARY},
                    {"language": CANARY},
                    {"timeline": "true", "stream": "true"},
                ):
                    client.post(route, files=files, data=data)
                client.post(route, json={"audio": [part(clip)], "words": True})
                client.post(route, json={"audio": f"data:audio/{CANARY};base64,{CANARY}"})
        for path in (f"/{CANARY}", f"/v1/{CANARY}?{CANARY}", f"/docs?{CANARY}"):
            for method in ("GET", "POST", CANARY.upper()):
                client.request(method, path, content=json.dumps({CANARY: CANARY}))
        for raw in (
            f"{CANARY}\r\n\r\n",
            f"GET /{CANARY} HTTP/9\r\n{CANARY}\r\n\r\n",
            f"GET / HTTP/1.1\r\n{CANARY}: \x01\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=10) as connection:
                connection.sendall(raw.encode())
                connection.recv(1000)
        assert CANARY not in client.get("/metrics").text
    formatter = logging.Formatter("%(message)s")
    ours = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore", "python_multipart"))]
    told = "\n".join(map(formatter.format, ours)) + "".join(capfd.readouterr())
    assert "POST /v1/emotion 200" in told and "RuntimeError" in told and "ValueError" in told
    assert CANARY not in told.lower()


@pytest.mark.parametrize("name", ["python_multipart", "uvicorn", "httpx", "asyncio"])
def test_libraries_that_tell_of_requests_tell_nothing_below_warnings(name):
    configure_logging("info")
    assert logging.getLogger(name).getEffectiveLevel() >= logging.WARNING
