"""Tables on a real broker, and the lease they prove (R11, R13)."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from chassis.clock import SystemClock
from chassis.log import Log, LogUnavailable, Outgoing
from chassis.table import LEASE, Table, Tables
from chassis.tail import Place
from schemas.envelope import Envelope, seal
from schemas.tables import Project
from schemas.topics import TOPICS, Topic
from tests.integration.chassis.test_log import frozen, running_log
from tests.kit.broker import Broker
from tests.kit.topics import kafka_settings, new_topic, renamed
from tests.kit.waiting import until

Changes = list[tuple[str, str | None, str | None]]


async def projects_topic(broker: Broker, partitions: int = 1) -> Topic:
    name = await new_topic(broker.bootstrap_servers, partitions=partitions, append_time=False, cleanup_policy="compact")
    return renamed(TOPICS["projects"], name, partitions=partitions)


def project(name: str, project_id: str = "proj_1") -> Envelope[Project]:
    data = Project(id=project_id, name=name, default_from=None, created_at="2026-01-01T00:00:00.000Z")
    return seal(data, record_id=f"id-{name}", source="test", subject=project_id, time_ms=0, project_id=project_id)


@asynccontextmanager
async def running_table(broker: Broker, log: Log, topic: Topic) -> AsyncIterator[tuple[Tables, Table[Project]]]:
    tables = Tables(kafka_settings(broker.bootstrap_servers), log, SystemClock(), client_id="test-tables")
    table = tables.table(topic, Project)
    await tables.start()
    try:
        yield tables, table
    finally:
        await tables.stop()


async def test_put_and_remove_return_when_applied_here(broker: Broker) -> None:
    topic = await projects_topic(broker, partitions=3)
    changes: Changes = []

    def note(key: str, before: Project | None, after: Project | None) -> None:
        changes.append((key, before.name if before else None, after.name if after else None))

    async with running_log(broker) as log, running_table(broker, log, topic) as (_, table):
        await table.put("a", project("first"))
        assert table["a"].name == "first"
        table.on_change(note)
        await table.put("a", project("second"))
        await table.put("a", project("second"))  # no change
        await table.remove("a")
        await table.remove("a")
        await asyncio.gather(*(table.put(f"k{n}", project(f"n{n}")) for n in range(50)))
        assert "a" not in table
        assert len(table) == 50
        assert changes[:3] == [("a", None, "first"), ("a", "first", "second"), ("a", "second", None)]
        assert len(changes) == 53
        async with running_table(broker, log, topic) as (_, other):  # a new process reads it all before it starts
            assert dict(other) == dict(table)


async def test_a_record_that_can_not_be_read_is_passed_over(broker: Broker) -> None:
    topic = await projects_topic(broker)
    async with running_log(broker) as log:
        await log.append([Outgoing(topic.name, "bad", b"\xff not JSON"), Outgoing(topic.name, "", b"{}")], within=5)
        async with running_table(broker, log, topic) as (_, table):
            await table.put("good", project("good"))
            assert list(table) == ["good"]


async def test_a_process_is_fresh_after_start_and_stays_so(broker: Broker) -> None:
    topic = await projects_topic(broker)
    async with running_log(broker) as log, running_table(broker, log, topic) as (tables, _):
        for _ in range(10):
            assert await tables.wait_fresh(LEASE, within=2)
            await asyncio.sleep(0.05)
        assert not tables.fresh_within(0)
        assert not await tables.wait_fresh(0, within=0.05)


async def test_not_fresh_while_the_brokers_are_frozen_and_again_after(own_broker: Broker) -> None:
    topic = await projects_topic(own_broker)
    async with running_log(own_broker) as log, running_table(own_broker, log, topic) as (tables, table):
        await table.put("a", project("a"))
        async with frozen(own_broker):
            await asyncio.sleep(LEASE + 0.05)
            assert not tables.fresh_within(LEASE)
            begun = time.monotonic()
            assert not await tables.wait_fresh(LEASE, within=0.3)
            with pytest.raises(LogUnavailable):
                await table.put("b", project("b"), within=0.5)
            assert time.monotonic() - begun < 1.2
            assert table["a"].name == "a"  # it still answers from what it has
        assert await tables.wait_fresh(LEASE, within=10)


async def test_an_answer_that_was_held_up_proves_nothing_new(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a stopped process wakes: the probe's answer is old, and what was acked since is not read yet."""
    topic = await projects_topic(broker)
    async with (
        running_log(broker) as log,
        running_table(broker, log, topic) as (_, writer),
        running_table(broker, log, topic) as (tables, reader),
    ):
        tail, awake, answered, asked = tables._tail, asyncio.Event(), asyncio.Event(), asyncio.Event()
        assert tail._reader is not None
        end_offsets, getmany = tail.end_offsets, tail._reader.getmany

        async def held_up(places: Sequence[Place]) -> Mapping[Place, int]:
            ends = await end_offsets(places)
            asked.set()
            await answered.wait()
            return ends

        async def asleep(**arguments: int) -> object:
            await awake.wait()
            return await getmany(**arguments)

        monkeypatch.setattr(tail._reader, "getmany", asleep)
        monkeypatch.setattr(tail, "end_offsets", held_up)
        await asked.wait()
        await asyncio.sleep(0.2)  # the poll under way is over
        await writer.put("k", project("k"))
        acked_at = time.monotonic()
        answered.set()
        for _ in range(50):
            await asyncio.sleep(0.005)
            assert not tables.fresh_within(time.monotonic() - acked_at)
        assert "k" not in reader
        awake.set()
        await until(lambda: tables.fresh_within(time.monotonic() - acked_at), within=60, every=0.001)
        assert "k" in reader


async def test_what_was_acked_before_a_proof_is_applied(own_broker: Broker) -> None:
    """The lease itself: another process's acked change is here as soon as `fresh_within` covers the ack, come what may."""
    topic = await projects_topic(own_broker, partitions=2)
    async with (
        running_log(own_broker) as log,
        running_table(own_broker, log, topic) as (_, writer),
        running_table(own_broker, log, topic) as (tables, reader),
    ):
        proofs = 0

        async def write(name: int) -> None:
            nonlocal proofs
            for n in range(60):
                key = f"{name}-{n}"
                try:
                    await writer.put(key, project(key), within=1)
                except LogUnavailable:
                    continue
                acked_at = time.monotonic()
                await until(lambda: tables.fresh_within(time.monotonic() - acked_at), within=60, every=0.001)  # noqa: B023
                assert reader[key].name == key
                proofs += 1

        writers = [asyncio.create_task(write(name)) for name in range(8)]
        for _ in range(3):
            await asyncio.sleep(1)
            async with frozen(own_broker):
                await asyncio.sleep(1)
        await asyncio.to_thread(own_broker.kill)
        await asyncio.to_thread(own_broker.restart)
        await asyncio.gather(*writers)
        assert proofs > 50
