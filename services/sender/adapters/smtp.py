"""The Carrier: one mail over SMTP, on connections that are kept (R22, R23, R25).

It must never raise for what a server does, and never write DATA or a body that the gate has not let through.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from schemas.mail import Phase
from services.sender import metrics
from services.sender.adapters.smtp_patience import RFC_5321
from services.sender.adapters.smtp_session import SmtpSession
from services.sender.adapters.smtp_setup import SetUp, SetUpFailed
from services.sender.adapters.smtp_transaction import Gone, Transaction
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome, lost
from services.sender.domain.shaping import Shape, of_smarthost
from services.sender.ports import Carried, Gate, Server, Way


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one server. Times in seconds."""

    reply_timeout: float  # for the answer to the dot
    messages_per_connection: int
    idle: float  # how long a connection is kept without work
    patience: Mapping[Phase, timedelta] = field(default_factory=lambda: RFC_5321)


_AS_MANY_AS_COME = 1_000_000


class Connections:
    """The idle sessions of each server, the last used first. A session that is out is its user's alone."""

    def __init__(self) -> None:
        self._idle: dict[Server, deque[tuple[SmtpSession, asyncio.TimerHandle]]] = {}

    def kept(self, server: Server) -> SmtpSession | None:
        """One that has carried mail before and is still good, if there is any."""
        while idle := self._idle.get(server):
            session, timer = idle.pop()
            timer.cancel()
            if session.usable:
                return session
            session.abort()
        self._idle.pop(server, None)
        return None

    def keep(self, server: Server, session: SmtpSession, shape: Shape) -> None:
        """Take it back after a transaction, where the server may have as many connections now."""
        spent = session.transactions >= shape.messages_per_connection
        if not session.usable or spent or len(self._idle.get(server, ())) >= shape.connections:
            session.close()
            return
        timer = asyncio.get_running_loop().call_later(shape.idle, self._drop, server, session)
        self._idle.setdefault(server, deque()).append((session, timer))

    def _drop(self, server: Server, session: SmtpSession) -> None:
        left = deque(entry for entry in self._idle.pop(server, ()) if entry[0] is not session)
        if left:
            self._idle[server] = left
        session.close()

    def close(self) -> None:
        while self._idle:
            _, idle = self._idle.popitem()
            for session, timer in idle:
                timer.cancel()
                session.close()


class SmtpCarrier:
    """See `services.sender.ports.Carrier`."""

    def __init__(self, set_up: SetUp, limits: Limits, shape_of: Callable[[Way], Shape] | None = None) -> None:
        """`shape_of`: what holds on a way now; without it `limits` do."""
        self._shape_of = shape_of or (lambda _: _shape(limits))
        self._set_up = set_up
        self._connections = Connections()
        self._limits = limits

    async def start(self) -> None:
        """Connections are made when mail comes."""

    async def stop(self) -> None:
        self._connections.close()

    async def carry(self, way: Way, mail: Mail, gate: Gate, *, dot_by: float) -> Carried:
        """On a connection that is there already, whichever server it leads to; else by the servers in their order."""
        for server in way.servers:
            if (session := self._connections.kept(server)) is not None:
                metrics.CONNECTIONS_REUSED.labels(way.path).inc()
                try:
                    return await self._transact(way, server, session, mail, gate, dot_by)
                except Gone:
                    session.abort()
        return await self._carry_anew(way, mail, gate, dot_by)

    async def _carry_anew(self, way: Way, mail: Mail, gate: Gate, dot_by: float) -> Carried:
        """A server that does not let us in has said nothing of this mail: the next one may take it."""
        ended, loop = Carried(lost("connect", "no server to connect to")), asyncio.get_running_loop()
        for at, server in enumerate(way.servers):
            # Of the time that is left each gets its share: one that never greets must not keep the rest from it (D51).
            by = loop.time() + (dot_by - loop.time()) / (len(way.servers) - at)
            try:
                session = await self._set_up.session(server, by)
            except SetUpFailed as failed:
                metrics.CONNECTIONS_FAILED.labels(way.path, failed.outcome.phase).inc()
                ended = Carried(failed.outcome, failed.hop)
            else:
                metrics.CONNECTIONS_OPENED.labels(way.path).inc()
                return await self._transact(way, server, session, mail, gate, dot_by)
        return ended

    async def _transact(
        self, way: Way, server: Server, session: SmtpSession, mail: Mail, gate: Gate, by: float
    ) -> Carried:
        limits = self._limits
        transaction = Transaction(session, mail, gate, by, reply_timeout=limits.reply_timeout, patience=limits.patience)
        try:
            ended = await transaction.run()
            if not isinstance(ended, Outcome) or ended.outcome != "delivered":
                await transaction.tidy_up()
        except BaseException:
            session.abort()
            raise
        self._connections.keep(server, session, self._shape_of(way))
        return Carried(ended, session.greeted.hop)


def _shape(limits: Limits) -> Shape:
    return of_smarthost(
        connections=_AS_MANY_AS_COME,
        messages_per_connection=limits.messages_per_connection,
        per_second=None,
        idle=limits.idle,
    )
