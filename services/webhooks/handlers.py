"""What the webhooks service does: events become deliveries, and deliveries become requests until they are over.

Nothing here waits for an endpoint but that endpoint's own delivery.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from chassis.clock import Clock
from chassis.consume import Batch
from chassis.failures import Done, Retry, attempt, supervised
from chassis.ids import derived_id
from chassis.log import Incoming, Outgoing, outgoing, tombstone
from chassis.partition_owner import Received, Step, Tenure
from chassis.service import Crash
from chassis.telemetry import logger
from schemas.envelope import decode, seal, to_timestamp
from schemas.tables import WebhookEndpoint
from schemas.topics import TOPICS
from schemas.webhooks import WEBHOOK_DELIVERIES, WebhookAttempt, WebhookDelivery
from services.webhooks import metrics
from services.webhooks.domain import signature
from services.webhooks.domain.fanout import deliveries
from services.webhooks.domain.queue import Pending, Queue
from services.webhooks.domain.schedule import next_attempt_ms
from services.webhooks.domain.verdict import Answer, Verdict, judge
from services.webhooks.ports import CallEndpoint, Deliveries, Endpoints, SecretUnreadable
from services.webhooks.settings import WebhooksSettings

_log = logger("webhooks")

_DELIVERIES, _ATTEMPTS = TOPICS["webhook-deliveries"], TOPICS["webhook-attempts"]
# How many closed deliveries of a partition are remembered, so that an event which is read again is not sent again.
_REMEMBERED = 20_000
_UNREADABLE_SECRET_MS = 60_000  # a wrong sealing key is our own fault, and takes a person to mend
_NOT_OWNED_MS = 500
_IDLE = 1.0  # seconds at most between two looks at the queue: nothing hangs on one lost wake-up


class FanOut:
    """Event × endpoints → deliveries; stateless, and the same each time the event is read."""

    def __init__(self, endpoints: Endpoints, clock: Clock) -> None:
        self._endpoints = endpoints
        self._clock = clock

    async def handle(self, batch: Batch) -> Sequence[Outgoing]:
        if not await self._endpoints.fresh():
            raise Retry(0.2, "the table of endpoints is not fresh")
        now_ms = self._clock.now_ms()
        made: list[Outgoing] = []
        for record, event in batch.records:
            endpoints = self._endpoints.of_project(event.project_id)
            made += [
                _delivery_record(delivery, event.project_id, now_ms, traceparent=record.traceparent)
                for delivery in deliveries(event, record.value or b"", endpoints, now_ms)
            ]
        metrics.DELIVERIES_MADE.inc(len(made))
        return made


class DeliveryPartition:
    """One owned partition of webhook-deliveries (`chassis.partition_owner.OwnedPartition`, its own changelog).

    While it is restored it gathers; from the first tick on the courier has what is pending. An event that fan-out read
    again after its delivery was over comes as a new record of a known, closed id: it is closed again, not sent again.
    That memory is bounded and lost with the process: an endpoint may get an event twice, with the same `webhook-id`.
    """

    def __init__(self, partition: int, queue: Queue, wake: Callable[[], None]) -> None:
        self._partition = partition
        self._queue = queue
        self._wake = wake
        self._restored = False
        self._gathered: dict[str, tuple[WebhookDelivery, str]] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._repeated: set[str] = set()

    def changelog_start(self) -> int | None:
        return None

    def input_position(self) -> int | None:
        return None

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        del input_offset, tenure
        return None

    def apply(self, record: Incoming) -> None:
        if record.value is None:
            self._close_one(record.key)
            return
        envelope = decode(record.value, WEBHOOK_DELIVERIES)
        if envelope.data.id in self._closed:
            self._repeated.add(envelope.data.id)
        elif self._restored:
            self._queue.put(envelope.data, envelope.project_id, self._partition)
            self._wake()
        else:
            self._gathered[envelope.data.id] = (envelope.data, envelope.project_id)

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
        del inputs, tenure
        raise AssertionError("a partition that is its own changelog has no inputs")

    async def tick(self, tenure: Tenure) -> Step:
        del tenure
        if not self._restored:
            self._restored = True
            for delivery, project_id in self._gathered.values():
                self._queue.put(delivery, project_id, self._partition)
            self._gathered.clear()
            self._wake()
        repeated, self._repeated = self._repeated, set()
        return Step(outputs=[tombstone(_DELIVERIES, delivery_id, self._partition) for delivery_id in repeated])

    def close(self) -> None:
        self._queue.drop_partition(self._partition)

    def _close_one(self, delivery_id: str) -> None:
        self._gathered.pop(delivery_id, None)
        self._repeated.discard(delivery_id)
        self._queue.remove(delivery_id)
        self._closed[delivery_id] = None
        self._closed.move_to_end(delivery_id)
        if len(self._closed) > _REMEMBERED:
            self._closed.popitem(last=False)


class Courier:
    """Carries out what is due, as many at once as the queue lets start (`chassis.service.Part`)."""

    def __init__(
        self,
        queue: Queue,
        endpoints: Endpoints,
        call: CallEndpoint,
        owned: Deliveries,
        clock: Clock,
        settings: WebhooksSettings,
        crash: Crash,
    ) -> None:
        self._queue = queue
        self._endpoints = endpoints
        self._call = call
        self._owned = owned
        self._clock = clock
        self._gaps = settings.retry_schedule
        self._crash = crash
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._requests: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something may have become due."""
        self._woken.set()

    async def start(self) -> None:
        self._loop = supervised(self._run(), self._crash)

    async def stop(self) -> None:
        """Start nothing new; what is under way is waited for, it ends within the request's time-out."""
        if self._loop is not None:
            self._loop.cancel()
        if self._requests:
            await asyncio.wait(self._requests)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            now_ms = self._clock.now_ms()
            for pending in self._queue.start_due(now_ms):
                task = supervised(self._carry_out(pending), self._crash)
                self._requests.add(task)
                task.add_done_callback(self._requests.discard)
            self._observe(now_ms)
            due_ms = self._queue.next_due_ms(now_ms)
            rest = _IDLE if due_ms is None else min(_IDLE, (due_ms - now_ms) / 1000)
            try:
                async with asyncio.timeout(max(rest, 0.001)):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _carry_out(self, pending: Pending) -> None:
        delivered: bool | None = None
        try:
            delivered = await self._attempt(pending)
        finally:
            self._queue.finished(pending, self._clock.now_ms(), delivered=delivered)
            self.wake()

    async def _attempt(self, pending: Pending) -> bool | None:
        """One attempt, written down; None where no request was made."""
        delivery = pending.delivery
        if not self._owned.owned(pending.partition):
            self._put_off(pending, _NOT_OWNED_MS, "not_owned")
            return None
        endpoint = self._endpoints.get(delivery.endpoint_id)
        if endpoint is None:
            await self._write(pending, [tombstone(_DELIVERIES, delivery.id, pending.partition)])
            self._queue.remove(delivery.id)
            return None
        try:
            secrets = self._endpoints.secrets(endpoint)
        except SecretUnreadable as error:
            _log.error("endpoint_secret_unreadable", endpoint_id=endpoint.id, reason=str(error))
            self._put_off(pending, _UNREADABLE_SECRET_MS, "secret_unreadable")
            return None
        return await self._request(pending, endpoint, secrets)

    async def _request(self, pending: Pending, endpoint: WebhookEndpoint, secrets: Sequence[str]) -> bool:
        delivery, began_ms = pending.delivery, self._clock.now_ms()
        body = delivery.body.encode()
        headers = signature.headers(delivery.event_id, began_ms // 1000, body, secrets)
        answer = await self._call(endpoint.url, body, headers)
        ended_ms = self._clock.now_ms()
        verdict = judge(answer)
        next_ms = next_attempt_ms(delivery.id, delivery.attempt, answer, verdict, self._gaps, ended_ms)
        made = attempt_made(delivery, answer, verdict, began_ms, ended_ms, next_ms)
        metrics.ATTEMPTS.labels(made.outcome).inc()
        metrics.ATTEMPT_SECONDS.observe((ended_ms - began_ms) / 1000)
        # The attempt is in its log before the delivery moves on: what people read has no gap.
        if await self._write(pending, [_attempt_record(made, pending.project_id, ended_ms)]):
            await self._move_on(pending, next_ms, ended_ms)
        return verdict.delivered

    async def _move_on(self, pending: Pending, next_ms: int | None, now_ms: int) -> None:
        delivery = pending.delivery
        if next_ms is None:
            if await self._write(pending, [tombstone(_DELIVERIES, delivery.id, pending.partition)]):
                self._queue.remove(delivery.id)
            return
        again = delivery.model_copy(update={"attempt": delivery.attempt + 1, "due_at_ms": next_ms})
        record = _delivery_record(again, pending.project_id, now_ms, partition=pending.partition)
        if await self._write(pending, [record]):
            self._queue.put(again, pending.project_id, pending.partition)

    async def _write(self, pending: Pending, records: Sequence[Outgoing]) -> bool:
        """Until it is in the log, or is another process's to write."""
        while True:
            outcome = await attempt(self._owned.append(pending.partition, records))
            match outcome:
                case Done(value=written):
                    return written
                case Retry(after=after):
                    await self._clock.sleep(after)
                case _:
                    raise outcome

    def _put_off(self, pending: Pending, wait_ms: int, reason: str) -> None:
        metrics.POSTPONED.labels(reason).inc()
        self._queue.postpone(pending, self._clock.now_ms() + wait_ms)

    def _observe(self, now_ms: int) -> None:
        oldest_ms = self._queue.oldest_ms()
        metrics.PENDING.set(len(self._queue))
        metrics.OLDEST_SECONDS.set(0 if oldest_ms is None else (now_ms - oldest_ms) / 1000)
        metrics.RUNNING.set(self._queue.running)
        metrics.OPEN_BREAKERS.set(self._queue.open_breakers())


def attempt_made(
    delivery: WebhookDelivery, answer: Answer, verdict: Verdict, began_ms: int, ended_ms: int, next_ms: int | None
) -> WebhookAttempt:
    """The attempt as people read it."""
    failed = "exhausted" if next_ms is None else "failed"
    return WebhookAttempt(
        id=derived_id("wha", delivery.id, str(delivery.attempt), str(began_ms)),
        delivery_id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        attempt=delivery.attempt,
        at=to_timestamp(began_ms),
        duration_ms=max(0, ended_ms - began_ms),
        outcome="succeeded" if verdict.delivered else failed,
        status_code=answer.status,
        error=answer.error,
        response=answer.response,
        next_attempt_at=None if next_ms is None else to_timestamp(next_ms),
    )


def _delivery_record(
    delivery: WebhookDelivery,
    project_id: str,
    now_ms: int,
    *,
    partition: int | None = None,
    traceparent: str | None = None,
) -> Outgoing:
    record = seal(
        delivery,
        record_id=derived_id("rec", delivery.id, str(delivery.attempt)),
        source="webhooks",
        subject=delivery.id,
        time_ms=now_ms,
        project_id=project_id,
    )
    return outgoing(_DELIVERIES, record, key=delivery.id, partition=partition, traceparent=traceparent)


def _attempt_record(made: WebhookAttempt, project_id: str, now_ms: int) -> Outgoing:
    record = seal(
        made, record_id=made.id, source="webhooks", subject=made.delivery_id, time_ms=now_ms, project_id=project_id
    )
    return outgoing(_ATTEMPTS, record, key=made.delivery_id)
