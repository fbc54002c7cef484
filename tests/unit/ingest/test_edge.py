"""Around every request: a body is at its end with its last declared byte, and only then (R14, D74)."""

from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import Request

from services.ingest.adapters.rate_limits import MemoryRateLimits
from services.ingest.admission import Admission
from services.ingest.api.edge import DRAIN_OCTETS, Edge
from tests.unit.ingest.stand_ins import HandClock
from tests.unit.ingest.test_admission import KeyTable, Lease, Usage

Headers = Sequence[tuple[bytes, bytes]]


class Server:
    """Gives these chunks, each with `more_body`: that it was the last is said by an empty one, as granian does."""

    def __init__(self, chunks: Sequence[bytes], headers: Headers) -> None:
        self._chunks = [*chunks, b""]
        self.asked = 0
        self.sent: list[Any] = []
        self._scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": ("192.0.2.1", 1)}

    async def serve(self, app: Any) -> None:
        clock = HandClock()
        admission = Admission(clock, Lease(), KeyTable(), Usage(), MemoryRateLimits(clock), replicas=1)
        await Edge(app, admission, [])(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        chunk = self._chunks[self.asked]
        self.asked += 1
        return {"type": "http.request", "body": chunk, "more_body": self.asked < len(self._chunks)}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


async def reads(scope: Any, receive: Any, send: Any) -> None:
    body = await Request(scope, receive).body()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def reads_nothing(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 401, "headers": []})


@pytest.mark.parametrize(
    ("chunks", "headers", "asked"),
    [
        ([b"abc"], [(b"content-length", b"3")], 1),
        ([b"a", b"bc"], [(b"content-length", b"3")], 2),
        ([b"abc"], [(b"transfer-encoding", b"chunked")], 2),
        ([b"abc"], [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 2),  # a lie: D74
        ([b"abc"], [(b"transfer-encoding", b"chunked"), (b"content-length", b"1")], 2),
        ([b"abc"], [(b"content-length", b"many")], 2),
        ([], [(b"content-length", b"0")], 1),
    ],
)
async def test_all_of_a_body_is_read_and_no_turn_more(chunks: list[bytes], headers: Headers, asked: int) -> None:
    server = Server(chunks, headers)
    await server.serve(reads)
    assert server.sent[1]["body"] == b"".join(chunks)
    assert server.asked == asked


async def test_what_was_not_read_is_read_before_the_answer() -> None:
    server = Server([b"x"] * 10, [(b"content-length", b"10")])
    await server.serve(reads_nothing)
    assert (server.asked, server.sent[0]["status"]) == (10, 401)
    assert (b"x-ratelimit-limit", b"300") in server.sent[0]["headers"]
    nothing = Server([], [])
    await nothing.serve(reads_nothing)
    assert nothing.asked == 0


async def test_a_flood_is_not_read_to_its_end() -> None:
    server = Server([bytes(1024 * 1024)] * 50, [(b"transfer-encoding", b"chunked")])
    await server.serve(reads_nothing)
    assert server.asked == DRAIN_OCTETS // (1024 * 1024)
