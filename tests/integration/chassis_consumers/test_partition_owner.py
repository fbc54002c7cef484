"""Stateful ownership on a real broker: rebalance with state, kill -9, frozen owner, void records (D25, D28 to D30, D36)."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from chassis.failures import Poison, Retry
from chassis.log import Incoming, Log, Outgoing
from chassis.partition_owner import Received, Step, Tenure
from schemas.states import FENCE_KEY, POSITION_KEY
from tests.kit import groups
from tests.kit.broker import Broker
from tests.kit.counting_owner import Counting, CountingPartition, live_states, number_record, service
from tests.kit.replica import Replica, replicas
from tests.kit.topics import admin, everything_in, new_topic
from tests.kit.waiting import eventually, until

KEYS = [f"key-{number}" for number in range(20)]


@pytest.fixture
async def setup(broker: Broker) -> Counting:
    servers, name = broker.bootstrap_servers, secrets.token_hex(4)
    return Counting(
        bootstrap_servers=servers,
        group=f"owners-{name}",
        inputs=await new_topic(servers, partitions=4),
        changelog=await new_topic(servers, partitions=4, cleanup_policy="compact"),
        outputs=await new_topic(servers, partitions=4),
        owner_id="one",
    )


def partition_of(key: str) -> int:
    return int(key.rpartition("-")[2]) % 4


async def send(log: Log, setup: Counting, numbers: Sequence[int], keys: Sequence[str] = KEYS) -> None:
    records = [number_record(setup.inputs, key, number, partition_of(key)) for number in numbers for key in keys]
    await log.append(records, within=5)


async def states(setup: Counting) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for partition in range(4):
        found |= live_states(await everything_in(setup.bootstrap_servers, setup.changelog, partition))
    return found


async def all_of(setup: Counting, topic: str) -> list[Incoming]:
    return [
        record for partition in range(4) for record in await everything_in(setup.bootstrap_servers, topic, partition)
    ]


async def finished(setup: Counting, expected: list[int], within: float = 30) -> None:
    """Wait until each key has exactly these numbers, and the group has committed everything."""

    async def all_there() -> bool:
        return await states(setup) == dict.fromkeys(KEYS, expected) and not await uncommitted(setup)

    await eventually(all_there, within=within)


async def uncommitted(setup: Counting) -> int:
    return await groups.uncommitted(setup.bootstrap_servers, setup.group, [setup.inputs])


def said(records: Sequence[Incoming]) -> dict[tuple[str, int], set[int]]:
    """What was emitted for each (key, number): where in the key's history it said it stood."""
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    for record in records:
        value = orjson.loads(record.value or b"")
        found[value["key"], value["number"]].add(value["place"])
    return found


async def test_state_then_outputs_then_commit_for_each_input_once(setup: Counting, log: Log) -> None:
    async with service(setup) as one:
        await send(log, setup, range(25))
        await finished(setup, list(range(25)))
        assert one.owner.ready() == []
        assert len(one.owner.owned()) == 4
        outputs = await all_of(setup, setup.outputs)
    assert len(outputs) == 25 * len(KEYS)
    assert said(outputs) == {(key, number): {number} for key in KEYS for number in range(25)}


async def test_d36_a_new_group_starts_at_the_beginning_and_a_lost_one_at_the_position(
    setup: Counting, log: Log
) -> None:
    await send(log, setup, range(3))  # before anybody reads
    async with service(setup) as one:
        await finished(setup, [0, 1, 2])
        # the position follows the commits
        await until(lambda: all(view.position == 3 * len(KEYS) // 4 for view in one.views))
    lost = replace(setup, group=setup.group + "-lost")
    async with service(lost) as heir:
        await until(lambda: heir.owner.ready() == [])
        await send(log, setup, [3])
        await finished(lost, [0, 1, 2, 3])
        outputs = await all_of(setup, setup.outputs)
    assert len(outputs) == 4 * len(KEYS)  # nothing was read again


async def test_d28_rebalances_and_kill_9_under_load_lose_nothing_and_repeat_no_content(
    setup: Counting, log: Log
) -> None:
    """Two replicas; three times one that owns partitions is killed (-9) and another joins, while inputs keep coming."""
    sent = 0
    async with replicas(setup, "one", "two") as running:

        async def load() -> None:
            nonlocal sent
            while True:
                await send(log, setup, [sent])
                sent += 1
                await asyncio.sleep(0.02)

        loading = asyncio.create_task(load())
        victims = ["one", "two", "heir-0"]
        for round_number, victim in enumerate(victims):
            await eventually(partial(has_fenced, setup, victim), within=30)
            made_before = sent
            await asyncio.sleep(0.5)
            await asyncio.to_thread(running[victim].kill)
            running[f"heir-{round_number}"] = Replica(replace(setup, owner_id=f"heir-{round_number}"))
            assert sent > made_before  # there was load, or this proves nothing
        await eventually(partial(has_fenced, setup, "heir-2"), within=30)
        loading.cancel()
        await asyncio.wait([loading])
        # the last append may have landed although it was cancelled
        inputs = await all_of(setup, setup.inputs)
        per_key: dict[str, list[int]] = defaultdict(list)
        for record in inputs:
            per_key[record.key].append(int(orjson.loads(record.value or b"")["data"]["suppression_id"]))

        async def all_there() -> bool:
            return await states(setup) == per_key and not await uncommitted(setup)

        await eventually(all_there, within=30)
        outputs = await all_of(setup, setup.outputs)
    assert all(numbers == sorted(set(numbers)) for numbers in per_key.values())
    places = said(outputs)
    assert set(places) == {(key, number) for key, numbers in per_key.items() for number in numbers}
    assert all(len(found) == 1 for found in places.values())  # one input never had two contents


async def has_fenced(setup: Counting, owner_id: str) -> bool:
    fences = (record for record in await all_of(setup, setup.changelog) if record.key == FENCE_KEY)
    return any(orjson.loads(fence.value or b"")["data"]["owner"] == owner_id for fence in fences)


async def test_d29_a_frozen_owner_wakes_up_and_produces_nothing(setup: Counting, log: Log) -> None:
    async with replicas(setup, "frozen") as running:
        await send(log, setup, range(5))
        await finished(setup, list(range(5)))
        await asyncio.sleep(1.5)  # its last position record is written: no append is on its way when it freezes
        running["frozen"].freeze()
        loading = asyncio.create_task(send_slowly(log, setup, range(5, 105)))  # some of it answers its last fetch
        running["heir"] = Replica(replace(setup, owner_id="heir"))
        await finished(setup, list(range(105)), within=40)
        await loading
        before = {topic: len(await all_of(setup, topic)) for topic in (setup.outputs, setup.changelog)}
        await send(log, setup, [105])  # it finds work when it wakes
        running["frozen"].thaw()
        await finished(setup, list(range(106)))
        await asyncio.sleep(1)
        outputs = await all_of(setup, setup.outputs)
        # it is a member again, and may own partitions by a new fence; of its old tenancy nothing must have come
        late = [
            record
            for partition in range(4)
            for record in by_old_epochs(await everything_in(setup.bootstrap_servers, setup.changelog, partition))
        ]
    assert before[setup.outputs] >= 105 * len(KEYS)
    assert late == []
    assert all(len(found) == 1 for found in said(outputs).values())


async def send_slowly(log: Log, setup: Counting, numbers: Sequence[int]) -> None:
    for number in numbers:
        await send(log, setup, [number])
        await asyncio.sleep(0.02)


def by_old_epochs(changelog: Sequence[Incoming]) -> list[Incoming]:
    """State records behind a fence that is not their own."""
    fence, late = -1, []
    for record in changelog:
        if record.key == FENCE_KEY:
            fence = record.offset
        elif orjson.loads(record.value or b"")["data"]["epoch"] != fence:
            late.append(record)
    return late


async def test_d29_a_late_state_record_is_void_and_the_live_value_is_put_again(setup: Counting, log: Log) -> None:
    key, partition = "key-1", 1
    async with service(setup) as old:
        await send(log, setup, range(2), [key])
        await until(lambda: any(view.states.get(key, {}).get("numbers") == [0, 1] for view in old.views))
        stale = old.owner.tenure(setup.inputs, partition)
        assert stale is not None
    async with service(replace(setup, owner_id="heir")) as heir:
        await send(log, setup, [2], [key])
        view = await owned_view(heir.views, partition)
        await until(lambda: view.states.get(key, {}).get("numbers") == [0, 1, 2])
        zombie = CountingPartition(replace(setup, owner_id="zombie"), partition)
        much_later = replace(stale, valid_until_ms=stale.valid_until_ms + 3_600_000)  # only the fence can void it
        lost = zombie._state(key, {"numbers": [666], "offset": 99, "outbox": {}}, much_later)
        stray = zombie._state("key-stray", {"numbers": [666], "offset": 99, "outbox": {}}, much_later)
        await log.append([lost, stray], within=5)

        async def last_value(of: str) -> Incoming:
            records = await everything_in(setup.bootstrap_servers, setup.changelog, partition)
            return [record for record in records if record.key == of][-1]

        async def put_again() -> bool:
            value, stray_value = (await last_value(key)).value, (await last_value("key-stray")).value
            return b"666" not in (value or b"") and stray_value is None

        await eventually(put_again, within=5)
        again = orjson.loads((await last_value(key)).value or b"")["data"]
        assert (again["numbers"], again["owner"]) == ([0, 1, 2], "heir")
        assert view.states[key]["numbers"] == [0, 1, 2]
        assert "key-stray" not in view.states


async def owned_view(views: Sequence[CountingPartition], partition: int) -> CountingPartition:
    await until(lambda: any(view.partition == partition for view in views))
    return next(view for view in reversed(views) if view.partition == partition)


async def test_a_fence_of_somebody_else_is_heard_and_the_partition_taken_over_again(setup: Counting, log: Log) -> None:
    async with service(setup) as one:
        await send(log, setup, range(2))
        await finished(setup, [0, 1])
        fence = Outgoing(setup.changelog, FENCE_KEY, orjson.dumps({"data": {"owner": "ghost"}}), 0)
        (ghost,) = await log.append([fence], within=5)
        await until(lambda: (t := one.owner.tenure(setup.inputs, 0)) is not None and t.epoch > ghost.offset)
        await send(log, setup, [2])
        await finished(setup, [0, 1, 2])


async def test_retry_holds_one_partition_alone_and_ticks_go_on(setup: Counting, log: Log) -> None:
    tries, away = 0, True

    class Reluctant(CountingPartition):
        ticks = 0

        async def tick(self, tenure: Tenure) -> Step:
            self.ticks += 1
            return await super().tick(tenure)

    def make(setup: Counting, partition: int) -> CountingPartition:
        def hold(inputs: Sequence[Received]) -> None:
            nonlocal tries
            if partition == 0 and away:
                tries += 1
                raise Retry(0.3, "not yet")

        return Reluctant(setup, partition, hold=hold)

    async with service(setup, make) as one:
        await until(lambda: one.owner.ready() == [])
        await send(log, setup, [0])
        others = [key for key in KEYS if partition_of(key) != 0]

        def have(keys: Sequence[str]) -> bool:
            return all(any(view.states.get(key) for view in one.views) for key in keys)

        await until(lambda: have(others))
        held = await owned_view(one.views, 0)
        assert isinstance(held, Reluctant)
        tries_before, ticks_before = tries, held.ticks
        await until(lambda: tries > tries_before + 2)
        assert held.ticks > ticks_before + 3
        assert not have(KEYS)
        away = False
        await finished(setup, [0])


async def test_ticks_go_on_while_there_is_always_more_to_do(setup: Counting, log: Log) -> None:
    """Else nothing that waits is called for as long as a flood lasts (R10, R21)."""

    class Slow(CountingPartition):
        batches = ticks = 0

        async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
            await asyncio.sleep(0.2)  # what comes meanwhile is the next batch, so there is never none
            self.batches += 1
            return await super().decide(inputs, tenure)

        async def tick(self, tenure: Tenure) -> Step:
            self.ticks += 1
            return await super().tick(tenure)

    async def flood() -> None:
        for number in range(10_000):
            await send(log, setup, [number], KEYS[:1])

    async with service(setup, Slow) as one:
        await until(lambda: one.owner.ready() == [])
        flooded = await owned_view(one.views, partition_of(KEYS[0]))
        assert isinstance(flooded, Slow)
        flooding = asyncio.create_task(flood())
        await until(lambda: flooded.batches >= 2)
        batches, ticks = flooded.batches, flooded.ticks
        await until(lambda: flooded.batches >= batches + 5)
        flooding.cancel()
        assert flooded.ticks >= ticks + 4


async def test_d35_a_restore_that_fails_stops_the_service_and_holds_nothing_up(setup: Counting, log: Log) -> None:
    class Broken(CountingPartition):
        def apply(self, record: Incoming) -> None:
            raise ZeroDivisionError

    async with service(setup):
        await send(log, setup, [0])
        await finished(setup, [0])
    async with asyncio.timeout(30):
        async with service(setup, Broken) as other:
            assert isinstance(await other.crash.reported(), ZeroDivisionError)
            await asyncio.sleep(0.2)  # the loop is free


BAD = {
    "bad bytes": b"\xff\xfe\x00",
    "unknown type": orjson.dumps({"specversion": "1.0", "type": "nobody.knows"}),
    "null": None,
    "1 MB of junk": secrets.token_bytes(1_000_000),
    "wrong fields": orjson.dumps({"specversion": "1.0", "type": "input.recheck", "data": {}}),
}


async def test_d26_poison_is_dead_lettered_told_to_the_owner_and_the_rest_flows(setup: Counting, log: Log) -> None:
    dlq = await dead_letter_topic(setup)
    async with service(setup) as one:
        bad_header = replace(
            number_record(setup.inputs, "key-0", 1, 0), headers=(("ce_type", b"\xff\xfe"), ("empty", b""))
        )
        await send(log, setup, [0])
        await log.append(
            [Outgoing(setup.inputs, f"key-{i}", value, i % 4) for i, value in enumerate(BAD.values())], within=5
        )
        await log.append([bad_header], within=5)
        await send(log, setup, [1], KEYS[1:])
        await finished(setup, [0, 1])
        dead = await everything_in(setup.bootstrap_servers, dlq)
        outputs = await all_of(setup, setup.outputs)
        assert not one.crash._reported.done()
    assert {record.value for record in dead} == set(BAD.values())
    assert len(dead) == len(BAD)
    for letter in dead:
        headers = dict(letter.headers)
        assert headers["dlq-topic"] == setup.inputs.encode()
        assert headers["dlq-group"] == setup.group.encode()
        assert headers["dlq-error"]
    told = [orjson.loads(record.value or b"") for record in outputs]
    references = {letter["dead_letter"] for letter in told if "poison" in letter}
    assert references == {f"{dlq}/0/{offset}" for offset in range(len(BAD))}


async def dead_letter_topic(setup: Counting) -> str:
    return await groups.dead_letter_topic(setup.bootstrap_servers, setup.group, setup.inputs_topic)


async def test_d27_while_the_dlq_fails_nothing_is_committed_and_the_other_partitions_flow(
    setup: Counting, log: Log
) -> None:
    async with service(setup) as one:
        await log.append([Outgoing(setup.inputs, "key-0", b"junk", 0)], within=5)  # there is no such DLQ topic
        await send(log, setup, range(3))
        per_partition = 3 * len(KEYS) // 4

        async def others_done() -> bool:
            return await uncommitted(setup) == per_partition + 1

        await eventually(others_done)
        assert not [key for key in await states(setup) if partition_of(key) == 0]
        dlq = await dead_letter_topic(setup)
        await finished(setup, [0, 1, 2])
        assert len(await everything_in(setup.bootstrap_servers, dlq)) == 1
        assert not one.crash._reported.done()


async def test_a_verdict_of_poison_buries_that_record_and_decides_the_others(setup: Counting, log: Log) -> None:
    dlq = await dead_letter_topic(setup)

    def refuse(inputs: Sequence[Received]) -> None:
        for received in inputs:
            if received.envelope is not None and b'"13"' in (received.record.value or b""):
                raise Poison(received.record, "unlucky")

    def make(setup: Counting, partition: int) -> CountingPartition:
        return CountingPartition(setup, partition, hold=refuse)

    async with service(setup, make):
        await send(log, setup, range(15))
        await finished(setup, [number for number in range(15) if number != 13])
        dead = await everything_in(setup.bootstrap_servers, dlq)
    assert len(dead) == len(KEYS)
    assert {dict(letter.headers)["dlq-error"] for letter in dead} == {b"unlucky"}


async def test_d35_a_decision_that_fails_stops_the_service_and_commits_nothing(setup: Counting, log: Log) -> None:
    def fail(inputs: Sequence[Received]) -> None:
        raise ZeroDivisionError

    def make(setup: Counting, partition: int) -> CountingPartition:
        return CountingPartition(setup, partition, hold=fail)

    async with service(setup, make) as one:
        await send(log, setup, [0])
        async with asyncio.timeout(10):
            assert isinstance(await one.crash.reported(), ZeroDivisionError)
        assert await uncommitted(setup) == len(KEYS)


async def test_an_offset_that_is_gone_stops_the_service_instead_of_skipping(setup: Counting, log: Log) -> None:
    await send(log, setup, range(3))
    async with service(setup):
        await finished(setup, [0, 1, 2])
    await send(log, setup, range(3, 6))
    async with admin(setup.bootstrap_servers) as client:
        end = 6 * len(KEYS) // 4
        await client.delete_records({TopicPartition(setup.inputs, 0): RecordsToDelete(before_offset=end)})
    heir = service(setup)
    await heir.start()
    async with asyncio.timeout(15):
        error = await heir.crash.reported()
    assert type(error).__name__ == "OffsetOutOfRangeError"
    await heir.stop()


async def test_positions_are_remembered_about_once_a_second(setup: Counting, log: Log) -> None:
    async with service(setup):
        await send_slowly(log, setup, range(50))
        await finished(setup, list(range(50)))
        records = await everything_in(setup.bootstrap_servers, setup.changelog, 0)
        positions = [record for record in records if record.key == POSITION_KEY]
        assert 1 <= len(positions) <= 4
