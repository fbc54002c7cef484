"""A reader of server-sent events, by the letter of WHATWG HTML 9.2.6: what a browser would make of a stream.

async with session.get(url, headers={"Accept": "text/event-stream"}) as response:
    reader = EventReader(response.content)
    sent = await reader.next()           # or None, at the end of the stream
    ... headers={"Last-Event-ID": reader.last_id} ...
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Sent:
    """One event as it is dispatched."""

    id: str
    kind: str
    data: str

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.data)
        return found


class EventReader:
    """`comments` counts the heartbeats that have come; `retry_ms` is what the stream asks for."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last_id = ""
        self.comments = 0
        self.retry_ms: int | None = None

    async def next(self, *, within: float = 15) -> Sent | None:
        """The next event; None where the stream ends. Raises TimeoutError."""
        async with asyncio.timeout(within):
            return await self._next()

    async def take(self, count: int, *, within: float = 30) -> list[Sent]:
        """The next `count` events. Raises TimeoutError."""
        found: list[Sent] = []
        async with asyncio.timeout(within):
            while len(found) < count:
                sent = await self._next()
                assert sent is not None, f"the stream ended after {len(found)} of {count}"
                found.append(sent)
        return found

    async def rest(self, *, within: float = 15) -> list[Sent]:
        """What comes until it ends."""
        found: list[Sent] = []
        async with asyncio.timeout(within):
            while (sent := await self._next()) is not None:
                found.append(sent)
        return found

    async def _next(self) -> Sent | None:
        last_id, kind, data = self.last_id, "message", ""
        while line := await self._stream.readline():
            text = line.decode().rstrip("\n")
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "" if not text:
                    self.last_id = last_id
                    if data:
                        return Sent(last_id, kind, data.removesuffix("\n"))
                    kind = "message"
                case "":
                    self.comments += 1
                case "id":
                    last_id = value
                case "event":
                    kind = value
                case "data":
                    data += value + "\n"
                case "retry":
                    self.retry_ms = int(value)
        return None
