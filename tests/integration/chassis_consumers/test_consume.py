"""Stateless batches on a real broker: outputs, then the commit; one partition fails alone (D25 to D28, D35)."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from chassis.clock import SystemClock
from chassis.consume import Batch, BatchConsumer, Gathering
from chassis.failures import DeadLetters, Poison, Retry
from chassis.log import Log, Outgoing
from chassis.service import Crash
from schemas.inputs import Recheck
from schemas.topics import TOPICS, Topic
from tests.kit import groups
from tests.kit.broker import Broker
from tests.kit.counting_owner import number_record
from tests.kit.topics import everything_in, kafka_settings, new_topic, renamed
from tests.kit.waiting import eventually, until


@dataclass
class Handling:
    """A service that copies numbers to its output topic, and what it saw."""

    servers: str
    topic: Topic
    outputs: str
    group: str
    batches: list[Batch] = field(default_factory=list)
    crash: Crash = field(default_factory=Crash)

    def numbers(self) -> list[int]:
        return [number for batch in self.batches for number in numbers_of(batch)]

    async def handle(self, batch: Batch) -> Sequence[Outgoing]:
        self.batches.append(batch)
        return [
            Outgoing(self.outputs, record.key, orjson.dumps(number_of(envelope.data)))
            for record, envelope in batch.records
        ]

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[BatchConsumer]:
        kafka = kafka_settings(self.servers, session_timeout="3s", request_timeout="3s")
        log = Log(kafka, client_id="batches")
        await log.start()
        given: dict[str, Any] = {"handle": self.handle, "max_records": 500} | changes
        consumer = BatchConsumer(
            kafka,
            log,
            SystemClock(),
            DeadLetters(log, group=self.group),
            group=self.group,
            topics=[self.topic],
            crash=self.crash,
            **given,
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()
            await log.stop()

    async def uncommitted(self) -> int:
        return await groups.uncommitted(self.servers, self.group, [self.topic.name])

    async def all_committed(self) -> None:
        async def done() -> bool:
            return await self.uncommitted() == 0

        await eventually(done)

    async def copied(self) -> list[int]:
        return [orjson.loads(line.value or b"") for line in await everything_in(self.servers, self.outputs)]


def number_of(payload: object) -> int:
    assert isinstance(payload, Recheck)
    return int(payload.suppression_id)


def numbers_of(batch: Batch) -> list[int]:
    return [number_of(envelope.data) for _, envelope in batch.records]


@pytest.fixture
async def handling(broker: Broker) -> Handling:
    servers = broker.bootstrap_servers
    topic = renamed(TOPICS["message-inputs.express"], await new_topic(servers, partitions=4), partitions=4)
    return Handling(servers, topic, await new_topic(servers), f"batches-{secrets.token_hex(4)}")


async def send(log: Log, handling: Handling, numbers: Sequence[int]) -> None:
    await log.append([number_record(handling.topic.name, f"k{n}", n, n % 4) for n in numbers], within=5)


async def test_batches_are_of_one_partition_in_order_and_committed_after_their_outputs(
    handling: Handling, log: Log
) -> None:
    await send(log, handling, range(300))
    async with handling.running() as consumer:
        await handling.all_committed()
        await send(log, handling, range(300, 400))
        await handling.all_committed()
        assert consumer.ready() == []
        assert consumer.lag() == 0
    assert sorted(await handling.copied()) == list(range(400))
    seen: dict[int, list[int]] = defaultdict(list)
    for batch in handling.batches:
        assert len(batch.records) == batch.last_offset - batch.first_offset + 1
        assert {record.partition for record, _ in batch.records} == {batch.partition}
        seen[batch.partition] += numbers_of(batch)
    assert seen == {partition: list(range(partition, 400, 4)) for partition in range(4)}


async def test_a_retry_brings_the_very_same_batch_again_and_only_its_partition_waits(
    handling: Handling, log: Log
) -> None:
    tried: list[tuple[int, int]] = []
    away = True

    async def handle(batch: Batch) -> Sequence[Outgoing]:
        if batch.partition == 0 and away:
            tried.append((batch.first_offset, batch.last_offset))
            raise Retry(0.2, "not yet")
        return await handling.handle(batch)

    async def others_committed() -> bool:
        return await handling.uncommitted() == 20

    await send(log, handling, range(40))
    async with handling.running(handle=handle) as consumer:
        await until(lambda: tried)
        assert consumer.lag() >= 10, "also of what has never been committed"
        await send(log, handling, range(40, 80))
        await until(lambda: len(handling.numbers()) == 60)  # all but partition 0
        await eventually(others_committed)
        await until(lambda: len(tried) > 3)
        away = False
        await handling.all_committed()
    assert len(set(tried)) == 1
    assert [number for number in handling.numbers() if number % 4 == 0] == list(range(0, 80, 4))
    assert next(batch for batch in handling.batches if batch.partition == 0).last_offset == tried[0][1]


async def test_d26_poison_is_dead_lettered_and_the_rest_flows(handling: Handling, log: Log) -> None:
    dlq = await groups.dead_letter_topic(handling.servers, handling.group, handling.topic)
    bad = [b"\xff\xfe\x00", orjson.dumps({"type": "nobody.knows"}), None, secrets.token_bytes(1_000_000)]
    odd = replace(number_record(handling.topic.name, "k", 0, 0), headers=(("ce_type", b"\xff"), ("none", b"")))
    await log.append([Outgoing(handling.topic.name, "bad", value, 0) for value in bad], within=5)
    await log.append([odd], within=5)
    await send(log, handling, range(1, 100))
    async with handling.running():
        await handling.all_committed()
    assert sorted(handling.numbers()) == list(range(100))
    assert [letter.value for letter in await everything_in(handling.servers, dlq)] == bad
    assert not handling.crash._reported.done()


async def test_d27_while_the_dlq_fails_nothing_is_committed_and_nothing_spins(handling: Handling, log: Log) -> None:
    async def others_committed() -> bool:
        return await handling.uncommitted() == 11

    await log.append([Outgoing(handling.topic.name, "bad", b"junk", 0)], within=5)
    await send(log, handling, range(40))
    async with handling.running():
        await until(lambda: len(handling.numbers()) == 30)
        await eventually(others_committed)
        await asyncio.sleep(1)
        assert await others_committed()
        dlq = await groups.dead_letter_topic(handling.servers, handling.group, handling.topic)
        await handling.all_committed()
    assert len(await everything_in(handling.servers, dlq)) == 1
    assert sorted(handling.numbers()) == list(range(40))


async def test_a_verdict_of_poison_buries_that_record_once(handling: Handling, log: Log) -> None:
    dlq = await groups.dead_letter_topic(handling.servers, handling.group, handling.topic)
    retried = False

    async def handle(batch: Batch) -> Sequence[Outgoing]:
        nonlocal retried
        for record, envelope in batch.records:
            if number_of(envelope.data) == 13:
                raise Poison(record, "unlucky")
        if batch.partition == 1 and not retried:
            retried = True
            raise Retry(0.1, "and again")
        return await handling.handle(batch)

    await send(log, handling, range(40))
    async with handling.running(handle=handle):
        await handling.all_committed()
    assert sorted(handling.numbers()) == [number for number in range(40) if number != 13]
    assert len(await everything_in(handling.servers, dlq)) == 1


async def test_d35_a_handler_that_fails_stops_the_service_and_no_later_commit_passes_it(
    handling: Handling, log: Log
) -> None:
    async def handle(batch: Batch) -> Sequence[Outgoing]:
        if 13 in numbers_of(batch):
            raise ZeroDivisionError
        return await handling.handle(batch)

    async with handling.running(handle=handle):
        await send(log, handling, [13])
        async with asyncio.timeout(10):
            assert isinstance(await handling.crash.reported(), ZeroDivisionError)
        await send(log, handling, [17, 21])  # the same partition
        await asyncio.sleep(1)
        assert await handling.uncommitted() == 3
    assert handling.batches == []


async def test_d30_outputs_that_are_not_acked_are_not_committed(handling: Handling, log: Log) -> None:
    nowhere = replace(handling, outputs="no-such-topic", batches=[])
    await send(log, handling, range(4))
    async with nowhere.running():
        await until(lambda: nowhere.batches)
        await asyncio.sleep(1)
        assert await handling.uncommitted() == 4
    async with handling.running():
        await handling.all_committed()
    assert sorted(await handling.copied()) == [0, 1, 2, 3]


async def test_what_has_come_of_all_partitions_goes_together(handling: Handling, log: Log) -> None:
    """One call's pause gathers what lies at the broker by its end, not only what was fetched before."""
    begun: list[float] = []

    async def handle(batch: Batch) -> Sequence[Outgoing]:
        begun.append(clock.monotonic())
        return await handling.handle(batch)

    clock = SystemClock()
    async with handling.running(handle=handle, gathering=Gathering(0.3, 1.0, enough=100)):
        await send(log, handling, [0])
        await handling.all_committed()
        await send_slowly(log, handling, range(1, 41))
        await handling.all_committed()
        turns = [at for at, before in zip(begun[1:], begun, strict=False) if at - before > 0.1]
        assert len(turns) <= 3, begun
        assert all(at - before > 0.9 for at, before in zip(turns[1:], turns, strict=False))
        before = clock.monotonic()
        await send(log, handling, range(41, 841))
        await until(lambda: len(handling.numbers()) > 141)
        assert clock.monotonic() - before < 10  # a backlog is not paced: the next pieces follow at once
        await handling.all_committed()
    assert sorted(handling.numbers()) == list(range(841))
    for batch in handling.batches:
        assert len(batch.records) == batch.last_offset - batch.first_offset + 1


async def test_d36_a_coordinator_that_does_not_say_is_asked_again(
    handling: Handling, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it loads its offsets it answers with no partition at all: that is not a group without offsets."""
    await send(log, handling, range(40))
    async with handling.running():
        await handling.all_committed()
    say, answers = AIOKafkaAdminClient.list_consumer_group_offsets, 0

    async def say_nothing_at_first(self: AIOKafkaAdminClient, *given: object, **named: object) -> object:
        nonlocal answers
        answers += 1
        return {} if answers < 3 else await say(self, *given, **named)

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", say_nothing_at_first)
    async with handling.running() as consumer:
        await until(lambda: consumer.ready() == [])
        await send(log, handling, range(40, 80))
        await handling.all_committed()
    assert answers >= 3
    assert sorted(await handling.copied()) == list(range(80))  # nothing was read again


async def test_d28_members_come_and_go_under_load(handling: Handling, log: Log) -> None:
    other = replace(handling, batches=[])
    async with handling.running():
        loading = asyncio.create_task(send_slowly(log, handling, range(400)))
        for _ in range(2):
            async with other.running():
                await asyncio.sleep(0.7)
        await loading
        await handling.all_committed()
    assert other.batches
    assert set(await handling.copied()) == set(range(400))
    places = [TopicPartition(handling.topic.name, partition) for partition in range(4)]
    done = await groups.committed(handling.servers, handling.group, places)
    assert sum(stored.offset for stored in done.values()) == 400


async def send_slowly(log: Log, handling: Handling, numbers: Sequence[int]) -> None:
    for number in numbers:
        await send(log, handling, [number])
        await asyncio.sleep(0.005)


async def test_an_assignment_that_comes_while_it_leaves_is_no_crash(handling: Handling) -> None:
    async with handling.running() as consumer:
        await until(lambda: not consumer.ready())
    await consumer.took({TopicPartition(handling.topic.name, 0)})  # it would raise what stops the service
    assert consumer.ready() == []
