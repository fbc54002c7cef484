"""Every service's HTTP side: the error shape, request ids, health, metrics, and the server (granian, in this loop).

What is asked and answered belongs to the service's `api/`; this module must never know a business route.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.service import Crash
from chassis.telemetry import logger, request_at_hand

_log = logger("http")
_REQUEST_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")

# For a request's headers, and between two requests of one connection: longer than clients keep an idle one.
HEADER_SECONDS = 30.0

# Answers one request, or raises what the app has a handler for.
Endpoint = Callable[[Request], Awaitable[Response]]
# What is missing before the service may take work, in words; empty when ready.
Readiness = Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field at fault. `field` is a path such as `recipient[2]` or `headers.X-A`; `line` and `variable` within it."""

    field: str
    code: str
    message: str
    line: int | None = None
    variable: str | None = None

    def shown(self) -> dict[str, str | int]:
        """As it stands in an answer: `line` and `variable` only where there are some."""
        shown: dict[str, str | int] = {"field": self.field, "code": self.code, "message": self.message}
        if self.line is not None:
            shown["line"] = self.line
        if self.variable is not None:
            shown["variable"] = self.variable
        return shown


class ApiError(Exception):
    """An answer in the error shape of the API. `code` is stable and documented; `hint` says what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.errors = errors
        self.retry_after = retry_after


def error_response(error: ApiError, request_id: str) -> Response:
    """The one error shape: `{"error": {code, message, hint}, "errors"?: […], "request_id"}`."""
    body: dict[str, Any] = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    if error.errors:
        body["errors"] = [e.shown() for e in error.errors]
    body["request_id"] = request_id
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return json_response(body, status=error.status, headers=headers)


def json_response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`body` as JSON, without a detour through FastAPI's encoders."""
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def request_id_of(request: Request) -> str:
    """The id this request is known by: the caller's `X-Request-Id` where it is well formed, else a new one."""
    found: str = request.scope["state"]["request_id"]
    return found


class _RequestId:
    """ASGI middleware: gives every request an id, in the log's context and on the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _named(scope)
        header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        token = request_at_hand.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            request_at_hand.reset(token)


def _named(scope: Scope) -> str:
    """The id that the request is known by from now on."""
    given = ""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            break
    usable = 0 < len(given) <= 128 and _REQUEST_ID_CHARACTERS.issuperset(given)
    request_id = given if usable else f"req_{secrets.token_hex(12)}"
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


def create_app(title: str, readiness: Readiness) -> FastAPI:
    """An app with health, metrics and the error shape; the service adds its own routers.

    `/health/live` says that the process runs, `/health/ready` what is missing before it may take work.
    """
    app = FastAPI(title=title, openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(_RequestId)

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_response(error, request_id_of(request))

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        hint = "Check the method and the path; every path of the API begins with /v1."
        return error_response(ApiError(error.status_code, known, str(error.detail), hint), request_id_of(request))

    async def on_bug(request: Request, error: Exception) -> Response:
        _log.error("request_failed", path=request.url.path, exc_info=error)
        fault = ApiError(500, "internal_error", "Something is wrong on our side.", "Try again; it has been logged.")
        response = error_response(fault, request_id_of(request))
        response.headers["X-Request-Id"] = request_id_of(request)  # answered outside the middleware that adds it
        return response

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_bug)

    @app.get("/health/live")
    async def live() -> Response:
        return json_response({"status": "live"})

    @app.get("/health/ready")
    async def ready() -> Response:
        missing = list(readiness())
        body = {"status": "not_ready" if missing else "ready", "missing": missing}
        return json_response(body, status=503 if missing else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def direct(app: FastAPI, endpoint: Endpoint) -> ASGIApp:
    """`endpoint` with the request ids and the errors of `app`, as they are now, but without its routing: for a hot route."""
    handlers: dict[Any, Any] = {kind: on for kind, on in app.exception_handlers.items() if kind is not Exception}
    named = tuple(handlers)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _named(scope)
        request = Request(scope, receive)
        token = request_at_hand.set(request_id)
        try:
            response = await endpoint(request)
        except named as error:
            response = await next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)(request, error)
        finally:
            request_at_hand.reset(token)
        response.raw_headers.append((b"x-request-id", request_id.encode()))
        await response(scope, receive, send)

    return ServerErrorMiddleware(answer, handler=app.exception_handlers[Exception])


class HttpServer:
    """granian in this process and loop, so that the pid that listens is the service.

    `crash` is told where it can't listen (the port is taken): a service that nobody can ask must not go on.
    """

    def __init__(
        self, app: ASGIApp, host: str, port: int, crash: Crash, *, header_seconds: float = HEADER_SECONDS
    ) -> None:
        self._crash = crash
        self._server = Server(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,  # without a look at the first bytes, for which no time is set
            http1_settings=HTTP1Settings(header_read_timeout=round(header_seconds * 1000)),
            websockets=False,
            log_enabled=False,
            backlog=1024,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(), name="http")
        self._crash.watch(self._task)

    async def stop(self) -> None:
        """Stop listening; requests at hand are answered first."""
        if self._task is not None:
            self._server.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait({self._task})  # its failure was told when it happened
