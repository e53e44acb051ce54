"""The load script, for two seconds, on stand-ins: it finds no lost request, and finds those that are."""

import asyncio

from serving import FakeBackend, FakeListener, fake_app, running

from benchmarks.load import good_files, load
from fas_serve.settings import Settings


def report(app, route: str, clients: int = 64, seconds: float = 2.0) -> dict:
    with running(app) as client:
        result = asyncio.run(load(str(client.base_url), route, clients, seconds, good_files(0.5, None)))
        assert client.get("/health").status_code == 200
        assert app.state.gate.admitted == 0
    return result


def test_64_clients_with_bad_files_lose_nothing():
    for route in ("emotion", "chat"):
        result = report(fake_app(backend=FakeBackend(delay=0.01)), route)
        assert result["lost"] == 0 and result["error_rate"] == 0, result
        assert (
            result["requests"] >= 64 and result["answered"] > 32 and result["bad_files_refused"] > 0
        )  # each client asked
        assert result["latency_s"]["p50"] <= result["latency_s"]["p99"]


def test_full_server_is_asked_again():
    app = fake_app(Settings(concurrency=2, queue=2), backend=FakeBackend(delay=0.05))
    result = report(app, "emotion", clients=16, seconds=1.0)
    assert result["full_and_asked_again"] > 0 and result["lost"] == 0


def test_what_is_lost_is_found():
    class Broken(FakeListener):
        def __call__(self, questions):
            raise RuntimeError("broken")

    result = report(fake_app(listener=Broken(), fas_only=True), "emotion", clients=4, seconds=0.5)
    assert result["lost"] > 0 and result["answered"] == 0
    assert result["lost_how"]["status 500 to a good file"] == result["lost"]
