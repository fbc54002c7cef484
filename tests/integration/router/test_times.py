"""Schedules, commands and their verdicts on real Kafka: what unit tests prove on a log in memory, once each (R2, R6, R7)."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from chassis.clock import SystemClock
from schemas.topics import TOPICS, deliveries
from tests.integration.router.stage import EVENTS, World, new_message_id, router_on, world_on
from tests.kit import router_inputs as make
from tests.kit.broker import Broker
from tests.kit.waiting import eventually

_CLOCK = SystemClock()


@pytest.fixture
async def world(own_broker: Broker) -> AsyncIterator[World]:
    async with world_on(own_broker.bootstrap_servers) as found:
        yield found


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def verdicts(world: World, *requests: str) -> dict[str, dict[str, Any]]:
    """The verdicts on these requests, when all are there; each said once, or the same twice."""
    found: dict[str, dict[str, Any]] = {}

    async def all_there() -> bool:
        for record in await world.all_of(TOPICS["replies"]):
            assert record.key == "ingest-1"
            told = orjson.loads(record.value or b"")["data"]
            assert found.setdefault(told["request_id"], told) == told
        return found.keys() >= set(requests)

    await eventually(all_there, within=30)
    return {request: found[request] for request in requests}


async def test_scheduled_mail_waits_through_restarts_and_is_cancelled_moved_or_sent(
    world: World, state_dir: Path
) -> None:  # R6, R7
    kept, dropped, moved = (new_message_id(partition=1) for _ in range(3))
    hour = _CLOCK.now_ms() + 3_600_000
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give(*(make.submit(one, scheduled_ms=hour) for one in (kept, dropped, moved)))
        await world.become(kept, "queued", "scheduled", within=40)
        await world.give(make.cancel(dropped, "req_c"), make.reschedule(moved, hour + 3_600_000, "req_m"))
        told = await verdicts(world, "req_c", "req_m")
        assert (told["req_c"]["verdict"], told["req_c"]["status"]) == ("done", "cancelled")
        assert (told["req_m"]["verdict"], told["req_m"]["scheduled_ms"]) == ("done", hour + 3_600_000)
        await world.become(dropped, "queued", "scheduled", "cancelled")
        at = _CLOCK.now_ms() + 3_000
        await world.give(make.reschedule(kept, at, "req_s"))
        await verdicts(world, "req_s")
        await asyncio.to_thread(router.kill)
    shutil.rmtree(state_dir)
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.handed_out(kept, 1, within=40)
        (sent,) = [r for r in await world.all_of(deliveries("main", "standard")) if r.key == kept]
        assert sent.timestamp_ms >= at
        await world.become(kept, "queued", "scheduled", "scheduled", "accepted")
        assert await world.deliveries(dropped) == await world.deliveries(moved) == []
        await world.become(moved, "queued", "scheduled", "scheduled")
        await world.give(make.cancel(kept, "req_k"))
        late = (await verdicts(world, "req_k"))["req_k"]
        assert (late["verdict"], late["reason"]) == ("refused", "being_sent")
        await router.stop()


async def test_a_project_has_its_own_ladder(world: World, state_dir: Path) -> None:  # R14, R22
    """Read at the start, changed while a mail waits, and taken away again."""
    few, waits, marker, default = (new_message_id(partition=2) for _ in range(4))
    await world.retry_after(1_000)
    async with router_on(world.bootstrap_servers, state_dir, ROUTER_RETRY_SCHEDULE="1s,1h") as router:
        await world.give(make.submit(few), make.submit(waits))
        await world.handed_out(waits, 1, within=40)
        await world.give(make.temporary(few), make.temporary(waits))
        await world.handed_out(few, 2)
        await world.handed_out(waits, 2)
        await world.give(make.temporary(few, 2))
        await world.become(few, "queued", "accepted", "deferred", "bounced")
        await world.retry_after(1_000, 1_000)
        await world.give(make.submit(marker))
        await world.handed_out(marker, 1)
        await world.give(make.temporary(waits, 2))
        await world.handed_out(waits, 3)
        await world.retry_after()
        await world.give(make.submit(default))
        await world.handed_out(default, 1)
        await world.give(make.temporary(default))
        await world.handed_out(default, 2)
        await world.give(make.temporary(default, 2))
        await world.become(default, "queued", "accepted", "deferred", "deferred")
        await router.stop()


async def test_three_hundred_races_of_cancel_against_due(world: World, state_dir: Path) -> None:  # D23
    """Exactly one wins, and the verdict says which."""
    ids = [new_message_id(partition=number % 12) for number in range(300)]
    async with router_on(world.bootstrap_servers, state_dir, ROUTER_ADMISSION_WINDOW="12000") as router:
        at = _CLOCK.now_ms() + 6_000
        await world.give(*(make.submit(one, scheduled_ms=at) for one in ids))
        for start in range(0, 300, 10):
            await asyncio.sleep(
                max(0.0, (at - 300 + start * 2 - _CLOCK.now_ms()) / 1000)
            )  # the race's pace is its input
            await world.give(*(make.cancel(one, f"req_{one}") for one in ids[start : start + 10]))
        told = await verdicts(world, *(f"req_{one}" for one in ids))
        done = {verdict["message_id"] for verdict in told.values() if verdict["verdict"] == "done"}

        async def all_decided() -> bool:
            records = await world.all_of(EVENTS)
            ended = {
                r.key for r in records if orjson.loads(r.value or b"")["data"]["status"] in {"accepted", "cancelled"}
            }
            return ended >= set(ids)

        await eventually(all_decided, within=30)
        sent = {record.key for record in await world.all_of(deliveries("main", "standard"))} & set(ids)
        assert done | sent == set(ids)
        assert done & sent == set()
        await router.stop()


async def test_a_mail_that_may_not_be_late_expires_where_it_waits(world: World, state_dir: Path) -> None:  # R2
    one = new_message_id(partition=3)
    async with router_on(world.bootstrap_servers, state_dir, ROUTER_RETRY_SCHEDULE="1h") as router:
        await world.give(make.submit(one, deliver_before_ms=_CLOCK.now_ms() + 6_000))
        (delivery,) = await world.handed_out(one, 1)
        await world.give(make.temporary(one))
        await world.become(one, "queued", "accepted", "deferred", "expired")
        told = await world.events(one)
        assert told[2]["data"]["next_attempt_at"] == told[0]["data"]["deliver_before"]
        assert delivery["deliver_before_ms"] is not None
        await router.stop()


async def test_what_comes_back_after_delivery_is_told_and_lists_the_recipient(world: World, state_dir: Path) -> None:
    one = new_message_id(partition=4)
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give(make.submit(one, recipient="hedy@example.org"))
        await world.handed_out(one, 1)
        await world.give(make.delivered(one), make.feedback(one, "complaint"), make.feedback(one, "complaint"))
        await world.become(one, "queued", "accepted", "delivered", "delivered")
        (listed,) = [orjson.loads(record.value or b"") for record in await world.all_of(TOPICS["suppressions"])]
        assert (listed["data"]["recipient"], listed["data"]["reason"]) == ("hedy@example.org", "complaint")
        assert listed["data"]["source_event_id"] == (await world.events(one))[-1]["id"]
        await router.stop()
