"""The whole of analytics on a real Kafka and a real ClickHouse, as its process runs it; topics and group are the test's own."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import aiohttp

from chassis.ids import parse_message_id
from chassis.log import Log, Outgoing, outgoing
from schemas.envelope import Envelope
from schemas.events import MessageEvent
from schemas.topics import Topic
from services.analytics.app import AlertTopics, build
from services.analytics.settings import AnalyticsSettings
from tests.integration.analytics.bench import SECRET, Api, Json, answering
from tests.kit.broker import Broker, free_ports
from tests.kit.clickhouse import Database
from tests.kit.history import History
from tests.kit.topics import kafka_settings

PARTITIONS = 3
T = TypeVar("T")


@dataclass(slots=True)
class Source:
    """Topics of the test's own, and who writes them."""

    broker: Broker
    log: Log
    topics: Sequence[Topic]
    inputs: Sequence[Topic]
    alerts: AlertTopics | None = None  # where rules are watched

    async def write(self, *envelopes: Envelope[Any]) -> None:
        await self.write_raw(*(self._outgoing(envelope) for envelope in envelopes))

    async def write_raw(self, *records: Outgoing) -> None:
        await self.log.append(records, within=10)

    def _outgoing(self, envelope: Envelope[Any]) -> Outgoing:
        topic = next(topic for topic in (*self.topics, *self.inputs) if envelope.type in topic.records)
        known = parse_message_id(envelope.subject)
        partition = 0 if known is None else known.partition
        return outgoing(topic, envelope, key=envelope.subject, partition=partition)


@asynccontextmanager
async def running(
    source: Source, database: Database, group: str, state_dir: Path | None = None, **changes: object
) -> AsyncIterator[Api]:
    """Analytics as its process runs it, started and stopped in order; without a `state_dir` it starts with none."""
    with TemporaryDirectory() as own:
        async with _started(source, database, group, {"state_dir": state_dir or own, **changes}) as api:
            yield api


@asynccontextmanager
async def _started(source: Source, database: Database, group: str, changes: dict[str, object]) -> AsyncIterator[Api]:
    (port,) = free_ports(1)
    settings = AnalyticsSettings.model_validate(
        {
            "port": port,
            "clickhouse_url": database.url,
            "clickhouse_database": database.name,
            "internal_secret": SECRET.decode(),
            "kafka": kafka_settings(source.broker.bootstrap_servers),
            **changes,
        }
    )
    service = await build(
        settings,
        group=group,
        topics=source.topics,
        inputs=source.inputs,
        router=f"{group}-router",
        alerts=source.alerts,
    )
    starting = asyncio.gather(*[_start_in_order(service.parts)])
    try:
        async with aiohttp.ClientSession() as session:
            await answering(session, f"http://127.0.0.1:{port}")
            yield Api(session, f"http://127.0.0.1:{port}")
    finally:
        starting.cancel()
        for part in reversed(service.parts):
            await part.stop()
    assert not service.crash._reported.done()


async def _start_in_order(parts: Sequence[Any]) -> None:
    for part in parts:
        await part.start()


async def until(ask: Callable[[], Awaitable[T | None]], *, within: float = 30) -> T:
    """The first answer that is not None."""
    async with asyncio.timeout(within):
        while (found := await ask()) is None:  # what is awaited lies behind HTTP
            await asyncio.sleep(0.02)
        return found


async def feed_of(api: Api, count: int) -> list[Json]:
    """The feed once it holds `count` events."""

    async def there() -> list[Json] | None:
        status, _ = await api.call("/v1/events")
        found = await api.pages("/v1/events", limits=iter(lambda: 100, None)) if status == 200 else []
        return found if len(found) >= count else None

    return await until(there)


def lives(history: History, count: int) -> list[Envelope[MessageEvent]]:
    chance = random.Random(13)
    steps = ["queued", "accepted", "deferred", "delivered"]
    return [event for n in range(count) for event in history.life(*steps[: chance.randint(1, 4)], tags=[f"t{n % 2}"])]
