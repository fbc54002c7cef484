"""The log on a real broker that is killed and frozen (R5; D1, D2)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from chassis.log import Log, LogUnavailable, Outgoing, RecordTooLarge
from tests.kit.broker import Broker
from tests.kit.topics import everything_in, kafka_settings, new_topic


@asynccontextmanager
async def running_log(broker: Broker) -> AsyncIterator[Log]:
    log = Log(kafka_settings(broker.bootstrap_servers), client_id="test-log")
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@asynccontextmanager
async def frozen(broker: Broker) -> AsyncIterator[None]:
    await asyncio.to_thread(broker.freeze)
    try:
        yield
    finally:
        await asyncio.to_thread(broker.thaw)


async def eventually(succeed: Callable[[], Awaitable[object]], within: float = 20) -> None:
    """Try again until the log takes it."""
    deadline = time.monotonic() + within
    while True:
        try:
            await succeed()
        except LogUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        else:
            return


def record(topic: str, key: str, partition: int | None = 0, valid_until_ms: int | None = None) -> Outgoing:
    return Outgoing(topic, key, key.encode(), partition, (("n", key.encode()),), valid_until_ms)


async def test_appends_in_order_with_an_ack_for_each(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers, partitions=3)
    async with running_log(broker) as log:
        acks = await log.append([record(topic, f"k{n}", n % 3) for n in range(300)], within=5)
    assert [(ack.partition, ack.offset) for ack in acks] == [(n % 3, n // 3) for n in range(300)]
    found = await everything_in(broker.bootstrap_servers, topic, 1)
    assert [r.key for r in found] == [f"k{n}" for n in range(1, 300, 3)]
    assert found[0].headers == (("n", b"k1"),)
    assert found[0].timestamp_ms == acks[1].timestamp_ms


async def test_keys_decide_where_no_partition_is_named(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers, partitions=4)
    async with running_log(broker) as log:
        first = await log.append([record(topic, f"k{n}", None) for n in range(50)], within=5)
        again = await log.append([record(topic, f"k{n}", None) for n in range(50)], within=5)
    assert [ack.partition for ack in first] == [ack.partition for ack in again]
    assert len({ack.partition for ack in first}) == 4


@pytest.mark.parametrize("append_time", [True, False])
async def test_append_together_is_one_contiguous_batch_among_many(broker: Broker, append_time: bool) -> None:
    topic = await new_topic(broker.bootstrap_servers, append_time=append_time)
    async with running_log(broker) as log:

        async def request(name: int) -> list[int]:
            together = [record(topic, f"{name}-{n}") for n in range(20)]
            return [ack.offset for ack in await log.append_together(together, within=10)]

        alone = [log.append([record(topic, f"alone-{n}")], within=10) for n in range(100)]
        offsets, _ = await asyncio.gather(asyncio.gather(*(request(n) for n in range(100))), asyncio.gather(*alone))
    found = await everything_in(broker.bootstrap_servers, topic)
    for name, taken in enumerate(offsets):
        assert taken == list(range(taken[0], taken[0] + 20))
        assert [found[offset].key for offset in taken] == [f"{name}-{n}" for n in range(20)]
    assert len(found) == 2100


async def test_append_together_takes_eight_mebibytes_or_nothing(broker: Broker) -> None:
    large = await new_topic(broker.bootstrap_servers, max_message_bytes=str(8 * 1024 * 1024))
    small = await new_topic(broker.bootstrap_servers, max_message_bytes="100000")
    together = [Outgoing(large, "k", bytes(1000 * 1000), 0) for _ in range(8)]
    async with running_log(broker) as log:
        assert [ack.offset for ack in await log.append_together(together, within=10)] == list(range(8))
        with pytest.raises(RecordTooLarge):
            await log.append_together([*together, *together], within=10)
        with pytest.raises(RecordTooLarge):
            await log.append_together([Outgoing(small, "k", bytes(60_000), 0) for _ in range(3)], within=10)
        assert await everything_in(broker.bootstrap_servers, small) == []
        acks = await log.append([record(small, "k")], within=10)
        assert acks[0].offset == 0


async def test_an_ack_past_its_time_is_no_ack(broker: Broker) -> None:
    """A late append is void: the writer judges as its readers do."""
    topic = await new_topic(broker.bootstrap_servers)
    async with running_log(broker) as log:
        await log.append([record(topic, "learns the broker's clock")], within=5)
        now = log.broker_now_ms()
        assert abs(now - time.time() * 1000) < 1000
        await log.append([record(topic, "in time", valid_until_ms=now + 5000)], within=5)
        with pytest.raises(LogUnavailable):
            await log.append([record(topic, "late", valid_until_ms=now - 1)], within=5)
        with pytest.raises(LogUnavailable):
            await log.append_together([record(topic, "late", valid_until_ms=now - 1)], within=5)
        assert log.reachable


async def test_a_topic_without_the_brokers_clock_can_not_prove_validity(broker: Broker) -> None:
    topic = await new_topic(broker.bootstrap_servers, append_time=False)
    async with running_log(broker) as log:
        await log.append([record(topic, "fine")], within=5)
        with pytest.raises(LogUnavailable):
            await log.append([record(topic, "unproven", valid_until_ms=1 << 60)], within=5)


async def test_frozen_broker_d2(own_broker: Broker) -> None:
    """503 within the deadline; what lands after the thaw is void; the log works again at once; others wait in vain."""
    topic = await new_topic(own_broker.bootstrap_servers)
    async with running_log(own_broker) as log:
        await log.append([record(topic, "before")], within=5)
        async with frozen(own_broker):
            until = log.broker_now_ms() + 1000
            begun = time.monotonic()
            attempts = [log.append([record(topic, f"void-{n}", valid_until_ms=until)], within=1) for n in range(5)]
            attempts += [log.append_together([record(topic, "void", valid_until_ms=until)], within=1)]
            results = await asyncio.gather(*attempts, return_exceptions=True)
            assert all(isinstance(result, LogUnavailable) for result in results)
            assert time.monotonic() - begun < 1.3
            assert not log.reachable
            with pytest.raises(LogUnavailable):  # the new producer is not connected yet
                await log.append([record(topic, "unsent", valid_until_ms=until)], within=0.2)
            await asyncio.sleep(2.5)  # past the old producer's last chance: it is dropped by now
        begun = time.monotonic()
        await log.append([record(topic, "after")], within=15)
        assert time.monotonic() - begun < 10, "seconds: some milliseconds on an idle machine"
        assert log.reachable
        found = await everything_in(own_broker.bootstrap_servers, topic)
        assert [r.key for r in found if r.timestamp_ms <= until] == ["before"]
        assert [r.key for r in found if not r.key.startswith("void")] == ["before", "after"]
        await asyncio.sleep(0.5)
        assert len(await everything_in(own_broker.bootstrap_servers, topic)) == len(found)


async def test_what_is_unsent_is_dropped_with_its_producer(own_broker: Broker) -> None:
    """The bytes that stand in our buffers must not reach the broker when it wakes."""
    topic = await new_topic(own_broker.bootstrap_servers, max_message_bytes=str(12 * 1024 * 1024))
    async with running_log(own_broker) as log:
        await log.append([record(topic, "before")], within=5)
        async with frozen(own_broker):
            large = [Outgoing(topic, "large", bytes(11 * 1024 * 1024), 0), record(topic, "queued behind it")]
            with pytest.raises(LogUnavailable):
                await log.append(large, within=0.3)
            await asyncio.sleep(3)
        await log.append([record(topic, "after")], within=5)
        await asyncio.sleep(1)
        found = await everything_in(own_broker.bootstrap_servers, topic)
        assert [r.key for r in found] == ["before", "after"]


async def test_stop_is_bounded_while_the_broker_is_frozen(own_broker: Broker) -> None:
    topic = await new_topic(own_broker.bootstrap_servers)
    log = Log(kafka_settings(own_broker.bootstrap_servers), client_id="test-log")
    await log.start()
    await log.append([record(topic, "before")], within=5)
    async with frozen(own_broker):
        waiting = asyncio.create_task(log.append([record(topic, "waits")], within=60))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await log.stop()
        assert time.monotonic() - begun < 5
        with pytest.raises(LogUnavailable):
            await waiting
    with pytest.raises(LogUnavailable):
        await log.append([record(topic, "stopped")], within=1)


async def test_killed_and_restarted_broker_under_load_d1(own_broker: Broker) -> None:
    """Whatever was acked is there, at its offset; what was not acked may be there, never twice."""
    topic = await new_topic(own_broker.bootstrap_servers)
    acked: dict[str, int] = {}
    refused: set[str] = set()
    async with running_log(own_broker) as log:
        ending = asyncio.Event()

        async def load(writer: int) -> None:
            n = 0
            while not ending.is_set():
                n += 1
                key = f"{writer}-{n}"
                try:
                    acks = await log.append([record(topic, key)], within=1)
                except LogUnavailable:
                    refused.add(key)
                else:
                    acked[key] = acks[0].offset

        writers = [asyncio.create_task(load(writer)) for writer in range(10)]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_broker.kill)
        await asyncio.sleep(1.5)
        assert refused
        await asyncio.to_thread(own_broker.restart)
        await eventually(lambda: log.append([record(topic, "back")], within=1))
        await asyncio.sleep(0.5)
        ending.set()
        await asyncio.gather(*writers)
    found = await everything_in(own_broker.bootstrap_servers, topic)
    assert {key: found[offset].key for key, offset in acked.items()} == {key: key for key in acked}
    keys = [r.key for r in found if r.key != "back"]
    assert len(keys) == len(set(keys))
    assert set(keys) <= acked.keys() | refused


async def test_start_waits_for_the_brokers_and_can_be_cancelled(own_broker: Broker) -> None:
    await asyncio.to_thread(own_broker.kill)
    log = Log(kafka_settings(own_broker.bootstrap_servers), client_id="test-log")
    starting = asyncio.create_task(log.start())
    await asyncio.sleep(0.5)
    assert not starting.done()
    impatient = Log(kafka_settings(own_broker.bootstrap_servers), client_id="test-log")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(impatient.start(), 0.3)
    await impatient.stop()
    await asyncio.to_thread(own_broker.restart)
    await asyncio.wait_for(starting, 10)
    topic = await new_topic(own_broker.bootstrap_servers)
    await log.append([record(topic, "back")], within=5)
    await log.stop()
