"""Where topics begin and end, and how far a group has come. It must never read a record, nor move an offset."""

from collections.abc import Awaitable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chassis.failures import Retry
from chassis.kafka import connected, connection, request_timeout_ms
from chassis.member import stored_offsets
from chassis.settings import KafkaSettings
from schemas.topics import Topic
from services.analytics.domain.cursors import Positions
from services.analytics.ports import LogAway

_CLIENT = "sendarix-analytics-positions"


class KafkaPositions:
    """The port `LogPositions`, of these topics."""

    def __init__(self, kafka: KafkaSettings, topics: Sequence[Topic]) -> None:
        self._kafka = kafka
        self._places = [TopicPartition(topic.name, n) for topic in topics for n in range(topic.partitions)]
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """It connects when it is asked."""

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    async def beginnings(self) -> Positions:
        consumer = await self._connected()
        return await _answered(consumer.beginning_offsets(self._places))

    async def ends(self) -> Positions:
        consumer = await self._connected()
        return await _answered(consumer.end_offsets(self._places))

    async def stored(self, group: str) -> Positions:
        try:
            found = await stored_offsets(self._kafka, group, self._places)
        except Retry as error:
            raise LogAway(error.reason) from error
        return {(place.topic, place.partition): stored.offset for place, stored in found.items()}

    async def members(self, group: str) -> int:
        admin = AIOKafkaAdminClient(**connection(self._kafka))
        try:
            await admin.start()
            (answer,) = await admin.describe_consumer_groups([group])
        except KafkaError as error:
            raise LogAway(repr(error)) from error
        finally:
            await admin.close()
        return sum(len(described[5]) for described in answer.groups)  # error, group, state, two protocols, members

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
            auto_offset_reset="none",
            request_timeout_ms=request_timeout_ms(self._kafka),
        )


async def _answered(asked: Awaitable[Mapping[TopicPartition, int]]) -> Positions:
    try:
        found = await asked
    except KafkaError as error:
        raise LogAway(repr(error)) from error
    return {(place.topic, place.partition): offset for place, offset in found.items()}
