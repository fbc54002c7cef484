"""The log as the ledger reads it: by itself, without a group, from one position to another and not a record further.

It must never commit an offset, nor learn anything from the consumer that feeds ClickHouse but how far that has come.
"""

from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from chassis.clock import Clock
from chassis.failures import Retry
from chassis.kafka import connected, connection, request_timeout_ms
from chassis.log import Incoming, incoming
from chassis.member import stored_offsets
from chassis.settings import KafkaSettings
from schemas.topics import Topic
from services.analytics.domain.cursors import Positions
from services.analytics.ports import LogAway

_CLIENT = "sendarix-analytics-ledger"
_PIECE = 2000  # records at once
_POLL_MS = 200
_SILENCE = 10.0  # seconds without a record where there must be some


class KafkaLedgerLog:
    """The port `LedgerLog`. One call at a time."""

    def __init__(
        self, kafka: KafkaSettings, clock: Clock, events: Topic, inputs: Sequence[Topic], *, group: str, router: str
    ) -> None:
        """`group` feeds ClickHouse, `router` decides on the inputs."""
        self._kafka = kafka
        self._clock = clock
        self._events = _places([events])
        self._inputs = _places(inputs)
        self._group = group
        self._router = router
        self._consumer: AIOKafkaConsumer | None = None

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    async def inserted(self) -> Positions:
        """How far the events are in ClickHouse at least: what was committed."""
        return await self._stored(self._group, self._events)

    async def decided(self) -> Positions:
        """How far the router has decided on the inputs: below, each has its events in the log."""
        return await self._stored(self._router, self._inputs)

    async def beginnings(self) -> Positions:
        """Of the events and the inputs."""
        consumer = await self._connected()
        try:
            found = await consumer.beginning_offsets([*self._events, *self._inputs])
        except KafkaError as error:
            raise LogAway(repr(error)) from error
        return _positions(found)

    async def ends(self) -> Positions:
        """Of the events."""
        consumer = await self._connected()
        try:
            found = await consumer.end_offsets(self._events)
        except KafkaError as error:
            raise LogAway(repr(error)) from error
        return _positions(found)

    async def read(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Incoming]]:
        """What lies between them, in pieces of all partitions, each in its order. Raises LogAway, with a piece unread."""
        ahead = {TopicPartition(*place): last for place, last in end.items() if start[place] < last}
        if not ahead:
            return
        consumer = await self._connected()
        consumer.assign(list(ahead))
        for place in ahead:
            consumer.seek(place, start[place.topic, place.partition])
        heard = self._clock.monotonic()
        try:
            while ahead:
                polled = await consumer.getmany(*ahead, timeout_ms=_POLL_MS, max_records=_PIECE)
                piece = [
                    incoming(record)
                    for place, records in polled.items()
                    for record in records
                    if record.offset < ahead[place]
                ]
                if piece:
                    heard = self._clock.monotonic()
                    yield piece
                elif self._clock.monotonic() - heard > _SILENCE:
                    raise LogAway(f"nothing came of {sorted(ahead)} for {_SILENCE:g} s")
                done = [place for place, last in ahead.items() if await consumer.position(place) >= last]
                consumer.pause(*done)
                for place in done:
                    del ahead[place]
        except KafkaError as error:
            raise LogAway(repr(error)) from error
        finally:
            consumer.unsubscribe()

    async def _stored(self, group: str, places: Sequence[TopicPartition]) -> Positions:
        try:
            found = await stored_offsets(self._kafka, group, places)
        except Retry as error:
            raise LogAway(error.reason) from error
        return {(place.topic, place.partition): stored.offset for place, stored in found.items()}

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            self._consumer = await connected(self._make, self._kafka, client_id=_CLIENT)
        return self._consumer

    def _make(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection(self._kafka),
            client_id=_CLIENT,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",  # to lose one's place is an error
            fetch_max_wait_ms=100,
            request_timeout_ms=request_timeout_ms(self._kafka),
        )


def _places(topics: Sequence[Topic]) -> Sequence[TopicPartition]:
    return [TopicPartition(topic.name, partition) for topic in topics for partition in range(topic.partitions)]


def _positions(found: dict[TopicPartition, int]) -> Positions:
    return {(place.topic, place.partition): offset for place, offset in found.items()}
