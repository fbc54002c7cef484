"""What both transports share about httpx: how a request is written, an answer read, a failure understood."""

from collections.abc import Mapping
from typing import Any

import httpx

from sendarix.exchange import Answer, NoAnswer, Request
from sendarix.settings import Settings

USER_AGENT = "sendarix-python/0.1.0"
# No connection, so nothing was sent. A PoolTimeout is ours: all connections are busy.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def connection_options(settings: Settings, timeout: float) -> dict[str, Any]:
    """Arguments for either client of httpx."""
    headers = {"Authorization": f"Bearer {settings.api_key}", "User-Agent": USER_AGENT, "Accept": "application/json"}
    return {"headers": headers, "timeout": timeout, "follow_redirects": False}


def written(settings: Settings, request: Request) -> dict[str, Any]:
    """Arguments for `httpx.Client.request`."""
    headers: dict[str, str] = {}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    if request.idempotency_key is not None:
        headers["Idempotency-Key"] = request.idempotency_key
    return {
        "method": request.method,
        "url": settings.url + request.path,
        "params": list(request.query) or None,
        "content": request.body,
        "headers": headers,
    }


def answer_of(response: httpx.Response) -> Answer:
    headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)


def silence_of(error: httpx.TransportError | httpx.DecodingError) -> NoAnswer:
    """The reason in words that hold no header and no body."""
    reason = "the time ran out" if isinstance(error, httpx.TimeoutException) else (str(error) or type(error).__name__)
    return NoAnswer(reason, sent=not isinstance(error, _UNSENT))
