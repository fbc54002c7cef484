"""Large mail over HTTP (R2, R5; D13): stored before it is named, warned about, bounded; orphans go with their day."""

import base64
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chassis.blob_keys import kept_until_ms, sha256_of
from chassis.blobs import Blobs, open_storage
from chassis.clock import SystemClock
from chassis.log import Log
from chassis.service import Crash
from schemas.mail import Attachment, Content
from services.ingest.adapters.blobs import Sweeper
from tests.integration.ingest.stage import Client, Reply, Tenant, holds, known, queued_in, replica, submits_of
from tests.kit.broker import Broker

BIN = "application/octet-stream"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def file_of(size: int) -> dict[str, str]:
    raw = (bytes(range(256)) * (size // 256 + 1))[:size]
    return {"filename": "data.bin", "content": base64.b64encode(raw).decode()}


async def post(
    client: Client, tenant: Tenant, body: Mapping[str, Any] | bytes, key: str | None = None, **headers: str
) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["Idempotency-Key"] = key
    return await client.call("POST", "/v1/messages", key=tenant.live, data=io.BytesIO(raw), headers=sent)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def make_useless(folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"a file where the folder was")


async def test_small_content_stays_in_the_log(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    reply = await ingest.send(tenant, tenant.mail(attachments=[{"filename": "a.txt", "content": "aGVsbG8="}]))
    (submit,) = await submits_of(own_broker, reply.json["message_id"])
    file = Attachment(filename="a.txt", content_type="text/plain", content="aGVsbG8=")
    assert (submit.content.attachments, submit.content.blob) == ([file], None)
    assert submit.size == len("Hello") + len("Hi\n") + len("hello")


async def test_large_content_is_one_blob_for_all_recipients_of_the_request(
    own_broker: Broker, tenant: Tenant, tmp_path: Path, folder: Path
) -> None:
    async with replica(own_broker, tmp_path, blob_url=str(folder)) as ingest:
        await holds(ingest.ready)
        await known(ingest, tenant)
        body = tenant.mail(attachments=[file_of(3_000_000)], cc="bob@example.org", bcc=["eve@example.net"])
        reply = await post(ingest, tenant, body, "large-1")
        assert reply.status == 202
        assert [message["role"] for message in reply.json["messages"]] == ["to", "cc", "bcc"]
        submits = [(await submits_of(own_broker, m["message_id"]))[0] for m in reply.json["messages"]]
        (blob,) = {submit.content.blob for submit in submits}
        assert blob is not None
        assert {submit.content.text for submit in submits} == {None}
        assert all(not submit.content.attachments for submit in submits)
        (path,) = files_in(folder)
        assert path.relative_to(folder).as_posix() == blob.key
        assert (sha256_of(path.read_bytes()), path.stat().st_size) == (blob.sha256, blob.size)
        stored = Content.model_validate(json.loads(path.read_bytes()))
        assert stored.attachments[0].content == body["attachments"][0]["content"]
        assert stored.text == "Hi\n"

        again = await post(ingest, tenant, body, "large-1")
        assert (again.raw, again.headers["Idempotent-Replayed"]) == (reply.raw, "true")
        assert files_in(folder) == [path]


async def test_where_storage_is_away_nothing_is_accepted_but_small_mail(
    own_broker: Broker, tenant: Tenant, tmp_path: Path, folder: Path
) -> None:
    """D13."""
    async with replica(own_broker, tmp_path, blob_url=str(folder)) as ingest:
        await holds(ingest.ready)
        await known(ingest, tenant)
        make_useless(folder)
        before = await queued_in(own_broker)
        reply = await ingest.send(tenant, tenant.mail(text="x" * 300_000))
        assert (reply.status, reply.json["error"]["code"], "Retry-After" in reply.headers) == (503, "unavailable", True)
        assert await queued_in(own_broker) == before
        assert (await ingest.send(tenant, tenant.mail())).status == 202


async def test_more_than_25_mib_is_accepted_with_a_warning(ingest: Client, tenant: Tenant) -> None:
    reply = await post(ingest, tenant, tenant.mail(attachments=[file_of(26_500_000)]))
    assert reply.status == 202
    assert [warning["code"] for warning in reply.json["warnings"]] == ["large_attachments"]


def of_size(tenant: Tenant, octets: int) -> bytes:
    """A request of exactly so many bytes."""
    empty = len(json.dumps(tenant.mail(html="")))
    return json.dumps(tenant.mail(html="x" * (octets - empty))).encode()


async def test_the_limit_is_50_mib_after_decompression(ingest: Client, tenant: Tenant) -> None:
    async def status(body: bytes, **headers: str) -> tuple[int, Any]:
        reply = await post(ingest, tenant, body, **headers)
        return reply.status, reply.json.get("error", {}).get("code")

    largest = of_size(tenant, 52_428_800)
    assert await status(largest) == (202, None)
    assert await status(gzip.compress(largest, 1), content_encoding="gzip") == (202, None)
    beyond = gzip.compress(of_size(tenant, 52_428_801), 1)
    assert await status(beyond, content_encoding="gzip") == (413, "payload_too_large")
    assert await status(b"{}", content_encoding="gzip") == (400, "invalid_encoding")
    assert await status(b"{}", content_encoding="br") == (415, "unsupported_encoding")


async def test_an_orphan_is_swept_with_its_day_and_nothing_else_is(log: Log, folder: Path) -> None:
    """D13: a crash between blob and record leaves a blob that no record names; its day is all that counts."""
    blobs = Blobs(open_storage(str(folder)), within=5)
    yesterday, today = "2026-01-01/sub_orphan/ab", f"{SystemClock().now_ms()}"
    await blobs.put(yesterday, b"orphan")
    tomorrow = "2999-01-01/sub_new/cd"
    await blobs.put(tomorrow, today.encode())
    assert kept_until_ms(yesterday) < SystemClock().now_ms() < kept_until_ms(tomorrow)
    sweeper = Sweeper(blobs, log, SystemClock(), Crash())
    await sweeper.start()

    async def gone() -> bool:
        return not (folder / yesterday).exists()

    await holds(gone)
    assert (folder / tomorrow).exists()
    await sweeper.stop()
