"""Batches over HTTP, on a real Kafka (R9; D14, D15)."""

import asyncio
import time
from typing import Any

import pytest

from schemas.topics import message_inputs
from services.ingest.domain.acceptance import place_of
from tests.integration.ingest.stage import Client, Reply, Tenant, submits_of
from tests.kit.broker import Broker
from tests.kit.topics import everything_in

PATH = "/v1/messages/batch"


async def post(client: Client, tenant: Tenant, items: list[Any], key: str | None = None, **members: Any) -> Reply:
    headers = {"X-Request-Id": "batch-of-a-test"} | ({} if key is None else {"Idempotency-Key": key})
    return await client.call("POST", PATH, key=tenant.live, json={"messages": items, **members}, headers=headers)


async def test_good_and_bad_items(own_broker: Broker, ingest: Client, tenant: Tenant) -> None:
    reply = await post(ingest, tenant, [tenant.mail(), tenant.mail(recipient="nobody"), tenant.mail(priority="high")])
    assert reply.status == 202
    one, two, three = reply.json["data"]
    assert [one["index"], two["index"], three["index"]] == [0, 1, 2]
    assert two["errors"] == [
        {"field": "recipient", "code": "invalid_address", "message": two["errors"][0]["message"]}
    ]  # fmt: skip
    for item in (one, three):
        (submit,) = await submits_of(own_broker, item["message_id"])
        assert (submit.channel, submit.submission_id) == ("batch", reply.json["batch_id"])
        assert submit.request_id == reply.headers["X-Request-Id"] == "batch-of-a-test"


async def test_strict_is_all_or_422(ingest: Client, tenant: Tenant) -> None:
    reply = await post(ingest, tenant, [tenant.mail(), {}], strict=True)
    assert (reply.status, reply.json["error"]["code"]) == (422, "validation_error")
    assert {fault["field"] for fault in reply.json["errors"]} >= {"messages[1].recipient", "messages[1].subject"}


async def test_a_batch_is_one_request_of_the_rate_limit(ingest: Client, tenant: Tenant) -> None:
    """R14."""
    before = await post(ingest, tenant, [tenant.mail()])
    after = await post(ingest, tenant, [tenant.mail()] * 50)
    used = int(before.headers["X-RateLimit-Remaining"]) - int(after.headers["X-RateLimit-Remaining"])
    assert used <= 1  # none where the minute ended in between


async def test_many_at_once_with_one_key_send_once(
    own_broker: Broker, ingest: Client, other_ingest: Client, tenant: Tenant
) -> None:
    """D14, D15."""
    items = [tenant.mail(recipient=f"r{n}@example.org") for n in range(300)] + [tenant.mail(recipient="nobody")]

    async def until_answered(client: Client) -> Reply:
        while (
            reply := await post(client, tenant, items, "one-batch")
        ).status == 503:  # a busy machine: unknown, so again
            pass
        return reply

    async with asyncio.timeout(60):
        replies = await asyncio.gather(*(until_answered(client) for client in (ingest, other_ingest) * 4))
    assert {reply.status for reply in replies} == {202}
    assert len({reply.raw for reply in replies}) == 1
    assert sum(reply.headers.get("Idempotent-Replayed") is None for reply in replies) <= 1
    ids = [item["message_id"] for item in replies[0].json["data"][:-1]]
    assert len(set(ids)) == 300
    assert (await _times_written(own_broker, ids)).keys() == set(ids), "once, or again by a helper with the same id"
    assert (await post(ingest, tenant, items[1:], "one-batch")).json["error"]["code"] == "idempotency_key_reused"


async def _times_written(broker: Broker, ids: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place in {place_of([message_id]) for message_id in ids}:
        for record in await everything_in(broker.bootstrap_servers, message_inputs(place.lane).name, place.partition):
            if record.key in ids:
                found[record.key] = found.get(record.key, 0) + 1
    return found


@pytest.mark.parametrize("key", [None, "timed"])
async def test_a_thousand_do_not_keep_others_waiting(ingest: Client, tenant: Tenant, key: str | None) -> None:
    """R9: in slices, so that nobody waits for the whole of it; alone it takes 0.2 s, and nobody waits for 50 ms of it; with a key for 0.16 s, for two replicas read its claim here."""
    items = [tenant.mail(recipient=f"{key}{n}@d{n % 20}.example") for n in range(1000)]
    waits: list[float] = []

    async def look() -> None:
        while True:
            begun = time.thread_time()  # what the machine gives to others meanwhile is not the product's doing
            await asyncio.sleep(0.001)
            waits.append(time.thread_time() - begun)

    looking = asyncio.create_task(look())
    reply = await post(ingest, tenant, items, key)
    looking.cancel()
    assert (reply.status, sum("message_id" in item for item in reply.json["data"])) == (202, 1000)
    assert max(waits) < 0.8
