"""One suite against servers of many makers: aiosmtpd, our scripted one, Postfix's smtp-sink, a real Postfix (R26, R28).

What each stores is compared with what was sent, byte by byte, and dkimpy verifies it (D58).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from aiosmtpd.smtp import SMTP

from services.sender.domain.dkim import signed
from services.sender.domain.mime import Mail
from tests.integration.sender.test_smtp import CarrierTo, Keeper, carrier_to, outcome_of, send
from tests.kit.postfix import ForeignServer, postfix, smtp_sink
from tests.kit.smtp_server import smtp_server
from tests.unit.sender.test_dkim import SIGNED_AT, SIGNERS, verdicts
from tests.unit.sender.test_mime import written

HEAD = b"From: a@example.com\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where mail goes, and what it has stored, in the order in which it was taken."""

    port: int
    stored: Callable[[int], Awaitable[list[bytes]]]


async def _scripted(stack: AsyncExitStack, *extensions: str) -> Place:
    server = await stack.enter_async_context(smtp_server(extensions=("SIZE 10000000", *extensions)))

    async def stored(count: int) -> list[bytes]:
        await server.until(lambda s: len(s.mails) >= count)
        return [mail.content for mail in server.mails]

    return Place(server.port, stored)


async def _aiosmtpd(stack: AsyncExitStack) -> Place:
    keeper, loop = Keeper(), asyncio.get_running_loop()
    listener = await loop.create_server(lambda: SMTP(keeper, hostname="localhost", loop=loop), "127.0.0.1", 0)
    await stack.enter_async_context(listener)

    async def stored(_: int) -> list[bytes]:
        return keeper.taken

    return Place(listener.sockets[0].getsockname()[1], stored)


def _place_of(server: ForeignServer) -> Place:
    async def stored(count: int) -> list[bytes]:
        return [mail.content for mail in await server.until_mails(count)]

    return Place(server.port, stored)


OURS = ["scripted", "scripted, pipelining", "aiosmtpd"]
DEBIANS = ["sink", "sink, pipelining", "Postfix"]


@pytest.fixture(params=[*OURS, *(pytest.param(name, marks=pytest.mark.debian) for name in DEBIANS)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "scripted":
                yield await _scripted(stack)
            case "scripted, pipelining":
                yield await _scripted(stack, "PIPELINING")
            case "aiosmtpd":
                yield await _aiosmtpd(stack)
            case "sink":
                yield _place_of(await stack.enter_async_context(smtp_sink("-p")))
            case "sink, pipelining":
                yield _place_of(await stack.enter_async_context(smtp_sink()))
            case "Postfix":
                yield _place_of(await stack.enter_async_context(postfix()))


def mail_of(data: bytes) -> Mail:
    return Mail("a@example.com", "b@example.org", data, smtputf8=False)


async def deliver(carrier: CarrierTo, *mails: bytes) -> None:
    for data in mails:
        outcome = outcome_of(await send(carrier, mail_of(data), seconds=30))
        assert (outcome.outcome, outcome.phase) == ("delivered", "reply"), outcome


BYTES = [
    HEAD + b"Subject: dots\r\n\r\n.\r\n..\r\n...a\r\n.MAIL FROM:<evil@example.com>\r\nend\r\n",
    HEAD + b"X-Long: " + b"l" * 980 + b"\r\n\r\n" + b"y" * 996 + b"\r\n.\r\n",
    HEAD + b"\r\nno final newline",
    HEAD + b"\r\n",
    HEAD + b"\r\n" + b"\r\n" * 40,
    HEAD + b"Subject: =?utf-8?q?caf=C3=A9?=\r\n\r\n" + (b"." * 70 + b"\r\n") * 3000,
]
# As customers write them: what a mail is made of is normalised before it is signed.
BODIES = [
    {"text": ".\n..\r\n.\r\n\r.\rlone CR\rlone LF\n.\n", "html": "<p>.</p>\n.\n"},
    {"text": "x" * 2000 + "\n" + "ü" * 2000},
    {"text": "no final newline", "subject": "Grüße " * 40},
    {"text": "  \n \t\n\n\n\n", "html": "\n"},
    {"text": "From here\nFrom there\n", "list_unsubscribe": "https://mail.example.com/u/" + "x" * 300},
]


async def test_every_byte_arrives_and_the_signature_holds(place: Place) -> None:
    """D58: dots, lone CR and LF, 2,000-column lines, no final newline."""
    signed_mails = [signed(written(**body), SIGNERS, SIGNED_AT) for body in BODIES]
    sent = [*BYTES, *signed_mails]
    carrier = carrier_to(place.port, reply_timeout=30)
    await deliver(carrier, *sent)
    await carrier.stop()
    stored = await place.stored(len(sent))
    assert sorted(stored) == sorted(data if data.endswith(b"\r\n") else data + b"\r\n" for data in sent)
    for data in stored:
        if b"DKIM-Signature" in data:
            assert verdicts(data) == [True, True]


async def test_many_at_once_arrive_once_each(place: Place) -> None:
    carrier = carrier_to(place.port, reply_timeout=30, per_connection=7)
    lanes = [[HEAD + f"\r\nmail {lane}.{number}\r\n".encode() * 60 for number in range(10)] for lane in range(5)]
    await asyncio.gather(*(deliver(carrier, *lane) for lane in lanes))
    await carrier.stop()
    assert sorted(await place.stored(50)) == sorted(data for lane in lanes for data in lane)


# --- a real Postfix that refuses ---

STRICT = {
    "smtpd_recipient_restrictions": "check_recipient_access inline:{ {nobody@example.org = REJECT} "
    "{later@example.org = 450 4.2.1 Later} }, permit_mynetworks, reject",
    "smtpd_sender_restrictions": "check_sender_access inline:{ {evil@example.com = REJECT} }",
    "message_size_limit": "100000",
    "smtpd_delay_reject": "no",
}


@pytest.mark.debian
async def test_a_real_postfix_refuses_and_goes_on() -> None:
    """D42, D57: what it refuses in a group costs neither the connection nor the next mail."""
    async with postfix(STRICT) as server:
        carrier = carrier_to(server.port, reply_timeout=30)

        async def said(
            sender: str, recipient: str, data: bytes, *, smtputf8: bool = False
        ) -> tuple[str, str, str | None]:
            outcome = outcome_of(await send(carrier, Mail(sender, recipient, data, smtputf8=smtputf8), seconds=30))
            return outcome.outcome, outcome.phase, outcome.enhanced_code

        text = HEAD + b"\r\nhello\r\n"
        assert await said("a@example.com", "b@example.org", text) == ("delivered", "reply", "2.0.0")
        assert await said("a@example.com", "nobody@example.org", text) == ("permanent", "rcpt", "5.7.1")
        assert await said("a@example.com", "later@example.org", text) == ("temporary", "rcpt", "4.2.1")
        assert await said("evil@example.com", "b@example.org", text) == ("permanent", "mail", "5.7.1")
        assert await said("a@example.com", "b@example.org", text * 2000) == ("permanent", "mail", "5.3.4")
        assert await said("a@example.com", "jürgen@example.org", text, smtputf8=True) == ("delivered", "reply", "2.0.0")
        await carrier.stop()
        assert [mail.content for mail in await server.until_mails(2)] == [text, text]
        assert server.log.count(": connect from") <= 2, "the one that waited for it to listen, and ours"


# --- the faults that smtp-sink knows ---

COMMANDS = [
    ("CONNECT", "greeting"),
    ("EHLO", "ehlo"),
    ("MAIL", "mail"),
    ("RCPT", "rcpt"),
    ("DATA", "data"),
    (".", "reply"),
]


@pytest.mark.debian
@pytest.mark.parametrize(("command", "phase"), COMMANDS)
@pytest.mark.parametrize(
    ("option", "expected"), [("-Q", "temporary"), ("-q", "temporary"), ("-r", "temporary"), ("-f", "permanent")]
)
async def test_faults_of_smtp_sink(option: str, command: str, phase: str, expected: str) -> None:
    """D38, D41, D42: 421, a lost connection, 4xx, 5xx at each command."""
    async with smtp_sink(option, command) as sink:
        carrier = carrier_to(sink.port, reply_timeout=30)
        outcome = outcome_of(await send(carrier, seconds=30))
        await carrier.stop()
    if option == "-q" and command == ".":
        expected = "unknown"
    elif command in {"CONNECT", "EHLO"}:
        expected = "temporary"
    assert (outcome.outcome, outcome.phase) == (expected, phase)


@pytest.mark.debian
async def test_an_answer_that_takes_longer_than_the_attempt_is_waited_for() -> None:
    """D39."""
    async with smtp_sink("-W", ".:2") as sink:
        carrier = carrier_to(sink.port, reply_timeout=30)
        assert outcome_of(await send(carrier, seconds=1)).outcome == "delivered"
        await carrier.stop()
        assert len(await sink.until_mails(1)) == 1
