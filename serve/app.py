"""The gateway: routes, and what every answer has in common."""

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from fas_serve.audio_parts import AudioReader
from fas_serve.backend import Backend
from fas_serve.batching import Turn
from fas_serve.budget import Budgets, Share
from fas_serve.chat_request import check_model, read_chat
from fas_serve.clips import Asked
from fas_serve.emotion import EmotionService
from fas_serve.errors import APIError
from fas_serve.gate import Gate
from fas_serve.guard import Guard
from fas_serve.metrics import Metrics
from fas_serve.requests import FORM, JSON, read_clips, read_json
from fas_serve.schemas import ClipEmotion, EmotionOptions, EmotionRequest, EmotionResponse, ErrorResponse
from fas_serve.settings import Settings

ERRORS = {
    status: {"model": ErrorResponse, "description": text}
    for status, text in {
        400: "the request or its audio cannot be used; the message names the part",
        401: "wrong or missing API key",
        413: "the request is too large",
        429: "the server is full; Retry-After says when to try again",
        503: "the language model is not there",
    }.items()
}
REFERENCES = "#/components/schemas/{model}"


def create_app(settings: Settings, emotion: EmotionService, backend: Backend | None = None, closing=()) -> FastAPI:
    """The gateway in front of FAS and, unless None, a language model.

    Args:
        closing: further objects with `async close()`, closed with the app.
    """
    reader, metrics = AudioReader(settings), Metrics()
    budgets = Budgets(settings.memory_budget, settings.disk_budget, settings.clips_budget)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        reader.close()
        for part in (*closing, *([backend] if backend else [])):
            await part.close()

    app = FastAPI(
        title="FAS-ALM", description="Emotion in speech: tone, words, and whether they agree.", lifespan=lifespan
    )
    app.state.gate = gate = Gate(settings.concurrency, settings.queue)
    app.state.metrics, app.state.budgets = metrics, budgets
    metrics.watch(gate)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    _add_error_handlers(app, metrics)
    _add_chat(
        app,
        settings,
        reader,
        backend,
        gate,
        metrics,
        budgets,
        emotion.spoken if emotion.tells_words else None,
        emotion.cues,
    )
    _add_emotion(app, settings, reader, emotion, gate, metrics, budgets)
    _add_small_routes(app, settings, backend, metrics)
    _describe_requests(app)
    return app


def _add_small_routes(app: FastAPI, settings: Settings, backend: Backend | None, metrics: Metrics) -> None:
    @app.get("/health", summary="Whether requests are answered; needs no key")
    async def health() -> JSONResponse:
        healthy = backend is None or await backend.healthy()
        return JSONResponse({"status": "ok" if healthy else "unavailable"}, 200 if healthy else 503)

    @app.get("/v1/models", summary="The one model")
    async def models() -> dict:
        abilities = ["emotion", *(["chat"] if backend else [])]
        entry = {"id": settings.model, "object": "model", "owned_by": "fas-alm", "abilities": abilities}
        return {"object": "list", "data": [entry | ({"backend": backend.name} if backend else {})]}

    @app.get("/metrics", summary="Figures for Prometheus, the model server's included")
    async def figures() -> Response:
        theirs = await backend.metrics() if hasattr(backend, "metrics") else b""
        return Response(metrics.text() + theirs, media_type="text/plain; version=0.0.4")


def _add_chat(
    app,
    settings: Settings,
    reader: AudioReader,
    backend: Backend | None,
    gate: Gate,
    metrics: Metrics,
    budgets: Budgets,
    spoken,
    cues,
):
    @app.post("/v1/chat/completions", responses=ERRORS, summary="OpenAI's chat, with input_audio and audio_url parts")
    async def chat(request: Request) -> Response:
        if backend is None:
            text = "this server has no language model (--fas-only); POST /v1/emotion answers"
            raise APIError(404, text, code="not_available")
        async with AsyncExitStack() as place:
            await place.enter_async_context(gate.admission(_address(request)))
            share = place.enter_context(Share())
            body = await read_json(request, settings, share, budgets.memory)
            slot, take = gate.slot(_address(request)), functools.partial(share.take, budgets.memory)
            work = _prepared(place, slot, read_chat(body, reader, settings, take, _address(request), spoken, cues))
            ready = await while_connected(request, work, settings)
            if not ready.get("stream"):
                answer = await while_connected(request, backend.chat(ready), settings)
                _count_tokens(metrics, answer.get("usage"))
                return JSONResponse(answer | {"model": settings.model})
            events = backend.stream(ready)
            first = await while_connected(request, anext(events, b""), settings)
            return EventStream(first, events, place.pop_all())


async def _prepared(place: AsyncExitStack, slot: AbstractAsyncContextManager, work: Coroutine) -> dict:
    try:
        await place.enter_async_context(slot)
        return await work
    finally:
        work.close()  # where it never began


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


class EventStream(StreamingResponse):
    """Server-sent events; gives the request's place back when the last is out or the client is gone."""

    def __init__(self, first: bytes, events: AsyncGenerator[bytes, None], place: AsyncExitStack):
        super().__init__(self._all(first, events), media_type="text/event-stream")
        self.headers["Cache-Control"] = "no-cache"
        self._events, self._place = events, place

    async def __call__(self, scope, receive, send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()
            await self._place.aclose()

    @staticmethod
    async def _all(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        try:
            async for event in events:
                yield event
        except APIError as error:  # the status line is out: the error goes into the stream, as OpenAI does it
            yield b"data: " + JSONResponse(error.to_dict()).body + b"\n\ndata: [DONE]\n\n"


def _add_emotion(
    app,
    settings: Settings,
    reader: AudioReader,
    emotion: EmotionService,
    gate: Gate,
    metrics: Metrics,
    budgets: Budgets,
):
    @app.post(
        "/v1/emotion",
        response_model=EmotionResponse,
        responses=ERRORS,
        openapi_extra={"requestBody": _emotion_body()},
        summary="The emotion of the voice, what was said, what tone and words say by themselves, and their conflict",
    )
    async def answer(request: Request) -> Any:
        async with AsyncExitStack() as place:
            await place.enter_async_context(gate.admission(_address(request)))
            share = place.enter_context(Share())
            clips, options = await read_clips(request, reader, settings, share, budgets)
            check_model(options.model, settings)
            emotion.check(options)
            asked = Asked(options, Turn(_address(request)), share)
            if options.stream:
                events = _events(emotion.stream(clips, asked, reader, budgets), metrics)
                first = await while_connected(request, anext(events, b""), settings)
                return EventStream(first, events, place.pop_all())
            work = emotion.answer(clips, asked, reader, budgets)
            answers = await while_connected(request, work, settings, asked.turn)
        for each in answers:
            _count(metrics, each)
        head = {"object": "emotion.list", "model": settings.model}
        return JSONResponse(head | {"data": [each.model_dump() for each in answers]})


async def _events(answers: AsyncGenerator[ClipEmotion, None], metrics: Metrics) -> AsyncGenerator[bytes, None]:
    async with aclosing(answers):
        async for each in answers:
            if each.start is None:
                _count(metrics, each)
            yield b"data: " + JSONResponse(each.model_dump()).body + b"\n\n"
    yield b"data: [DONE]\n\n"


def _count(metrics: Metrics, answer: ClipEmotion) -> None:
    metrics.clips.labels("error" if answer.error else "answered").inc()
    metrics.audio.inc(answer.audio.seconds or 0)
    if answer.label is not None:
        metrics.words.labels("known" if answer.words else answer.words_missing.partition(":")[0]).inc()


def _emotion_body() -> dict:
    """The request's schema, which FastAPI cannot see: the route reads JSON and forms itself."""
    form = EmotionOptions.model_json_schema()
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "one or many"}
    form["properties"] = {"files": files, **form["properties"]}
    content = {JSON: {"schema": {"$ref": REFERENCES.format(model="EmotionRequest")}}, FORM: {"schema": form}}
    return {"required": True, "content": content}


def _describe_requests(app: FastAPI) -> None:
    """Puts the schema of `/v1/emotion` requests among those that FastAPI collects."""
    collected = app.openapi

    def openapi() -> dict:
        described = collected()
        schema = EmotionRequest.model_json_schema(ref_template=REFERENCES)
        described["components"]["schemas"] |= {**schema.pop("$defs"), "EmotionRequest": schema}
        return described

    app.openapi = openapi


def _count_tokens(metrics: Metrics, usage: dict | None) -> None:
    for kind in ("prompt_tokens", "completion_tokens"):
        metrics.tokens.labels(kind.removesuffix("_tokens")).inc((usage or {}).get(kind) or 0)


async def while_connected(request: Request, work: Awaitable, settings: Settings, turn: Turn | None = None) -> Any:
    """The result of the work, which is cancelled when the client hangs up or the time is over.

    Args:
        turn: of work in pieces, which has its time for each piece.

    Raises:
        ClientDisconnect: nobody waits for an answer any more.
        APIError: 504.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    start = time.monotonic()
    try:
        while (left := (turn.moved if turn else start) + settings.request_timeout - time.monotonic()) > 0:
            done, _ = await asyncio.wait((task, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if task in done:
                return task.result()
            if gone in done:
                raise ClientDisconnect
        text = f"no answer within {settings.request_timeout:g} s (server option --request-timeout)"
        raise APIError(504, text, code="timeout")
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_error_handlers(app: FastAPI, metrics: Metrics) -> None:
    def answered(error: APIError) -> JSONResponse:
        metrics.refused.labels(error.code).inc()
        return JSONResponse(error.to_dict(), error.status, error.headers)

    @app.exception_handler(APIError)
    async def on_api_error(request: Request, error: APIError) -> JSONResponse:
        return answered(error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        return answered(APIError(error.status_code, str(error.detail), code=code))

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        return answered(APIError(400, "the request does not have the expected fields", code="invalid_value"))

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        metrics.disconnects.inc()
        return Response(status_code=499)
