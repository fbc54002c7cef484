"""Large content on its way out (R5; D13): fetched by a real sender, sent byte for byte; what can not be had is said."""

import base64
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import orjson
import pytest

from chassis.blob_keys import blob_key, sha256_of
from chassis.blobs import Blobs, open_storage
from schemas.deliveries import Delivery
from schemas.inputs import AttemptFinished
from schemas.mail import Attachment, Blob, Content
from tests.kit.broker import Broker
from tests.kit.senders import Bench, SenderProcess, bench, delivery, now_ms
from tests.kit.smtp_server import SmtpServer, smtp_server
from tests.kit.waiting import until

DAY_MS = 86_400_000


@pytest.fixture
async def upstream() -> AsyncIterator[SmtpServer]:
    async with smtp_server() as server:
        yield server


@pytest.fixture
def sender(own_broker: Broker, tmp_path: Path, upstream: SmtpServer) -> Iterator[SenderProcess]:
    # Room for one of these mails at a time.
    process = SenderProcess(own_broker.bootstrap_servers, tmp_path, upstream=upstream.port, content_memory="20000000")
    yield process
    process.terminate()
    process.end(within=3)


@pytest.fixture
async def around(own_broker: Broker) -> AsyncIterator[Bench]:
    async with bench(own_broker.bootstrap_servers) as found:
        yield found


async def stored(folder: Path, data: bytes, *, owner: str, needed_until_ms: int, keep: bool = True) -> Delivery:
    """A delivery whose content lies in the folder."""
    mail = delivery(recipient=f"{owner}@example.org")
    file = Attachment(filename="data.bin", content_type="application/x-data", content=base64.b64encode(data).decode())
    whole = mail.content.model_copy(update={"html": "<p>Hi", "attachments": [file]})
    raw = orjson.dumps(whole.model_dump(by_alias=True))
    blob = Blob(
        key=blob_key(needed_until_ms=needed_until_ms, owner=owner, sha256=sha256_of(raw)),
        sha256=sha256_of(raw),
        size=len(raw),
    )
    if keep:
        await Blobs(open_storage(str(folder / "blobs")), within=5).put(blob.key, raw)
    thin: Content = whole.model_copy(update={"text": None, "html": None, "attachments": [], "blob": blob})
    return mail.model_copy(update={"content": thin})


def take_away(folder: Path) -> None:
    shutil.move(folder / "blobs", folder / "away")
    (folder / "blobs").write_bytes(b"no folder")


def bring_back(folder: Path) -> None:
    (folder / "blobs").unlink()
    shutil.move(folder / "away", folder / "blobs")


async def test_it_arrives_byte_for_byte_and_one_after_the_other(
    around: Bench, sender: SenderProcess, upstream: SmtpServer, tmp_path: Path
) -> None:
    files = {f"u{n}": os.urandom(5_000_000) for n in range(3)}
    items = [
        await stored(tmp_path, data, owner=owner, needed_until_ms=now_ms() + DAY_MS) for owner, data in files.items()
    ]
    await around.hand_out([*items, delivery()])
    await around.told_of(items, within=60)
    assert {around.told.kinds(item.message_id)[0] for item in items} == {"finished"}
    got = {}
    for taken in upstream.mails:
        mail = message_from_bytes(taken.content, policy=SMTP)
        assert isinstance(mail, EmailMessage)
        for part in mail.iter_attachments():
            got[taken.rcpt_to.partition("@")[0]] = part.get_payload(decode=True)
    assert got == files


async def test_what_can_not_be_had_is_deferred_before_its_day_is_over_and_bounces_after(
    around: Bench, sender: SenderProcess, upstream: SmtpServer, tmp_path: Path
) -> None:
    missing = await stored(tmp_path, b"m", owner="missing", needed_until_ms=now_ms() + DAY_MS, keep=False)
    other = await stored(tmp_path, b"o", owner="other", needed_until_ms=now_ms() + DAY_MS)
    assert other.content.blob is not None
    (tmp_path / "blobs" / other.content.blob.key).write_bytes(b"{}")
    gone = await stored(tmp_path, b"g", owner="gone", needed_until_ms=now_ms() - 2 * DAY_MS, keep=False)
    await around.hand_out([missing, other, gone])
    await around.told_of([missing, other, gone], within=60)
    said = {}
    for item in (missing, other, gone):
        (told,) = around.told.of(item.message_id)
        assert isinstance(told, AttemptFinished)
        said[item.recipient] = (told.outcome, told.category, told.detail.code, told.content == item.content)
    assert said == {
        "missing@example.org": ("temporary", "transient", 451, True),
        "other@example.org": ("temporary", "transient", 451, True),
        "gone@example.org": ("permanent", "rejected", 554, False),
    }
    assert upstream.mails == []


async def test_a_storage_that_comes_back_is_all_it_takes(
    around: Bench, sender: SenderProcess, upstream: SmtpServer, tmp_path: Path
) -> None:
    item = await stored(tmp_path, b"data", owner="back", needed_until_ms=now_ms() + DAY_MS)
    small = delivery()
    await around.hand_out([small])
    await around.told_of([small], within=60)
    take_away(tmp_path)
    await around.hand_out([item])
    await around.told_of([item], within=60)
    (first,) = around.told.of(item.message_id)
    assert isinstance(first, AttemptFinished)
    assert first.outcome == "temporary"
    assert "storage" in (first.detail.reply or "")
    bring_back(tmp_path)
    times = {"first_dispatched_at_ms": now_ms(), "valid_until_ms": now_ms() + 60_000}
    await around.hand_out([item.model_copy(update={"attempt": 2, **times})])
    await until(lambda: len(upstream.mails) == 2, within=60)
    assert [taken.rcpt_to for taken in upstream.mails] == [small.recipient, item.recipient]
