"""Partitions whose records are their state: read whole, worked off by ticks (webhook deliveries; D25, D26)."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from chassis.clock import SystemClock
from chassis.failures import DeadLetters
from chassis.log import Incoming, Log, Outgoing, outgoing, tombstone
from chassis.partition_owner import OwnedPartition, PartitionOwner, Received, Step, Tenure
from chassis.service import Crash
from chassis.tail import Tail
from schemas.envelope import by_type, decode, seal
from schemas.topics import TOPICS, Topic
from schemas.webhooks import WebhookDelivery
from tests.kit import groups
from tests.kit.broker import Broker
from tests.kit.topics import everything_in, kafka_settings, new_topic, renamed
from tests.kit.waiting import until


@dataclass
class Caller:
    """Calls each pending delivery at its first tick; those whose event is `later` never."""

    topic: Topic
    partition: int
    outputs: str
    pending: dict[str, WebhookDelivery] = field(default_factory=dict)
    ticks: int = 0

    def changelog_start(self) -> int | None:
        return None

    def apply(self, record: Incoming) -> None:
        if record.value is None:
            self.pending.pop(record.key, None)
        else:
            self.pending[record.key] = decode(record.value, by_type(WebhookDelivery)).data

    def input_position(self) -> int | None:
        raise AssertionError("there are no inputs")

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
        raise AssertionError("there are no inputs")

    async def tick(self, tenure: Tenure) -> Step:
        self.ticks += 1
        due = [key for key, delivery in self.pending.items() if delivery.event_id != "later"]
        return Step(
            [tombstone(self.topic, key, self.partition) for key in due],
            [Outgoing(self.outputs, key, b"called", 0) for key in due],
        )

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        raise AssertionError("there are no inputs")

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Place:
    servers: str
    topic: Topic
    outputs: str
    group: str
    views: list[Caller] = field(default_factory=list)
    crash: Crash = field(default_factory=Crash)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PartitionOwner]:
        kafka = kafka_settings(self.servers, session_timeout="3s")
        log, tail = Log(kafka, client_id="caller"), Tail(kafka, client_id="caller-tail", crash=self.crash)

        def factory(topic: Topic, partition: int) -> OwnedPartition:
            self.views.append(Caller(topic, partition, self.outputs))
            return self.views[-1]

        owner = PartitionOwner(
            kafka,
            log,
            tail,
            SystemClock(),
            DeadLetters(log, group=self.group),
            group=self.group,
            changelogs={self.topic: self.topic},
            factory=factory,
            owner_id="caller",
            crash=self.crash,
        )
        for part in (log, tail, owner):
            await part.start()
        try:
            await until(lambda: owner.ready() == [])
            yield owner
        finally:
            for part in (owner, tail, log):
                await part.stop()

    def pending(self) -> set[str]:
        return {key for view in self.views[-2:] for key in view.pending}

    async def called(self) -> list[str]:
        return [record.key for record in await everything_in(self.servers, self.outputs)]


@pytest.fixture
async def place(broker: Broker) -> Place:
    servers = broker.bootstrap_servers
    name = await new_topic(servers, partitions=2, append_time=False, cleanup_policy="compact")
    topic = renamed(TOPICS["webhook-deliveries"], name, partitions=2)
    return Place(servers, topic, await new_topic(servers), f"callers-{secrets.token_hex(4)}")


def delivery(topic: Topic, key: str, partition: int, event: str = "now") -> Outgoing:
    data = WebhookDelivery(
        id=key,
        endpoint_id="whk_1",
        event_id=event,
        event_type="message.delivered",
        body="{}",
        attempt=1,
        due_at_ms=0,
        created_at_ms=0,
    )
    sealed = seal(data, record_id=key, source="test", subject=key, time_ms=0, project_id="proj_1")
    return outgoing(topic, sealed, key=key, partition=partition)


async def test_what_is_pending_is_found_again_and_worked_off_once(place: Place, log: Log) -> None:
    await log.append([delivery(place.topic, f"a{n}", n % 2) for n in range(20)], within=5)
    await log.append([delivery(place.topic, f"b{n}", n % 2, "later") for n in range(20)], within=5)
    async with place.running():
        await until(lambda: place.pending() == {f"b{n}" for n in range(20)})
        await log.append([delivery(place.topic, "c", 1)], within=5)
        await until(lambda: any(view.partition == 1 and view.ticks > 3 for view in place.views))
        await until(lambda: place.pending() == {f"b{n}" for n in range(20)})
    async with place.running():
        assert place.pending() == {f"b{n}" for n in range(20)}
    assert sorted(await place.called()) == sorted([f"a{n}" for n in range(20)] + ["c"])


async def test_d26_poison_is_dead_lettered_once_and_timers_go_on_meanwhile(place: Place, log: Log) -> None:
    async with place.running():
        await log.append([Outgoing(place.topic.name, f"bad-{n}", b"\xff junk", n % 2) for n in range(4)], within=5)
        await log.append([delivery(place.topic, f"a{n}", n % 2) for n in range(6)], within=5)  # no DLQ topic yet
        await until(lambda: all(view.ticks > 2 for view in place.views[-2:]))
        dlq = await groups.dead_letter_topic(place.servers, place.group, place.topic)
        await until(lambda: place.pending() == set())
    async with place.running():  # reads it all again
        await log.append([delivery(place.topic, "last", 0)], within=5)
        await until(lambda: all(view.ticks > 8 for view in place.views[-2:]))
    assert sorted(record.key for record in await everything_in(place.servers, dlq)) == [f"bad-{n}" for n in range(4)]
    assert sorted(await place.called()) == [f"a{n}" for n in range(6)] + ["last"]
    assert not place.crash._reported.done()
