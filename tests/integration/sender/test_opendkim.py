"""What another's software says of our mail: a real Postfix whose milter, OpenDKIM, finds the keys in DNS (R26, R27, R28)."""

import asyncio
import re
import smtplib
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes
from email.policy import SMTP
from email.utils import parseaddr
from pathlib import Path

import pytest

from schemas.deliveries import Delivery
from schemas.mail import Attachment
from services.ingest.domain.domains import records_of
from tests.integration.sender.test_signing import NEW, SECRET, made, publish
from tests.kit.broker import Broker
from tests.kit.dns_server import dns_server
from tests.kit.opendkim import AUTHSERV_ID, verifier
from tests.kit.postfix import Arrived, ForeignServer, postfix
from tests.kit.senders import Bench, SenderProcess, bench, delivery

pytestmark = pytest.mark.debian

DOMAIN = "example.com"
KEYS = [made("sx1", "rsa", NEW), made("sx2", "ed25519", NEW)]


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[ForeignServer]:
    """The server of somebody who has published what we told him to, and checks."""
    async with dns_server() as dns:
        for record in records_of(DOMAIN, KEYS, "ours.example"):
            dns.publish(record.name, record.type, record.value)
        async with verifier(tmp_path, dns.port) as milter:
            settings = {"smtpd_milters": milter.milter, "milter_default_action": "tempfail"}
            async with postfix(settings) as server:
                yield server


@pytest.fixture
async def around(own_broker: Broker) -> AsyncIterator[Bench]:
    async with bench(own_broker.bootstrap_servers) as found:
        yield found


@pytest.fixture
def sender(own_broker: Broker, tmp_path: Path, receiver: ForeignServer) -> Iterator[SenderProcess]:
    secrets = {"sealing_keys": NEW, "return_path_secrets": f"3:{SECRET.hex()}"}
    process = SenderProcess(own_broker.bootstrap_servers, tmp_path, upstream=receiver.port, **secrets)
    yield process
    process.terminate()
    process.end(within=3)


def with_content(recipient: str, **content: object) -> Delivery:
    plain = delivery(recipient=recipient)
    return plain.model_copy(update={"content": plain.content.model_copy(update=content)})


def mails() -> list[Delivery]:
    """Of every shape that we write."""
    text = ".\n..dots\n\n  spaces  \nGrüße " + "x" * 2000 + "\n\n\n"
    file = Attachment(filename="über.pdf", content_type="application/pdf", content="JVBERi0=" * 500)
    return [
        with_content("plain@example.org"),
        with_content("both@example.org", text=text, html="<p>a = b</p>\n<p>ü\n", subject="Grüße " * 30),
        with_content("file@example.org", html="<p>x", attachments=[file], cc=["c@example.org"]),
        with_content("list@example.org", list_unsubscribe="https://u.example/" + "x" * 200, headers={"X-A": "b  c"}),
    ]


def verdicts(mail: Arrived) -> list[tuple[str, str]]:
    """(result, d=) of each signature, as the verifier wrote it above the mail."""
    fields = message_from_bytes(mail.raw, policy=SMTP).get_all("Authentication-Results", [])
    (ours,) = (field for field in fields if field.startswith(f"{AUTHSERV_ID};"))
    return re.findall(r"dkim=(\w+)[^;]*?header\.d=([a-z0-9.-]+)", re.sub(r"\([^)]*\)", "", ours))  # comments have a ;


async def test_every_mail_arrives_signed_and_aligned(
    around: Bench, sender: SenderProcess, receiver: ForeignServer
) -> None:
    """Both signatures hold, by the very records that we tell customers to publish; From, d= and MAIL FROM agree."""
    await publish(around, *KEYS, return_path="found")
    handed = mails()
    await around.hand_out(handed)
    await around.told_of(handed)
    for mail in await receiver.until_mails(len(handed)):
        assert verdicts(mail) == [("pass", DOMAIN), ("pass", DOMAIN)]
        parsed = message_from_bytes(mail.raw, policy=SMTP)
        assert parseaddr(parsed["From"])[1].endswith(f"@{DOMAIN}")
        assert parseaddr(parsed["Return-Path"])[1].endswith(f"@bounces.{DOMAIN}")
    assert not sender.said("signing_key_unusable")


async def test_a_changed_byte_is_seen(around: Bench, sender: SenderProcess, receiver: ForeignServer) -> None:
    """So that the verdict above means something: of the body, of a signed field, and a field that was added."""
    await publish(around, KEYS[0], return_path="missing")
    one = with_content("plain@example.org")
    await around.hand_out([one])
    await around.told_of([one])
    (mail,) = await receiver.until_mails(1)
    body = mail.content.replace(b"847291", b"847292")
    subject = mail.content.replace(b"Subject: Your", b"Subject: Our")
    second = b"From: Other <other@example.com>\r\n" + mail.content
    for number, changed in enumerate((body, subject, second), start=2):
        assert changed != mail.content
        await asyncio.to_thread(passed_on, receiver.port, changed)
        arrived = (await receiver.until_mails(number))[-1]
        assert verdicts(arrived) == [("fail", DOMAIN)]
    assert verdicts(mail) == [("pass", DOMAIN)]
    assert not sender.said("signing_key_unusable")


def passed_on(port: int, mail: bytes) -> None:
    """By a server on the way that is not careful."""
    with smtplib.SMTP("127.0.0.1", port) as server:
        server.sendmail("x@example.net", ["ada@example.org"], mail)
