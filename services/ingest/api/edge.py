"""Around every request: who is asking, and the headers and counts of every answer, whoever gives it (R14).

Plain functions and one thin ASGI wrapper, for this is on the hot path. It must never look into a body.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from fastapi import Request
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.clock import Clock
from services.ingest import metrics
from services.ingest.admission import Admission, TooMany, check
from services.ingest.domain.access import Caller
from services.ingest.domain.access import Scope as KeyScope
from services.ingest.domain.faults import Refused
from services.ingest.domain.networks import Network, client_of
from services.ingest.ports import Allowance

_STATE = "allowance"
_ADDRESS = "client_address"
DRAIN_OCTETS = 8 * 1024 * 1024
DRAIN_SECONDS = 2.0
# Without a good key, or with one where it must not be used: nothing that a key's owner should pay for.
_STRANGERS = frozenset({"missing_api_key", "invalid_api_key", "address_not_allowed"})


class Gate:
    """Lets a request in, or raises Refused; either way its answer will say how the rate limit stands."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self._admission = admission
        self._clock = clock

    async def admit(self, request: Request, scope: KeyScope) -> Caller:
        try:
            address = request.scope["state"][_ADDRESS]
            caller = await self._admission.authenticate(request.headers.get("authorization"), address)
        except Refused as refused:
            self._count_stranger(request, refused)
            raise
        allowance = request.scope["state"][_STATE] = await self._admission.count(caller)
        check(caller, allowance, scope, self._clock.now_ms() // 1000)
        return caller

    def admit_recipient(self, request: Request) -> None:
        """Lets in who has a link instead of a key. Raises Refused (429)."""
        state = request.scope["state"]
        allowance = state[_STATE] = self._admission.count_link(state[_ADDRESS])
        if not allowance.allowed:
            raise TooMany(allowance, self._clock.now_ms() // 1000)

    def _count_stranger(self, request: Request, refused: Refused) -> None:
        if refused.code not in _STRANGERS:
            return
        state = request.scope["state"]
        allowance = state[_STATE] = self._admission.count_stranger(state[_ADDRESS])
        if not allowance.allowed:
            raise TooMany(allowance, self._clock.now_ms() // 1000) from refused


class Edge:
    """The outermost ASGI layer: adds X-RateLimit-* to every answer, errors of every kind included, and counts it.

    It knows whose X-Forwarded-For may be believed, and tells the gate who the client is.
    """

    def __init__(self, app: ASGIApp, admission: Admission, trusted_proxies: Sequence[Network]) -> None:
        self._app = app
        self._admission = admission
        self._trusted = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"] = dict(scope.get("state") or {})
        state[_ADDRESS] = address_of(scope, self._trusted)
        body = _Body(scope, receive)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not body.complete:
                    await body.drain()
                allowance = state.get(_STATE) or self._admission.look(state[_ADDRESS])
                message["headers"] = [*message.get("headers", ()), *_headers_of(allowance)]
                _counted(_route_of(scope), scope["method"], message["status"]).inc()
            await send(message)

        await self._app(scope, body.receive, send_with_headers)


class _Body:
    """Knows whether the request's body was read to its end.

    The server closes a connection with an unread body, and a client that is still writing would see a reset instead
    of its 401, 413 or 429. So a moderate rest is read and thrown away before the answer; a flood is not.

    A body ends with its last declared byte: the server says so only when it is asked once more, and that costs two turns
    of its thread and of the loop, a quarter of what it costs to take a request.
    """

    __slots__ = ("_left", "_receive", "complete")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._left, self.complete = 0, True
        for name, value in scope["headers"]:
            if name == b"transfer-encoding":
                self._left, self.complete = -1, False  # not known, whatever a Content-Length says
                break
            if name == b"content-length":
                self._left = int(value[:20]) if value.isdigit() else -1
                self.complete = self._left == 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.complete = True
        elif self._left > 0:
            self._left -= len(message["body"])
            if self._left == 0:
                message["more_body"] = False
                self.complete = True
        return message

    async def drain(self) -> None:
        left = DRAIN_OCTETS
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.complete and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def address_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """The client's address: the peer's, or what trusted proxies say."""
    client: Sequence[Any] | None = scope.get("client")
    peer = str(client[0]) if client else "unknown"
    if not trusted:
        return peer
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return client_of(peer, forwarded, trusted)


def _headers_of(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit", b"%d" % allowance.limit),
        (b"x-ratelimit-remaining", b"%d" % allowance.remaining),
        (b"x-ratelimit-reset", b"%d" % allowance.reset_at),
    ]


@lru_cache(maxsize=1024)  # of a closed set: the look-up costs four times what counting does
def _counted(route: str, method: str, status: int) -> Counter:
    return metrics.requests.labels(route, method, status)


def _route_of(scope: Scope) -> str:
    """The pattern that matched: a closed set, as a label must be."""
    route = scope.get("route")
    return getattr(route, "path", "none")
