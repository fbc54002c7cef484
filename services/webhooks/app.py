"""Puts the webhooks service together: the only file that knows both the domain's side and the adapters."""

from collections.abc import Sequence

from chassis.clock import SystemClock
from chassis.consume import BatchConsumer
from chassis.failures import DeadLetters
from chassis.http import HttpServer, create_app
from chassis.log import Log, Outgoing
from chassis.partition_owner import OwnedPartition, PartitionOwner
from chassis.sealing import Seals
from chassis.service import Crash, Part
from chassis.table import Tables
from chassis.tail import Tail
from schemas.tables import WebhookEndpoint
from schemas.topics import TOPICS, Topic
from services.webhooks.adapters.endpoints import TableEndpoints
from services.webhooks.adapters.http import HttpCaller
from services.webhooks.domain.queue import Queue
from services.webhooks.handlers import Courier, DeliveryPartition, FanOut
from services.webhooks.settings import WebhooksSettings

_DELIVERIES = TOPICS["webhook-deliveries"]
_FAN_OUT, _OWNER = "webhooks", "webhooks.deliveries"


class Webhooks:
    """The running service (`chassis.service.Service`)."""

    def __init__(self, settings: WebhooksSettings) -> None:
        self.crash = Crash()
        clock, client_id = SystemClock(), f"webhooks-{settings.instance}"
        self._log = Log(settings.kafka, client_id=client_id)
        tail = Tail(settings.kafka, client_id=client_id, crash=self.crash)
        tables = Tables(settings.kafka, self._log, clock, client_id=client_id, crash=self.crash)
        table = tables.table(TOPICS["webhook-endpoints"], WebhookEndpoint)
        endpoints = TableEndpoints(tables, table, Seals(settings.sealing_keys))
        caller = HttpCaller(
            clock,
            allow_loopback=settings.allow_loopback,
            timeout=settings.timeout.total_seconds(),
            connect_timeout=settings.connect_timeout.total_seconds(),
        )
        self._queue = Queue(per_endpoint=settings.endpoint_concurrency, in_all=settings.concurrency)
        self._courier = Courier(self._queue, endpoints, caller, self, clock, settings, self.crash)
        self.owner = PartitionOwner(
            settings.kafka,
            self._log,
            tail,
            clock,
            DeadLetters(self._log, group=_OWNER),
            group=_OWNER,
            changelogs={_DELIVERIES: _DELIVERIES},
            factory=self._partition,
            owner_id=client_id,
            crash=self.crash,
        )
        self._fan_out = BatchConsumer(
            settings.kafka,
            self._log,
            clock,
            DeadLetters(self._log, group=_FAN_OUT),
            group=_FAN_OUT,
            topics=[TOPICS["message-events"]],
            handle=FanOut(endpoints, clock).handle,
            max_records=500,
            crash=self.crash,
        )
        http = HttpServer(create_app("Sendarix webhooks", self.missing), settings.host, settings.port)
        self.parts: Sequence[Part] = (http, self._log, tail, tables, caller, self.owner, self._courier, self._fan_out)

    def missing(self) -> list[str]:
        """What must be there before this process may be called ready."""
        missing = [] if self._log.reachable else ["kafka: not reachable"]
        return [*missing, *self.owner.ready(), *self._fan_out.ready()]

    def owned(self, partition: int) -> bool:
        return self.owner.tenure(_DELIVERIES.name, partition) is not None

    async def append(self, partition: int, records: Sequence[Outgoing]) -> bool:
        return await self.owner.append(_DELIVERIES.name, partition, records)

    def _partition(self, topic: Topic, partition: int) -> OwnedPartition:
        del topic
        return DeliveryPartition(partition, self._queue, self._courier.wake)


async def build(settings: WebhooksSettings) -> Webhooks:
    return Webhooks(settings)
