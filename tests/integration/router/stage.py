"""A router as a process of its own, and the world around it: what ingest, senders and subscribers do, on real Kafka."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from chassis.clock import SystemClock
from chassis.ids import MessageIds, parse_message_id
from chassis.log import Incoming, Log, Outgoing, incoming, outgoing
from chassis.table import ANSWER_AFTER
from schemas.envelope import Payload, seal
from schemas.inputs import MessageInput
from schemas.mail import Lane
from schemas.tables import Project, Suppression, suppression_key
from schemas.topics import TOPICS, Topic, deliveries, dlq_name, message_inputs
from tests.kit.broker import free_ports
from tests.kit.router_inputs import PROJECT
from tests.kit.topics import kafka_settings
from tests.kit.waiting import eventually

_CLOCK = SystemClock()
_IDS = MessageIds({1: b"0123456789abcdef"}, 1)
EVENTS = TOPICS["message-events"]


def new_message_id(lane: Lane = "standard", partition: int = 0) -> str:
    return _IDS.new(project_id=PROJECT, now_ms=_CLOCK.now_ms(), lane=lane, partition=partition).text


class RouterProcess:
    """`python -m services.router`, with a fast ladder."""

    def __init__(self, bootstrap_servers: str, state_dir: Path, **settings: str) -> None:
        (self._port,) = free_ports(1)
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "KAFKA_SESSION_TIMEOUT": "6s",
            "ROUTER_PORT": str(self._port),
            "ROUTER_STATE_DIR": str(state_dir),
            "ROUTER_RETRY_SCHEDULE": "1s,1s,1s,1s,1s",
            **settings,
        }
        self.log_file = state_dir.parent / f"router-{self._port}.log"
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.router"], env=environment, stdin=subprocess.DEVNULL, stderr=log
            )

    async def missing(self) -> list[str]:
        """What the readiness probe says is missing."""
        assert self._process.poll() is None, self.log_file.read_text()
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._port}/health/ready") as answer,
            ):
                missing: list[str] = (await answer.json())["missing"]
                return missing
        except aiohttp.ClientError:
            return ["http: not listening"]

    async def metric(self, name: str) -> float:
        """The sum of a counter over its labels."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self._port}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and its exit code must say that it went well."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(self._process.wait, 30)
            assert code == 0, self.log_file.read_text()

    def end(self) -> None:
        if self._process.poll() is None:
            self.kill()


@asynccontextmanager
async def router_on(bootstrap_servers: str, state_dir: Path, **settings: str) -> AsyncIterator[RouterProcess]:
    """A router that is ready; it is killed at the end, however the test ends."""
    process = RouterProcess(bootstrap_servers, state_dir, **settings)
    try:

        async def ready() -> bool:
            return await process.missing() == []

        await eventually(ready, within=40)
        yield process
    finally:
        await asyncio.to_thread(process.end)


@dataclass(slots=True)
class World:
    """Everybody but the router."""

    bootstrap_servers: str
    log: Log

    async def give(self, *inputs: MessageInput) -> None:
        """Append inputs, as ingest and senders do."""
        records = []
        for given in inputs:
            parts = parse_message_id(given.message_id)
            assert parts is not None
            topic = message_inputs(parts.lane)
            records.append(self._record(topic, given, given.message_id, parts.partition))
        await self.log.append(records, within=10)

    async def give_raw(self, message_id: str, value: bytes | None) -> None:
        parts = parse_message_id(message_id)
        assert parts is not None
        topic = message_inputs(parts.lane).name
        await self.log.append([Outgoing(topic, message_id, value, parts.partition)], within=10)

    async def suppress(self, address: str) -> None:
        entry = Suppression(
            id="sup_1",
            project_id=PROJECT,
            scope="*",
            recipient=address,
            reason="manual",
            origin="api",
            source_event_id=None,
            created_at="2026-09-21T14:13:20.123Z",
        )
        topic = TOPICS["suppressions"]
        record = self._record(topic, entry, suppression_key(PROJECT, address, "api"), 0)
        await self.log.append([record], within=10)

    async def retry_after(self, *waits_ms: int) -> None:
        """The project's own retry schedule; without any, none. A submission that is accepted after this proves it is read."""
        project = Project(
            id=PROJECT,
            name="Shop",
            default_from=None,
            created_at="2026-09-21T14:13:20.123Z",
            retry_schedule_ms=list(waits_ms) or None,
        )
        await self.log.append([self._record(TOPICS["projects"], project, PROJECT, 0)], within=10)
        await _CLOCK.sleep(ANSWER_AFTER)

    async def all_of(self, topic: Topic | str) -> list[Incoming]:
        """Everything in a topic, partition by partition."""
        name = topic if isinstance(topic, str) else topic.name
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=20,
        )
        await consumer.start()
        try:
            count = topic.partitions if isinstance(topic, Topic) else 12  # a dead letter topic has its source's
            places = [TopicPartition(name, partition) for partition in range(count)]
            ends = await consumer.end_offsets(places)
            consumer.assign(places)
            found: list[Incoming] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += [incoming(record) for record in records]
            return found
        finally:
            await consumer.stop()

    async def events(self, message_id: str) -> list[dict[str, Any]]:
        """The message's events by sequence, each once. Fails where one id has two contents."""
        known: dict[str, bytes | None] = {}
        for record in await self.all_of(EVENTS):
            if record.key == message_id:
                identity = dict(record.headers)["ce_id"].decode()
                assert known.setdefault(identity, record.value) == record.value, f"{identity} has two contents"
        return sorted((orjson.loads(value or b"") for value in known.values()), key=lambda event: event["sequence"])

    async def statuses(self, message_id: str) -> list[str]:
        return [event["data"]["status"] for event in await self.events(message_id)]

    async def become(self, message_id: str, *statuses: str, within: float = 20) -> None:
        """Wait until the message has gone through these, and no others."""

        async def so() -> bool:
            return await self.statuses(message_id) == list(statuses)

        try:
            await eventually(so, within=within)
        except TimeoutError:
            assert await self.statuses(message_id) == list(statuses)

    async def deliveries(self, message_id: str, lane: Lane = "standard") -> list[dict[str, Any]]:
        """Deliveries of the message that a sender would carry out."""
        return [
            orjson.loads(record.value or b"")["data"]
            for record in await self.all_of(deliveries("main", lane))
            if record.key == message_id
            and record.timestamp_ms <= orjson.loads(record.value or b"")["data"]["valid_until_ms"]
        ]

    async def handed_out(
        self, message_id: str, count: int, lane: Lane = "standard", within: float = 20
    ) -> list[dict[str, Any]]:
        async def so() -> bool:
            return len(await self.deliveries(message_id, lane)) >= count

        await eventually(so, within=within)
        return await self.deliveries(message_id, lane)

    async def rewind(self, lane: Lane, partition: int, offset: int) -> None:
        """Take back the group's commit, as if the router had died before it."""
        place = TopicPartition(message_inputs(lane).name, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, group_id="router", enable_auto_commit=False
        )
        consumer.assign([place])
        await consumer.start()
        try:
            await consumer.commit({place: offset})
        finally:
            await consumer.stop()

    async def dead_letters(self, lane: Lane = "standard") -> list[Incoming]:
        return await self.all_of(dlq_name("router", message_inputs(lane)))

    def _record(self, topic: Topic, payload: Payload, key: str, partition: int) -> Outgoing:
        envelope = seal(
            payload, record_id="rec_1", source="test", subject=key, time_ms=_CLOCK.now_ms(), project_id=PROJECT
        )
        return outgoing(topic, envelope, key=key, partition=partition)


@asynccontextmanager
async def world_on(bootstrap_servers: str) -> AsyncIterator[World]:
    log = Log(kafka_settings(bootstrap_servers), client_id="test-world")
    await log.start()
    try:
        yield World(bootstrap_servers, log)
    finally:
        await log.stop()
