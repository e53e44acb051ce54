"""A stand-in for an OpenAI-compatible endpoint: answers what a script says, keeps what it was asked."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text, logprobs: dict[str, float] | None = None, before: str = "", **message) -> dict:
    """A chat completion; `logprobs` of the first token after `before`, the first entry being the one chosen."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    if logprobs:
        top = [{"token": token, "logprob": value, "bytes": None} for token, value in logprobs.items()]
        step = {**top[0], "top_logprobs": top}
        first = [{"token": before, "logprob": -0.1, "top_logprobs": []}] if before else []
        choice["logprobs"] = {"content": [*first, step]}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "standin", "choices": [choice]}


def error(message: str, param: str | None = None) -> dict:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}}


class StandIn:
    """Attributes: asked: bodies of the requests. keys: their Authorization headers. url: with /v1."""

    def __init__(self, script: Callable):
        self.script, self.asked, self.keys, self.times = script, [], [], []
        self._lock = threading.Lock()

    def reply(self, body: dict, key: str | None):
        with self._lock:
            self.asked.append(body)
            self.keys.append(key)
            self.times.append(time.monotonic())
            number = len(self.asked)
        return self.script(number, body)


@contextmanager
def standin(script: Callable):
    """Serves `script(number from 1, body) -> dict | (status, headers, dict | str)` on a port of this machine."""
    server = StandIn(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = server.reply(body, self.headers.get("Authorization"))
            status, headers, content = reply if isinstance(reply, tuple) else (200, {}, reply)
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            try:
                self.send_response(status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(data)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client has gone

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
