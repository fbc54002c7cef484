"""Whether the topics that a service needs are there: a missing one makes it not ready, by name, and never silent.

Topics are made by the provisioner alone; this module must never create one.
"""

import asyncio
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chassis.clock import Clock
from chassis.kafka import connection
from chassis.settings import KafkaSettings
from chassis.telemetry import logger
from schemas.topics import TOPICS, Topic

_log = logger("presence")
_LOOK_EVERY = 10.0  # seconds: who deletes a topic under a running service has other troubles than ten seconds
_WITHIN = 5.0


def used_by(service: str) -> Sequence[Topic]:
    """The topics that the contract gives this service, to write or to read."""
    return [topic for topic in TOPICS.values() if service in {*topic.producers, *topic.consumers}]


class TopicsPresence:
    """Looks again and again. Brokers that do not answer are another's to tell: the last word stands."""

    def __init__(self, kafka: KafkaSettings, clock: Clock, topics: Sequence[Topic]) -> None:
        self._kafka = kafka
        self._clock = clock
        self._topics = topics
        self._missing: list[str] = []
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._look_for_ever(), name="topics-presence")

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def missing(self) -> list[str]:
        """In words, for readiness; empty where all are there, or nobody has said yet."""
        return [f"topic {name} is missing: run the provisioner (deploy/provision.py)" for name in self._missing]

    async def _look_for_ever(self) -> None:
        while True:
            await self._look()
            await self._clock.sleep(_LOOK_EVERY)

    async def _look(self) -> None:
        admin = AIOKafkaAdminClient(**connection(self._kafka))
        try:
            async with asyncio.timeout(_WITHIN):
                await admin.start()
                there = set(await admin.list_topics())
        except (TimeoutError, KafkaError) as error:
            _log.debug("topics_not_listed", reason=repr(error))
            return
        finally:
            await admin.close()
        found = [topic.name for topic in self._topics if topic.name not in there]
        if found and found != self._missing:
            _log.error("topics_missing", topics=found)
        self._missing = found
