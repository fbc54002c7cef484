"""The tail on a real broker: nothing twice, nothing skipped, whatever comes and goes."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from chassis.log import Incoming, Log, LogUnavailable, Outgoing
from chassis.service import Crash
from chassis.tail import FromTime, OffsetPastEnd, Start, Tail
from tests.integration.chassis.test_log import frozen, running_log
from tests.kit.broker import Broker
from tests.kit.topics import admin, kafka_settings, new_topic
from tests.kit.waiting import until


@asynccontextmanager
async def running_tail(broker: Broker, crash: Crash | None = None) -> AsyncIterator[Tail]:
    tail = Tail(kafka_settings(broker.bootstrap_servers), client_id="test-tail", crash=crash)
    await tail.start()
    try:
        yield tail
    finally:
        await tail.stop()


def numbered(topic: str, count: int, partition: int = 0) -> list[Outgoing]:
    return [Outgoing(topic, f"k{n}", b"v", partition) for n in range(count)]


async def test_applies_what_is_there_and_what_comes(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    applied: list[Incoming] = []
    async with running_log(broker) as log, running_tail(broker) as tail:
        await log.append(numbered(topic, 1200), within=5)
        await tail.follow(topic, 0, applied.append)
        await tail.caught_up(topic, 0, within=10)
        assert [record.offset for record in applied] == list(range(1200))
        assert tail.position(topic, 0) == 1200
        (ack,) = await log.append([Outgoing(topic, "new", None, 0)], within=5)
        await tail.applied(topic, 0, ack.offset, within=5)
        assert (applied[-1].key, applied[-1].value, applied[-1].offset) == ("new", None, 1200)
        await tail.applied(topic, 0, ack.offset, within=0)  # known already: no wait
        assert tail.seconds_since_poll() < 1


async def test_read_back_of_many_at_once(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    applied: list[Incoming] = []
    async with running_log(broker) as log, running_tail(broker) as tail:
        await tail.follow(topic, 0, applied.append)

        async def write_and_read_back(n: int) -> None:
            (ack,) = await log.append([Outgoing(topic, f"{n}", b"", 0)], within=10)
            await tail.applied(topic, 0, ack.offset, within=10)
            assert applied[ack.offset].key == f"{n}"

        await asyncio.gather(*(write_and_read_back(n) for n in range(500)))


async def starts(tail: Tail, topic: str, start: Start) -> list[int]:
    applied: list[Incoming] = []
    await tail.follow(topic, 0, applied.append, start)
    await tail.caught_up(topic, 0, within=10)
    await tail.unfollow(topic, 0)
    return [record.offset for record in applied]


async def test_starts(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    async with running_log(broker) as log, running_tail(broker) as tail:
        assert await starts(tail, topic, "earliest") == []
        await log.append(numbered(topic, 10), within=5)
        await asyncio.sleep(0.005)  # the eleventh gets a later millisecond
        (ack,) = await log.append(numbered(topic, 1), within=5)
        assert await starts(tail, topic, "earliest") == list(range(11))
        assert await starts(tail, topic, "latest") == []
        assert await starts(tail, topic, 4) == list(range(4, 11))
        assert await starts(tail, topic, 11) == []
        assert await starts(tail, topic, FromTime(ack.timestamp_ms)) == [10]
        assert await starts(tail, topic, FromTime(ack.timestamp_ms + 1)) == []
        with pytest.raises(OffsetPastEnd):
            await starts(tail, topic, 12)
        with pytest.raises(KeyError):
            tail.position(topic, 0)


async def test_retention_moves_the_start(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    applied: list[Incoming] = []
    async with running_log(broker) as log, running_tail(broker) as tail:
        await log.append(numbered(topic, 10), within=5)
        async with admin(broker.bootstrap_servers) as client:
            await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=6)})
        assert await starts(tail, topic, "earliest") == [6, 7, 8, 9]
        assert await starts(tail, topic, 2) == [6, 7, 8, 9]
        await tail.follow(topic, 0, applied.append)
        await tail.caught_up(topic, 0, within=5)
        tail._followed[topic, 0].next_offset = 3  # as if retention had overtaken it while it ran
        tail._assign()
        await log.append(numbered(topic, 1), within=5)
        await tail.caught_up(topic, 0, within=5)
        assert [record.offset for record in applied] == [6, 7, 8, 9, 6, 7, 8, 9, 10]


async def test_a_log_that_lost_records_stops_it(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    crash = Crash()
    async with running_log(broker) as log, running_tail(broker, crash) as tail:
        await log.append(numbered(topic, 3), within=5)
        await tail.follow(topic, 0, lambda _: None)
        await tail.caught_up(topic, 0, within=5)
        tail._followed[topic, 0].next_offset = 100
        tail._assign()
        assert isinstance(await asyncio.wait_for(crash.reported(), 5), OffsetPastEnd)


async def test_caught_up_steps_over_control_markers(broker: Broker) -> None:
    """The end of a partition need not be a record: compaction and transactions leave gaps."""
    topic = await new_topic(broker.bootstrap_servers)
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id=f"t-{topic}")
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"v", b"k", partition=0)
    await producer.stop()
    applied: list[Incoming] = []
    async with running_tail(broker) as tail:
        await tail.follow(topic, 0, applied.append)
        await tail.caught_up(topic, 0, within=5)
        assert len(applied) == 1
        assert tail.position(topic, 0) == 2


async def test_partitions_come_and_go_under_load(broker: Broker) -> None:
    """Each offset exactly once and in order, over assignments that change every few milliseconds."""
    partitions = 6
    topic = await new_topic(broker.bootstrap_servers, partitions=partitions)
    applied: dict[int, list[int]] = {partition: [] for partition in range(partitions)}
    chance = random.Random(7)
    async with running_log(broker) as log, running_tail(broker) as tail:
        ending = asyncio.Event()

        async def load() -> None:
            while not ending.is_set():
                await log.append([r for p in range(partitions) for r in numbered(topic, 20, p)], within=10)

        async def churn(partition: int) -> None:
            def apply(record: Incoming) -> None:
                assert following[partition]
                applied[partition].append(record.offset)

            while not ending.is_set():
                following[partition] = True
                await tail.follow(topic, partition, apply, len(applied[partition]))
                await asyncio.sleep(chance.choice([0, 0.001, 0.01, 0.1, 0.3]))
                await tail.unfollow(topic, partition)
                following[partition] = False
                await asyncio.sleep(chance.choice([0, 0, 0.002, 0.05]))
            following[partition] = True
            await tail.follow(topic, partition, apply, len(applied[partition]))

        following = dict.fromkeys(range(partitions), False)
        tasks = [asyncio.create_task(load()), *(asyncio.create_task(churn(p)) for p in range(1, partitions))]
        following[0] = True
        await tail.follow(topic, 0, lambda record: applied[0].append(record.offset))  # this one stays
        await asyncio.sleep(5)
        ending.set()
        await asyncio.gather(*tasks)
        for partition in range(partitions):
            await tail.caught_up(topic, partition, within=20)
            assert applied[partition] == list(range(tail.position(topic, partition)))
            assert len(applied[partition]) > 500


async def test_partitions_that_come_one_by_one_do_not_wait_for_one_another(broker: Broker) -> None:  # R22
    """The broker answers each fetch in its time, also one that a new assignment made useless: 24 would be 6 seconds."""
    topic = await new_topic(broker.bootstrap_servers, partitions=24)
    async with running_log(broker) as log, running_tail(broker) as tail:
        for partition in range(24):
            await tail.follow(topic, partition, lambda _: None)
            await asyncio.sleep(0.02)  # longer than what comes together is waited for
        began = time.monotonic()
        (ack,) = await log.append(numbered(topic, 1, 23), within=5)
        await tail.applied(topic, 23, ack.offset, within=20)
        assert time.monotonic() - began < 3


async def test_a_partition_that_comes_back_at_once_misses_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the consumer still reads under the former assignment is not for who follows next."""
    monkeypatch.setattr("chassis.tail._GATHER", 0.5)
    topic = await new_topic(broker.bootstrap_servers)
    applied: list[int] = []
    async with running_log(broker) as log, running_tail(broker) as tail:
        await tail.follow(topic, 0, lambda record: applied.append(record.offset))
        await log.append(numbered(topic, 5), within=5)
        await tail.caught_up(topic, 0, within=5)
        await tail.unfollow(topic, 0)
        await log.append(numbered(topic, 5), within=5)
        await asyncio.sleep(0.15)  # read, and nobody's
        await tail.follow(topic, 0, lambda record: applied.append(record.offset), len(applied))
        await log.append(numbered(topic, 5), within=5)
        await tail.caught_up(topic, 0, within=5)
        assert applied == list(range(15))


async def test_an_exception_from_apply_surfaces(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    crash = Crash()

    def apply(record: Incoming) -> None:
        if record.offset == 2:
            raise ZeroDivisionError

    async with running_log(broker) as log, running_tail(broker, crash) as tail:
        await tail.follow(topic, 0, apply)
        await log.append(numbered(topic, 5), within=5)
        with pytest.raises(LogUnavailable):
            await tail.applied(topic, 0, 4, within=5)
        assert isinstance(await asyncio.wait_for(crash.reported(), 5), ZeroDivisionError)
        assert tail.position(topic, 0) == 2
        assert tail.seconds_since_poll() == float("inf")
        with pytest.raises(LogUnavailable):
            await tail.applied(topic, 0, 4, within=5)


async def test_whoever_waits_is_told_when_a_partition_goes(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers)
    async with running_tail(broker) as tail:
        await tail.follow(topic, 0, lambda _: None)
        with pytest.raises(LogUnavailable):
            await tail.applied(topic, 0, 0, within=0.1)
        waiting = asyncio.create_task(tail.applied(topic, 0, 0, within=60))
        await asyncio.sleep(0.05)
        await tail.unfollow(topic, 0)
        with pytest.raises(LogUnavailable):
            await waiting
        with pytest.raises(LogUnavailable):
            await tail.applied(topic, 0, 0, within=60)


async def test_frozen_killed_and_restarted_broker(own_broker: Broker) -> None:
    """It never gives up, it says how stale it is, and goes on where it was."""
    topic = await new_topic(own_broker.bootstrap_servers)
    applied: list[int] = []
    async with running_log(own_broker) as log, running_tail(own_broker) as tail:
        await tail.follow(topic, 0, lambda record: applied.append(record.offset))
        await log.append(numbered(topic, 5), within=5)
        await tail.caught_up(topic, 0, within=5)
        async with frozen(own_broker):
            await asyncio.sleep(1.2)
            assert tail.seconds_since_poll() > 1
            begun = time.monotonic()
            with pytest.raises(LogUnavailable):
                await tail.caught_up(topic, 0, within=0.2)
            assert time.monotonic() - begun < 0.4
        await refreshed(tail)
        await asyncio.to_thread(own_broker.kill)
        await asyncio.sleep(1.5)
        assert tail.seconds_since_poll() > 1
        await asyncio.to_thread(own_broker.restart)
        await written(log, topic)
        await refreshed(tail)
        await tail.caught_up(topic, 0, within=5)
        assert applied == list(range(6))


async def test_follow_waits_for_the_brokers(own_broker: Broker) -> None:
    topic = await new_topic(own_broker.bootstrap_servers)
    await asyncio.to_thread(own_broker.kill)
    async with running_tail(own_broker) as tail:
        following = asyncio.create_task(tail.follow(topic, 0, lambda _: None))
        await asyncio.sleep(0.5)
        assert not following.done()
        await asyncio.to_thread(own_broker.restart)
        await asyncio.wait_for(following, 10)
        await tail.caught_up(topic, 0, within=10)


async def refreshed(tail: Tail) -> None:
    await until(lambda: tail.seconds_since_poll() < 0.8)


async def written(log: Log, topic: str) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                await log.append(numbered(topic, 1), within=10)
            except LogUnavailable:
                continue
            return
