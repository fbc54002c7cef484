"""One mail on one session, MAIL to dot, and what each reply on the way means (R22, R23, R25).

Where the server offers PIPELINING (RFC 2920), MAIL, RCPT and DATA leave in one write: two round trips instead of four.
It must never write DATA or a body that the gate has not let through, nor take a reply for the answer to another command.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from schemas.mail import Phase
from services.sender.adapters.smtp_session import ConnectionLost, SmtpSession
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome, classify, garbled, lost, refused_by_us
from services.sender.domain.replies import Garbled, Reply
from services.sender.ports import Gate, Stop

# To bring a session in step again for the next mail, seconds; a new connection is cheaper than a longer wait.
_TIDY_WITHIN = 10
_GROUP: tuple[Phase, ...] = ("mail", "rcpt", "data")


class Gone(Exception):
    """A kept connection had ended meanwhile: nobody's attempt."""


class Transaction:
    """MAIL to dot on one session. `phase` is where it is: it decides what a failure means."""

    def __init__(
        self,
        session: SmtpSession,
        mail: Mail,
        gate: Gate,
        by: float,
        *,
        reply_timeout: float,
        patience: Mapping[Phase, timedelta],
    ) -> None:
        """`by`: the deadline to the dot (loop time); then `reply_timeout` seconds for the answer to it."""
        self._session = session
        self._mail = mail
        self._gate = gate
        self._by = by
        self._reply_timeout = reply_timeout
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._phase: Phase = "mail"
        self._tidy: Literal["nothing", "reset", "abort"] = "nothing"
        self._reused = session.transactions > 0
        session.transactions += 1

    async def run(self) -> Outcome | Stop:
        """Raises Gone where a kept connection turns out to have ended before this transaction began."""
        if (unfit := self._unfit()) is not None:
            return unfit
        try:
            ended = await (self._at_once() if self._offers("pipelining") else self._step_by_step())
            return await self._content() if ended is None else ended
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
                in_step = await self._back_in_step(min(self._by, self._loop.time() + _TIDY_WITHIN))
            except (TimeoutError, ConnectionLost, Garbled):
                in_step = False
            self._tidy = "nothing" if in_step else "abort"
        if self._tidy == "abort":
            self._session.abort()

    async def _at_once(self) -> Outcome | Stop | None:
        """MAIL, RCPT and DATA in one write, each reply then for itself; None: the server waits for the body."""
        await self._gate.settle()
        # From the verdict to the write nothing else runs: what was true then is true when DATA is written.
        if (stop := self._gate.before_data()) is not None:
            return stop
        self._session.send(self._mail_command(), self._rcpt_command(), "DATA")
        for phase in _GROUP:
            if (refused := await self._answer_to(phase)) is not None:
                return refused
        return None

    async def _step_by_step(self) -> Outcome | Stop | None:
        """One command, one reply; None: the server waits for the body."""
        self._session.send(self._mail_command())
        if (refused := await self._answer_to("mail")) is not None:
            return refused
        self._session.send(self._rcpt_command())
        if (refused := await self._answer_to("rcpt")) is not None:
            return refused
        await self._gate.settle()
        # As above: nothing between the verdict and the write.
        if (stop := self._gate.before_data()) is not None:
            self._tidy = "reset"
            return stop
        self._session.send("DATA")
        return await self._answer_to("data")

    async def _answer_to(self, phase: Phase) -> Outcome | None:
        """None: the server goes along (251 and 252 to RCPT say so, too)."""
        self._phase = phase
        reply = await self._session.reply(self._deadline())
        if reply.code == 354 if phase == "data" else 200 <= reply.code < 300:
            return None
        if reply.code == 421:
            self._excuse_kept_connection()
        return self._refused(reply)

    def _refused(self, reply: Reply) -> Outcome:
        """The connection lives on after a plain refusal; not after 421, nor where the two sides are out of step."""
        self._tidy = "reset" if reply.code >= 400 and reply.code not in {421, 503} else "abort"
        return classify(self._phase, reply)

    async def _content(self) -> Outcome | Stop:
        """After the 354 there is no way back but the end of the connection."""
        self._phase, self._tidy = "body", "abort"
        if (stop := self._gate.before_body()) is not None:
            return stop
        block = self._patience["body"].total_seconds()
        early = await self._session.body(self._mail.data, self._by, block)
        if early is not None:
            return classify("body", early)
        self._phase = "reply"
        reply = await self._session.reply(self._loop.time() + self._reply_timeout)
        outcome = classify("reply", reply)
        self._tidy = "abort" if reply.code in {421, 503} or outcome.outcome == "unknown" else "nothing"
        return outcome

    async def _back_in_step(self, by: float) -> bool:
        """Hear the rest of a group out and end the transaction; whether the session is good for another."""
        while self._session.owed:
            reply = await self._session.reply(by)
            if reply.code == 354 and not self._session.owed:
                # The server waits for a mail to nobody: a lone dot is its end (RFC 2920, 3.1).
                return (await self._session.command(".", by)).code not in {354, 421, 503}
            # A recipient that was taken though MAIL was refused might get an empty mail by that dot.
            if reply.code < 400 or reply.code == 421:
                return False
        return 200 <= (await self._session.command("RSET", by)).code < 300

    def _deadline(self) -> float:
        return min(self._by, self._loop.time() + self._patience[self._phase].total_seconds())

    def _excuse_kept_connection(self) -> None:
        """A server may end an idle connection at any time; if it did so just before MAIL, a new one is tried."""
        if self._reused and self._phase == "mail":
            raise Gone

    def _unfit(self) -> Outcome | None:
        """What this server is sure to refuse, and what no server must get."""
        data = self._mail.data
        if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
            # Some servers take `LF.LF` for the end: what follows would be a mail that a customer wrote (SMTP smuggling).
            return refused_by_us(554, "5.6.0", "a line of the mail ends in a lone CR or LF")
        if self._mail.smtputf8 and not self._offers("smtputf8"):
            return refused_by_us(553, "5.6.7", "the server does not take addresses beyond ASCII")
        limit = self._session.greeted.extensions.get("size", "").strip()
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < len(data):
            return refused_by_us(552, "5.3.4", f"the server takes {int(limit)} octets, the mail has {len(data)}")
        return None

    def _mail_command(self) -> str:
        """Where MAIL FROM is made.

        BODY (8BITMIME, RFC 6152) is not said: bodies are 7-bit clean, which is what a server takes without it, and so no
        relay has a reason to encode them anew and break their signature.
        """
        size = f" SIZE={len(self._mail.data)}" if self._offers("size") else ""
        utf8 = " SMTPUTF8" if self._mail.smtputf8 else ""
        return f"MAIL FROM:<{self._mail.envelope_from}>{size}{utf8}"

    def _rcpt_command(self) -> str:
        return f"RCPT TO:<{self._mail.recipient}>"

    def _offers(self, extension: str) -> bool:
        return extension in self._session.greeted.extensions
