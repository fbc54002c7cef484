"""Concurrent work on a real broker: bounded, committed in order, not repeated, never lost (D25 to D28, D33)."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest
from aiokafka import TopicPartition

from chassis import offset_tracker
from chassis.failures import Retry
from chassis.log import Incoming, Log, Outgoing
from chassis.offset_tracker import Work
from tests.kit import groups
from tests.kit.broker import Broker
from tests.kit.counting_owner import number_record
from tests.kit.replica import Replica
from tests.kit.topics import everything_in, new_topic
from tests.kit.tracked_worker import Worker, Working, number_of
from tests.kit.waiting import eventually, until


@pytest.fixture
async def setup(broker: Broker) -> Working:
    servers = broker.bootstrap_servers
    return Working(
        bootstrap_servers=servers,
        group=f"workers-{secrets.token_hex(4)}",
        topics=[await new_topic(servers, partitions=4)],
        outputs=await new_topic(servers),
        worker_id="one",
    )


async def send(log: Log, setup: Working, numbers: Sequence[int], topic: int = 0) -> None:
    await log.append([number_record(setup.topics[topic], f"k{n}", n, n % 4) for n in numbers], within=5)


async def outputs(setup: Working) -> list[int]:
    lines = await everything_in(setup.bootstrap_servers, setup.outputs)
    return [orjson.loads(line.value or b"")["number"] for line in lines]


async def uncommitted(setup: Working) -> int:
    return await groups.uncommitted(setup.bootstrap_servers, setup.group, setup.topics)


async def all_committed(setup: Working, within: float = 20) -> None:
    async def done() -> bool:
        return await uncommitted(setup) == 0

    await eventually(done, within=within)


async def test_each_record_is_done_once_and_everything_is_committed(setup: Working, log: Log) -> None:
    async with Worker(setup) as worker:
        await send(log, setup, range(400))
        await all_committed(setup)
        assert sorted(worker.numbers()) == list(range(400))
        assert worker.consumer.ready() == []
    assert sorted(await outputs(setup)) == list(range(400))


async def test_no_more_than_the_limit_is_in_flight_and_a_full_topic_leaves_the_other_its_room(
    setup: Working, log: Log
) -> None:
    setup = replace(
        setup, max_in_flight=20, topics=[*setup.topics, await new_topic(setup.bootstrap_servers, partitions=4)]
    )
    worker = Worker(setup, slow=lambda work: work.record.topic == setup.topics[0])
    async with worker:
        await send(log, setup, range(300))
        await until(lambda: worker.in_flight == 20)
        await send(log, setup, range(300, 400), topic=1)
        await until(lambda: set(range(300, 400)) <= set(worker.numbers()))
        await until(lambda: worker.in_flight == 20)  # the first topic's, still
        worker.held.set()
        await all_committed(setup)
    assert worker.most_in_flight <= 40
    assert sorted(worker.numbers()) == list(range(400))


async def test_one_slow_record_holds_the_commit_but_is_all_that_a_heir_repeats(
    setup: Working, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offset_tracker, "DRAIN_WITHIN", 0.5)
    await send(log, setup, range(200))
    async with Worker(setup, slow=lambda work: number_of(work) == 40) as worker:
        await until(lambda: len(worker.begun) == 200)
        await until(lambda: worker.in_flight == 1)
    offsets = await groups.committed(
        setup.bootstrap_servers, setup.group, [TopicPartition(setup.topics[0], partition) for partition in range(4)]
    )
    assert sorted(stored.offset for stored in offsets.values()) == [
        10,
        50,
        50,
        50,
    ]  # number 40 is offset 10 of its partition
    async with Worker(replace(setup, worker_id="heir")) as heir:
        await all_committed(setup)
        assert heir.numbers() == [40]


async def test_restore_comes_first_and_is_told_the_first_open_record(setup: Working, log: Log) -> None:
    told: dict[int, Incoming | None] = {}
    worker = Worker(setup)

    async def restore(topic: str, partition: int, first: Incoming | None) -> None:
        if partition not in told:
            told[partition] = first
            raise Retry(0.2, "the journal is away")
        assert not [work for work in worker.begun if work.record.partition == partition]

    worker.consumer._restore = restore
    await log.append([Outgoing(setup.topics[0], "k", b"junk", 1)], within=5)  # poison can not say anything
    await send(log, setup, [0, 4, 1])
    dlq = await groups.dead_letter_topic(setup.bootstrap_servers, setup.group, setup.inputs[0])
    async with worker:
        await all_committed(setup)
        assert {partition: first and first.offset for partition, first in told.items()} == {
            0: 0,
            1: 1,
            2: None,
            3: None,
        }
    assert sorted(worker.numbers()) == [0, 1, 4]
    assert len(await everything_in(setup.bootstrap_servers, dlq)) == 1


async def test_d26_d27_poison_is_dead_lettered_and_until_it_is_no_commit_passes_it(setup: Working, log: Log) -> None:
    bad = [b"\xff\xfe\x00", orjson.dumps({"type": "nobody.knows"}), None, secrets.token_bytes(1_000_000)]
    async with Worker(setup) as worker:
        await log.append([Outgoing(setup.topics[0], "bad", value, 0) for value in bad], within=5)  # no DLQ topic yet
        good = number_record(setup.topics[0], "k", 0, 0)
        await log.append([replace(good, headers=(("ce_type", b"\xff"), ("none", b"")))], within=5)
        await send(log, setup, range(1, 100))

        async def only_that_partition_waits() -> bool:
            return await uncommitted(setup) == len(bad) + 1 + 24  # numbers 4, 8, … lie behind it

        await until(lambda: sorted(worker.numbers()) == list(range(100)))
        await eventually(only_that_partition_waits)
        dlq = await groups.dead_letter_topic(setup.bootstrap_servers, setup.group, setup.inputs[0])
        await all_committed(setup)
        dead = await everything_in(setup.bootstrap_servers, dlq)
        assert not worker.crash._reported.done()
    assert [letter.value for letter in dead] == bad


async def test_d28_a_rebalance_moves_what_must_move_and_disturbs_no_other_work(setup: Working, log: Log) -> None:
    setup = replace(setup, seconds=0.5)
    async with Worker(setup) as one:
        await until(lambda: one.consumer.ready() == [])
        await send(log, setup, range(80))
        await until(lambda: len(one.begun) == 80)
        async with Worker(replace(setup, worker_id="two")) as two:
            await until(lambda: len(one.gone) == 2)
            await until(lambda: two.consumer.ready() == [] == one.consumer.ready())
            await send(log, setup, range(80, 160))
            await all_committed(setup)
            gone = {partition for _, partition in one.gone}
            kept = {0, 1, 2, 3} - gone
            assert {work.record.partition for work in two.begun} <= gone
            assert one.consumer.holds(setup.topics[0], min(kept))
            assert not one.consumer.holds(setup.topics[0], min(gone))
            assert two.consumer.holds(setup.topics[0], min(gone))
        times = Counter(number for worker in (one, two) for number in worker.numbers())
        # what stayed was begun once; what moved while it was in flight may have been begun by both
        assert {number for number, count in times.items() if count > 1} <= {n for n in range(80) if n % 4 in gone}
    assert set(await outputs(setup)) == set(range(160))


async def test_d25_kill_9_in_the_middle_loses_nothing(setup: Working, log: Log) -> None:
    await send(log, setup, range(400))
    victim = Replica(replace(setup, worker_id="victim", seconds=0.3, max_in_flight=40))
    try:

        async def in_the_middle() -> bool:
            return 50 < len(await outputs(setup)) < 350

        await eventually(in_the_middle, every=0.05)
    finally:
        await asyncio.to_thread(victim.kill)
    async with Worker(replace(setup, worker_id="heir")) as heir:
        await all_committed(setup, within=30)
        lines = await outputs(setup)
        assert set(lines) == set(range(400))
        repeated = len(lines) - 400
        assert repeated <= 80  # what was in flight, and what was done within the last commit's 200 ms
        assert len(heir.begun) < 400


async def test_d33_work_longer_than_the_session_causes_no_rebalance(setup: Working, log: Log) -> None:
    setup = replace(setup, max_in_flight=4, session_seconds=3)
    async with Worker(setup, slow=lambda work: number_of(work) < 4) as worker:
        await send(log, setup, range(40))
        await until(lambda: worker.in_flight == 4)
        await asyncio.sleep(4)
        assert worker.consumer.holds(setup.topics[0], 0)
        assert worker.gone == []
        worker.held.set()
        await all_committed(setup)
        assert sorted(worker.numbers()) == list(range(40))


async def test_stop_waits_for_work_in_flight_and_takes_nothing_new(setup: Working, log: Log) -> None:
    setup = replace(setup, seconds=0.5, max_in_flight=20)
    async with Worker(setup) as worker:
        await send(log, setup, range(200))
        await until(lambda: worker.in_flight == 20)
        await worker.consumer.stop()
        begun: list[Work] = list(worker.begun)
        assert worker.in_flight == 0
        await asyncio.sleep(0.5)
        assert worker.begun == begun
    assert await uncommitted(setup) == 200 - len(begun)
