"""Bodies within bounds (R5; D71, D74, D75): size after inflating, memory by a budget, time by pace; each with its answer."""

import asyncio
import gzip
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import Request

from chassis.budget import ByteBudget
from services.ingest.api import bodies
from services.ingest.api.bodies import MAX_MAIL_OCTETS, ORDINARY_OCTETS, Mails, read_body
from services.ingest.domain.faults import Refused

MIB = 1024 * 1024


class Sent:
    """A request whose body comes in these chunks, and how much of it was read."""

    def __init__(self, chunks: Sequence[bytes], **headers: str) -> None:
        self._chunks = list(chunks)
        self.read = 0
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        if not self._chunks:
            return {"type": "http.disconnect"}
        chunk = self._chunks.pop(0)
        self.read += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": bool(self._chunks)}


def declared(data: bytes, step: int = 64 * 1024) -> Sent:
    return Sent([data[at : at + step] for at in range(0, len(data), step)], content_length=str(len(data)))


def zipped(data: bytes, step: int = 64 * 1024) -> Sent:
    return Sent([data[at : at + step] for at in range(0, len(data), step)], content_encoding="gzip")


async def refusal(sent: Sent, memory: ByteBudget | None = None) -> Refused:
    with pytest.raises(Refused) as refused:
        async with Mails(memory or ByteBudget(128 * MIB)).body(sent.request):
            pytest.fail("it was taken")
    return refused.value


async def test_a_body_is_what_was_sent() -> None:
    data = bytes(range(256)) * 4096
    for sent in (declared(data), Sent([data]), zipped(gzip.compress(data)), zipped(gzip.compress(data), step=1)):
        async with Mails(ByteBudget(128 * MIB)).body(sent.request) as body:
            assert body == data


async def test_ordinary_bodies_need_no_room() -> None:
    memory = ByteBudget(0)
    async with Mails(memory).body(declared(bytes(ORDINARY_OCTETS)).request) as body:
        assert len(body) == ORDINARY_OCTETS


async def test_the_largest_is_taken_and_one_byte_more_is_not() -> None:
    async with Mails(ByteBudget(128 * MIB)).body(declared(bytes(MAX_MAIL_OCTETS), step=MIB).request) as body:
        assert len(body) == 52_428_800
    too_long = declared(bytes(MAX_MAIL_OCTETS + 1), step=MIB)
    assert (await refusal(too_long)).status == 413
    assert too_long.read == 0  # its own word is enough
    unsaid = Sent([bytes(MIB)] * 60)
    assert (await refusal(unsaid)).status == 413
    assert unsaid.read <= MAX_MAIL_OCTETS + MIB


async def test_a_gzip_bomb_is_413_and_inflated_no_further() -> None:
    bomb = zlib.compressobj(wbits=31)
    block = bomb.compress(bytes(MIB)) + bomb.flush(zlib.Z_FULL_FLUSH)  # stands for itself, so it can be repeated
    data = gzip.compress(b"")[:10] + block[10:] * 1000  # a GB in a MB
    memory = ByteBudget(128 * MIB)
    assert (await refusal(zipped(data), memory)).status == 413
    assert memory.held == 0


async def test_bytes_that_inflate_to_nothing_are_counted_too() -> None:
    empty_block = b"\x00\x00\x00\xff\xff"  # stored, of no length, not the last
    head = gzip.compress(b"")[:10]
    sent = Sent([head, *[empty_block * 200_000] * 60], content_encoding="gzip")
    assert (await refusal(sent)).status == 413


WHOLE = gzip.compress(b"{}" * 1000)
NOT_GZIP = [b"{}", WHOLE[:-1], WHOLE[:20], WHOLE + b"x", WHOLE + WHOLE, WHOLE[:-4] + b"abcd", b""]


@pytest.mark.parametrize("data", NOT_GZIP, ids=range(len(NOT_GZIP)))
@pytest.mark.parametrize("step", [7, 100_000])
async def test_what_is_no_gzip(data: bytes, step: int) -> None:
    sent = Sent([data[at : at + step] for at in range(0, len(data), step)] or [b""], content_encoding="gzip")
    refused = await refusal(sent)
    assert (refused.status, refused.code) == (400, "invalid_encoding")


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd"])
async def test_another_encoding_is_never_ignored(coding: str) -> None:
    refused = await refusal(Sent([b"{}"], content_encoding=coding))
    assert (refused.status, refused.code) == (415, "unsupported_encoding")


async def test_small_bodies_inflate_within_their_own_limit() -> None:
    assert await read_body(zipped(gzip.compress(b"{}")).request) == b"{}"
    with pytest.raises(Refused) as refused:
        await read_body(zipped(gzip.compress(bytes(1000))).request, 999)
    assert refused.value.status == 413


async def test_without_room_it_is_503_and_the_client_can_read_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "ROOM_SECONDS", 0.01)
    memory = ByteBudget(10 * MIB)
    with memory.room() as other:
        await other.grow(6 * MIB, within=0)
        for sent in (declared(bytes(5 * MIB)), Sent([bytes(MIB)] * 5)):
            refused = await refusal(sent, memory)
            assert (refused.status, refused.code, refused.retry_after) == (503, "unavailable", 5)
            assert sent.read == 5 * MIB  # read to its end, and thrown away
        async with Mails(memory).body(declared(bytes(ORDINARY_OCTETS)).request):
            assert memory.held == 6 * MIB  # the small ones pass
        async with Mails(memory).body(declared(bytes(4 * MIB)).request):
            assert memory.held == 10 * MIB
    assert memory.held == 0


async def test_a_body_of_unknown_length_holds_what_it_may_need_and_then_what_it_needs() -> None:
    """Were it to grow bit by bit, many at once would all come to a stop half-way."""
    memory, data = ByteBudget(MAX_MAIL_OCTETS), gzip.compress(bytes(10 * MIB))
    async with Mails(memory).body(zipped(data).request) as body:
        assert memory.held == len(body) == 10 * MIB
        several = [Mails(memory).body(zipped(data).request) for _ in range(3)]
        waiting = [asyncio.create_task(one.__aenter__()) for one in several]
        await asyncio.sleep(0)
        assert memory.held == 10 * MIB
    for one, entering in zip(several, waiting, strict=True):
        assert len(await entering) == 10 * MIB
        await one.__aexit__(None, None, None)
    assert memory.held == 0


async def test_a_slow_body_is_refused_and_gives_its_room_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "RECEIVE_SECONDS", 0.05)

    class Stalled(Sent):
        async def _receive(self) -> dict[str, Any]:
            if self.read:
                await never.wait()
            return await super()._receive()

    never = asyncio.Event()
    memory = ByteBudget(128 * MIB)
    refused = await refusal(Stalled([b"x", b"y"], content_length=str(40 * MIB)), memory)
    assert (refused.status, refused.code) == (400, "incomplete_body")
    assert memory.held == 0


async def test_a_broken_connection_is_no_body() -> None:
    assert (await refusal(Sent([], content_length="100"))).code == "incomplete_body"


async def test_a_body_that_comes_whole_has_its_limit_too() -> None:
    """Without a declared length, in one piece: D74."""
    assert await read_body(Sent([b"x" * 1000]).request, limit=1000) == b"x" * 1000
    with pytest.raises(Refused) as refused:
        await read_body(Sent([b"x" * 1001]).request, limit=1000)
    assert refused.value.code == "payload_too_large"


async def test_a_client_that_is_gone_before_its_body_is_no_empty_body() -> None:
    with pytest.raises(Refused) as refused:
        await read_body(Sent([]).request)
    assert refused.value.code == "incomplete_body"
