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
from services.sender.domain.reports import Path
from services.sender.ports import Carried, Gate, Stop

# Seconds per phase at most (RFC 5321, 4.5.3.2); the attempt's deadline ends each of them before, as a rule.
_PATIENCE: Mapping[Phase, float] = {"mail": 300, "rcpt": 300, "data": 120, "body": 180}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one path. Times in seconds."""

    reply_timeout: float  # for the answer to the dot
    messages_per_connection: int
    idle: float  # how long a connection is kept without work


class _Gone(Exception):
    """A kept connection had ended meanwhile: nobody's attempt."""


class Connections:
    """The idle sessions to one server, the last used first. A session that is out is its user's alone."""

    def __init__(self, path: Path, set_up: SetUp, limits: Limits) -> None:
        self._path = path
        self._set_up = set_up
        self._limits = limits
        self._idle: deque[tuple[SmtpSession, asyncio.TimerHandle]] = deque()

    async def fresh(self, by: float) -> SmtpSession:
        """A new one. Raises SetUpFailed."""
        try:
            session = await self._set_up.session(by)
        except SetUpFailed as failed:
            metrics.CONNECTIONS_FAILED.labels(self._path, failed.outcome.phase).inc()
            raise
        metrics.CONNECTIONS_OPENED.labels(self._path).inc()
        return session

    def kept(self) -> SmtpSession | None:
        """One that has carried mail before and is still good, if there is any."""
        while self._idle:
            session, timer = self._idle.pop()
            timer.cancel()
            if session.usable:
                metrics.CONNECTIONS_REUSED.labels(self._path).inc()
                return session
            session.abort()
        return None

    def keep(self, session: SmtpSession) -> None:
        """Take it back after a transaction."""
        if not session.usable or session.transactions >= self._limits.messages_per_connection:
            session.close()
            return
        timer = asyncio.get_running_loop().call_later(self._limits.idle, self._drop, session)
        self._idle.append((session, timer))

    def _drop(self, session: SmtpSession) -> None:
        self._idle = deque(entry for entry in self._idle if entry[0] is not session)
        session.close()

    def close(self) -> None:
        while self._idle:
            session, timer = self._idle.pop()
            timer.cancel()
            session.close()


class SmtpCarrier:
    """See `services.sender.ports.Carrier`; one pool of connections per path."""

    def __init__(self, set_ups: Mapping[Path, SetUp], limits: Limits) -> None:
        self._pools = {path: Connections(path, set_up, limits) for path, set_up in set_ups.items()}
        self._reply_timeout = limits.reply_timeout

    async def start(self) -> None:
        """Connections are made when mail comes."""

    async def stop(self) -> None:
        for pool in self._pools.values():
            pool.close()

    async def carry(self, path: Path, mail: Mail, gate: Gate, *, dot_by: float) -> Carried:
        pool = self._pools[path]
        if (session := pool.kept()) is not None:
            try:
                return await self._transact(pool, session, mail, gate, dot_by)
            except _Gone:
                session.abort()
        try:
            session = await pool.fresh(dot_by)
        except SetUpFailed as failed:
            return Carried(failed.outcome, failed.hop)
        return await self._transact(pool, session, mail, gate, dot_by)

    async def _transact(self, pool: Connections, session: SmtpSession, mail: Mail, gate: Gate, by: float) -> Carried:
        transaction = _Transaction(session, mail, gate, by, self._reply_timeout)
        session.transactions += 1
        try:
            ended = await transaction.run()
            if not isinstance(ended, Outcome) or ended.outcome != "delivered":
                await transaction.tidy_up()
        except BaseException:
            session.abort()
            raise
        pool.keep(session)
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
