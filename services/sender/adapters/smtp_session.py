"""One SMTP connection from set-up to its end, command by command, so that the phase of every failure is known (ADR 6).

It takes a transport over once it is set up. It must never write a byte of a body after its deadline, nor take a reply
for the answer to a command that was sent after it came.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from services.sender.domain.replies import Garbled, Reply, ReplyReader
from services.sender.domain.reports import Hop

_CHUNK = 64 * 1024  # of a body between two looks at the peer's pace
_LOOK_EVERY = 0.005  # seconds, while the peer is slower than we are


class ConnectionLost(Exception):
    """The peer, or the network, ended the connection."""


@dataclass(frozen=True, slots=True)
class Greeted:
    """What set-up found out: where the connection goes and which extensions the server offers (lower case)."""

    hop: Hop
    extensions: Mapping[str, str]


class SmtpSession(asyncio.Protocol):
    """Stop and wait: one command, one reply. Not for concurrent use."""

    def __init__(self, transport: asyncio.Transport, wire: asyncio.Transport, greeted: Greeted) -> None:
        """`wire` is the TCP transport; `transport` the TLS one on top of it, or the same."""
        self.greeted = greeted
        self.transactions = 0  # carried so far
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._wire = wire
        self._reader = ReplyReader()
        self._waiter: asyncio.Future[None] | None = None
        self._lost: str | None = None
        transport.set_protocol(self)
        if transport.is_closing():
            self._lost = "closed during set-up"

    @property
    def usable(self) -> bool:
        """Whether a new transaction may begin: connected, and nothing said that was not asked for (such as a 421)."""
        return self._lost is None and not self._transport.is_closing() and self._reader.empty

    def send(self, line: str) -> None:
        """Write one command, synchronously. Raises ConnectionLost, or Garbled where a reply came unasked."""
        self._check_open()
        if not self._reader.empty:
            raise Garbled("a reply that nothing asked for", b"")
        if any(character in line for character in "\r\n\0"):
            raise ValueError("a command is one line")
        self._transport.write(line.encode() + b"\r\n")

    async def reply(self, by: float) -> Reply:
        """The next reply. Raises TimeoutError at `by` (loop time), ConnectionLost, Garbled."""
        while (reply := self._reader.take()) is None:
            self._check_open()
            await self._wait(by)
        return reply

    async def command(self, line: str, by: float) -> Reply:
        self.send(line)
        return await self.reply(by)

    async def body(self, data: bytes, by: float) -> Reply | None:
        """Write a mail with its final dot, dot-stuffed here and nowhere else; returns once the kernel has all of it.

        A reply that comes before the dot is out ends the writing and is returned. Raises TimeoutError, ConnectionLost,
        Garbled. In all these cases the dot was not sent whole, and the connection is gone. (Where the connection breaks
        while the kernel takes the last bytes, that is not known: then it returns, and the wait for the reply will tell.)
        """
        view = memoryview(dot_stuffed(data))
        try:
            for start in range(0, len(view), _CHUNK):
                self._check_open()
                self._transport.write(view[start : start + _CHUNK])
                self._check_open()  # a failing write says so only by closing, and throws its buffer away
                if (early := await self._drained(by)) is not None:
                    self.abort()
                    return early
        except (TimeoutError, ConnectionLost, Garbled, asyncio.CancelledError):
            self.abort()
            raise
        return None

    async def _drained(self, by: float) -> Reply | None:
        """Wait until no byte is left in this process, by looking: the TLS layer does not tell of the one beneath it."""
        pause = 0.0
        while self._transport.get_write_buffer_size() or self._wire.get_write_buffer_size():
            if (early := self._reader.take()) is not None:
                return early
            self._check_open()
            if self._loop.time() >= by:
                raise TimeoutError
            await asyncio.sleep(pause)
            pause = _LOOK_EVERY
        return None

    def close(self) -> None:
        """Say QUIT and go; nobody waits for the answer."""
        if self._lost is None and not self._transport.is_closing():
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection, and what stands in its buffer."""
        self._transport.abort()

    def _check_open(self) -> None:
        if self._lost is not None or self._transport.is_closing() or self._wire.is_closing():
            raise ConnectionLost(self._lost or "the connection broke")

    async def _wait(self, by: float) -> None:
        """Until something has happened. Raises TimeoutError at `by`."""
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_at(by, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        if self._loop.time() >= by and self._lost is None and self._reader.empty:
            raise TimeoutError

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._wake()

    def eof_received(self) -> bool:
        self._lost = self._lost or "closed by the server"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or ("closed by the server" if exc is None else str(exc) or type(exc).__name__)
        self._wake()


def dot_stuffed(data: bytes) -> bytes:
    """A mail with CRLF line ends as DATA takes it: dots at line starts doubled, the final dot added (RFC 5321, 4.5.2)."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")
