"""What stands before every route: key, host name, and the count of what was answered."""

import hmac
import ipaddress
import logging
import time
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fas_serve.errors import APIError
from fas_serve.metrics import Metrics
from fas_serve.settings import Settings

OPEN_ROUTES = ("/health",)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
log = logging.getLogger("serve")


class Guard:
    """ASGI middleware; raises nothing, answers what is refused itself, and what failed."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics):
        self.app, self.settings, self.metrics = app, settings, metrics
        self._key = settings.api_key.encode() if settings.api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status, start = 499, time.monotonic()  # 499: gone before the answer

        async def counted_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            headers = Headers(scope=scope)
            refusal = self._refusal(scope["path"], headers)
            if refusal is not None:
                self.metrics.refused.labels(refusal.code).inc()
                answer = JSONResponse(refusal.to_dict(), refusal.status, refusal.headers)
                await answer(scope, receive, counted_send)
            else:
                await self.app(scope, receive, counted_send)
        except Exception as error:
            log.error("%s %s failed\n%s", *_told(scope), without_content(error))
            if status == 499:
                failure = APIError(500, "the server failed at this request", code="internal_error")
                await JSONResponse(failure.to_dict(), 500)(scope, receive, counted_send)
        finally:
            method, route = _told(scope)
            self.metrics.requests.labels(route, status).inc()
            self.metrics.seconds.labels(route).observe(time.monotonic() - start)
            log.info("%s %s %s %.3f s", method, route, status, time.monotonic() - start)

    def _refusal(self, path: str, headers: Headers) -> APIError | None:
        if path not in OPEN_ROUTES:
            if self._key is None and not is_loopback(_host_name(headers)):
                # A page in a browser could reach us by a name of its own that resolves to this machine.
                text = "without an API key this server answers to localhost only (Host header)"
                return APIError(403, text, code="host_not_allowed")
            if self._key is not None and not self._knows_key(headers):
                text = "wrong or missing API key; expected the header 'Authorization: Bearer KEY'"
                return APIError(401, text, code="invalid_api_key")
        if headers.get("content-encoding", "identity").lower() != "identity":
            text = "Content-Encoding: expected none; what is compressed could be of any size"
            return APIError(415, text, code="unsupported_content_encoding")
        return None

    def _knows_key(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._key)


def _told(scope: Scope) -> tuple[str, str]:
    """Method and route as the log has them: known words, never what a client made up."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    return method, getattr(scope.get("route"), "path", "other")


def without_content(error: BaseException) -> str:
    """Where an error came from. Its message may quote what a client sent: a name, a transcript."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{frames}{type(error).__module__}.{type(error).__qualname__}"


def _host_name(headers: Headers) -> str:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
