"""Signed by a real sender, with keys that lie sealed in the domains table; dkimpy says whether they hold (R26, R27, R50)."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import dkim
import pytest
from cryptography.fernet import Fernet

from chassis.log import outgoing
from chassis.return_path import ReturnPaths
from chassis.sealing import Seals
from schemas.envelope import seal
from schemas.tables import DkimKey, Domain, DomainRecord, RecordStatus
from schemas.topics import TOPICS
from services.ingest.adapters.dkim_keys import new_key_pair
from services.ingest.ports import Algorithm
from tests.kit.broker import Broker
from tests.kit.senders import PROJECT, Bench, SenderProcess, bench, delivery, now_ms
from tests.kit.smtp_server import SmtpServer, smtp_server
from tests.kit.waiting import until

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRET = b"0123456789abcdef"
CREATED_AT = "2026-11-24T00:00:00.000Z"


@pytest.fixture
async def upstream() -> AsyncIterator[SmtpServer]:
    async with smtp_server() as server:
        yield server


@pytest.fixture
async def around(own_broker: Broker) -> AsyncIterator[Bench]:
    async with bench(own_broker.bootstrap_servers) as found:
        yield found


@pytest.fixture
def sender(own_broker: Broker, tmp_path: Path, upstream: SmtpServer) -> Iterator[SenderProcess]:
    process = SenderProcess(
        own_broker.bootstrap_servers,
        tmp_path,
        upstream=upstream.port,
        sealing_keys=f"{NEW},{OLD}",
        return_path_secrets=f"3:{SECRET.hex()}",
    )
    yield process
    process.terminate()
    process.end(within=3)


def made(selector: str, algorithm: Algorithm, sealing_key: str) -> DkimKey:
    pair = new_key_pair(algorithm)
    sealed = Seals([sealing_key]).seal(pair.private)
    return DkimKey(selector=selector, algorithm=algorithm, public_key=pair.public, sealed_private_key=sealed)


async def publish(
    around: Bench,
    *keys: DkimKey,
    domain: str = "example.com",
    project_id: str = PROJECT,
    return_path: RecordStatus = "missing",
) -> None:
    """`return_path`: how its record was found."""
    name = f"bounces.{domain}"
    record = DomainRecord(
        purpose="return_path", type="CNAME", name=name, value="bounces.ours.example", status=return_path
    )  # fmt: skip
    entry = Domain(
        id="dom_1",
        project_id=project_id,
        domain=domain,
        verified_at=CREATED_AT,
        dkim_keys=list(keys),
        return_path=name,
        records=[record],
    )
    key = f"{project_id}:{domain}"
    envelope = seal(entry, record_id="rec_1", source="test", subject=key, time_ms=now_ms(), project_id=project_id)
    await around.log.append([outgoing(TOPICS["domains"], envelope, key=key)], within=10)


def signatures(mail: bytes) -> int:
    return mail.count(b"DKIM-Signature:")


def holds(mail: bytes, *keys: DkimKey) -> list[bool]:
    """What the oracle says of each signature, in order."""
    records = {
        f"{key.selector}._domainkey.example.com.": f"v=DKIM1; k={key.algorithm}; p={key.public_key}" for key in keys
    }

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        del timeout
        text = records.get(name.decode())
        return None if text is None else text.encode()

    return [bool(dkim.DKIM(mail).verify(idx=index, dnsfunc=txt)) for index in range(signatures(mail))]


async def test_the_bytes_on_the_wire_verify(around: Bench, sender: SenderProcess, upstream: SmtpServer) -> None:
    """Both signatures, also under a sealing key that is being retired; a mail without a key goes unsigned; another
    project's key signs nothing; a key that nobody opens keeps no mail back."""
    rsa, ed25519 = made("sx1", "rsa", NEW), made("sx2", "ed25519", OLD)
    await publish(around, rsa, ed25519)
    await publish(around, made("sx3", "rsa", NEW), domain="other.example", project_id="prj_other")
    await publish(around, made("sx4", "rsa", Fernet.generate_key().decode()), domain="lost.example")
    text = ".\n..dots\n\n  spaces  \nGrüße " + "x" * 2000 + "\n\n\n"
    own, others, lost = (delivery(recipient=f"{name}@example.org") for name in ("own", "others", "lost"))
    own = own.model_copy(update={"content": own.content.model_copy(update={"text": text, "html": "<p>ü\n"})})
    others = others.model_copy(update={"content": others.content.model_copy(update={"from_": "x@other.example"})})
    lost = lost.model_copy(update={"content": lost.content.model_copy(update={"from_": "x@lost.example"})})
    await around.hand_out([own, others, lost])
    await around.told_of([own, others, lost])
    by_recipient = {mail.rcpt_to: mail.content for mail in upstream.mails}
    signed = by_recipient["own@example.org"]
    assert holds(signed, rsa, ed25519) == [True, True]
    assert signed.count(f"t={own.created_at_ms // 1000};".encode()) == 2
    assert signatures(by_recipient["others@example.org"]) == 0
    assert signatures(by_recipient["lost@example.org"]) == 0
    assert sender.said("signing_key_unusable")


async def test_a_new_key_signs_from_then_on(around: Bench, sender: SenderProcess, upstream: SmtpServer) -> None:
    first, second = made("sx5", "ed25519", NEW), made("sx6", "ed25519", NEW)
    await publish(around, first)
    one = delivery(recipient="one@example.org")
    await around.hand_out([one])
    await around.told_of([one])
    assert holds(upstream.mails[-1].content, first) == [True]
    await publish(around, second)
    number = 0
    while b"s=sx6;" not in upstream.mails[-1].content:  # the sender reads the table at its own pace
        number += 1
        assert number < 50
        again = delivery(recipient=f"again{number}@example.org")
        await around.hand_out([again])
        await around.told_of([again])
    assert holds(upstream.mails[-1].content, second) == [True]
    assert not sender.said("signing_keys_not_read")


@pytest.mark.usefixtures("sender")
async def test_bounces_go_to_the_messages_own_address(around: Bench, upstream: SmtpServer) -> None:
    """R27: only where the record of the return path was found; the same address at each attempt; From is untouched."""
    await publish(around, domain="found.example", return_path="found")
    await publish(around, domain="lapsed.example", return_path="wrong")
    first, lapsed = delivery(recipient="first@example.org"), delivery(recipient="lapsed@example.org")
    first = first.model_copy(update={"content": first.content.model_copy(update={"from_": "Shop <x@found.example>"})})
    lapsed = lapsed.model_copy(update={"content": lapsed.content.model_copy(update={"from_": "x@lapsed.example"})})
    again = first.model_copy(update={"attempt": 2})
    await around.hand_out([first, lapsed, again])
    await until(lambda: len(upstream.mails) == 3, within=30)
    by_recipient = {mail.rcpt_to: mail for mail in upstream.mails}
    bounces = {mail.mail_from for mail in upstream.mails if mail.rcpt_to == "first@example.org"}
    (address,) = bounces
    assert address.endswith("@bounces.found.example")
    assert ReturnPaths({3: SECRET}).message_of(address) == first.message_id
    assert b"From: Shop <x@found.example>\r\n" in by_recipient["first@example.org"].content
    assert by_recipient["lapsed@example.org"].mail_from == "x@lapsed.example"
