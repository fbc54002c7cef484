"""An answer without end has one end, whoever brings it about first (R35)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chassis.streaming import EndlessResponse

Message = dict[str, Any]


class Connection:
    """The server's side of ASGI: takes nothing more once the answer was closed or the reader has gone."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.gone = asyncio.Event()
        self.stuck = False

    async def send(self, message: Message) -> None:
        assert not self.closed, "sent behind the end"
        assert not self.gone.is_set(), "sent to nobody"
        if self.stuck and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.sent.append(message)

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def closed(self) -> bool:
        return any(message.get("more_body") is False for message in self.sent)


async def endless() -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.Event().wait()


async def short() -> AsyncIterator[bytes]:
    yield b"first"


async def broken() -> AsyncIterator[bytes]:
    yield b"first"
    raise LookupError


async def answered(
    content: AsyncIterator[bytes], meanwhile: Callable[[Connection, asyncio.Event], Awaitable[None]]
) -> tuple[Connection, list[str]]:
    connection, over, ended = Connection(), asyncio.Event(), list[str]()
    response = EndlessResponse(content, over, lambda: ended.append("ended"))
    answering = asyncio.create_task(response({"type": "http"}, connection.receive, connection.send))  # type: ignore[arg-type]  # of these messages
    await asyncio.sleep(0)
    await meanwhile(connection, over)
    async with asyncio.timeout(3):
        await answering
    return connection, ended


async def nothing(_: Connection, __: asyncio.Event) -> None: ...


async def told(_: Connection, over: asyncio.Event) -> None:
    over.set()


async def goes(connection: Connection, _: asyncio.Event) -> None:
    while not connection.sent:
        await asyncio.sleep(0)
    connection.gone.set()


async def told_while_nobody_reads(connection: Connection, over: asyncio.Event) -> None:
    connection.stuck = True
    over.set()


@pytest.mark.parametrize(
    ("content", "meanwhile", "closed"),
    [(short, nothing, True), (endless, told, True), (short, told, True), (endless, goes, False),
     (endless, told_while_nobody_reads, False)],
)  # fmt: skip
async def test_it_ends_once_R35(content: Any, meanwhile: Any, closed: bool) -> None:
    connection, ended = await answered(content(), meanwhile)
    assert (connection.closed, ended) == (closed, ["ended"])
    assert connection.sent[0]["type"] == "http.response.start"


async def test_a_source_that_fails_is_a_bug_and_is_told() -> None:
    with pytest.raises(LookupError):
        await answered(broken(), nothing)
