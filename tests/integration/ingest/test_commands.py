"""Cancel, move and release over HTTP and Kafka, against a router that says what a test wants (R6, R7; D78).

Who answers whom, and what is answered where nobody does, is the subject here; what the router decides is its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from chassis.clock import SystemClock
from chassis.ids import MessageIds, new_id, parse_message_id
from chassis.log import Incoming, Log, Outgoing, outgoing
from chassis.tail import Tail
from schemas.envelope import decode, seal, to_timestamp
from schemas.inputs import MESSAGE_INPUTS, Cancel, Command, Release, Reschedule
from schemas.replies import Verdict
from schemas.topics import TOPICS, message_inputs
from services.ingest.domain.faults import CODES
from tests.integration.ingest import stage
from tests.integration.ingest.stage import Client, Reply, Tenant, ends_of, holds, known, new_tenant, replica
from tests.kit.broker import Broker
from tests.kit.topics import kafka_settings

DAY_MS = 24 * 3600 * 1000
LATER, LATEST = (to_timestamp(SystemClock().now_ms() + days * DAY_MS) for days in (30, 60))
COMMAND_QUEUES = ("message-inputs.express", "message-inputs.standard")
# The 2.5 s of a command, and what a busy test machine adds.
ANSWERED_WITHIN = 4.0

Answer = Callable[[Command], Verdict | None]


def done(command: Command) -> Verdict:
    match command:
        case Reschedule():
            return verdict(command, status="scheduled", scheduled_ms=command.scheduled_ms)
        case Release():
            return verdict(command, status="accepted")
        case _:
            return verdict(command, status="cancelled")


def verdict(command: Command, **changes: Any) -> Verdict:
    plain: dict[str, Any] = {"verdict": "done", "status": None, "sequence": 2, "reason": None, **changes}
    return Verdict(request_id=command.request_id, message_id=command.message_id, **plain)


class FakeRouter:
    """Reads the commands of both lanes; `answer` may be changed at any time, and may say nothing."""

    def __init__(self, log: Log) -> None:
        self.answer: Answer = done
        self.address: Callable[[Command], str] = lambda command: command.reply_to
        self.seen: list[tuple[Incoming, Command]] = []
        self._log = log
        self._answering: set[asyncio.Task[None]] = set()

    def apply(self, record: Incoming) -> None:
        command = decode(record.value, MESSAGE_INPUTS).data
        if isinstance(command, Command):
            self.seen.append((record, command))
            if (found := self.answer(command)) is not None:
                task = asyncio.create_task(self.say(found, self.address(command)))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def say(self, found: Verdict, to: str) -> None:
        record_id = new_id("rpl", 0)
        envelope = seal(found, record_id=record_id, source="router", subject=to, time_ms=0, project_id="prj_x")
        await self._log.append([outgoing(TOPICS["replies"], envelope, key=to)], within=10)

    def asked_about(self, message_id: str) -> list[Command]:
        return [command for _, command in self.seen if command.message_id == message_id]


@pytest_asyncio.fixture
async def router(own_broker: Broker, log: Log) -> AsyncIterator[FakeRouter]:
    found = FakeRouter(log)
    tail = Tail(kafka_settings(own_broker.bootstrap_servers), client_id="fake-router")
    await tail.start()
    for topic in (message_inputs("express"), message_inputs("standard")):
        for partition in range(topic.partitions):
            await tail.follow(topic.name, partition, found.apply, "latest")
    try:
        yield found
    finally:
        await tail.stop()


async def accepted(client: Client, tenant: Tenant, **fields: Any) -> str:
    reply = await client.send(tenant, tenant.mail(**fields))
    assert reply.status == 202
    message_id: str = reply.json["message_id"]
    return message_id


async def command(
    client: Client, tenant: Tenant, method: str, message_id: str, suffix: str = "", **headers: str
) -> Reply:  # fmt: skip
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    json = {"scheduled_time": LATER} if method == "PATCH" else None
    path = f"/v1/messages/{message_id}{suffix}"
    return await client.call(method, path, key=tenant.live, json=json, headers=sent)


async def test_a_command_and_its_verdict(ingest: Client, tenant: Tenant, router: FakeRouter) -> None:
    """R6, R7: cancelled, moved, released; each as an input in the message's own partition."""
    message_id = await accepted(ingest, tenant, scheduled_time=LATEST)
    moved = await command(ingest, tenant, "PATCH", message_id)
    assert (moved.status, moved.json) == (
        200,
        {"message_id": message_id, "status": "scheduled", "scheduled_time": LATER},
    )
    released = await command(ingest, tenant, "POST", message_id, "/release")
    assert (released.status, released.json["status"]) == (200, "accepted")
    cancelled = await command(ingest, tenant, "DELETE", message_id)
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert cancelled.headers["X-Request-Id"]
    assert cancelled.headers["X-RateLimit-Limit"]

    place = parse_message_id(message_id)
    assert place is not None
    assert place.scheduled
    assert {(record.topic, record.partition, record.key) for record, _ in router.seen} == {
        (message_inputs(place.lane).name, place.partition, message_id)
    }
    first, second, third = router.asked_about(message_id)
    assert isinstance(first, Reschedule)
    assert isinstance(second, Release)
    assert isinstance(third, Cancel)
    assert to_timestamp(first.scheduled_ms) == LATER
    assert {asked.by for asked in (first, second, third)} == {tenant.key_ids["live"]}
    assert len({asked.request_id for asked in (first, second, third)}) == 3


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ({"verdict": "refused", "status": "accepted", "reason": "being_sent"}, 404, "not_found"),
        ({"verdict": "refused", "status": "delivered", "reason": "already_sent"}, 404, "not_found"),
        ({"verdict": "refused", "status": "accepted", "reason": "not_scheduled"}, 409, "conflict"),
        ({"verdict": "refused", "status": "accepted", "reason": "not_held"}, 409, "conflict"),
        ({"verdict": "unknown_message"}, 404, "not_found"),
    ],
)
async def test_a_refusal_says_why(
    ingest: Client, tenant: Tenant, router: FakeRouter, refusal: dict[str, Any], status: int, code: str
) -> None:
    message_id = await accepted(ingest, tenant)
    router.answer = lambda asked: verdict(asked, **refusal)
    reply = await command(ingest, tenant, "DELETE", message_id)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert CODES[code].status == status


async def test_no_verdict_is_503_and_asking_again_is_the_same_request(
    ingest: Client, other_ingest: Client, tenant: Tenant, router: FakeRouter
) -> None:
    """R7: at any replica, by its Idempotency-Key or by its X-Request-Id."""
    await known(other_ingest, tenant)
    for header in ("Idempotency_Key", "X_Request_Id"):
        message_id = await accepted(ingest, tenant)
        router.answer = lambda _: None
        begun = time.monotonic()
        unanswered = await command(ingest, tenant, "DELETE", message_id, **{header: "once-more"})
        assert 2.4 < time.monotonic() - begun < ANSWERED_WITHIN
        assert (unanswered.status, unanswered.json["error"]["code"]) == (503, "unavailable")
        assert int(unanswered.headers["Retry-After"]) > 0
        router.answer = done
        assert (await command(other_ingest, tenant, "DELETE", message_id, **{header: "once-more"})).status == 200
        first, second = router.asked_about(message_id)
        assert first.request_id == second.request_id
        assert first.reply_to != second.reply_to


async def test_a_verdict_for_another_replica_is_not_taken(
    ingest: Client, other_ingest: Client, tenant: Tenant, router: FakeRouter
) -> None:
    """The same request at two replicas: each answers with what was said to it."""
    await known(other_ingest, tenant)
    message_id = await accepted(ingest, tenant)
    elsewhere = "ingest-elsewhere.ing_1"
    router.address = lambda _: elsewhere
    reply = await command(ingest, tenant, "DELETE", message_id, Idempotency_Key="k")
    assert reply.status == 503

    router.address = lambda asked: asked.reply_to
    told: dict[str, str] = {}

    def differently(asked: Command) -> Verdict:
        told.setdefault(asked.reply_to, ("cancelled", "held")[len(told)])
        return verdict(asked, status=told[asked.reply_to])

    router.answer = differently
    one, two = await asyncio.gather(
        *(command(client, tenant, "DELETE", message_id, Idempotency_Key="k") for client in (ingest, other_ingest))
    )
    assert {one.json["status"], two.json["status"]} == {"cancelled", "held"}


async def test_twins_at_one_replica_both_get_the_verdict(ingest: Client, tenant: Tenant, router: FakeRouter) -> None:
    message_id = await accepted(ingest, tenant)
    replies = await asyncio.gather(
        *(command(ingest, tenant, "DELETE", message_id, Idempotency_Key="twins") for _ in range(20))
    )
    assert {(reply.status, reply.json["status"]) for reply in replies} == {(200, "cancelled")}
    assert len({asked.request_id for asked in router.asked_about(message_id)}) == 1


async def test_a_verdict_that_does_not_decode_is_passed_over(
    ingest: Client, tenant: Tenant, router: FakeRouter, log: Log
) -> None:
    message_id = await accepted(ingest, tenant)
    router.answer = lambda _: None
    asking = asyncio.create_task(command(ingest, tenant, "DELETE", message_id))

    async def asked() -> bool:
        return bool(router.asked_about(message_id))

    await holds(asked)
    (seen,) = router.asked_about(message_id)
    garbage = Outgoing(TOPICS["replies"].name, seen.reply_to, b'{"type": "reply.verdict"}')
    await log.append([garbage], within=10)
    await router.say(done(seen), seen.reply_to)
    assert (await asking).status == 200


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("PATCH", ""), ("POST", "/release")])
async def test_another_projects_message_is_as_unknown_as_any(
    own_broker: Broker, ingest: Client, log: Log, tenant: Tenant, method: str, suffix: str
) -> None:
    """D78: one body for all of them, and nothing in the log."""
    stranger = await new_tenant(log)
    await known(ingest, stranger)
    message_id = await accepted(ingest, tenant)
    forged = MessageIds({1: b"x" * 16}, 1).new(
        project_id=stranger.project_id, now_ms=0, lane="standard", partition=0
    )  # fmt: skip
    before = await ends_of(own_broker, *COMMAND_QUEUES)
    replies = [
        await command(ingest, stranger, method, asked, suffix) for asked in (message_id, forged.text, "msg_x", "%20")
    ]
    assert {reply.status for reply in replies} == {404}
    assert len({str(reply.json["error"]) for reply in replies}) == 1
    read = await ingest.call("GET", f"/v1/messages/{message_id}", key=stranger.live)
    assert read.json["error"] == replies[0].json["error"]
    assert await ends_of(own_broker, *COMMAND_QUEUES) == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"", 400, "invalid_json"),
        (b"{}", 422, "validation_error"),
        (b'{"scheduled_time": "2020-01-01T00:00:00Z"}', 422, "validation_error"),
        (b'{"scheduled_time": "2099-01-01T00:00:00Z"}', 422, "validation_error"),
        (f'{{"scheduled_time": "{LATER}", "subject": "x"}}'.encode(), 422, "validation_error"),
        (b" " * 70_000, 413, "payload_too_large"),
    ],
    ids=["half", "empty", "nothing", "past", "too late", "another field", "too large"],
)
async def test_a_bad_move_asks_nothing(
    own_broker: Broker, ingest: Client, tenant: Tenant, body: bytes, status: int, code: str
) -> None:
    message_id = await accepted(ingest, tenant)
    before = await ends_of(own_broker, *COMMAND_QUEUES)
    reply = await ingest.call("PATCH", f"/v1/messages/{message_id}", key=tenant.live, data=body)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert await ends_of(own_broker, *COMMAND_QUEUES) == before


@asynccontextmanager
async def read_side(answer: Callable[[str], Any]) -> AsyncIterator[str]:
    """Analytics as far as ingest asks it for one message."""

    async def message(request: web.Request) -> web.Response:
        return web.json_response(answer(request.match_info["message_id"]))

    app = web.Application()
    app.router.add_get("/v1/messages/{message_id}", message)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_whole_message_where_the_read_side_has_it(
    own_broker: Broker, log: Log, router: FakeRouter, tmp_path: Path
) -> None:
    """Shown by what that side knows, once it knows of the command."""
    sequence = 1

    def whole(message_id: str) -> Any:
        return {"message_id": message_id, "status": "cancelled", "timeline": [{"sequence": sequence}]}

    async with read_side(whole) as url, replica(own_broker, tmp_path, analytics_url=url) as client:
        await holds(client.ready)
        tenant = await new_tenant(log)
        await known(client, tenant)
        message_id = await accepted(client, tenant)
        brief = await command(client, tenant, "DELETE", message_id)
        assert brief.json == {"message_id": message_id, "status": "cancelled", "scheduled_time": None}
        sequence = 2
        assert (await command(client, tenant, "DELETE", message_id)).json == whole(message_id)


async def test_a_frozen_broker_is_503_and_not_ready(
    own_broker: Broker, ingest: Client, tenant: Tenant, router: FakeRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: the request is bounded; readiness says that no verdict would be seen."""
    monkeypatch.setattr(stage, "PATIENCE", 0.0)
    message_id = await accepted(ingest, tenant)
    missing: list[str] = []

    async def said() -> bool:
        missing[:] = (await ingest.call("GET", "/health/ready")).json["missing"]
        return any(text.startswith("replies:") for text in missing)

    own_broker.freeze()
    try:
        begun = time.monotonic()
        reply = await command(ingest, tenant, "DELETE", message_id, Idempotency_Key="frozen")
        assert time.monotonic() - begun < ANSWERED_WITHIN
        assert (reply.status, reply.json["error"]["code"]) == (503, "unavailable")
        await holds(said)
    finally:
        own_broker.thaw()

    async def decided() -> bool:
        return (await command(ingest, tenant, "DELETE", message_id, Idempotency_Key="frozen")).status == 200

    await holds(decided)
    await holds(ingest.ready)
    assert len({asked.request_id for asked in router.asked_about(message_id)}) == 1
