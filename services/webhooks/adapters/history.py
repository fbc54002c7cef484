"""What the log holds of earlier times: a consumer without a group, asked for one stretch of one partition at a time."""

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from chassis.failures import Retry
from chassis.kafka import connected, connection, request_timeout_ms
from chassis.log import Incoming, incoming
from chassis.settings import KafkaSettings
from schemas.topics import Topic

_ANSWER_WITHIN = 10.0  # seconds
_POLL_MS = 1000
_RETRY_AFTER = 2.0


class KafkaHistory:
    """`services.webhooks.ports.History`; a part of the service. It connects when it is first asked."""

    def __init__(self, kafka: KafkaSettings, *, client_id: str) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._at: tuple[TopicPartition, int] | None = None  # what the consumer would read next

    async def start(self) -> None:
        """Nothing: most processes are never asked."""

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def between(self, topic: Topic, since_ms: int, until_ms: int) -> Mapping[int, tuple[int, int]]:
        """The offsets of each partition's records between two broker times, the end exclusive. Raises Retry."""
        places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
        async with self._turn:
            consumer = await self._connected()
            try:
                async with asyncio.timeout(_ANSWER_WITHIN):
                    ends = await consumer.end_offsets(places)  # first: what comes meanwhile is not of the window
                    begins = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
                    stops = await consumer.offsets_for_times(dict.fromkeys(places, until_ms))
            except (KafkaError, TimeoutError) as error:
                raise Retry(_RETRY_AFTER, f"offsets by time of {topic.name}: {error!r}") from error
        found = {}
        for place in places:
            begin, stop = (
                ends[place] if at[place] is None else min(at[place].offset, ends[place]) for at in (begins, stops)
            )
            found[place.partition] = (begin, stop)
        return found

    async def read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Sequence[Incoming], int]:
        """At most `limit` records from `offset` on, and the offset after them. Raises Retry."""
        place = TopicPartition(topic, partition)
        async with self._turn:
            consumer = await self._connected()
            try:
                if self._at != (place, offset):
                    consumer.assign([place])
                    consumer.seek(place, offset)
                found = await consumer.getmany(place, timeout_ms=_POLL_MS, max_records=limit)
                position = await consumer.position(place)
            except KafkaError as error:
                self._at = None
                raise Retry(_RETRY_AFTER, f"reading {topic}/{partition}: {error!r}") from error
            self._at = (place, position)
        if position == offset:
            raise Retry(_RETRY_AFTER, f"{topic}/{partition} gives nothing at {offset}")
        return [incoming(record) for record in found.get(place, ())], position

    async def _connected(self) -> AIOKafkaConsumer:
        def make() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                **connection(self._kafka),
                client_id=self._client_id,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",  # where retention has overtaken a replay: what is left of it
                request_timeout_ms=request_timeout_ms(self._kafka),
            )

        if self._consumer is None:
            self._consumer = await connected(make, self._kafka, client_id=self._client_id)
        return self._consumer
