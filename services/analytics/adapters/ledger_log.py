"""The log as the ledger reads it: by itself, without a group, from one position to another and not a record further.

It must never commit an offset, nor learn anything from the consumer that feeds ClickHouse but how far that has come.
"""

from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from chassis.clock import Clock
from chassis.kafka import connected, connection, request_timeout_ms
from chassis.log import Incoming, incoming
from chassis.settings import KafkaSettings
from schemas.topics import Topic
from services.analytics.adapters.log_positions import KafkaPositions
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
        self._events = KafkaPositions(kafka, [events])
        self._inputs = KafkaPositions(kafka, inputs)
        self._group = group
        self._router = router
        self._consumer: AIOKafkaConsumer | None = None

    async def stop(self) -> None:
        for part in (self._consumer, self._events, self._inputs):
            if part is not None:
                await part.stop()
        self._consumer = None

    async def beginnings(self) -> Positions:
        return {**await self._events.beginnings(), **await self._inputs.beginnings()}

    async def ends(self) -> Positions:
        return await self._events.ends()

    async def inserted(self) -> Positions:
        return await self._events.stored(self._group)

    async def decided(self) -> Positions:
        return await self._inputs.stored(self._router)

    async def read(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Incoming]]:
        """Raises LogAway, with some of it unread."""
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
