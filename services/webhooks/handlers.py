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
from schemas.topics import TOPICS
from schemas.webhooks import WEBHOOK_DELIVERIES, WebhookDelivery, WebhookReplay, WebhookTest
from services.webhooks.domain.delivery import Delivery, delivery_of
from services.webhooks.domain.ledger import Entry, Ledger
from services.webhooks.domain.matching import matching
from services.webhooks.domain.queue import Queue
from services.webhooks.domain.records import delivery_record, first_delivery, replay_record, test_delivery
from services.webhooks.domain.replay import Replay, replay_of
from services.webhooks.metrics import FANNED_OUT
from services.webhooks.ports import Endpoints, Replaying

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
        for record, event in batch.records:
            for endpoint in matching(event, self._endpoints.of_project(event.project_id)):
                delivery = first_delivery(event, record.value or b"", endpoint)
                made.append(outgoing(_DELIVERIES, delivery, key=delivery.data.id, traceparent=record.traceparent))
        FANNED_OUT.inc(len(made))
        return made


class Commands:
    """What is asked of an endpoint: the handler of another `chassis.consume.BatchConsumer`."""

    async def handle(self, batch: Batch) -> Sequence[Outgoing]:
        """The delivery of each test, the record of each replay. Whether their endpoint is still there is seen later."""
        made = []
        for record, envelope in batch.records:
            match envelope.data:
                case WebhookReplay():
                    key, wanted = envelope.data.id, envelope
                case _:  # the topic holds nothing else
                    wanted = test_delivery(cast("Envelope[WebhookTest]", envelope), record.value or b"")
                    key = wanted.data.id
            made.append(outgoing(_DELIVERIES, wanted, key=key, traceparent=record.traceparent))
        return made


class DeliveryPartition:
    """One owned partition of webhook-deliveries (`chassis.partition_owner.OwnedPartition`): what its records say.

    Its deliveries enter the queue, and its replays begin, with the first tick: before that it is being restored, and
    nothing may be sent. `changed` is called when the queue has something new.
    """

    def __init__(self, partition: int, queue: Queue, replays: Replaying, changed: Callable[[], None]) -> None:
        self._partition = partition
        self._queue = queue
        self._replays = replays
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
        entry = self._entry_of(record, record.value)
        if self._ledger.opened(entry) and self._live:
            self._start(entry)

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> NoReturn:
        del inputs, tenure
        raise AssertionError("a partition that is its own changelog has no inputs")

    async def tick(self, tenure: Tenure) -> Step:
        del tenure  # the topic's records carry no marks: a late one is recognised by what it says
        if not self._live:
            self._live = True
            for entry in list(self._ledger.pending.values()):
                self._start(entry)
        return Step(state=[self._record(*standing) for standing in self._ledger.overruled(_OVERRULED_PER_TICK)])

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        del input_offset, tenure
        return None

    def settled(self, entry_id: str, following: Entry | None) -> None:
        """What an attempt, or a stretch of a replay, has come to is in the log."""
        news = self._ledger.settled(entry_id, following)
        if self._closed or not self._live:
            return
        if following is None:
            self._queue.remove(entry_id)
        elif news and isinstance(following, Delivery):
            self._start(following)

    def replay(self, replay_id: str) -> Replay | None:
        """See `services.webhooks.replays.Keeper`, and below."""
        found = None if self._closed else self._ledger.pending.get(replay_id)
        return found if isinstance(found, Replay) else None

    def waiting(self, replay_id: str) -> int:
        return self._ledger.waiting(replay_id)

    def close(self) -> None:
        self._closed = True
        if self._live:
            for entry_id in self._ledger.pending:
                self._queue.remove(entry_id)
                self._replays.end(entry_id)

    def _entry_of(self, record: Incoming, value: bytes) -> Entry:
        envelope = decode(value, WEBHOOK_DELIVERIES)
        if isinstance(envelope.data, WebhookReplay):
            return replay_of(cast("Envelope[WebhookReplay]", envelope), self._partition, record.traceparent)
        return delivery_of(cast("Envelope[WebhookDelivery]", envelope), self._partition, record.traceparent)

    def _start(self, entry: Entry) -> None:
        if isinstance(entry, Replay):
            self._replays.begin(entry, self)
        else:
            self._queue.put(entry)
            self._changed()

    def _record(self, entry_id: str, standing: Entry | None) -> Outgoing:
        if standing is None:
            return tombstone(_DELIVERIES, entry_id, self._partition)
        record = replay_record(standing) if isinstance(standing, Replay) else delivery_record(standing)
        return outgoing(_DELIVERIES, record, key=entry_id, partition=self._partition, traceparent=standing.traceparent)
