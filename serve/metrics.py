"""Counters for Prometheus; never anything about what was said."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fas_serve.gate import Gate

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The figures of one gateway, in a registry of its own."""

    def __init__(self):
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("fas_requests", "answered requests", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "fas_request_seconds",
            "from the request to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.refused = Counter("fas_refused", "requests answered by an error", ["code"], registry=registry)
        self.audio = Counter("fas_audio_seconds", "audio of /v1/emotion", registry=registry)
        self.clips = Counter("fas_clips", "clips of /v1/emotion", ["outcome"], registry=registry)
        self.words = Counter("fas_words", "clips with speech of /v1/emotion", ["outcome"], registry=registry)
        self.tokens = Counter("fas_tokens", "tokens of chat requests", ["kind"], registry=registry)
        self.disconnects = Counter("fas_disconnects", "clients that hung up before their answer", registry=registry)

    def watch(self, gate: Gate) -> None:
        for name, text in (("working", "requests worked on now"), ("admitted", "requests in the server now")):
            Gauge(f"fas_{name}", text, registry=self.registry).set_function(lambda n=name: getattr(gate, n))

    def text(self) -> bytes:
        return generate_latest(self.registry)
