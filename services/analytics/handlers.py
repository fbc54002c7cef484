"""From the log into the store: rows of all partitions in one insert, then the commits. Never a commit before its rows."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic

from chassis.clock import Clock
from chassis.consume import BatchOf, enveloped
from chassis.failures import Retry
from chassis.log import Incoming, Outgoing
from chassis.telemetry import logger
from schemas.envelope import Envelope, MalformedRecord, Payload
from schemas.routing import Destination
from schemas.sandbox import SandboxMail
from schemas.topics import Topic
from schemas.webhooks import WebhookAttempt
from services.analytics.domain.attempts import AttemptRow, attempt_row
from services.analytics.domain.destinations import DestinationRow, destination_row
from services.analytics.domain.rows import EventRow, Position, Row, by_month, event_row
from services.analytics.domain.sandbox import SandboxRow, sandbox_row
from services.analytics.ports import Projection, StoreUnavailable

_log = logger("ingest")
_RETRY_AFTER = 1.0  # seconds between two tries of one insert
_EVENTS = frozenset({"message-events", "account-events"})  # the entries of topics whose records are events

AnyRow = EventRow | AttemptRow | SandboxRow | DestinationRow


@dataclass(slots=True)
class _Load(Generic[Row]):
    """What goes together. Until it is there it counts as failed: whoever carries it may be cancelled."""

    rows: list[Row] = field(default_factory=list)
    taken: bool = False
    failure: StoreUnavailable | None = field(default_factory=lambda: StoreUnavailable("the insert was given up"))


class Inserter(Generic[Row]):
    """Joins the rows of handlers that run side by side: an insert costs about the same for one row as for hundreds.

    What comes while one insert runs goes with the next. The first of a load carries it, all others learn what became of it.
    """

    def __init__(self, write: Callable[[Sequence[Row]], Awaitable[None]], clock: Clock, *, at_most: int) -> None:
        self._write: Callable[[Sequence[Row]], Awaitable[None]] = write
        self._clock = clock
        self._at_most = at_most
        self._turn = asyncio.Lock()
        self._load: _Load[Row] = _Load()

    async def insert(self, rows: Sequence[Row]) -> None:
        """Once it returns, the rows are there. Raises StoreUnavailable, to all whose rows were in that insert."""
        load = self._joined(rows)
        await self._clock.sleep(0)  # the handlers of the other partitions have their say first
        async with self._turn:
            if not load.taken:
                load.taken = True
                await self._carry(load)
        if load.failure is not None:
            raise load.failure

    def _joined(self, rows: Sequence[Row]) -> _Load[Row]:
        """The load that is still open, or a new one."""
        if self._load.taken or len(self._load.rows) + len(rows) > self._at_most:
            self._load = _Load()
        self._load.rows.extend(rows)
        return self._load

    async def _carry(self, load: _Load[Row]) -> None:
        try:
            for run in by_month(load.rows):
                await self._write(run)
        except StoreUnavailable as error:
            load.failure = error
        else:
            load.failure = None


class Ingest:
    """What the consumer is given: the handler of a batch."""

    def __init__(
        self,
        projection: Projection,
        clock: Clock,
        arrived: Callable[[Collection[str]], object],
        behind: Callable[[float, int], object],
        *,
        batch_records: int,
    ) -> None:
        """`behind` is told of each batch how far it is behind, in seconds, and how many of its records wait (see `Delay`)."""
        self._projection = projection
        self._clock = clock
        self._behind = behind
        self._arrived = arrived  # told of which projects events can be read that could not before
        self._events: Inserter[EventRow] = Inserter(self._insert_events, clock, at_most=batch_records)
        self._attempts: Inserter[AttemptRow] = Inserter(projection.insert_attempts, clock, at_most=batch_records)
        self._mails: Inserter[SandboxRow] = Inserter(projection.insert_sandbox_mails, clock, at_most=batch_records)

    async def handle(self, batch: BatchOf[AnyRow]) -> Sequence[Outgoing]:
        """Insert a batch. Raises Retry while the store is away: the same batch comes again."""
        rows = [row for _, row in batch.records]
        events = [row for row in rows if isinstance(row, EventRow)]
        attempts = [row for row in rows if isinstance(row, AttemptRow)]
        mails = [row for row in rows if isinstance(row, SandboxRow)]
        destinations = [row for row in rows if isinstance(row, DestinationRow)]
        try:
            if events:
                await self._events.insert(events)
            if attempts:
                await self._attempts.insert(attempts)
            if mails:
                await self._mails.insert(mails)
            if destinations:
                await self._projection.insert_destinations(destinations)
        except StoreUnavailable as error:
            _log.warning("insert_waits", topic=batch.topic.entry, partition=batch.partition, reason=str(error))
            self._behind(self._age(batch.records[0][0]), len(batch.records))
            raise Retry(_RETRY_AFTER, str(error)) from error
        if batch.records:
            self._behind(self._age(batch.records[-1][0]), 0)
        return ()

    def _age(self, record: Incoming) -> float:
        return max(0.0, (self._clock.now_ms() - record.timestamp_ms) / 1000)

    async def _insert_events(self, rows: Sequence[EventRow]) -> None:
        await self._projection.insert_events(rows)
        self._arrived({row.project_id for row in rows})


def row_of(record: Incoming, topic: Topic) -> AnyRow:
    """The row of any record of our topics: what the consumer reads it as. Raises MalformedRecord where it has none."""
    position = Position(record.topic, record.partition, record.offset)
    try:
        if topic.entry in _EVENTS:
            return event_row(record.value or b"", topic.types, position)
        return _row_of_model(enveloped(record, topic), position)
    except ValueError as error:
        raise MalformedRecord(str(error)) from error


def _row_of_model(envelope: Envelope[Payload], position: Position) -> AnyRow:
    match envelope.data:
        case WebhookAttempt():
            return attempt_row(envelope.data, envelope.project_id, position)
        case SandboxMail():
            return sandbox_row(envelope.data, envelope.project_id, position)
        case Destination():
            return destination_row(envelope.data)
    raise ValueError(f"there is no table for {envelope.type}")
