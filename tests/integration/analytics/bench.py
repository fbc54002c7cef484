"""The read side on a bench: a made-up log whose partitions are inserted when the test says so, and its real HTTP API."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp

from chassis.clock import SystemClock
from chassis.consume import BatchOf
from chassis.http import HttpServer, create_app
from chassis.ids import parse_message_id
from chassis.log import Incoming
from chassis.principal import HEADER, Principal, sign
from chassis.service import Crash
from schemas.envelope import Envelope, Payload, encode
from schemas.events import MessageEvent
from schemas.routing import Destination
from schemas.sandbox import SandboxMail
from schemas.topics import TOPICS, Topic
from schemas.webhooks import WebhookAttempt
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.adapters.feed_reads import ClickHouseFeed
from services.analytics.adapters.metric_reads import ClickHouseMetrics
from services.analytics.adapters.projection import ClickHouseProjection
from services.analytics.adapters.questions import Questions
from services.analytics.adapters.schema import retention
from services.analytics.api.asking import add_routers
from services.analytics.api.metrics import metric_routes
from services.analytics.app import FEED, routers
from services.analytics.arrivals import Arrivals
from services.analytics.delay import Delay
from services.analytics.handlers import AnyRow, Ingest, row_of
from tests.kit.broker import free_ports
from tests.kit.clickhouse import Database
from tests.kit.history import PROJECT

SECRET = b"shared by ingest and analytics"
SOURCES = tuple(
    TOPICS[entry] for entry in ("message-events", "account-events", "webhook-attempts", "sandbox-mails", "destinations")
)
TABLES = (
    "events_raw",
    "messages",
    "message_index",
    "metric_events",
    "destinations",
    "webhook_attempts",
    "sandbox_mails",
    "dead_letters",
)
MAX_RECORDS = 1000
Json = dict[str, Any]
Place = tuple[str, int]  # topic entry, partition


@dataclass(slots=True)
class Api:
    """A client that ingest has let in."""

    session: aiohttp.ClientSession
    url: str

    async def call(self, path: str, /, project: str = PROJECT, **params: object) -> tuple[int, Json]:
        return await self.raw(path, self.signed(project), {name: str(value) for name, value in params.items()})

    async def raw(self, path: str, headers: dict[str, str], params: Any = None) -> tuple[int, Json]:
        async with self.session.get(self.url + path, headers=headers, params=params) as response:
            return response.status, await response.json()

    async def get(self, path: str, /, project: str = PROJECT, **params: object) -> Json:
        status, body = await self.call(path, project, **params)
        assert status == 200, body
        return body

    async def pages(self, path: str, /, *, limits: Iterable[int], **params: str) -> list[Json]:
        """All pages of a list, each with the next of `limits`."""
        found: list[Json] = []
        for limit in limits:
            page = await self.get(path, **{**params, "limit": str(limit)})
            assert len(page["data"]) <= limit
            found += page["data"]
            if not page["has_more"]:
                return found
            params["after"] = page["next_cursor"]
        raise AssertionError("the list does not end")

    @staticmethod
    def signed(project_id: str, *, secret: bytes = SECRET, lasts_ms: int = 60_000) -> dict[str, str]:
        expires = SystemClock().now_ms() + lasts_ms
        return {HEADER: sign(Principal(project_id, "key_1", (), expires), secret)}


@asynccontextmanager
async def serving(questions: Questions, arrivals: Arrivals, feed: ClickHouseFeed) -> AsyncIterator[Api]:
    (port,) = free_ports(1)
    app = create_app("analytics", list)
    clock = SystemClock()
    resources = [
        *routers(questions, clock, feed, arrivals, pending_window=timedelta(days=1)),
        metric_routes(ClickHouseMetrics(questions), clock, lambda: 0),
    ]
    add_routers(app, resources, clock, secret=SECRET)
    server = HttpServer(app, "127.0.0.1", port, Crash())
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            await answering(session, f"http://127.0.0.1:{port}")
            yield Api(session, f"http://127.0.0.1:{port}")
    finally:
        await arrivals.stop()
        await server.stop()


async def answering(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until a service listens."""
    async with asyncio.timeout(10):
        while True:
            try:
                async with session.get(f"{url}/health/live"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


@dataclass(slots=True)
class Bench:
    """The store's two sides on one database, fed by hand."""

    database: Database
    store: ClickHouse
    ingest: Ingest
    api: Api
    feed: ClickHouseFeed
    arrivals: Arrivals
    log: dict[Place, list[tuple[Incoming, Envelope[Payload]]]] = field(default_factory=lambda: defaultdict(list))
    inserted: dict[Place, int] = field(default_factory=lambda: defaultdict(int))

    def append(self, *envelopes: Envelope[Any]) -> None:
        """Put records at the end of their partitions; nothing is inserted yet."""
        for envelope in envelopes:
            topic, partition = _place(envelope)
            records = self.log[topic.entry, partition]
            record = Incoming(
                topic.name, partition, len(records), SystemClock().now_ms(), envelope.subject, encode(envelope), ()
            )
            records.append((record, envelope))

    def batch(self, place: Place, first: int, last: int) -> BatchOf[AnyRow]:
        entry, partition = place
        records = [(record, row_of(record, TOPICS[entry])) for record, _ in self.log[place][first : last + 1]]
        return BatchOf(TOPICS[entry], partition, first, last, records)

    async def insert(self, place: Place, count: int | None = None) -> None:
        """Insert the next `count` records of a partition (all that are left)."""
        first = self.inserted[place]
        last = len(self.log[place]) - 1 if count is None else min(first + count, len(self.log[place])) - 1
        if last >= first:
            await self.ingest.handle(self.batch(place, first, last))
            self.inserted[place] = last + 1

    async def insert_all(self, *envelopes: Envelope[Any]) -> None:
        self.append(*envelopes)
        for place in list(self.log):
            await self.insert(place)


@asynccontextmanager
async def built(database: Database) -> AsyncIterator[Bench]:
    clock = SystemClock()
    kept = retention(events=timedelta(days=90), attempts=timedelta(days=14), sandbox=timedelta(days=3))
    store = ClickHouse(database.url, database.name, kept, clock)
    await store.start()
    # Nothing may depend on whether a merge has run: here none does, unless a test asks for it.
    database.command(*(f"SYSTEM STOP MERGES {table}" for table in TABLES))
    questions = Questions(store, clock, deadline=10)
    feed = ClickHouseFeed(questions, [topic for topic in SOURCES if topic.entry in FEED])
    arrivals = Arrivals(clock, Crash())
    ingest = Ingest(ClickHouseProjection(store, clock), clock, arrivals.of, Delay().told, batch_records=MAX_RECORDS)
    try:
        async with serving(questions, arrivals, feed) as api:
            yield Bench(database, store, ingest, api, feed, arrivals)
    finally:
        await store.stop()


def _place(envelope: Envelope[Any]) -> tuple[Topic, int]:
    match envelope.data:
        case MessageEvent():
            known = parse_message_id(envelope.subject)
            assert known is not None
            return SOURCES[0], known.partition
        case WebhookAttempt():
            return SOURCES[2], 0
        case SandboxMail():
            return SOURCES[3], 0
        case Destination():
            return SOURCES[4], 0
        case _:
            return SOURCES[1], 0


def ids(data: Sequence[Json]) -> list[str]:
    return [item["message_id"] for item in data]
