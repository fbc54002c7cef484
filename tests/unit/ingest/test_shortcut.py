"""The hot route goes past FastAPI's routing: it must answer, fail and be counted as if it did not (R3, R14)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from fastapi import FastAPI, Request, Response

from chassis.http import create_app, direct
from services.ingest.api import errors
from services.ingest.api.messages import Shortcut
from services.ingest.domain.faults import Refused


async def ask(
    app: Any, method: str, path: str, scope: dict[str, Any] | None = None
) -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asked = scope if scope is not None else {}
    asked |= {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"x-request-id", b"req-7")], "root_path": "", "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await app(asked, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), orjson.loads(sent[1]["body"])


def app_with(endpoint: Callable[[Request], Awaitable[Response]]) -> Shortcut:
    app: FastAPI = create_app("ingest", list)
    errors.install(app)
    return Shortcut(app, direct(app, endpoint))


async def accepts(request: Request) -> Response:
    del request
    return Response(b'{"status": "queued"}', 202)


async def refuses(request: Request) -> Response:
    del request
    raise Refused("rate_limited", "Too many requests.", retry_after=7)


async def breaks(request: Request) -> Response:
    del request
    raise ZeroDivisionError


async def test_only_the_hot_route_is_taken() -> None:
    app = app_with(accepts)
    scope: dict[str, Any] = {}
    status, headers, _ = await ask(app, "POST", "/v1/messages", scope)
    assert (status, headers[b"x-request-id"]) == (202, b"req-7")
    assert scope["route"].path == "/v1/messages"  # what the request is counted under
    assert (await ask(app, "GET", "/health/live"))[2] == {"status": "live"}
    assert (await ask(app, "POST", "/v1/messages/"))[0] == 404


async def test_a_refusal_has_the_error_shape() -> None:
    status, headers, body = await ask(app_with(refuses), "POST", "/v1/messages")
    assert (status, headers[b"retry-after"], headers[b"x-request-id"]) == (429, b"7", b"req-7")
    assert (body["error"]["code"], body["request_id"]) == ("rate_limited", "req-7")


async def test_a_bug_is_a_500_with_its_request_id() -> None:
    sent: list[Any] = []

    async def caught() -> None:
        with pytest.raises(ZeroDivisionError):  # raised on for the server's log, once it is answered
            await Shortcut(app_with(breaks), app_with(breaks))(
                {"type": "http", "method": "POST", "path": "/v1/messages", "headers": [], "query_string": b""},
                _nothing,
                _into(sent),
            )

    await asyncio.wait_for(caught(), 5)
    assert sent[0]["status"] == 500
    assert orjson.loads(sent[1]["body"])["error"]["code"] == "internal_error"


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _into(sent: list[Any]) -> Callable[[Any], Awaitable[None]]:
    async def send(message: Any) -> None:
        sent.append(message)

    return send
