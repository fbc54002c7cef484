"""All three consumers while their broker is killed and restarted, and while it is frozen (D1 to D3, D25, D29)."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
import pytest

from chassis.consume import BatchConsumer
from chassis.log import Log, LogUnavailable
from schemas.topics import TOPICS
from tests.integration.chassis_consumers.test_consume import Handling
from tests.kit import groups
from tests.kit.broker import Broker
from tests.kit.counting_owner import Counting, Service, live_states, number_record, service
from tests.kit.topics import everything_in, kafka_settings, new_topic, renamed
from tests.kit.tracked_worker import Worker, Working
from tests.kit.waiting import eventually, until

KEYS = [f"key-{number}" for number in range(8)]


@dataclass
class Three:
    """An owner, a worker and a batch consumer of the same inputs, each in a group of its own."""

    servers: str
    inputs: str
    owner: Service
    worker: Worker
    handling: Handling
    batches: BatchConsumer
    log: Log
    sent: int = 0

    async def send(self) -> None:
        """One more number for each key: tried until the log has confirmed it."""
        while True:
            records = [number_record(self.inputs, key, self.sent, at % 4) for at, key in enumerate(KEYS)]
            self.sent += 1  # a number that was not confirmed may be there, so it is never sent again
            try:
                await self.log.append(records, within=1)
                return
            except LogUnavailable:
                await asyncio.sleep(0.2)

    async def all_done(self) -> None:
        """Everything that is in the inputs has gone through all three, and they have said so."""

        async def committed() -> bool:
            names = (self.owner.setup.group, self.worker.setup.group, self.handling.group)
            left = [await groups.uncommitted(self.servers, group, [self.inputs]) for group in names]
            return not any(left)

        await eventually(committed, within=40)
        numbers: dict[str, list[int]] = {key: [] for key in KEYS}
        found: dict[str, list[int]] = {}
        for partition in range(4):
            for record in await everything_in(self.servers, self.inputs, partition):
                numbers[record.key].append(int(orjson.loads(record.value or b"")["data"]["suppression_id"]))
            found |= live_states(await everything_in(self.servers, self.owner.setup.changelog, partition))
        assert found == numbers
        everything = {number for of_key in numbers.values() for number in of_key}
        assert set(self.worker.numbers()) == set(self.handling.numbers()) == everything
        for crash in (self.owner.crash, self.worker.crash, self.handling.crash):
            assert not crash._reported.done()


@pytest.fixture
async def three(own_broker: Broker) -> AsyncIterator[Three]:
    async with _three(own_broker) as running:
        yield running


@asynccontextmanager
async def _three(broker: Broker) -> AsyncIterator[Three]:
    servers, name = broker.bootstrap_servers, secrets.token_hex(4)
    inputs, changelog, *outputs = [
        await new_topic(servers, partitions=4, cleanup_policy="compact" if at == 1 else "delete") for at in range(5)
    ]
    owner = service(Counting(servers, f"owner-{name}", inputs, changelog, outputs[0], "owner"))
    worker = Worker(Working(servers, f"worker-{name}", [inputs], outputs[1], "worker"))
    topic = renamed(TOPICS["message-inputs.express"], inputs, partitions=4)
    handling = Handling(servers, topic, outputs[2], f"batch-{name}")
    log = Log(kafka_settings(servers, request_timeout="2s"), client_id="test")
    await log.start()
    try:
        async with owner, worker, handling.running() as batches:
            three = Three(servers, inputs, owner, worker, handling, batches, log)
            await until(lambda: owner.owner.ready() == worker.consumer.ready() == batches.ready() == [])
            yield three
    finally:
        await log.stop()


async def test_a_killed_broker_loses_and_doubles_nothing(three: Three, own_broker: Broker) -> None:
    for _ in range(20):
        await three.send()
    await asyncio.to_thread(own_broker.kill)
    sending = asyncio.create_task(three.send())
    await until(lambda: three.owner.owner.ready() and three.worker.consumer.ready(), within=10)  # it is noticed
    await asyncio.to_thread(own_broker.restart)
    await sending
    for _ in range(20):
        await three.send()
    await three.all_done()
    assert three.owner.owner.ready() == []


async def test_d29_behind_a_frozen_broker_nobody_holds_anything_and_then_all_goes_on(
    three: Three, own_broker: Broker
) -> None:
    for _ in range(20):
        await three.send()
    await asyncio.to_thread(own_broker.freeze)
    try:
        sending = asyncio.create_task(three.send())
        await until(lambda: three.owner.owner.tenure(three.inputs, 0) is None, within=5)
        await until(lambda: not three.worker.consumer.holds(three.inputs, 0), within=5)
        assert await three.owner.owner.append(three.inputs, 0, []) is False
        await asyncio.sleep(2)  # well past the session time-out
    finally:
        await asyncio.to_thread(own_broker.thaw)
    await sending
    for _ in range(20):
        await three.send()
    await three.all_done()
