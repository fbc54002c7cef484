"""What routers and senders said last of queues and paths: kept as bytes, and read only when somebody asks.

Hundreds of such records come each second, so they have a tail of their own: they must never stand in the way of the
tables that requests are judged by.
"""

from collections.abc import Iterator

from chassis.clock import Clock
from chassis.log import Incoming
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.tail import Tail
from chassis.telemetry import logger
from schemas.envelope import MalformedRecord, Payload, decode
from schemas.routing import Destination, PathHealth, SenderAlive
from schemas.tables import QueueState
from schemas.topics import TOPICS, Topic

_log = logger("latest")


class LatestRecords:
    """The last value of each key of one topic; a null value takes it away."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self._values: dict[str, bytes] = {}

    def apply(self, record: Incoming) -> None:
        if record.value is None:
            self._values.pop(record.key, None)
        else:
            self._values[record.key] = record.value

    def read(self) -> Iterator[Payload]:
        for key in list(self._values):
            found = self.get(key)
            if found is not None:
                yield found

    def get(self, key: str) -> Payload | None:
        value = self._values.get(key)
        if value is None:
            return None
        try:
            return decode(value, self.topic.types).data
        except MalformedRecord as error:
            _log.warning("record_unreadable", topic=self.topic.name, key=key, reason=str(error))
            return None


class ObservedDelivery:
    """See `services.ingest.ports.Observed`."""

    def __init__(self, kafka: KafkaSettings, clock: Clock, crash: Crash, *, client_id: str) -> None:
        self._tail = Tail(kafka, client_id=client_id, crash=crash, clock=clock)
        self._queues = LatestRecords(TOPICS["queue-state"])
        self._paths = LatestRecords(TOPICS["path-health"])
        self._destinations = LatestRecords(TOPICS["destinations"])

    async def start(self) -> None:
        await self._tail.start()
        for latest in (self._queues, self._paths, self._destinations):
            for partition in range(latest.topic.partitions):
                await self._tail.follow(latest.topic.name, partition, latest.apply)

    async def stop(self) -> None:
        await self._tail.stop()

    def queues(self) -> Iterator[QueueState]:
        return (state for state in self._queues.read() if isinstance(state, QueueState))

    def senders(self) -> Iterator[SenderAlive]:
        return (sender for sender in self._paths.read() if isinstance(sender, SenderAlive))

    def health(self) -> Iterator[PathHealth]:
        return (health for health in self._paths.read() if isinstance(health, PathHealth))

    def group_of(self, destination: str) -> str:
        known = self._destinations.get(destination)
        return known.provider_group if isinstance(known, Destination) else destination
