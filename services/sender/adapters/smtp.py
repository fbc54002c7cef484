"""The Carrier: one mail over SMTP, on connections that are kept (R22, R23, R25).

It must never raise for what a server does, and never write DATA or a body that the gate has not let through.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
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
from services.sender.ports import Carried, Gate, Server, Way


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one server. Times in seconds."""

    reply_timeout: float  # for the answer to the dot
    messages_per_connection: int
    idle: float  # how long a connection is kept without work
    patience: Mapping[Phase, timedelta] = field(default_factory=lambda: RFC_5321)


class Connections:
    """The idle sessions of each server, the last used first. A session that is out is its user's alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
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

    def keep(self, server: Server, session: SmtpSession, most: int | None = None) -> None:
        """Take it back after a transaction; `most`: transactions that this server likes on one connection."""
        if not session.usable or session.transactions >= (most or self._limits.messages_per_connection):
            session.close()
            return
        timer = asyncio.get_running_loop().call_later(self._limits.idle, self._drop, server, session)
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

    def __init__(self, set_up: SetUp, limits: Limits) -> None:
        self._set_up = set_up
        self._connections = Connections(limits)
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
        self._connections.keep(server, session, way.messages_per_connection)
        return Carried(ended, session.greeted.hop)
