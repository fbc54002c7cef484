"""The Carrier: one mail over SMTP, MAIL to dot step by step, on connections that are kept (R22, R23, R25).

It must never raise for what a server does, and never write DATA or a body that the gate has not let through.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.mail import Phase
from services.sender import metrics
from services.sender.adapters.smtp_session import ConnectionLost, SmtpSession
from services.sender.adapters.smtp_setup import SetUp, SetUpFailed
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome, classify, garbled, lost, refused_by_us
from services.sender.domain.replies import Garbled, Reply
from services.sender.ports import Carried, Gate, Server, Stop, Way

# Seconds per phase at most (RFC 5321, 4.5.3.2); the attempt's deadline ends each of them before, as a rule.
_PATIENCE: Mapping[Phase, float] = {"mail": 300, "rcpt": 300, "data": 120, "body": 180}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one server. Times in seconds."""

    reply_timeout: float  # for the answer to the dot
    messages_per_connection: int
    idle: float  # how long a connection is kept without work


class _Gone(Exception):
    """A kept connection had ended meanwhile: nobody's attempt."""


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

    def keep(self, server: Server, session: SmtpSession) -> None:
        """Take it back after a transaction."""
        if not session.usable or session.transactions >= self._limits.messages_per_connection:
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
        self._reply_timeout = limits.reply_timeout

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
                    return await self._transact(server, session, mail, gate, dot_by)
                except _Gone:
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
                return await self._transact(server, session, mail, gate, dot_by)
        return ended

    async def _transact(self, server: Server, session: SmtpSession, mail: Mail, gate: Gate, by: float) -> Carried:
        transaction = _Transaction(session, mail, gate, by, self._reply_timeout)
        session.transactions += 1
        try:
            ended = await transaction.run()
            if not isinstance(ended, Outcome) or ended.outcome != "delivered":
                await transaction.tidy_up()
        except BaseException:
            session.abort()
            raise
        self._connections.keep(server, session)
        return Carried(ended, session.greeted.hop)


class _Transaction:
    """MAIL to dot on one session. `phase` is where it is: it decides what a failure means."""

    def __init__(self, session: SmtpSession, mail: Mail, gate: Gate, by: float, reply_timeout: float) -> None:
        self._session = session
        self._mail = mail
        self._gate = gate
        self._by = by
        self._reply_timeout = reply_timeout
        self._loop = asyncio.get_running_loop()
        self._phase: Phase = "mail"
        self._tidy: Literal["nothing", "reset", "abort"] = "nothing"
        self._reused = session.transactions > 0

    async def run(self) -> Outcome | Stop:
        """Raises _Gone where a kept connection turns out to have ended before this transaction began."""
        if (unfit := self._unfit()) is not None:
            return unfit
        try:
            return await self._converse()
        except TimeoutError:
            self._tidy = "abort"
            return lost(self._phase, f"no answer in time (phase {self._phase})")
        except ConnectionLost as error:
            self._tidy = "abort"
            self._excuse_kept_connection()
            return lost(self._phase, str(error))
        except Garbled as error:
            self._tidy = "abort"
            self._excuse_kept_connection()
            return garbled(self._phase, error.seen)

    async def tidy_up(self) -> None:
        """Leave the session as the next mail needs it, or not at all."""
        if self._tidy == "reset":
            try:
                reply = await self._session.command("RSET", min(self._by, self._loop.time() + 10))
            except (TimeoutError, ConnectionLost, Garbled):
                self._tidy = "abort"
            else:
                self._tidy = "nothing" if 200 <= reply.code < 300 else "abort"
        if self._tidy == "abort":
            self._session.abort()

    async def _converse(self) -> Outcome | Stop:
        if (ended := await self._envelope()) is not None:
            return ended
        await self._gate.settle()
        # From the verdict to the command nothing else runs: what was true then is true when DATA is written.
        if (stop := self._gate.before_data()) is not None:
            self._tidy = "reset"
            return stop
        reply = await self._ask("data", "DATA")
        if reply.code != 354:
            return self._refused(reply)
        return await self._content()

    async def _envelope(self) -> Outcome | None:
        """None: the server takes mail from this sender for this recipient (251 and 252 say so, too)."""
        reply = await self._ask("mail", f"MAIL FROM:<{self._mail.envelope_from}>{self._parameters()}")
        if 200 <= reply.code < 300:
            reply = await self._ask("rcpt", f"RCPT TO:<{self._mail.recipient}>")
        elif reply.code == 421:
            self._excuse_kept_connection()
        return None if 200 <= reply.code < 300 else self._refused(reply)

    async def _content(self) -> Outcome | Stop:
        """After the 354 there is no way back but the end of the connection."""
        self._phase, self._tidy = "body", "abort"
        if (stop := self._gate.before_body()) is not None:
            return stop
        early = await self._session.body(self._mail.data, self._deadline("body"))
        if early is not None:
            return classify("body", early)
        self._phase = "reply"
        reply = await self._session.reply(self._loop.time() + self._reply_timeout)
        outcome = classify("reply", reply)
        self._tidy = "abort" if reply.code in {421, 503} or outcome.outcome == "unknown" else "nothing"
        return outcome

    async def _ask(self, phase: Phase, line: str) -> Reply:
        self._phase = phase
        return await self._session.command(line, self._deadline(phase))

    def _refused(self, reply: Reply) -> Outcome:
        """The connection lives on after a plain refusal; not after 421, nor where the two sides are out of step."""
        self._tidy = "reset" if reply.code >= 400 and reply.code not in {421, 503} else "abort"
        return classify(self._phase, reply)

    def _deadline(self, phase: Phase) -> float:
        return min(self._by, self._loop.time() + _PATIENCE[phase])

    def _excuse_kept_connection(self) -> None:
        """A server may end an idle connection at any time; if it did so just before MAIL, a new one is tried."""
        if self._reused and self._phase == "mail":
            raise _Gone

    def _unfit(self) -> Outcome | None:
        extensions = self._session.greeted.extensions
        if self._mail.smtputf8 and "smtputf8" not in extensions:
            return refused_by_us(553, "5.6.7", "the server does not take addresses beyond ASCII")
        limit = extensions.get("size", "").strip()
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < len(self._mail.data):
            return refused_by_us(
                552, "5.3.4", f"the server takes {int(limit)} octets, the mail has {len(self._mail.data)}"
            )
        return None

    def _parameters(self) -> str:
        size = f" SIZE={len(self._mail.data)}" if "size" in self._session.greeted.extensions else ""
        return size + (" SMTPUTF8" if self._mail.smtputf8 else "")
