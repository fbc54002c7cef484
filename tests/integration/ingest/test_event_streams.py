"""Event streams through ingest: as they come, as fast as they are read, and for no longer than their key works (R13, R35).

The read side is scripted, for it has to flood, to be silent and to break off; `tests/e2e/test_one_feed.py` has the real one.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chassis.log import Log
from chassis.streaming import EVENT_STREAM
from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant, replica
from tests.kit.broker import Broker
from tests.kit.waiting import until

CHUNK = b"data: " + b"x" * 65_000 + b"\n\n"
# What sockets and servers hold of a stream that nobody reads; the kernel's part of it is the most.
HELD_AT_MOST = 40_000_000


class ReadSide:
    """Says hello, then what is told to `say`; with `flooding` as much as is taken."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.said = 0
        self.open = 0
        self.flooding = False
        self.break_off = asyncio.Event()
        self.to_say: asyncio.Queue[bytes] = asyncio.Queue()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if "bad" in request.query:
            return web.json_response({"error": {"code": "validation_error"}}, status=422)
        response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM})
        await response.prepare(request)
        self.open += 1
        try:
            await response.write(b"id: 1\n\n")
            while not self.break_off.is_set():
                chunk = CHUNK if self.flooding else await self.to_say.get()
                await response.write(chunk)
                self.said += len(chunk)
            assert request.transport is not None
            request.transport.abort()
        finally:
            self.open -= 1
        return response


@pytest.fixture
async def read_side() -> AsyncIterator[ReadSide]:
    found = ReadSide()
    app = web.Application()
    app.router.add_get("/v1/events", found.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def client(own_broker: Broker, tmp_path: Path, read_side: ReadSide) -> AsyncIterator[Client]:
    async with replica(own_broker, tmp_path, analytics_url=read_side.url, streams_per_project=2, streams=3) as started:
        await holds(started.ready)
        yield started


@pytest.fixture
async def tenant(log: Log, client: Client) -> Tenant:
    made = await new_tenant(log)
    await known(client, made)
    return made


@asynccontextmanager
async def listening(client: Client, key: str, path: str = "/v1/events", **headers: str) -> AsyncIterator[Any]:
    sent = {"Authorization": f"Bearer {key}", "Accept": EVENT_STREAM, **headers}
    async with client.session.get(client.url + path, headers=sent) as response:
        yield response


async def test_a_stream_is_passed_on_as_it_comes_R35(client: Client, tenant: Tenant, read_side: ReadSide) -> None:
    headers = {"Last-Event-ID": "abc"}
    async with listening(client, tenant.live, "/v1/events?types=message.queued", **headers) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, EVENT_STREAM)
        assert response.headers["X-Accel-Buffering"] == "no"
        assert await response.content.readuntil(b"\n\n") == b"id: 1\n\n"
        for word in (b"data: one\n\n", b": nothing\n\n"):
            await read_side.to_say.put(word)
            async with asyncio.timeout(2):
                assert await response.content.readuntil(b"\n\n") == word
        (asked,) = read_side.asked
        assert asked.path_qs == "/v1/events?types=message.queued"
        assert (asked.headers["Last-Event-ID"], asked.headers["Accept"]) == ("abc", EVENT_STREAM)
        assert "Authorization" not in asked.headers
    await until(lambda: read_side.open == 0)  # who goes away is not read for any longer


async def test_what_the_read_side_refuses_and_where_it_breaks_off(
    client: Client, tenant: Tenant, read_side: ReadSide
) -> None:
    async with listening(client, tenant.live, "/v1/events?bad") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (422, "validation_error")
    async with listening(client, tenant.live) as response:
        read_side.break_off.set()
        await read_side.to_say.put(b"data: last\n\n")
        assert (await response.read()).startswith(b"id: 1\n\n")  # to its end: a client comes back by itself


async def test_a_slow_reader_slows_its_own_source(client: Client, tenant: Tenant, read_side: ReadSide) -> None:
    read_side.flooding = True
    async with listening(client, tenant.live):
        said = -1
        while said != read_side.said:
            said = read_side.said
            await asyncio.sleep(0.3)  # nothing tells that nothing more is taken
        assert 0 < said < HELD_AT_MOST


@pytest.mark.parametrize("flooding", [False, True])
async def test_a_stream_ends_with_its_key_R13(
    client: Client, tenant: Tenant, read_side: ReadSide, flooding: bool
) -> None:
    """Also while its client reads nothing of it."""
    read_side.flooding = flooding
    async with listening(client, tenant.keys["test"]) as other, listening(client, tenant.live) as response:
        revoking = asyncio.create_task(client.call("DELETE", f"/v1/api-keys/{tenant.key_ids['live']}", key=tenant.live))
        await until(lambda: read_side.open == 2)
        began = time.monotonic()
        await until(lambda: read_side.open == 1, within=10)
        assert time.monotonic() - began < 2.0
        assert (await revoking).status == 200
        if not flooding:
            assert (await response.read()) == b"id: 1\n\n"
            await read_side.to_say.put(b"data: still here\n\n")
            assert await other.content.readuntil(b"here\n\n") == b"id: 1\n\ndata: still here\n\n"


async def test_a_key_that_is_rotated_out_ends_its_stream_too_R13(
    client: Client, tenant: Tenant, read_side: ReadSide
) -> None:
    async with listening(client, tenant.live) as response:
        path = f"/v1/api-keys/{tenant.key_ids['live']}/rotate"
        assert (await client.call("POST", path, key=tenant.live, json={"overlap": "0s"})).status == 201
        async with asyncio.timeout(2):
            assert await response.read() == b"id: 1\n\n"


async def test_streams_are_counted(client: Client, tenant: Tenant, log: Log, read_side: ReadSide) -> None:
    stranger = await new_tenant(log)
    await known(client, stranger)
    async with listening(client, tenant.live), listening(client, tenant.live):
        async with listening(client, tenant.live) as third:
            assert (third.status, (await third.json())["error"]["code"]) == (429, "rate_limited")
            assert third.headers["Retry-After"]
        async with listening(client, stranger.live) as response:
            assert response.status == 200
            async with listening(client, stranger.live) as beyond:
                assert (beyond.status, (await beyond.json())["error"]["code"]) == (503, "unavailable")
    await until(lambda: read_side.open == 0)
    async with listening(client, tenant.live) as again:
        assert again.status == 200


async def test_the_shutdown_ends_streams_cleanly(client: Client, tenant: Tenant) -> None:
    async with listening(client, tenant.live) as response:
        began = time.monotonic()
        await client.stop()
        assert await response.read() == b"id: 1\n\n"
        assert time.monotonic() - began < 5.0
    with pytest.raises(aiohttp.ClientError):
        await client.call("GET", "/health/live")
