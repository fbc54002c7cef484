"""A scripted webhook endpoint: records every request to the byte, and answers each path as it is told.

async with WebhookReceiver() as receiver:
    receiver.script("/a", Answer(500), Answer(200))   # in this order, then the usual 204
    receiver.always("/b", HANG)                        # until `release()`
    … "url": receiver.url("/a") …
    first, second = await receiver.requests("/a", 2)
    event = first.verified(secret)                     # by the standardwebhooks library
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, assert_never

from aiohttp import web
from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Hang:
    """Says nothing until the receiver is released, then answers as usual."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Closes the connection without a word."""


@dataclass(frozen=True, slots=True)
class Drip:
    """A status at once, then `chunk` again and again: with a pause it drips, without one it floods."""

    chunk: bytes = b"."
    pause: float = 0.05
    status: int = 200


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls a function of the test when the request is here, then never answers."""

    function: Callable[[], object]


Behaviour = Answer | Hang | Disconnect | Drip | Calls
HANG, DISCONNECT = Hang(), Disconnect()


def redirect(to: str, status: int = 302) -> Answer:
    return Answer(status, {"location": to})


@dataclass(frozen=True, slots=True)
class Received:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verified(self, secret: str) -> dict[str, Any]:
        """The event. Raises standardwebhooks.WebhookVerificationError."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, dict(self.headers))
        return found


@dataclass(slots=True)
class WebhookReceiver:
    """Listens on a loopback port while it is entered; `received` holds all requests in order of arrival."""

    received: list[Received] = field(default_factory=list)
    _scripts: defaultdict[str, deque[Behaviour]] = field(default_factory=lambda: defaultdict(deque))
    _usual: dict[str, Behaviour] = field(default_factory=dict)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        assert self._runner is not None
        port: int = self._runner.addresses[0][1]
        return port

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def script(self, path: str, *behaviours: Behaviour) -> None:
        """What the next requests to `path` meet, one each; afterwards the usual."""
        self._scripts[path].extend(behaviours)

    def always(self, path: str, behaviour: Behaviour) -> None:
        """The usual answer of `path` from now on; 204 where none is set."""
        self._usual[path] = behaviour

    def release(self) -> None:
        """Let every hanging request be answered."""
        self._released.set()

    def at(self, path: str) -> list[Received]:
        return [request for request in self.received if request.path == path]

    async def requests(self, path: str, count: int, *, within: float = 15) -> list[Received]:
        """The requests to `path`, once there are `count`. Raises TimeoutError."""
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(lambda: len(self.at(path)) >= count)
        return self.at(path)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        async with self._arrived:
            self.received.append(Received(request.method, request.path, headers, body))
            self._arrived.notify_all()
        script = self._scripts[request.path]
        return await self._behave(request, script.popleft() if script else self._usual.get(request.path, Answer()))

    async def _behave(self, request: web.Request, behaviour: Behaviour) -> web.StreamResponse:
        match behaviour:
            case Answer(status, headers, body):
                return web.Response(status=status, headers=headers, body=body)
            case Hang():
                await self._released.wait()
            case Disconnect():
                assert request.transport is not None
                request.transport.abort()
            case Drip():
                return await self._drip(request, behaviour)
            case Calls(function):
                function()
                await self._released.wait()
            case _:
                assert_never(behaviour)
        return web.Response(status=204)

    async def _drip(self, request: web.Request, drip: Drip) -> web.StreamResponse:
        response = web.StreamResponse(status=drip.status)
        await response.prepare(request)
        try:
            while not self._released.is_set():
                await response.write(drip.chunk)
                await asyncio.sleep(drip.pause)
        except ConnectionError:
            pass
        return response
