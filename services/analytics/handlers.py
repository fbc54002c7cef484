"""From the log into the store: one contiguous range per insert, the same again until it is there, then the commit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chassis.clock import Clock
from chassis.consume import Batch
from chassis.failures import Poison, Retry
from chassis.log import Incoming, Outgoing
from chassis.telemetry import logger
from schemas.envelope import Envelope, Payload
from schemas.topics import Topic
from schemas.webhooks import WebhookAttempt
from services.analytics.domain.rows import AttemptRow, EventRow, Position, Run, attempt_row, event_row, runs
from services.analytics.metrics import BEHIND
from services.analytics.ports import Projection, StoreUnavailable

_log = logger("ingest")
_RETRY_AFTER = 1.0  # seconds between two tries of one insert
_LONGEST_PAUSE = 1.0  # seconds; one slow insert must not hold up the next for a multiple of its time


class Pace:
    """Leaves pauses between inserts, so that they take no more than a share of the time, however small they are."""

    def __init__(self, clock: Clock, share: float) -> None:
        self._clock = clock
        self._rest = 1 / share - 1
        self._lock = asyncio.Lock()
        self._free_at = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One insert at a time, after its pause."""
        async with self._lock:
            await self._clock.sleep(max(0.0, self._free_at - self._clock.monotonic()))
            started = self._clock.monotonic()
            try:
                yield
            finally:
                ended = self._clock.monotonic()
                self._free_at = ended + min((ended - started) * self._rest, _LONGEST_PAUSE)


class Ingest:
    """What the consumer is given: the handler of a batch, and the rule for the first one."""

    def __init__(
        self, projection: Projection, clock: Clock, pace: Pace, topics: Sequence[Topic], *, batch_records: int
    ) -> None:
        self._projection = projection
        self._clock = clock
        self._pace = pace
        self._names = {topic.entry: topic.name for topic in topics}
        self._batch_records = batch_records

    async def handle(self, batch: Batch) -> Sequence[Outgoing]:
        """Insert a batch. Raises Retry while the store is away (the same batch comes again), Poison for a bad row."""
        rows = [row_of(record, envelope) for record, envelope in batch.records]
        events = runs([row for row in rows if isinstance(row, EventRow)])
        attempts = runs([row for row in rows if isinstance(row, AttemptRow)])
        inserts: list[Run[EventRow] | Run[AttemptRow]] = [*events, *attempts]
        try:
            for run in inserts:
                async with self._pace.turn():
                    await self._projection.insert(run)
        except StoreUnavailable as error:
            _log.warning("insert_waits", topic=batch.topic.entry, partition=batch.partition, reason=str(error))
            raise Retry(_RETRY_AFTER, str(error)) from error
        if batch.records:
            BEHIND.set(max(0.0, (self._clock.now_ms() - batch.records[-1][0].timestamp_ms) / 1000))
        return ()

    async def first_batch_end(self, entry: str, partition: int, committed: int) -> int | None:
        """Where the insert ended whose commit was lost, if there was one: it is repeated with the same bounds.

        An insert holds fewer records than a batch may: rows further on mean that the offsets were reset, and what is
        read again finds its rows by their keys.
        """
        while True:
            try:
                last = await self._projection.last_offset(self._names[entry], partition, committed)
            except StoreUnavailable as error:
                _log.warning("take_over_waits", topic=entry, partition=partition, reason=str(error))
                await self._clock.sleep(_RETRY_AFTER)
            else:
                return last if last is not None and last - committed < self._batch_records else None


def row_of(record: Incoming, envelope: Envelope[Payload]) -> EventRow | AttemptRow:
    """The row of any record of our topics. Raises Poison where it has none."""
    position = Position(record.topic, record.partition, record.offset)
    try:
        if isinstance(envelope.data, WebhookAttempt):
            return attempt_row(envelope.data, envelope.project_id, position)
        return event_row(envelope, record.value or b"", position)
    except ValueError as error:
        raise Poison(record, str(error)) from error
