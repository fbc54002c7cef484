"""Hostile input over raw sockets (R15; D71, D74 to D77): a clear 4xx or a closed connection, at little cost, and the next
request is served.
"""

import asyncio
import gzip
import json
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chassis.http import HttpServer, create_app
from chassis.log import Log
from chassis.service import Crash
from schemas.topics import message_inputs
from services.ingest.api import bodies
from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant, replica
from tests.kit.broker import Broker, free_ports

MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def victim(
    own_broker: Broker, log: Log, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Client, Tenant]]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    tenant = await new_tenant(log)
    async with replica(own_broker, folder) as client:
        await holds(client.ready)
        await known(client, tenant)
        for _ in range(2 * message_inputs("standard").partitions):  # each has a leader by now
            assert (await client.send(tenant, tenant.mail())).status == 202
        yield client, tenant


def resident() -> int:
    """Bytes of memory that this process has, the service within it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Socket:
    """One connection, written to byte by byte where a test wants that."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, url: str) -> "Socket":
        host, port = url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def write(self, data: bytes) -> bool:
        """Whether it was taken: the other side may have closed already."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            return False
        return True

    async def status(self, within: float = 10.0) -> int | None:
        """Of the answer; None where the connection ends without one."""
        try:
            async with asyncio.timeout(within):
                line = await self._reader.readline()
        except ConnectionError:
            return None
        finally:
            self._writer.close()
        return int(line.split()[1]) if line else None


def head(tenant: Tenant, *lines: str | bytes, method: str = "POST", path: str = "/v1/messages") -> bytes:
    first = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.live}\r\n".encode()
    rest = [line.encode() if isinstance(line, str) else line for line in lines]
    return first + b"".join(line + b"\r\n" for line in rest) + b"\r\n"


async def answered(victim: tuple[Client, Tenant], data: bytes) -> int | None:
    socket = await Socket.to(victim[0].url)
    await socket.write(data)
    return await socket.status()


async def still_serves(victim: tuple[Client, Tenant]) -> None:
    client, tenant = victim
    begun = time.monotonic()
    assert (await client.send(tenant, tenant.mail())).status == 202
    assert time.monotonic() - begun < 2.0


NESTED = b'{"recipient":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BODIES: dict[str, tuple[bytes, set[int]]] = {
    "depth of 100,000": (NESTED, {400}),
    "depth of 100,000 objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {400}),
    "depth in template_data": (
        b'{"recipient":"a@b.example","template":"x","template_data":' + b'{"a":' * 900 + b"1" + b"}" * 901, {422},
    ),
    "NaN": (b'{"recipient":NaN}', {400}),
    "Infinity": (b'{"metadata":{"a":-Infinity}}', {400}),
    "1e999": (b'{"metadata":{"a":1e999}}', {400, 422}),
    "5,000 digits": (b'{"metadata":{"a":' + b"9" * 5000 + b"}}", {400, 422}),
    "5,000 digits behind a point": (b'{"metadata":{"a":0.' + b"9" * 5000 + b"}}", {400, 422}),
    "a lone surrogate": (b'{"recipient":"a@b.example","subject":"\\ud800","text":"t"}', {400, 422}),
    "a lone surrogate in a key": (b'{"\\udfff":1}', {400, 422}),
    "a surrogate as bytes": (b'{"subject":"\xed\xa0\x80"}', {400}),
    "not UTF-8": (b'{"subject":"\xff\xfe"}', {400}),
    "UTF-16": ('{"subject":"x"}'.encode("utf-16"), {400}),
    "a byte order mark": (b"\xef\xbb\xbf{}", {400, 422}),
    "a duplicate key": (b'{"recipient":"a@b.example","recipient":5,"subject":"s","text":"t"}', {422}),
    "NUL": (b'{"recipient":"a@b.example","subject":"a\\u0000b","text":"t"}', {422}),
    "a raw NUL": (b'{"subject":"a\x00b"}', {400}),
    "nothing": (b"", {400}),
    "a list": (b"[]", {400}),
    "100,000 recipients": (json.dumps({"recipient": ["a@b.example"] * 100_000}).encode(), {422}),
    "an address of 100,000": (json.dumps({"recipient": "a" * 100_000 + "@b.example"}).encode(), {422}),
    "many parts": (b'{"recipient":[' + b"[]," * 2_000_000 + b"[]]}", {413}),
    "many headers": (json.dumps({"headers": {f"X-{n}": "x" for n in range(100_000)}}).encode(), {422}),
    "many unknown fields": (b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}", {422}),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_bodies(victim: tuple[Client, Tenant], name: str) -> None:
    """D75, D74, D77."""
    body, statuses = BODIES[name]
    data = head(victim[1], f"Content-Length: {len(body)}", "Content-Type: application/json") + body
    begun = time.process_time()
    assert await answered(victim, data) in statuses
    assert time.process_time() - begun < 2.0  # some 50 ms, and two parties of it in this process
    await still_serves(victim)


@pytest.mark.parametrize(
    "lines",
    [
        [f"a{n}: b" for n in range(10_000)],
        ["x: " + "a" * MIB],
        [b"X-Request-Id: a\x00b"],
        [b"X-Request-Id: a\rb"],
        [b"Idempotency-Key: \xff\xfe"],
        [b"Idempotency-Key: a\x00b"],
        ["Idempotency-Key: " + "k" * 257],
        ["Idempotency-Key: one", "Idempotency-Key: two"],
        ["Content-Length: -1"],
        ["Content-Length: 2", "Content-Length: 3"],
        ["Content-Length: 99999999999999999999"],
        ["Transfer-Encoding: chunked, gzip"],
        ["no colon"],
        [b"na\x00me: x"],
    ],
    ids=lambda lines: repr(lines[0][:24]),
)
async def test_headers(victim: tuple[Client, Tenant], lines: list[str | bytes]) -> None:
    """D19, D71: cut off before the service sees them, or refused by it."""
    body = b'{"recipient":"a@b.example","subject":"s","text":"t"}'
    own = any(b"-encoding" in str(line).lower().encode() or b"-length" in str(line).lower().encode() for line in lines)
    length = [] if own else [f"Content-Length: {len(body)}"]
    status = await answered(victim, head(victim[1], *length, *lines) + body)
    assert status is None or 400 <= status < 500
    await still_serves(victim)


async def test_a_request_id_that_is_none_is_replaced(victim: tuple[Client, Tenant]) -> None:
    client, tenant = victim
    for given in ("a b", "a" * 129, '"quoted"'):
        reply = await client.call("GET", "/v1/templates", key=tenant.live, headers={"X-Request-Id": given})
        assert (reply.status, reply.headers["X-Request-Id"] != given) == (200, True)


async def test_two_lengths_do_not_make_two_requests(victim: tuple[Client, Tenant]) -> None:
    """Smuggling: what stands behind the body that one of them ends is no request of its own."""
    smuggled = head(victim[1], method="GET", path="/v1/templates")
    data = head(victim[1], "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + smuggled
    socket = await Socket.to(victim[0].url)
    await socket.write(data)
    async with asyncio.timeout(10):
        answer = await socket._reader.read()  # to the end of the connection
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 4")


async def test_a_length_that_lies(victim: tuple[Client, Tenant], monkeypatch: pytest.MonkeyPatch) -> None:
    """Too short a body is cut at the deadline; one that is declared too large is refused at once."""
    monkeypatch.setattr(bodies, "RECEIVE_SECONDS", 0.5)
    assert await answered(victim, head(victim[1], "Content-Length: 1000") + b"{}") in {400, 408}
    assert await answered(victim, head(victim[1], f"Content-Length: {60 * MIB}") + b"{}") == 413
    await still_serves(victim)


async def test_chunks_without_end(victim: tuple[Client, Tenant]) -> None:
    """D74: refused once it is too much; memory does not follow what is sent."""
    before = resident()
    socket = await Socket.to(victim[0].url)
    await socket.write(head(victim[1], "Transfer-Encoding: chunked", path="/v1/webhooks"))
    chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
    sent = 0
    while sent < 1024 and await socket.write(chunk):
        sent += 1
    assert sent < 1024, "a gigabyte was taken"
    assert await socket.status() in {413, None}
    assert resident() - before < 200 * MIB
    await still_serves(victim)


@pytest.mark.parametrize("broken", [b"ZZ\r\n", b"F" * 17 + b"\r\nab", b"5;" + b"e" * 100_000 + b"\r\nhello\r\n"])
async def test_chunks_that_are_none(victim: tuple[Client, Tenant], broken: bytes) -> None:
    status = await answered(victim, head(victim[1], "Transfer-Encoding: chunked") + broken + b"0\r\n\r\n")
    assert status is None or 400 <= status < 500
    await still_serves(victim)


async def test_a_gzip_bomb(victim: tuple[Client, Tenant]) -> None:
    """D74: 1 GiB of zeros in 1 MB, and a bomb within a bomb."""
    before = resident()
    bomb = gzip.compress(b"0" * (256 * MIB), compresslevel=1)
    for body in (bomb, gzip.compress(bomb)):
        data = head(victim[1], f"Content-Length: {len(body)}", "Content-Encoding: gzip") + body
        assert await answered(victim, data) in {400, 413}
    assert resident() - before < 600 * MIB  # this process made the bombs, too
    await still_serves(victim)


async def test_slow_bodies_are_cut_and_others_served(
    victim: tuple[Client, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """D76: a hundred connections, each of which sends a byte now and then."""
    monkeypatch.setattr(bodies, "RECEIVE_SECONDS", 1.0)
    sockets = [await Socket.to(victim[0].url) for _ in range(100)]
    for socket in sockets:
        await socket.write(head(victim[1], "Content-Length: 1000"))

    async def drip(socket: Socket) -> int | None:
        for _ in range(20):
            if not await socket.write(b" "):
                break
            await asyncio.sleep(0.1)
        return await socket.status()

    dripping = asyncio.gather(*(drip(socket) for socket in sockets))
    await still_serves(victim)
    assert set(await dripping) <= {400, None}
    await still_serves(victim)


async def test_slow_headers_and_silence_are_cut() -> None:
    """D76: with a deadline of a second, for a connection that says nothing, says half, and says a byte at a time."""
    (port,) = free_ports(1)
    server = HttpServer(create_app("Slow", list), "127.0.0.1", port, Crash(), header_seconds=1.0)
    await server.start()
    url = f"http://127.0.0.1:{port}"

    async def listening() -> bool:
        try:
            (await Socket.to(url))._writer.close()
        except ConnectionError:
            return False
        return True

    await holds(listening)
    begun = time.monotonic()

    async def attack(first: bytes, then: bytes) -> int | None:
        socket = await Socket.to(url)
        await socket.write(first)
        while then and time.monotonic() - begun < 5 and await socket.write(then):
            await asyncio.sleep(0.1)
        return await socket.status()

    request: Any = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    cut = await asyncio.gather(*(attack(*how) for how in [(b"", b""), (request, b""), (request, b"x")] * 50))
    assert set(cut) <= {None, 408}
    assert 0.5 < time.monotonic() - begun < 4.5
    socket = await Socket.to(url)
    await socket.write(request + b"\r\n")
    assert await socket.status() == 200
    await server.stop()
