"""Kafka frozen, killed, away from the start (R1, R3; D1, D2): 503 means unknown, and a retry is harmless."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.ingest import stage
from tests.integration.ingest.stage import Client, Reply, Tenant, holds, queued_in, replica, submits_of
from tests.kit.broker import Broker

# The request's own 2.5 s, and what a busy test machine adds.
ANSWERED_WITHIN = 4.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PATIENCE", 0.0)


def assert_unavailable(reply: Reply) -> None:
    assert (reply.status, reply.json["error"]["code"]) == (503, "unavailable")
    assert int(reply.headers["Retry-After"]) > 0
    assert int(reply.headers["X-RateLimit-Limit"]) > 0


async def answered(client: Client, tenant: Tenant, key: str) -> Reply:
    """The first answer that is no 503, as a patient client gets it."""
    replies: list[Reply] = []

    async def final() -> bool:
        replies.append(await client.send(tenant, tenant.mail(), key))
        return replies[-1].status != 503

    await holds(final)
    return replies[-1]


async def frozen_while_sending(broker: Broker, client: Client, tenant: Tenant, keys: list[str]) -> list[Reply]:
    """Answers to keyed requests that were at hand, or came, while the broker stood still for five seconds."""
    replies: list[Reply] = []

    async def send(key: str) -> Reply:
        begun = time.monotonic()
        reply = await client.send(tenant, tenant.mail(), key)
        assert time.monotonic() - begun < ANSWERED_WITHIN
        return reply

    broker.freeze()
    try:
        async with asyncio.timeout(20):
            replies += await asyncio.gather(*(send(key) for key in keys))  # these pass the freshness check still
            replies += await asyncio.gather(*(send(key) for key in keys))  # these do not
    finally:
        broker.thaw()
    return replies


async def test_a_frozen_broker_is_503_and_the_retry_gives_one_id(
    own_broker: Broker, ingest: Client, tenant: Tenant
) -> None:
    """D2."""
    keys = [f"frozen-{n}" for n in range(10)]
    assert (await ingest.send(tenant, tenant.mail(), "before")).status == 202
    for reply in await frozen_while_sending(own_broker, ingest, tenant, keys):
        assert_unavailable(reply)
    await holds(ingest.ready)

    first = [await answered(ingest, tenant, key) for key in keys]
    again = [await answered(ingest, tenant, key) for key in keys]
    assert {reply.status for reply in first + again} == {202}
    assert [reply.raw for reply in first] == [reply.raw for reply in again]
    assert len({reply.json["message_id"] for reply in first}) == len(keys)
    for reply in first:
        # Late appends may lie there, too; they are void by their own deadline, or have the same id and content.
        submits = await submits_of(own_broker, reply.json["message_id"])
        assert submits
        assert len({submit.model_copy(update={"valid_until_ms": 0}).model_dump_json() for submit in submits}) == 1


async def test_a_503_after_the_claim_keeps_the_key(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    """Whatever landed of it: the retry with the same body succeeds; where the claim landed, another body is refused."""
    await answered(ingest, tenant, "warm")
    assert (await ingest.send(tenant, tenant.mail(), "bound")).status == 202
    own_broker.freeze()
    try:
        reply = await ingest.send(tenant, tenant.mail(subject="Other"), "bound")
    finally:
        own_broker.thaw()
    # Known before: refused from the index while the lease lasts, 503 after it.
    assert (reply.status, reply.json["error"]["code"]) in {(422, "idempotency_key_reused"), (503, "unavailable")}


@pytest.mark.timeout(180)
async def test_a_killed_broker(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    """D1, D3 in small: every 202 is in the log afterwards, everything else was a 503."""
    await holds(ingest.ready)
    stop = asyncio.Event()
    replies: list[Reply] = []

    async def load() -> None:
        while not stop.is_set():
            replies.append(await ingest.send(tenant, tenant.mail()))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(load())
        await asyncio.sleep(1)
        await asyncio.to_thread(own_broker.kill)
        await asyncio.sleep(2)
        await asyncio.to_thread(own_broker.restart)
        count = len(replies)

        async def recovered() -> bool:
            return any(reply.status == 202 for reply in replies[count:])

        await holds(recovered, within=60)
        stop.set()
    assert {reply.status for reply in replies} == {202, 503}
    for reply in replies:
        if reply.status == 503:
            assert_unavailable(reply)
    accepted = [reply.json["message_id"] for reply in replies if reply.status == 202]
    assert len(set(accepted)) == len(accepted)
    assert Counter(await queued_in(own_broker)) & Counter(accepted) == Counter(accepted)


@pytest.mark.timeout(180)
async def test_a_start_without_kafka(own_broker: Broker, tenant: Tenant, tmp_path: Path) -> None:
    """D1: HTTP is there, says what is missing, and accepts nothing; it needs no restart when Kafka comes."""
    await asyncio.to_thread(own_broker.kill)
    async with replica(own_broker, tmp_path) as client:
        await holds(client.alive)
        ready = await client.call("GET", "/health/ready")
        assert (ready.status, ready.json["status"]) == (503, "not_ready")
        assert [missing.split(":")[0] for missing in ready.json["missing"]] == [
            "tables",
            "idempotency",
            "replies",
        ]
        assert_unavailable(await client.send(tenant, tenant.mail(), "early"))
        assert_unavailable(await client.send(tenant, tenant.mail()))
        await asyncio.to_thread(own_broker.restart)
        await holds(client.ready, within=60)
        assert (await client.send(tenant, tenant.mail(), "early")).status == 202
