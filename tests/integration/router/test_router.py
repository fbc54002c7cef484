"""The router as a process, on real Kafka: what unit tests prove on a log in memory, once each on the real thing."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from schemas.mail import Lane
from schemas.topics import TOPICS, deliveries, message_inputs
from tests.integration.router.stage import EVENTS, World, new_message_id, router_on, world_on
from tests.kit import router_inputs as make
from tests.kit.broker import Broker
from tests.kit.oracle import by_message
from tests.kit.waiting import eventually


@pytest.fixture
async def world(own_broker: Broker) -> AsyncIterator[World]:
    async with world_on(own_broker.bootstrap_servers) as found:
        yield found


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.mark.parametrize(("lane", "priority"), [("standard", "normal"), ("express", "critical")])
async def test_deferred_mail_goes_out_again_with_its_content(
    world: World, state_dir: Path, lane: Lane, priority: str
) -> None:  # R22, R24
    one = new_message_id(lane, 1)
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give(make.submit(one, priority=priority))
        (delivery,) = await world.handed_out(one, 1, lane)
        assert (delivery["attempt"], delivery["content"]["subject"]) == (1, "Your code")
        await world.become(one, "queued", "accepted")
        await world.give(make.temporary(one))
        again = (await world.handed_out(one, 2, lane))[1]
        assert (again["attempt"], again["dispatch"], again["content"]) == (2, 1, delivery["content"])
        await world.give(make.delivered(one, 2))
        await world.become(one, "queued", "accepted", "deferred", "delivered")
        await router.stop()
    for record in await world.all_of(EVENTS):
        if record.key == one:
            assert record.partition == 1
            assert dict(record.headers)["content-type"] == b"application/cloudevents+json"


async def test_stopped_before_its_commit_it_emits_the_same_bytes_again(world: World, state_dir: Path) -> None:
    """D25, D30: state and outputs were there, the commit was not; tables and clock have moved on meanwhile."""
    one = new_message_id(partition=2)
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give(make.submit(one, recipient="Grace@example.org"))
        await world.handed_out(one, 1)
        await router.stop()
    before = await world.events(one)
    await world.rewind("standard", 2, 0)
    await world.suppress("grace@example.org")
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.handed_out(one, 2)
        assert await router.metric("router_replays_total") == 1
        await router.stop()
    assert await world.events(one) == before
    copies = [record for record in await world.all_of(EVENTS) if record.key == one]
    assert [record.value for record in copies[:2]] == [record.value for record in copies[2:]]
    first, again = [r for r in await world.all_of(deliveries("main", "standard")) if r.key == one]
    data, repeated = (orjson.loads(record.value or b"") for record in (first, again))
    assert data["data"].pop("valid_until_ms") < repeated["data"].pop("valid_until_ms")
    assert data == repeated


async def test_a_recipient_listed_while_mail_waits_gets_none(world: World, state_dir: Path) -> None:  # R11
    one = new_message_id(partition=3)
    schedule = {"ROUTER_RETRY_SCHEDULE": "1h"}
    async with router_on(world.bootstrap_servers, state_dir, **schedule) as router:
        await world.give(make.submit(one, recipient="Joan@example.org"))
        await world.handed_out(one, 1)
        await world.give(make.temporary(one))
        await world.become(one, "queued", "accepted", "deferred")
        await world.suppress("joan@example.org")
        await world.become(one, "queued", "accepted", "deferred", "suppressed")
        await router.stop()


async def test_a_hard_bounce_lists_the_recipient_for_every_mail_to_come(world: World, state_dir: Path) -> None:  # R11
    one, two = new_message_id(partition=4), new_message_id(partition=5)
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give(make.submit(one, recipient="nobody@example.org"))
        await world.handed_out(one, 1)
        await world.give(make.permanent(one, category="invalid_recipient"))
        await world.become(one, "queued", "accepted", "bounced")
        bounced = (await world.events(one))[-1]
        await world.give(make.submit(two, recipient="Nobody@example.org"))
        await world.become(two, "queued", "suppressed")
        suppressed = (await world.events(two))[-1]
        assert suppressed["data"]["source_event_id"] == bounced["id"]
        told = [orjson.loads(record.value or b"") for record in await world.all_of(TOPICS["account-events"])]
        assert [event["data"]["source_event_id"] for event in told] == [bounced["id"]]
        await router.stop()


async def test_a_submission_nobody_can_read_is_held_and_lies_in_the_dlq(world: World, state_dir: Path) -> None:  # D26
    one, next_one = new_message_id(partition=6), new_message_id(partition=6)
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give_raw(one, b'{"type":"input.submit","data":{"message_id":7}}')
        await world.give(make.submit(next_one))
        await world.become(one, "held")
        await world.become(next_one, "queued", "accepted")
        (held,) = await world.events(one)
        (letter,) = await world.dead_letters()
        assert held["data"]["source_event_id"] == f"{letter.topic}/{letter.partition}/{letter.offset}"
        assert (letter.key, dict(letter.headers)["dlq-topic"]) == (one, message_inputs("standard").name.encode())
        await router.stop()


async def test_what_waits_survives_the_loss_of_the_local_files(world: World, state_dir: Path) -> None:
    one = new_message_id(partition=7)
    schedule = {"ROUTER_RETRY_SCHEDULE": "3s"}
    async with router_on(world.bootstrap_servers, state_dir, **schedule) as router:
        await world.give(make.submit(one))
        await world.handed_out(one, 1)
        await world.give(make.temporary(one))
        await world.become(one, "queued", "accepted", "deferred")
        await router.stop()
    await asyncio.to_thread(shutil.rmtree, state_dir)
    async with router_on(world.bootstrap_servers, state_dir, **schedule) as router:
        again = (await world.handed_out(one, 2))[1]
        assert (again["attempt"], again["content"]["subject"]) == (2, "Your code")
        await router.stop()


async def test_an_overdue_attempt_is_handed_out_again_from_its_submit(world: World, state_dir: Path) -> None:
    one = new_message_id(partition=8)
    async with router_on(world.bootstrap_servers, state_dir, ROUTER_WATCHDOG_AFTER="1s") as router:
        await world.give(make.submit(one, content=make.content("As it was submitted")))
        again = (await world.handed_out(one, 2))[1]
        assert (again["attempt"], again["dispatch"]) == (1, 2)
        assert again["content"]["subject"] == "As it was submitted"
        await world.give(make.delivered(one, 1, 1))
        await world.become(one, "queued", "accepted", "delivered")
        assert await router.metric("router_overdue_attempts_total") >= 1
        await router.stop()


async def test_killed_while_mail_flows_it_loses_nothing_and_says_nothing_twice_differently(
    world: World, state_dir: Path
) -> None:  # D25, D28
    ids = [new_message_id(partition=number % 12) for number in range(400)]
    answered: set[tuple[str, int, int]] = set()

    async def answer() -> bool:
        """A sender: each first attempt fails, each second is delivered. Whether all have been."""
        fresh = []
        for record in await world.all_of(deliveries("main", "standard")):
            data = orjson.loads(record.value or b"")["data"]
            name = (data["message_id"], data["attempt"], data["dispatch"])
            if data["message_id"] in ids and name not in answered and record.timestamp_ms <= data["valid_until_ms"]:
                answered.add(name)
                fresh.append(make.temporary(*name) if data["attempt"] == 1 else make.delivered(*name))
        await world.give(*fresh)
        return len(answered) >= 2 * len(ids)

    async with router_on(world.bootstrap_servers, state_dir) as router:
        feeding = asyncio.create_task(world.give(*(make.submit(one) for one in ids)))

        async def under_way() -> bool:
            await answer()
            return len(answered) >= 100

        await eventually(under_way, every=0.05)
        assert len(answered) < 2 * len(ids), "killed while mail is in flight"
        await asyncio.to_thread(router.kill)
        await feeding
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await eventually(answer, within=60)

        async def all_delivered() -> bool:
            ended = {
                record.key for record in await world.all_of(EVENTS) if b'"message.delivered"' in (record.value or b"")
            }
            return ended.issuperset(ids)

        await eventually(all_delivered, within=30)
        await router.stop()
    events = by_message(record.value or b"" for record in await world.all_of(EVENTS))
    for one in ids:
        distinct = {event["id"]: event for event in events[one]}
        assert all(distinct[event["id"]] == event for event in events[one]), "one id, two contents"
        story = sorted(distinct.values(), key=lambda event: event["sequence"])
        assert [event["sequence"] for event in story] == [1, 2, 3, 4]
        assert [event["data"]["status"] for event in story] == ["queued", "accepted", "deferred", "delivered"]
