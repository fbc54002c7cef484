"""A server made of recorded answers: what it was asked is kept, and no socket is opened."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from sendarix import AsyncSendarix, Sendarix, Surroundings

KEY = "sk_test_secret_of_the_tests"
Recorded = httpx.Response | Exception


def says(status: int, body: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body, headers=named)


def refuses(status: int, code: str, message: str = "No.", **more: Any) -> httpx.Response:
    body = {"error": {"code": code, "message": message, "hint": "Do this."}, "request_id": "req_1", **more}
    return says(status, body)


def page(*entries: Any, after: str | None = None, more: bool | None = None) -> httpx.Response:
    has_more = after is not None if more is None else more
    return says(200, {"object": "list", "data": list(entries), "has_more": has_more, "next_cursor": after})


@dataclass(slots=True)
class Server:
    """Gives out its answers one by one; `waits` are the sleeps of its clients."""

    answers: Iterable[Recorded]
    asked: list[httpx.Request] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers = iter(self.answers)

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = next(iter(self.answers))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, url: str | None = "http://server.example") -> Sendarix:
        return Sendarix(
            KEY, url=url, transport=httpx.MockTransport(self.handle), surroundings=_fixed(), sleep=self.waits.append
        )

    def async_client(self) -> AsyncSendarix:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        transport = httpx.MockTransport(self.handle)
        return AsyncSendarix(KEY, url="http://server.example", transport=transport, surroundings=_fixed(), sleep=sleep)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.asked]


def _fixed() -> Surroundings:
    """A clock that stands, jitter of a half, keys that are numbered."""
    numbers = iter(range(1, 1000))
    return Surroundings(now=lambda: 1_800_000_000.0, jitter=lambda: 0.5, new_key=lambda: f"key-{next(numbers)}")
