"""From a host and port to a session: TCP, greeting, EHLO, STARTTLS (or TLS from the start), AUTH, by aiosmtplib.

What fails here is about us, the network or the server, never about a recipient: every fault is temporary.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import cast

from aiosmtplib import SMTP, SMTPStatus
from aiosmtplib.errors import (
    SMTPConnectResponseError,
    SMTPException,
    SMTPReadTimeoutError,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.protocol import SMTPProtocol

from schemas.mail import Phase, Tls
from services.sender.adapters.smtp_patience import RFC_5321
from services.sender.adapters.smtp_session import Greeted, SmtpSession
from services.sender.adapters.tcp import connected_to
from services.sender.domain.dane import vouched_for
from services.sender.domain.outcome import Outcome, classify, garbled, lost
from services.sender.domain.replies import Reply, visible
from services.sender.domain.reports import Hop
from services.sender.ports import Server

SMTP_PORT = 25  # goes without saying
SUBMISSIONS_PORT = 465  # where TLS begins with the connection, without STARTTLS (RFC 8314)


class SetUpFailed(Exception):
    """No session; `outcome` says in which phase and why."""

    def __init__(self, outcome: Outcome, hop: Hop) -> None:
        super().__init__(outcome.reply)
        self.outcome = outcome
        self.hop = hop


class _TlsUnusable(Exception):
    """The handshake failed where encryption is optional."""


class SetUp:
    """Makes sessions. `helo_name` is what we call ourselves in EHLO. `trust`: in place of the system's authorities."""

    def __init__(
        self,
        helo_name: str,
        patience: Mapping[Phase, timedelta] = RFC_5321,
        *,
        trust: ssl.SSLContext | None = None,
        encrypted_port: int = SUBMISSIONS_PORT,
    ) -> None:
        self._encrypted_port = encrypted_port
        self._helo_name = helo_name
        self._patience = patience
        self._contexts: dict[Tls, ssl.SSLContext] = {
            "opportunistic": _context("opportunistic"),
            "required": trust if trust is not None else _context("required"),
        }

    async def session(self, server: Server, by: float) -> SmtpSession:
        """A session ready for MAIL. Raises SetUpFailed; gives up at `by` (loop time)."""
        context = self._contexts["opportunistic" if server.dane else server.tls]
        try:
            return await self._attempt(server, context, by).run()
        except _TlsUnusable:  # once more, in the clear: better than not at all, which is what opportunistic means
            return await self._attempt(server, None, by).run()

    def _attempt(self, server: Server, context: ssl.SSLContext | None, by: float) -> "_Attempt":
        encrypted = server.port == self._encrypted_port
        return _Attempt(server, self._helo_name, context, by, self._patience, tls_from_the_start=encrypted)


class _Attempt:
    """One try to set up; `phase` is where it is."""

    def __init__(
        self,
        server: Server,
        helo_name: str,
        context: ssl.SSLContext | None,
        by: float,
        patience: Mapping[Phase, timedelta],
        *,
        tls_from_the_start: bool,
    ) -> None:
        self._server = server
        self._tls_from_the_start = tls_from_the_start
        self._context = context
        self._by = by
        self._patience = patience
        self._timer = asyncio.timeout_at(by)
        self._loop = asyncio.get_running_loop()
        self._client = SMTP(
            hostname=server.host, port=None, local_hostname=helo_name, use_tls=False, start_tls=False, timeout=None
        )
        self._phase: Phase = "connect"
        self._hop = Hop(source_address=server.source_address, mx_host=_name_of(server), mx_address=server.address)

    async def run(self) -> SmtpSession:
        try:
            async with self._timer:
                return await self._set_up()
        except (TimeoutError, SMTPTimeoutError, SMTPReadTimeoutError):
            outcome = lost(self._phase, f"no answer in time (phase {self._phase})")
        except SMTPConnectResponseError as error:
            outcome = _of_reply("greeting", error)
        except SMTPResponseException as error:
            outcome = _of_reply(self._phase, error)
        except ssl.SSLError as error:
            if not self._must_encrypt:
                self._client.close()
                raise _TlsUnusable from error
            outcome = lost("starttls", f"TLS: {error.reason or error}")
        except (SMTPServerDisconnected, OSError) as error:
            outcome = lost(self._phase, visible(str(error).encode()))
        except SMTPException as error:  # no method to log in with, and what else the library finds amiss
            outcome = Outcome("temporary", "transient", self._phase, visible(str(error).encode()))
        except BaseException:
            self._client.close()
            raise
        self._client.close()
        raise SetUpFailed(outcome, self._hop)

    @property
    def _must_encrypt(self) -> bool:
        return self._server.tls == "required" or self._server.dane is not None or self._tls_from_the_start

    def _enter(self, phase: Phase) -> None:
        """From here on a failure is this phase's, and it has its own time, within the whole."""
        self._phase = phase
        self._timer.reschedule(min(self._by, self._loop.time() + self._patience[phase].total_seconds()))

    async def _set_up(self) -> SmtpSession:
        self._enter("connect")
        connected = await connected_to(self._server)
        self._hop = _hop(self._server, connected)
        if self._tls_from_the_start:
            wire = await self._greeted_encrypted(connected)
        else:
            self._enter("greeting")
            self._client.sock = connected
            await self._client.connect()
            wire = cast(asyncio.Transport, self._client.transport)
        wire.set_write_buffer_limits(high=0)  # so that what is written leaves this process at once where it can
        self._enter("ehlo")
        await self._client.ehlo()
        if not self._tls_from_the_start:
            await self._maybe_encrypt()
        if self._server.username is not None:
            self._enter("auth")
            await self._client.login(self._server.username, self._server.password or "")
        extensions = {name.lower(): value for name, value in self._client.esmtp_extensions.items()}
        transport = cast(asyncio.Transport, self._client.transport)
        return SmtpSession(transport, wire, Greeted(self._hop, extensions))

    async def _greeted_encrypted(self, connected: socket.socket) -> asyncio.Transport:
        """The TCP transport, which the library would keep to itself where it makes the TLS one."""
        self._enter("starttls")
        protocol, host = SMTPProtocol(loop=self._loop), self._server.host
        wire, _ = await self._loop.create_connection(lambda: protocol, sock=connected)
        assert self._context is not None, "nothing goes in the clear here"
        try:
            encrypted = await self._loop.start_tls(wire, protocol, self._context, server_hostname=host)
        except BaseException:
            wire.abort()
            raise
        assert encrypted is not None
        protocol.transport = self._client.transport = encrypted
        self._client.protocol = protocol
        self._hop = _encrypted(self._hop, encrypted.get_extra_info)
        self._enter("greeting")
        greeting = await protocol.read_response()
        if greeting.code != SMTPStatus.ready:
            raise SMTPConnectResponseError(greeting.code, greeting.message)
        return wire

    async def _maybe_encrypt(self) -> None:
        self._enter("starttls")
        required = self._must_encrypt
        if not self._client.supports_extension("starttls"):
            if required:
                raise SMTPException("STARTTLS is required here, and not offered")
            return
        if self._context is None:
            return
        try:
            await self._client.starttls(tls_context=self._context)
        except SMTPResponseException:
            if required:
                raise
            return  # refused in words: the session goes on in the clear (RFC 3207, 4.1)
        except (SMTPServerDisconnected, SMTPTimeoutError, ConnectionError) as error:
            if required:
                raise
            raise _TlsUnusable from error
        if self._server.dane and not vouched_for(self._server.dane, self._chain(), self._server.dane_names):
            raise SMTPException("the certificate is none that the TLSA records vouch for")
        self._hop = _encrypted(self._hop, self._client.get_transport_info)
        await self._client.ehlo()

    def _chain(self) -> list[bytes]:
        """What the server showed, as DER. `ssl` has this in public from Python 3.13 on."""
        shown = self._client.get_transport_info("ssl_object")._sslobj.get_unverified_chain()  # noqa: SLF001
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in shown or ()]


def _of_reply(phase: Phase, error: SMTPResponseException) -> Outcome:
    """Aiosmtplib gives a reply's text without its codes, and -1 for what was no reply."""
    text = error.message or ""
    if not 200 <= error.code <= 599:
        return garbled(phase, visible(text.encode("utf-8", "surrogateescape")))
    return classify(phase, Reply(error.code, visible(f"{error.code} {text}".encode("utf-8", "surrogateescape"))))


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls == "opportunistic":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # most MX show certificates that nobody can verify; clear text is worse
    return context


def _name_of(server: Server) -> str:
    return server.host if server.port == SMTP_PORT else f"{server.host}:{server.port}"


def _hop(server: Server, connected: socket.socket) -> Hop:
    return Hop(
        source_address=connected.getsockname()[0],
        mx_host=_name_of(server),
        mx_address=connected.getpeername()[0],
    )


def _encrypted(hop: Hop, info: Callable[[str], object]) -> Hop:
    cipher = info("cipher")
    name, version = (cipher[0], cipher[1]) if isinstance(cipher, tuple) else ("?", "?")
    return Hop(hop.source_address, hop.mx_host, hop.mx_address, f"{version} {name}")
