"""Upstreams at port 465, where TLS begins with the connection (R20, R28; RFC 8314)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.mail import Tls
from services.sender.adapters.smtp import Limits, SmtpCarrier
from services.sender.adapters.smtp_setup import SetUp
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import Outcome
from services.sender.ports import Carried, Server, Way
from tests.integration.sender.internet import MAIL, OpenGate
from tests.kit.authority import Authority
from tests.kit.smtp_server import SmtpServer, says, script_of, smtp_server

HOST = "smtp.example.org"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def carrier(authority: Authority, server: SmtpServer) -> AsyncIterator[SmtpCarrier]:
    """The server's port stands for 465."""
    set_up = SetUp("sender.test", trust=authority.client(), encrypted_port=server.port)
    made = SmtpCarrier(set_up, Limits(5, 100, 30))
    try:
        yield made
    finally:
        await made.stop()


async def send(by: SmtpCarrier, server: SmtpServer, tls: Tls = "required", mail: Mail = MAIL) -> Carried:
    to = Server(HOST, server.port, tls, address="127.0.0.1")
    return await by.carry(
        Way("ups_1", "ups_1", servers=(to,)), mail, OpenGate(), dot_by=asyncio.get_running_loop().time() + 5
    )


def outcome_of(carried: Carried) -> Outcome:
    assert isinstance(carried.ended, Outcome)
    return carried.ended


async def test_mail_goes_over_one_encrypted_connection(authority: Authority) -> None:
    large = replace(MAIL, data=MAIL.data + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 20_000)
    async with (
        smtp_server(tls=authority.server(HOST), tls_from_the_start=True) as server,
        carrier(authority, server) as by,
    ):
        for mail in (MAIL, large):
            carried = await send(by, server, mail=mail)
            assert outcome_of(carried).outcome == "delivered"
            assert (carried.hop.tls or "").startswith("TLSv1.3 ")
        assert [mail.content for mail in server.mails] == [MAIL.data, large.data]
        assert (server.connections, "STARTTLS" in server.commands) == (1, False)


async def test_a_certificate_that_nobody_vouches_for(authority: Authority) -> None:
    """Required: not at all. Opportunistic: any certificate, but never in the clear."""
    async with (
        smtp_server(tls=authority.server("other.example.org"), tls_from_the_start=True) as server,
        carrier(authority, server) as by,
    ):
        ended = outcome_of(await send(by, server))
        assert (ended.outcome, ended.phase, server.mails) == ("temporary", "starttls", [])
        assert outcome_of(await send(by, server, "opportunistic")).outcome == "delivered"


@pytest.mark.parametrize("tls", ["required", "opportunistic"])
async def test_a_server_that_speaks_in_the_clear_there(authority: Authority, tls: Tls) -> None:
    async with smtp_server() as server, carrier(authority, server) as by:
        ended = outcome_of(await send(by, server, tls))
        assert (ended.outcome, ended.phase) == ("temporary", "starttls")
        assert not any(command.startswith("EHLO") for command in server.commands)


async def test_a_greeting_that_is_none(authority: Authority) -> None:
    script = script_of({"greeting": says("554 5.3.2 Not today")})
    async with (
        smtp_server(script, tls=authority.server(HOST), tls_from_the_start=True) as server,
        carrier(authority, server) as by,
    ):
        ended = outcome_of(await send(by, server))
        assert (ended.outcome, ended.phase, ended.code) == ("temporary", "greeting", 554)
