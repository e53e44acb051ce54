"""What a connection may cost before a key is shown: raw bytes against the gateway's own protocol."""

import contextlib
import json
import socket
from dataclasses import replace

import httpx
import pytest
from serving import FakeBackend, fake_app, part, question, running, wait_until, wav

from fas_serve.settings import ConnectionLimits, Settings

KEY = "the key"
HURRIED = ConnectionLimits(head_seconds=0.5, write_seconds=0.5, linger_seconds=0.5, connections=8)
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def client():
    with running(fake_app(Settings(model="tiny", api_key=KEY)), key=KEY, limits=HURRIED) as client:
        yield client


@pytest.fixture(autouse=True)
def answers_honest_clients(client):
    yield
    assert client.post("/v1/emotion", json={"audio": part(wav())}).status_code == 200


@contextlib.contextmanager
def connected(client, source: str = "127.0.0.1"):
    with socket.create_connection(
        ("127.0.0.1", client.base_url.port), timeout=10, source_address=(source, 0)
    ) as connection:
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """What the server sends until it closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            data += piece
    return data


def answer_to(client, data: bytes) -> bytes:
    with connected(client) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return all_of(connection)


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def post(route: str = "/v1/emotion", headers: bytes = b"", key: bool = True) -> bytes:
    authorization = f"Authorization: Bearer {KEY}\r\n".encode() if key else b""
    return (
        f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
        + authorization
        + headers
    )


HEADS = {
    "one huge header": (GET + b"X: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    "a huge header that never ends": (GET + b"X: " + b"a" * 2**21, 431),
    "many headers": (GET + b"".join(b"X%d: a\r\n" % i for i in range(500)) + b"\r\n", 431),
    "long address": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "long query": (b"GET /health?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "two lengths": (post(headers=b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), 400),
    "length and chunks": (post(headers=b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), 400),
    "length of letters": (post(headers=b"Content-Length: many\r\n\r\n{}"), 400),
    "length below zero": (post(headers=b"Content-Length: -1\r\n\r\n{}"), 400),
    "endless length": (post(headers=b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}"), 400),
    "no HTTP": (b"\x16\x03\x01" + bytes(500), 400),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "folded header": (GET + b"X: a\r\n b\r\n\x00: c\r\n\r\n", 400),
    "other coding": (post(headers=b"Transfer-Encoding: gzip\r\n\r\n"), 501),
    "size of a chunk": (post(headers=b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), 400),
    "chunk extension": (post(headers=b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 2**20), 431),
    "trailers": (post(headers=b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 2**17), 431),
    "body in crumbs": (post(headers=b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 20_000), 413),
    "gzip": (post(headers=b"Content-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n\x1f\x8b"), 415),
    "no key, endless body": (post(headers=b"Transfer-Encoding: chunked\r\n\r\n", key=False) + b"200000\r\n" + b"a" * 2**20, 401),
    "websocket": (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", 401),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADS)
def test_what_is_too_much_or_no_http_is_one_error_and_closes(client, kind):
    data, expected = HEADS[kind]
    answer = answer_to(client, data)
    assert status(answer) == expected
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert set(error) == {"message", "type", "param", "code"} and len(answer) < 2000


@pytest.mark.parametrize("sent", [b"", b"G", GET, GET + b"X: a"], ids=["nothing", "a letter", "half", "more"])
def test_a_head_that_does_not_come_closes_the_connection(client, sent):
    assert answer_to(client, sent) == b""


def test_a_head_must_come_after_an_answer_too(client):
    with connected(client) as connection:
        connection.sendall(GET + b"\r\n")
        assert status(connection.recv(65_536)) == 200
        connection.sendall(b"GET /hea")
        assert all_of(connection) == b""


def test_of_pipelined_requests_the_first_is_answered(client):
    answer = answer_to(client, (GET + b"\r\n") * 1000)
    assert answer.count(b"HTTP/1.1 200") == 1


def test_pipelined_bytes_are_not_kept_and_hanging_up_is_seen():
    backend = FakeBackend(delay=60)
    with running(fake_app(backend=backend), limits=replace(HURRIED, pipelined_bytes=1000)) as client:
        body = json.dumps(question(wav())).encode()
        request = post("/v1/chat/completions", b"Content-Length: %d\r\n\r\n" % len(body)) + body  # fmt: skip
        for sent in (b"", GET + b"\r\n"):  # nothing, and a request, behind it; then the client goes
            with connected(client) as connection:
                before = len(backend.requests)
                connection.sendall(request + sent)
                wait_until(lambda n=before: len(backend.requests) > n)
            wait_until(lambda n=len(backend.requests): backend.cancelled == n)
        with connected(client) as connection:
            connection.sendall(request)
            wait_until(lambda: len(backend.requests) == 3)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(1000):
                    connection.sendall(GET * 100)
            assert all_of(connection) == b""
        wait_until(lambda: backend.cancelled == 3)


def test_keep_alive_and_continue_work(client):
    with connected(client) as connection:
        for _ in range(3):
            connection.sendall(GET + b"\r\n")
            assert status(connection.recv(65_536)) == 200
        connection.sendall(post(headers=b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"))
        assert status(connection.recv(65_536)) == 100
        connection.sendall(b"{}")
        assert status(connection.recv(65_536)) == 400
        connection.sendall(post(headers=b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", key=False))
        assert status(connection.recv(65_536)) == 401  # and no word to go on


def test_answer_that_is_not_read_is_given_up():
    backend = FakeBackend()
    with running(fake_app(Settings(model="tiny", max_tokens=10**6), backend), limits=HURRIED) as client:
        body = json.dumps(question(text="x", stream=True, max_tokens=10**6)).encode()
        request = post("/v1/chat/completions", b"Content-Length: %d\r\n\r\n" % len(body))  # fmt: skip
        with connected(client) as connection:
            connection.sendall(request + body)
            wait_until(lambda: backend.cancelled == 1)
            assert len(all_of(connection)) > 0


def asked_again(client, path: str) -> httpx.Response:
    """A connection that waits may be closed while the next request is on its way: clients then open another."""
    try:
        return client.get(path)
    except (httpx.ReadError, httpx.RemoteProtocolError):
        return client.get(path)


def test_idle_connections_make_room_for_new_ones(client):
    patient = replace(HURRIED, head_seconds=60)
    with running(fake_app(), limits=patient) as client, contextlib.ExitStack() as stack:
        taken = [stack.enter_context(connected(client, f"127.0.0.{2 + i % 3}")) for i in range(60)]
        for _ in range(3):
            assert asked_again(client, "/health").status_code == 200
        open_still = 0
        for connection in taken:
            connection.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                open_still -= connection.recv(1) == b""
            open_still += 1
        assert open_still < 8


def test_one_address_leaves_connections_to_others(client):
    with running(fake_app(backend=FakeBackend(delay=60)), limits=replace(HURRIED, head_seconds=60)) as client:
        body = json.dumps(question(text="x")).encode()
        request = post("/v1/chat/completions", b"Content-Length: %d\r\n\r\n" % len(body))  # fmt: skip
        with contextlib.ExitStack() as stack:
            for _ in range(20):  # all at work: none is idle
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    stack.enter_context(connected(client, "127.0.0.2")).sendall(request + body)
            assert client.get("/health").status_code == 200
