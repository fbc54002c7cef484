"""What Kafka calls: the fan-out of events into deliveries, and an owned partition of those.

Neither sends anything: requests are made by `dispatch`, from the queue that the partition fills.
"""

from collections.abc import Callable, Sequence
from typing import NoReturn, cast

from chassis.consume import Batch
from chassis.failures import Retry
from chassis.log import Incoming, Outgoing, outgoing, tombstone
from chassis.partition_owner import Received, Step, Tenure
from schemas.envelope import Envelope, decode
from schemas.events import MessageEvent
from schemas.topics import TOPICS
from schemas.webhooks import WEBHOOK_DELIVERIES, WebhookTest
from services.webhooks.domain.delivery import Delivery, delivery_of
from services.webhooks.domain.ledger import Ledger
from services.webhooks.domain.matching import matching
from services.webhooks.domain.queue import Queue
from services.webhooks.domain.records import delivery_record, first_delivery, test_delivery
from services.webhooks.metrics import FANNED_OUT
from services.webhooks.ports import Endpoints

_DELIVERIES = TOPICS["webhook-deliveries"]
_KNOWN_WITHIN = 2.0  # seconds that a batch waits for the endpoints; a probe comes each 100 ms
_RETRY_AFTER = 0.5
_OVERRULED_PER_TICK = 500


class FanOut:
    """The handler of `chassis.consume.BatchConsumer`."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    async def handle(self, batch: Batch) -> Sequence[Outgoing]:
        """The deliveries of a batch. Raises Retry where the endpoints are not known as of now."""
        # An endpoint that was answered before the event happened must be here, and one that was deleted must not.
        if not await self._endpoints.caught_up(within=_KNOWN_WITHIN):
            raise Retry(_RETRY_AFTER, "the endpoints are not known as of now")
        made: list[Outgoing] = []
        for record, envelope in batch.records:
            event = cast("Envelope[MessageEvent]", envelope)  # the topic holds nothing else
            for endpoint in matching(event, self._endpoints.of_project(event.project_id)):
                delivery = first_delivery(event, record.value or b"", endpoint)
                made.append(outgoing(_DELIVERIES, delivery, key=delivery.data.id, traceparent=record.traceparent))
        FANNED_OUT.inc(len(made))
        return made


class Commands:
    """What is asked of an endpoint: the handler of another `chassis.consume.BatchConsumer`."""

    async def handle(self, batch: Batch) -> Sequence[Outgoing]:
        """The delivery of each test. Whether its endpoint is still there is seen when it is sent."""
        made = []
        for record, envelope in batch.records:
            delivery = test_delivery(cast("Envelope[WebhookTest]", envelope), record.value or b"")
            made.append(outgoing(_DELIVERIES, delivery, key=delivery.data.id, traceparent=record.traceparent))
        return made


class DeliveryPartition:
    """One owned partition of webhook-deliveries (`chassis.partition_owner.OwnedPartition`): what its records say.

    Its deliveries enter the queue with the first tick: before that it is being restored, and nothing may be sent.
    `changed` is called when the queue has something new.
    """

    def __init__(self, partition: int, queue: Queue, changed: Callable[[], None]) -> None:
        self._partition = partition
        self._queue = queue
        self._changed = changed
        self._ledger = Ledger()
        self._live = False
        self._closed = False

    def changelog_start(self) -> int | None:
        return None  # the state is in memory: each owner reads the whole partition

    def input_position(self) -> int | None:
        return None

    def apply(self, record: Incoming) -> None:
        if record.value is None:
            self._ledger.closed(record.key)
            if self._live:
                self._queue.remove(record.key)
            return
        envelope = decode(record.value, WEBHOOK_DELIVERIES)
        delivery = delivery_of(envelope, self._partition, record.traceparent)
        if self._ledger.opened(delivery) and self._live:
            self._enqueue([delivery])

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> NoReturn:
        del inputs, tenure
        raise AssertionError("a partition that is its own changelog has no inputs")

    async def tick(self, tenure: Tenure) -> Step:
        del tenure  # the topic's records carry no marks: a late one is recognised by what it says
        if not self._live:
            self._live = True
            self._enqueue(list(self._ledger.pending.values()))
        return Step(state=[self._record(*standing) for standing in self._ledger.overruled(_OVERRULED_PER_TICK)])

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        del input_offset, tenure
        return None

    def settled(self, delivery_id: str, following: Delivery | None) -> None:
        """What an attempt made of a delivery is in the log."""
        news = self._ledger.settled(delivery_id, following)
        if self._closed or not self._live:
            return
        if following is None:
            self._queue.remove(delivery_id)
        elif news:
            self._enqueue([following])

    def close(self) -> None:
        self._closed = True
        if self._live:
            for delivery_id in self._ledger.pending:
                self._queue.remove(delivery_id)

    def _enqueue(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._queue.put(delivery)
        self._changed()

    def _record(self, delivery_id: str, standing: Delivery | None) -> Outgoing:
        if standing is None:
            return tombstone(_DELIVERIES, delivery_id, self._partition)
        record = delivery_record(standing)
        return outgoing(
            _DELIVERIES, record, key=delivery_id, partition=self._partition, traceparent=standing.traceparent
        )
