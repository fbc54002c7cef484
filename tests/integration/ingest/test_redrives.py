"""Dead letters sent once more, over HTTP and a real Kafka: the originals are found in the log by their ids (R29; D78)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio
from aiohttp import web

from chassis.clock import SystemClock
from chassis.ids import MessageIds
from schemas.inputs import Submit
from tests.integration.ingest.stage import Client, Reply, Tenant, holds, known, new_tenant, replica, submits_of, writer
from tests.kit.broker import Broker, free_ports

DAY_MS = 24 * 3600 * 1000


@dataclass(slots=True)
class ReadSide:
    """`GET /v1/dead-letters` as analytics answers it."""

    url: str
    dead: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.asked.append(asked)
        if asked.get("category") == "sad":
            fault = {"field": "category", "code": "invalid_value", "message": "x"}
            return web.json_response({"errors": [fault]}, status=422)
        named = asked["message_ids"].split(",") if "message_ids" in asked else self.dead
        first = int(asked.get("after", 0))
        found = [each for each in named if each in self.dead]
        page, after = found[first : first + int(asked["limit"])], first + int(asked["limit"])
        cursor = str(after) if len(found) > after else None
        return web.json_response({"data": [{"message_id": each} for each in page], "next_cursor": cursor})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def read_side() -> AsyncIterator[ReadSide]:
    (port,) = free_ports(1)
    side = ReadSide(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_get("/v1/dead-letters", side.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield side
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(own_broker: Broker, tmp_path_factory: Any, read_side: ReadSide) -> AsyncIterator[Client]:
    folder: Path = tmp_path_factory.mktemp("redrives")
    async with replica(own_broker, folder, analytics_url=read_side.url) as started:
        await holds(started.ready)
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(own_broker: Broker, client: Client) -> Tenant:
    async with writer(own_broker) as log:
        found = await new_tenant(log)
        await known(client, found)
        return found


async def sent(client: Client, tenant: Tenant, **changes: Any) -> str:
    reply = await client.send(tenant, tenant.mail(**changes))
    assert reply.status == 202, reply.raw
    message_id: str = reply.json["message_id"]
    return message_id


async def redrive(client: Client, tenant: Tenant, path: str, body: Any = None, key: str = "") -> Reply:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.call("POST", f"/v1/dead-letters/{path}redrive", key=tenant.live, json=body, headers=headers)


async def submit_of(broker: Broker, message_id: str) -> Submit:
    (found,) = await submits_of(broker, message_id)
    return found


async def test_one_is_sent_again_once_with_all_that_it_said(
    own_broker: Broker, client: Client, tenant: Tenant, read_side: ReadSide
) -> None:
    """Small or large, of either lane; asked again with its key it is answered the same."""
    for number, changes in enumerate(({}, {"priority": "critical"}, {"text": "long " * 60_000})):
        original = await sent(client, tenant, **changes)
        await sent(client, tenant)
        read_side.dead = [original]
        first = await redrive(client, tenant, f"{original}/", key=f"one-{number}")
        assert (first.status, first.json["redrive_of"]) == (202, original)
        again = await redrive(client, tenant, f"{original}/", key=f"one-{number}")
        assert (again.raw, again.headers["Idempotent-Replayed"]) == (first.raw, "true")
        old, new = [await submit_of(own_broker, each) for each in (original, first.json["message_id"])]
        assert (new.redrive_of, new.priority) == (original, old.priority)
        if old.content.blob is None or new.content.blob is None:
            assert new.content == old.content
        else:
            assert new.content.blob.sha256 == old.content.blob.sha256
            assert new.content.blob.key != old.content.blob.key


async def test_many_over_all_partitions_each_with_its_result(
    own_broker: Broker, client: Client, tenant: Tenant, read_side: ReadSide
) -> None:
    """The one whose content is gone: an id of eight days ago, where the log holds only later mail."""
    now_ms = SystemClock().now_ms()
    ids = MessageIds({1: bytes.fromhex("ab" * 32)}, 1)
    gone = ids.new(project_id=tenant.project_id, now_ms=now_ms - 8 * DAY_MS, lane="standard", partition=3).text
    originals = [await sent(client, tenant, priority=("normal", "high")[n % 2], subject=f"mail {n}") for n in range(30)]
    read_side.dead = [*originals, gone]
    asked = [*originals, gone, "msg_0"]
    reply = await redrive(client, tenant, "", {"message_ids": asked})
    assert reply.status == 202, reply.raw
    data = reply.json["data"]
    assert [item["redrive_of"] for item in data] == asked
    assert [item["error"]["code"] for item in data[30:]] == ["content_expired", "not_found"]
    subjects = [(await submit_of(own_broker, item["message_id"])).content.subject for item in data[:30]]
    assert subjects == [f"mail {n}" for n in range(30)]
    assert (await redrive(client, tenant, f"{gone}/")).json["error"]["code"] == "content_expired"


async def test_by_filters_the_read_side_says_which(client: Client, tenant: Tenant, read_side: ReadSide) -> None:
    """Only what this key's environment has sent, and what was not sent again: asked a second time, it goes on."""
    read_side.dead = [await sent(client, tenant) for _ in range(3)]
    read_side.asked.clear()
    body = {"filters": {"tag": "otp", "since": "2026-01-01T00:00:00Z"}, "limit": 2}
    reply = await redrive(client, tenant, "", body)
    assert [item["redrive_of"] for item in reply.json["data"]] == read_side.dead[:2]
    assert read_side.asked[0] == {
        "redriven": "false", "environment": "live", "tag": "otp", "since": "2026-01-01T00:00:00Z", "limit": "2"
    }  # fmt: skip
    refused = await redrive(client, tenant, "", {"filters": {"category": "sad"}})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "filters.category")


async def test_without_a_read_side_nothing_is_sent(ingest: Client, tenant: Tenant) -> None:
    await known(ingest, tenant)
    message_id = await sent(ingest, tenant)
    for path, body in ((f"{message_id}/", None), ("", {"message_ids": [message_id]}), ("", {"filters": {}})):
        reply = await redrive(ingest, tenant, path, body)
        assert (reply.status, reply.json["error"]["code"]) == (503, "unavailable")
