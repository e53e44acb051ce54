"""What one connection may cost before anybody has shown a key: sizes, times, and how many connections there are.

uvicorn's h11 bounds what is not finished yet, and nothing else: a head that comes a byte a minute, a pipeline of
requests, chunks of a byte, an answer that is never read. Each has its limit here.
"""

import functools
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fas_serve.errors import APIError
from fas_serve.settings import ConnectionLimits

KEEP_ALIVE = 75  # seconds; longer than clients keep a connection, or some would ask just as it is closed
CODES = {413: "body_too_big", 431: "headers_too_big"}
NOT_HTTP = "not a request of HTTP/1.1 that this server takes"


def connection_options(limits: ConnectionLimits) -> dict:
    """Options of `uvicorn.Config`: this protocol, no websockets, no line about what a client sent."""
    return dict(
        http=functools.partial(BoundedProtocol, limits=limits), ws="none", log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=KEEP_ALIVE,
    )  # fmt: skip


def raise_file_limit() -> None:
    """As many open files as this user may have: connections and uploads need one each. Windows has no such limit."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class BoundedConnection(h11.Connection):
    """h11 that also bounds what is finished: heads, and bodies in crumbs.

    Attributes:
        status: of the answer to what was wrong last.
    """

    def __init__(self, limits: ConnectionLimits):
        super().__init__(h11.SERVER, limits.head_bytes)
        self.limits, self.status = limits, 400
        self._pieces = self._bytes = 0

    def next_event(self):
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                self._check_head(event)
                self._pieces = self._bytes = 0
            elif isinstance(event, h11.Data):
                self._check_pieces(event)
            return event
        except h11.RemoteProtocolError as error:
            self.status = error.error_status_hint
            raise

    def _check_head(self, request: h11.Request) -> None:
        size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
        if len(request.headers) > self.limits.headers or size > self.limits.head_bytes:
            raise h11.RemoteProtocolError("head too big", 431)
        names = {name for name, _ in request.headers}
        if {b"content-length", b"transfer-encoding"} <= names:  # a proxy may take the other one for the truth
            raise h11.RemoteProtocolError("two lengths")

    def _check_pieces(self, data: h11.Data) -> None:
        self._pieces, self._bytes = self._pieces + 1, self._bytes + len(data.data)
        if self._pieces > self.limits.free_pieces and self._bytes < self._pieces * self.limits.piece_bytes:
            raise h11.RemoteProtocolError("body in crumbs", 413)


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 under `ConnectionLimits`."""

    def __init__(self, *arguments, limits: ConnectionLimits, **options):
        super().__init__(*arguments, **options)
        self.limits, self.conn = limits, BoundedConnection(limits)
        self.idle_since = 0.0
        self._head_timer = self._write_timer = self._linger_timer = None
        self._pipelined, self._closing = 0, False

    @property
    def is_idle(self) -> bool:
        """No request is at work."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._await_head()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._write_timer, self._linger_timer):
            _cancel(timer)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if not self.is_idle and self.conn.their_state is not h11.SEND_BODY:
            return self._drop_pipelined(len(data))
        if self.is_idle and self._head_timer is None and self.conn.their_state is h11.IDLE:
            self._await_head()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self._closing:
            return
        if self.is_idle:
            if self._linger_timer and self.conn.their_state is not h11.SEND_BODY:
                self._keep_alive()
            return
        for timer in (self._head_timer, self._linger_timer):
            _cancel(timer)
        self._head_timer = self._linger_timer = None
        if self.conn.their_state is not h11.SEND_BODY:
            if rest := len(self.conn.trailing_data[0]):
                self._drop_pipelined(rest)
            self.flow.resume_reading()  # or nobody would see that the client hangs up

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        if self.conn.their_state is h11.SEND_BODY:  # a refused body: dropped, but for as long as that takes
            self._linger_timer = self.loop.call_later(self.limits.linger_seconds, self.transport.abort)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return self.transport.abort()
        status = self.conn.status
        body = json.dumps(APIError(status, NOT_HTTP, code=CODES.get(status, "malformed_request")).to_dict()).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._linger()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._write_timer)
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._linger_timer = self.loop.call_later(self.limits.linger_seconds, self.transport.abort)

    def _keep_alive(self) -> None:
        """The rest of a refused body has come in time."""
        _cancel(self._linger_timer)
        self._linger_timer = None
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def _drop_pipelined(self, size: int) -> None:
        """No client of today sends a request before the answer to the one before; it may send it again elsewhere."""
        self._pipelined += size
        self.cycle.keep_alive = False
        if self._pipelined > self.limits.pipelined_bytes:
            self.transport.abort()

    def _linger(self) -> None:
        """Closing with a body unread resets the connection, often before the client has read the answer."""
        self._closing = True
        self._linger_timer = self.loop.call_later(self.limits.linger_seconds, self.transport.abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _make_room(self) -> None:
        here = [each for each in self.connections if not each.transport.is_closing()]
        same = [each for each in here if (each.client or [""])[0] == (self.client or [""])[0]]
        if len(same) > self.limits.share * self.limits.connections:
            _longest_idle(same).transport.abort()
        elif len(here) > self.limits.connections:
            _longest_idle(here).transport.abort()


def _longest_idle(connections: list[BoundedProtocol]) -> BoundedProtocol:
    """Of all that are idle; the newest is one of them."""
    return min((each for each in connections if each.is_idle), key=lambda each: each.idle_since)


def _cancel(timer) -> None:
    if timer is not None:
        timer.cancel()
