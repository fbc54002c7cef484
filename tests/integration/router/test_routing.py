"""Routes, pauses and flushes on real Kafka: that a table's change is felt by mail that waits, within 2 s (R20, R21)."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from chassis.clock import SystemClock
from chassis.log import tombstone
from schemas.envelope import Payload, to_timestamp
from schemas.routing import QueueFlush, QueuePause
from schemas.topics import TOPICS, deliveries
from tests.integration.router.stage import World, new_message_id, router_on, world_on
from tests.kit import router_inputs as make
from tests.kit import router_tables as table
from tests.kit.broker import Broker
from tests.kit.waiting import eventually

_CLOCK = SystemClock()
_FELT = 2.0  # seconds: the promise


@pytest.fixture
async def world(own_broker: Broker) -> AsyncIterator[World]:
    async with world_on(own_broker.bootstrap_servers) as found:
        yield found
        left = (("routes", "rte_1"), ("path-health", "a"), ("path-health", "main:1"))
        await found.log.append([tombstone(TOPICS[entry], key) for entry, key in left], within=10)  # the broker goes on


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def put(world: World, entry: str, key: str, payload: Payload) -> None:
    await world.log.append([world._record(TOPICS[entry], payload, key, 0)], within=10)


async def control(world: World, entry: QueuePause | QueueFlush) -> None:
    await put(world, "queue-controls", table.key_of(entry), entry)


async def resume(world: World, pause: QueuePause) -> None:
    await world.log.append([tombstone(TOPICS["queue-controls"], table.key_of(pause))], within=10)


async def paths_of(world: World, ids: list[str]) -> list[str]:
    """Where their last hand-outs went, once each has one."""
    found: dict[str, str] = {}
    for record in await world.all_of(deliveries("main", "standard")):
        found[record.key] = orjson.loads(record.value or b"")["data"]["path"]
    return [found[one] for one in ids if one in found]


async def handed_out(world: World, ids: list[str], within: float = 20) -> list[str]:
    async def so() -> bool:
        return len(await paths_of(world, ids)) == len(ids)

    await eventually(so, within=within)
    return await paths_of(world, ids)


async def test_a_pause_stops_and_its_end_lets_go(world: World, state_dir: Path) -> None:  # R21
    before, *paused = [new_message_id(partition=1) for _ in range(4)]
    pause = table.pause("destination", "example.org")
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give(make.submit(before))
        await handed_out(world, [before])
        await control(world, pause)
        await _CLOCK.sleep(_FELT)  # the promise is a time
        await world.give(*(make.submit(one) for one in paused))
        for one in paused:
            await world.become(one, "queued", "accepted")
        assert await paths_of(world, paused) == []
        await resume(world, pause)
        await handed_out(world, paused)
        order = [record.key for record in await world.all_of(deliveries("main", "standard"))]
        assert order == [before, *paused]
        await router.stop()


async def test_a_flush_sends_what_was_deferred(world: World, state_dir: Path) -> None:  # R21
    one = new_message_id(partition=2)
    async with router_on(world.bootstrap_servers, state_dir, ROUTER_RETRY_SCHEDULE="1h") as router:
        await world.give(make.submit(one))
        await world.handed_out(one, 1)
        await world.give(make.temporary(one))
        await world.become(one, "queued", "accepted", "deferred")
        flush = table.flush("destination", "example.org", _CLOCK.now_ms() + 1_000)
        assert flush.flushed_at > to_timestamp(_CLOCK.now_ms())
        await control(world, flush)
        (_, again) = await world.handed_out(one, 2)
        assert again["attempt"] == 2
        await router.stop()


async def test_a_changed_route_is_felt_by_mail_that_waits(world: World, state_dir: Path) -> None:  # R20
    first, *waiting = [new_message_id(partition=3) for _ in range(3)]
    for name in ("ups_1", "ups_2"):
        await put(world, "upstreams", name, table.upstream(name))
    await put(world, "routes", "rte_1", table.route(paths=["ups_1"]))
    async with router_on(world.bootstrap_servers, state_dir, ROUTER_ADMISSION_WINDOW="1") as router:
        await world.give(*(make.submit(one) for one in (first, *waiting)))
        assert await handed_out(world, [first]) == ["ups_1"]
        await put(world, "routes", "rte_1", table.route(paths=["ups_2"], version=2))
        await _CLOCK.sleep(_FELT)
        await world.give(make.delivered(first))
        assert await handed_out(world, waiting[:1]) == ["ups_2"]
        await world.give(make.delivered(waiting[0]))
        assert await handed_out(world, waiting) == ["ups_2", "ups_2"]
        await router.stop()


async def test_a_path_that_fares_badly_loses_its_mail_and_gets_it_back(world: World, state_dir: Path) -> None:  # R20
    for name in ("ups_1", "ups_2"):
        await put(world, "upstreams", name, table.upstream(name))
    await put(world, "routes", "rte_1", table.route(paths=["ups_1"], fallback=["ups_2"]))
    async with router_on(world.bootstrap_servers, state_dir) as router:

        async def of_forty() -> int:
            ids = [new_message_id(partition=n % 12) for n in range(40)]
            await world.give(*(make.submit(one) for one in ids))
            return (await handed_out(world, ids)).count("ups_1")

        assert await of_forty() == 40
        await put(world, "path-health", "a", table.health("ups_1", "ups_1", deferred=30, failed=30))
        await _CLOCK.sleep(_FELT)
        assert await of_forty() < 15  # a trickle: 2 of 40
        await put(world, "path-health", "a", table.health("ups_1", "ups_1", delivered=10))
        await _CLOCK.sleep(_FELT)
        assert await of_forty() == 40
        await router.stop()


async def test_without_a_live_sender_mail_waits_for_one(world: World, state_dir: Path) -> None:  # R20
    one = new_message_id(partition=4)
    await put(world, "path-health", "main:1", table.alive("mx:main"))
    async with router_on(world.bootstrap_servers, state_dir) as router:
        await world.give(make.submit(one))
        await world.become(one, "queued", "accepted")
        assert (await world.events(one))[-1]["data"]["reason"] == "path_paused"
        assert await paths_of(world, [one]) == []
        beats = iter(range(1, 1_000))

        async def gone_out() -> bool:
            beat = table.alive("mx:main", "upstream", at_ms=make.START_MS + next(beats))
            await put(world, "path-health", "main:1", beat)  # a sender tells again and again that it lives
            return await paths_of(world, [one]) == ["upstream"]

        await eventually(gone_out, within=30)
        await router.stop()
