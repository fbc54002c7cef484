"""A scripted SMTP server: faults by phase, and a record of every mail it took, for tests, drills and demos.

In a test: `async with smtp_server(script) as server`. As a process: `python -m tests.kit.smtp_server --port 2525 --log
mails.jsonl [--fault rcpt=450] [--delay reply=5]`; it prints its port, and writes a line per mail once it is taken.
It answers what its script says, whatever a real server would; it must never alter a byte of what it records.
"""

import argparse
import asyncio
import json
import ssl
from base64 import b64encode
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

At = Literal["greeting", "ehlo", "starttls", "mail", "rcpt", "data", "body", "reply", "rset"]
_PLAIN_REPLY: dict[At, bytes] = {
    "greeting": b"220 sink.test ESMTP",
    "mail": b"250 2.1.0 Ok",
    "rcpt": b"250 2.1.5 Ok",
    "data": b"354 Go ahead",
    "reply": b"250 2.0.0 Ok: queued",
    "rset": b"250 2.0.0 Ok",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one point: after `delay` seconds say `say` (raw, with its line ends), then maybe close or reset.

    `say=None` with neither: the usual reply. `trickle`: seconds between two octets of what is said. `hang`: nothing more
    is ever said. At `body` it happens after the 354, and nothing is read meanwhile.
    """

    say: bytes | None = None
    close: bool = False
    reset: bool = False
    hang: bool = False
    delay: float = 0.0
    trickle: float = 0.0


def says(text: str, *, close: bool = False) -> Fault:
    return Fault(say=text.encode() + b"\r\n", close=close)


CLOSE, RESET, HANG = Fault(close=True), Fault(reset=True), Fault(hang=True)


@dataclass(frozen=True, slots=True)
class Taken:
    """A mail whose dot arrived, whatever was answered to it. `content` is as DATA carried it, without dot-stuffing."""

    mail_from: str
    rcpt_to: str
    content: bytes
    raw: bytes
    connection: int

    @property
    def message_id(self) -> str:
        head = self.content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
        found = next((line for line in head.split("\r\n") if line.lower().startswith("message-id:")), ":")
        return found.partition(":")[2].strip().strip("<>").partition("@")[0]


# Asked at each point with the recipient so far; None is the usual course.
Script = Callable[[At, str], Fault | None]


def script_of(faults: Mapping[At, Fault | Iterable[Fault | None]]) -> Script:
    """A fault at a point, for ever; or a sequence of them, one each time the point is reached, then the usual course."""
    once = {at: deque(given) for at, given in faults.items() if not isinstance(given, Fault)}

    def script(at: At, recipient: str) -> Fault | None:
        del recipient
        always = faults.get(at)
        if isinstance(always, Fault):
            return always
        return once[at].popleft() if once.get(at) else None

    return script


@dataclass(slots=True)
class SmtpServer:
    """What the server saw. `port` once it listens."""

    script: Script
    extensions: tuple[str, ...] = ("SIZE 10000000", "8BITMIME")
    tls: ssl.SSLContext | None = None
    on_mail: Callable[[Taken], None] | None = None
    always_354: bool = False
    tls_from_the_start: bool = False
    mails: list[Taken] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    port: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, holds: Callable[["SmtpServer"], bool], within: float = 15) -> None:
        """Wait until something is so, e.g. `lambda s: len(s.mails) == 3`."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: holds(self))

    def drop_all(self) -> None:
        """End every connection, as a server does that restarts."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def all_over(self) -> None:
        """Wait until no conversation runs any more; one that does not notice its end is ended."""
        if self._tasks:
            _, deaf = await asyncio.wait(self._tasks, timeout=2)
            for task in deaf:
                task.cancel()
            await asyncio.gather(*deaf, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await _Conversation(self, reader, writer, self.connections).run()
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()
            await self.note("closed")

    async def note(self, what: str) -> None:
        self.reached[what] += 1
        async with self._changed:
            self._changed.notify_all()


class _Over(Exception):
    """The script has ended this connection."""


class _Conversation:
    def __init__(
        self, server: SmtpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._number = number
        self._sender = self._recipient = ""
        self._accepted: set[At] = set()  # of the transaction that is open
        self._encrypted = False

    async def run(self) -> None:
        with suppress(_Over):
            await self._act("greeting")
            while line := await self._reader.readline():
                command = line.rstrip(b"\r\n").decode("utf-8", "replace")
                self._server.commands.append(command)
                if not await self._obey(command):
                    return

    async def _obey(self, command: str) -> bool:
        verb = command.partition(" ")[0].upper()
        match verb:
            case "EHLO" | "HELO":
                offered = [*self._server.extensions]
                if self._server.tls is not None and not (self._encrypted or self._server.tls_from_the_start):
                    offered.append("STARTTLS")
                lines = ["sink.test", *offered]
                said = "".join(f"250-{text}\r\n" for text in lines[:-1]) + f"250 {lines[-1]}"
                await self._act("ehlo", said.encode())
            case "STARTTLS":
                await self._start_tls()
            case "MAIL":
                self._sender = command.partition("<")[2].partition(">")[0]
                await self._envelope("mail")
            case "RCPT":
                self._recipient = command.partition("<")[2].rpartition(">")[0]
                await self._envelope("rcpt")
            case "DATA":
                await self._data()
            case "RSET":
                self._accepted.clear()
                await self._act("rset")
            case "QUIT":
                await self._say(b"221 2.0.0 Bye\r\n")
                return False
            case _:
                await self._say(b"502 5.5.2 What?\r\n")
        return True

    async def _start_tls(self) -> None:
        if self._server.tls is None:
            await self._say(b"502 5.5.2 Not offered\r\n")
        elif (await self._act("starttls", b"220 Go ahead")).startswith(b"220"):
            await self._writer.start_tls(self._server.tls)
            self._encrypted = True

    async def _envelope(self, at: Literal["mail", "rcpt"]) -> None:
        if (await self._act(at)).startswith(b"2"):
            self._accepted.add(at)

    async def _data(self) -> None:
        """Where the envelope was refused, as servers do: no recipients; or as some do: a 354 all the same."""
        wanted = {"mail", "rcpt"} <= self._accepted
        if not wanted and not self._server.always_354:
            await self._say(b"503 5.5.1 No recipients\r\n")
            return
        if not (await self._act("data")).startswith(b"354"):
            return
        fault = self._server.script("body", self._recipient)
        if fault is not None:
            await self._server.note("body")
            self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads, too
            await self._carry_out(fault, b"")
            self._writer.transport.resume_reading()  # type: ignore[attr-defined]
        raw = await self._read_to_the_dot()
        self._accepted.clear()
        if not wanted:
            await self._say(b"554 5.5.1 No valid recipients\r\n")
            return
        content = (b"\r\n" + raw[:-3]).replace(b"\r\n..", b"\r\n.")[2:]
        taken = Taken(self._sender, self._recipient, content, raw, self._number)
        self._server.mails.append(taken)
        if self._server.on_mail is not None:
            self._server.on_mail(taken)
        await self._act("reply")

    async def _read_to_the_dot(self) -> bytes:
        raw = await self._reader.readuntil(b".\r\n")
        while raw != b".\r\n" and not raw.endswith(b"\r\n.\r\n"):
            raw += await self._reader.readuntil(b".\r\n")
        return raw

    async def _act(self, at: At, usual: bytes | None = None) -> bytes:
        """Say what the script says, and return it."""
        await self._server.note(at)
        fault = self._server.script(at, self._recipient)
        usual = (usual or _PLAIN_REPLY[at]) + b"\r\n"
        if fault is None:
            await self._say(usual)
            return usual
        await self._carry_out(fault, usual)
        return usual if fault.say is None else fault.say

    async def _carry_out(self, fault: Fault, usual: bytes) -> None:
        await asyncio.sleep(fault.delay)
        if fault.hang:
            await self._reader.read()
            raise _Over
        if fault.reset:
            self._writer.transport.abort()
            raise _Over
        if fault.say is not None:
            await self._say(fault.say, fault.trickle)
        elif not fault.close:
            await self._say(usual)
        if fault.close:
            raise _Over

    async def _say(self, text: bytes, trickle: float = 0.0) -> None:
        for piece in (text[at : at + 1] for at in range(len(text))) if trickle else (text,):
            await asyncio.sleep(trickle)
            self._writer.write(piece)
            await self._writer.drain()


def _usual(at: At, recipient: str) -> Fault | None:
    del at, recipient
    return None


@asynccontextmanager
async def smtp_server(
    script: Script = _usual,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    extensions: tuple[str, ...] = ("SIZE 10000000", "8BITMIME"),
    tls: ssl.SSLContext | None = None,
    on_mail: Callable[[Taken], None] | None = None,
    always_354: bool = False,
    tls_from_the_start: bool = False,
) -> AsyncIterator[SmtpServer]:
    """A server on loopback for the time of the block. `always_354`: to DATA, whatever became of MAIL and RCPT."""
    server = SmtpServer(script, extensions, tls, on_mail, always_354, tls_from_the_start)
    at_once = tls if tls_from_the_start else None
    listener = await asyncio.start_server(server.serve, address, port, limit=64 * 1024 * 1024, backlog=512, ssl=at_once)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        server.drop_all()
        await listener.wait_closed()
        await server.all_over()


def _fault(text: str) -> Fault:
    """`450`, `close`, `hang`, `reset` from the command line."""
    named = {"close": CLOSE, "hang": HANG, "reset": RESET}
    return named[text] if text in named else says(f"{text} {text[0]}.0.0 As the script says")


async def _main(arguments: argparse.Namespace) -> None:
    faults: dict[At, Fault | Iterable[Fault | None]] = {}
    for given in arguments.fault:
        at, _, what = given.partition("=")
        faults[at] = _fault(what)
    for given in arguments.delay:
        at, _, seconds = given.partition("=")
        faults[at] = Fault(delay=float(seconds))
    with arguments.log.open("a", encoding="utf-8") as log:

        def write(mail: Taken) -> None:
            line = {"from": mail.mail_from, "to": mail.rcpt_to, "message_id": mail.message_id}
            log.write(json.dumps({**line, "content": b64encode(mail.content).decode()}) + "\n")
            log.flush()

        async with smtp_server(script_of(faults), port=arguments.port, on_mail=write) as server:
            print(server.port, flush=True)  # noqa: T201 — for whoever started it
            await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--fault", action="append", default=[], metavar="PHASE=CODE|close|hang|reset")
    parser.add_argument("--delay", action="append", default=[], metavar="PHASE=SECONDS")
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))
