"""A mail server that takes everything and keeps nothing but when: a line "message-id seconds" per 250, monotonic.

Lean, so that it is not what is measured. `python -m tests.bench.sink PORT FILE [DELAY]`: with a delay every reply comes so
many seconds after its command. While FILE.slow is there ("destination seconds"), each RCPT of that takes so long.
"""

import asyncio
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import uvloop

_WRITE_EVERY = 0.1  # seconds
_END = b"\r\n.\r\n"
_EHLO = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 10485760\r\n"


@dataclass(frozen=True, slots=True)
class Slow:
    """What makes a RCPT slow."""

    destination: bytes
    seconds: float


class Session(asyncio.Protocol):
    """One connection: commands until DATA, then a mail until its dot."""

    slow: Slow | None = None  # of all sessions
    delay = 0.0  # seconds

    def __init__(self, taken: list[bytes]) -> None:
        self._taken = taken
        self._buffer = bytearray()
        self._in_data = False
        self._due = 0.0  # the last reply, so far
        self._later: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by type
        self._say(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._mail() if self._in_data else self._command():
            pass

    def _command(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        verb = bytes(line[:4]).upper()
        if verb == b"EHLO":
            self._say(_EHLO)
        elif verb == b"DATA":
            self._in_data = True
            self._say(b"354 go ahead\r\n")
        elif verb == b"QUIT":
            self._transport.write(b"221 2.0.0 bye\r\n")
            self._transport.close()
            return False
        elif verb == b"RCPT" and Session.slow is not None and Session.slow.destination in line:
            self._say(b"250 2.1.5 ok\r\n", after=Session.slow.seconds)
        else:
            self._say(b"250 2.0.0 ok\r\n")
        return True

    def _say(self, reply: bytes, after: float = 0.0) -> None:
        """Replies keep their order: who pipelines waits for the slow one with all that follow."""
        now = self._loop.time()
        due = self._due = max(self._due, now + Session.delay + after)
        if due <= now and not self._later:
            self._write(reply)
            return
        self._later.append((due, reply))  # one timer for all: two for the same moment may go off in any order
        if len(self._later) == 1:
            self._loop.call_at(due, self._catch_up)

    def _catch_up(self) -> None:
        while self._later and self._later[0][0] <= self._loop.time():
            self._write(self._later.popleft()[1])
        if self._later:
            self._loop.call_at(self._later[0][0], self._catch_up)

    def _write(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)

    def _mail(self) -> bool:
        end = self._buffer.find(_END)
        if end < 0:
            return False
        self._say(b"250 2.0.0 taken\r\n")
        # At the start of a line: a signature names the field, too.
        began = bytes(self._buffer[:4096]).lower().find(b"\nmessage-id:")
        opened = self._buffer.find(b"<", began) + 1 if began >= 0 else 0
        name = bytes(self._buffer[opened : self._buffer.find(b"@", opened)]) if opened else b"-"
        self._taken.append(b"%s %.6f\n" % (name, time.monotonic()))
        del self._buffer[: end + len(_END)]
        self._in_data = False
        return True


def _keep(taken: list[bytes], file: BinaryIO, slow: Path) -> None:
    Session.slow = _slow(slow)
    file.write(b"".join(taken))
    file.flush()
    taken.clear()


def _slow(mark: Path) -> Slow | None:
    if not mark.exists():
        return None
    destination, seconds = mark.read_bytes().split() or (b"-", b"0")  # it may be written just now
    return Slow(b"@%s>" % destination, float(seconds))


async def serve(port: int, file: BinaryIO, slow: Path) -> None:
    taken: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(lambda: Session(taken), "127.0.0.1", port, backlog=1024)
    async with server:
        while True:
            await asyncio.sleep(_WRITE_EVERY)
            _keep(taken, file, slow)


if __name__ == "__main__":
    Session.delay = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    with Path(sys.argv[2]).open("wb") as found:
        uvloop.run(serve(int(sys.argv[1]), found, Path(sys.argv[2] + ".slow")))
