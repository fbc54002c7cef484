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
    """Commands out, alone or several in one write, and their replies in, in order. Not for concurrent use."""

    def __init__(self, transport: asyncio.Transport, wire: asyncio.Transport, greeted: Greeted) -> None:
        """`wire` is the TCP transport; `transport` the TLS one on top of it, or the same."""
        self.greeted = greeted
        self.transactions = 0  # carried so far
        self.owed = 0  # replies to commands that are sent
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._wire = wire
        self._reader = ReplyReader()
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._patient_until = 0.0
        self._lost: str | None = None
        transport.set_protocol(self)
        if transport.is_closing():
            self._lost = "closed during set-up"

    @property
    def usable(self) -> bool:
        """Whether a new transaction may begin: connected, nothing owed, and nothing said unasked (such as a 421)."""
        return self._lost is None and not self._transport.is_closing() and self.owed == 0 and self._reader.empty

    def send(self, *lines: str) -> None:
        """Write commands as one piece, synchronously; each is owed a reply then.

        Raises ConnectionLost, or Garbled where the two sides are out of step: a reply came that nothing asked for.
        """
        self._check_open()
        if self.owed or not self._reader.empty:
            raise Garbled("a reply that nothing asked for", b"")
        if any(character in line for line in lines for character in "\r\n\0"):
            raise ValueError("a command is one line")
        self.owed = len(lines)
        self._transport.write("".join(f"{line}\r\n" for line in lines).encode())

    async def reply(self, by: float) -> Reply:
        """The next reply. Raises TimeoutError at `by` (loop time) however busily it trickles, ConnectionLost, Garbled."""
        while (reply := self._reader.take()) is None:
            self._check_open()
            if self._loop.time() >= by:
                raise TimeoutError
            await self._wait(by)
        self.owed -= 1
        return reply

    async def command(self, line: str, by: float) -> Reply:
        self.send(line)
        return await self.reply(by)

    async def body(self, data: bytes, by: float, block: float) -> Reply | None:
        """Write a mail with its final dot, dot-stuffed here and nowhere else; returns once the kernel has all of it.

        A reply that comes before the dot is out ends the writing and is returned. Raises TimeoutError at `by`, or where
        the peer takes more than `block` seconds for a block; ConnectionLost, Garbled. In all these cases the dot was not
        sent whole, and the connection is gone. (Where the connection breaks while the kernel takes the last bytes, that
        is not known: then it returns, and the wait for the reply will tell.)
        """
        try:
            early = await self._write_body(memoryview(dot_stuffed(data)), by, block)
        except (TimeoutError, ConnectionLost, Garbled, asyncio.CancelledError):
            self.abort()
            raise
        if early is not None:
            self.abort()
        self.owed = 1
        return early

    async def _write_body(self, view: memoryview, by: float, block: float) -> Reply | None:
        """A body that the kernel takes at once, as most are, costs one write and no wait."""
        if not self._reader.empty:  # it can not be the answer to what is not sent yet
            return self._early()
        for start in range(0, len(view), _CHUNK):
            self._check_open()
            self._transport.write(view[start : start + _CHUNK])
            self._check_open()  # a failing write says so only by closing, and throws its buffer away
            if self._unsent and (early := await self._drained(min(by, self._loop.time() + block))) is not None:
                return early
        return None

    def _early(self) -> Reply:
        if (reply := self._reader.take()) is None:
            raise Garbled("half a reply that nothing asked for", b"")
        return reply

    @property
    def _unsent(self) -> int:
        """Octets that are still in this process; asked, as the TLS layer does not tell of the one beneath it."""
        return self._transport.get_write_buffer_size() + self._wire.get_write_buffer_size()

    async def _drained(self, by: float) -> Reply | None:
        """Wait until no byte is left in this process, by looking."""
        pause = 0.0
        while self._unsent:
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
        """Until something has happened, or it is `by`."""
        self._be_woken_at(by)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _be_woken_at(self, by: float) -> None:
        """One timer serves many waits: it is set anew only where it would ring too late, and goes on where too early."""
        self._patient_until = by
        if self._alarm is None or by < self._alarm_at:
            self._silence_alarm()
            self._alarm, self._alarm_at = self._loop.call_at(by, self._ring), by

    def _ring(self) -> None:
        self._alarm = None
        if self._waiter is None:
            return
        if self._loop.time() < self._patient_until:
            self._be_woken_at(self._patient_until)
        else:
            self._wake()

    def _silence_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

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
        self._silence_alarm()
        self._wake()


def dot_stuffed(data: bytes) -> bytes:
    """A mail with CRLF line ends as DATA takes it: dots at line starts doubled, the final dot added (RFC 5321, 4.5.2)."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")
