"""Load over HTTP with as little work of its own as can be: one request at a time per connection, connections kept."""

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from tests.bench.mails import body

_MESSAGE_ID = re.compile(rb'"message_id":"([^"]+)"')
# Two benches in one stack must not send the same idempotency key.
_ONCE = time.time_ns()
_NUMBERS = itertools.count()


class Connection(asyncio.Protocol):
    """`request` answers (status, body)."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by type

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed by the server"))

    async def request(self, data: bytes) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        fields = head.lower()
        at = fields.index(b"content-length:") + len(b"content-length:")
        length = int(fields[at:].split(b"\r\n", 1)[0])
        if len(rest) >= length and self._answer is not None:
            self._buffer = rest[length:]
            self._answer.set_result((int(head[9:12]), rest[:length]))


@dataclass(slots=True)
class Load:
    """What was accepted: ids, the moments (monotonic) they were due and answered, and everything that was not a 202."""

    ids: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # which of the client's requests it was
    due: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    refused: list[tuple[int, bytes]] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.ids) / (self.ended - self.began)

    def latencies(self) -> list[float]:
        return [answered - due for due, answered in zip(self.due, self.answered, strict=True)]


class Client:
    """Sends to one address what `content` makes of a number that no other request has."""

    def __init__(
        self,
        port: int,
        key: str,
        *,
        keyed: bool = False,
        path: str = "/v1/messages",
        content: Callable[[int], bytes] = body,
    ) -> None:
        self._port = port
        self._key = key
        self._keyed = keyed
        self._path = path
        self._content = content
        self._idle: list[Connection] = []

    async def closed_loop(self, seconds: float, connections: int) -> Load:
        """As many as `connections` at a time can, each next one as soon as the last is answered."""
        load = Load(began=time.monotonic())
        await asyncio.gather(*(self._keep_sending(load, load.began + seconds) for _ in range(connections)))
        return self._over(load)

    async def each(self, count: int) -> Load:
        """That many requests, one after the other."""
        load = Load(began=time.monotonic())
        for _ in range(count):
            await self._send(load, time.monotonic())
        return self._over(load)

    async def open_loop(self, seconds: float, per_second: float) -> Load:
        """At fixed moments, whatever became of the ones before; each is measured from the moment it was due."""
        load = Load(began=time.monotonic())
        sending = []
        for number in range(round(seconds * per_second)):
            due = load.began + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sending.append(asyncio.create_task(self._send(load, due)))
        await asyncio.gather(*sending)
        return self._over(load)

    async def _keep_sending(self, load: Load, until: float) -> None:
        while (now := time.monotonic()) < until:
            await self._send(load, now)

    async def _send(self, load: Load, due: float) -> None:
        connection = self._idle.pop() if self._idle else await self._connect()
        number = next(_NUMBERS)
        status, answer = await connection.request(self._request(number))
        answered = time.monotonic()
        self._idle.append(connection)
        if status != 202:
            load.refused.append((status, answer))
            return
        ids = _MESSAGE_ID.findall(answer)
        load.ids += ids
        load.numbers += [number] * len(ids)
        load.due += [due] * len(ids)
        load.answered += [answered] * len(ids)

    async def _connect(self) -> Connection:
        make: Callable[[], Connection] = Connection
        _, connection = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", self._port)
        return connection

    def _request(self, number: int) -> bytes:
        content = self._content(number)
        idempotency = f"Idempotency-Key: k{_ONCE}-{number}\r\n" if self._keyed else ""
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n{idempotency}"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def _over(self, load: Load) -> Load:
        load.ended = time.monotonic()
        for connection in self._idle:
            connection.transport.close()
        self._idle.clear()
        if load.refused:
            print(f"  {len(load.refused)} requests were not accepted, the first: {load.refused[0]}")
        return load
