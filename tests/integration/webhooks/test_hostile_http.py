"""Receivers and name servers at their worst, against real sockets: an attempt fails, the service lives (D94)."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services.webhooks.adapters.http import AddressInfo, HttpPoster, LookUp, system_look_up
from services.webhooks.domain.outcome import Answered, NoAnswer
from tests.kit.webhook_receiver import WebhookReceiver

HEADERS = {"webhook-id": "evt_1"}


@asynccontextmanager
async def a_poster(look_up: LookUp = system_look_up) -> AsyncIterator[HttpPoster]:
    poster = HttpPoster(allow_loopback=True, total=5.0, connect=2.0, look_up=look_up)
    await poster.start()
    try:
        yield poster
    finally:
        await poster.stop()


async def raw(answer: bytes) -> tuple[asyncio.Server, str]:
    """A server that says exactly this."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        try:
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize("answer", [
    b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: no\r\n\r\n", b"HTTP/9.9 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nX\x00Y: 1\r\n\r\n", b"\x16\x03\x01\x00",
    b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 99999 X\r\n\r\n", b"HTTP/1.1 -1 X\r\n\r\n",
])  # fmt: skip
async def test_d94_what_is_not_http_is_a_failed_attempt_and_no_more(answer: bytes) -> None:
    server, url = await raw(answer)
    async with server, a_poster() as poster:
        reply = await poster.post(url, HEADERS, b"{}")
    assert isinstance(reply, NoAnswer)
    assert reply.kind in {"malformed", "disconnected"}


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnonsense",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: \x01=;;;=\r\n\r\n", b"HTTP/1.0 200\r\n\r\n",
])  # fmt: skip
async def test_d94_a_status_that_was_said_counts_however_the_rest_ends(answer: bytes) -> None:
    server, url = await raw(answer)
    async with server, a_poster() as poster:
        reply = await poster.post(url, HEADERS, b"{}")
    assert isinstance(reply, Answered | NoAnswer)
    if isinstance(reply, NoAnswer):
        assert reply.kind == "malformed"
    else:
        assert reply.status == 200


async def test_r31_name_servers_that_hang_hold_up_no_other_name() -> None:
    """Twenty dead names at once; a living one resolves beside them."""
    let_go = threading.Event()

    def look_up(host: str, port: int, family: int) -> Sequence[AddressInfo]:
        if host.startswith("dead"):
            let_go.wait(10)
        del family
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with WebhookReceiver() as receiver, a_poster(look_up) as poster:
        dead = [asyncio.create_task(poster.post(f"https://dead{n}.example.com/", HEADERS, b"{}")) for n in range(20)]
        try:
            alive = await asyncio.wait_for(poster.post(f"http://localhost:{receiver.port}/", HEADERS, b"{}"), 1)
        finally:
            let_go.set()
        assert isinstance(alive, Answered)
        await asyncio.gather(*dead)
