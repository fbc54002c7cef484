"""Deliveries in: one task for each, per assignment of its partition; restore, revoke and drain (D60).

It must never cancel a job that has begun, nor say `done` of one that is not settled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from chassis.failures import supervised
from chassis.ids import parse_message_id
from chassis.log import Incoming
from chassis.offset_tracker import Work
from chassis.service import Crash
from chassis.telemetry import logger, traceparent
from schemas.deliveries import DELIVERIES, Delivery
from schemas.envelope import decode
from services.sender import metrics
from services.sender.handlers import Attempts
from services.sender.ports import BrokerClock, Job, Tenure

_log = logger("intake")


class Consumer(Protocol):
    """The consumer group, as far as it is told (chassis.offset_tracker)."""

    def done(self, work: Work) -> None: ...

    def leave(self, work: Work) -> None: ...


# Dead-letter a record, however long that takes; the reason.
Bury = Callable[[Incoming, str], Awaitable[None]]


class JournalPartitions(Protocol):
    async def follow(self, partition: int, holder: str, since_ms: int) -> None: ...

    def release(self, partition: int, holder: str) -> None: ...


class Intake:
    """What the tracked consumer calls. `drain_within`: seconds that begun attempts have to end when we are told to stop."""

    def __init__(
        self,
        attempts: Attempts,
        consumer: Consumer,
        journal: JournalPartitions,
        bury: Bury,
        broker_clock: BrokerClock,
        crash: Crash | None,
        *,
        drain_within: float,
    ) -> None:
        self._attempts = attempts
        self._consumer = consumer
        self._journal = journal
        self._bury = bury
        self._broker_clock = broker_clock
        self._crash = crash
        self._drain_within = drain_within
        self._tenures: dict[tuple[str, int], Tenure] = {}
        self._jobs: dict[asyncio.Task[None], tuple[Job, Work]] = {}
        self._left: list[Work] = []  # not to be done here, since we are told to stop
        self._draining = False

    async def start(self) -> None:
        """Work comes from the consumer."""

    async def stop(self) -> None:
        """Begin nothing any more, let what has begun end, leave the rest to the next owner."""
        self._draining = True
        self._cancel_unbegun(lambda _: True)
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._drain_within)
        for _, work in self._jobs.values():
            self._left.append(work)
        if self._jobs:
            _log.warning("left_with_attempts_open", count=len(self._jobs))
        for work in self._left:
            self._consumer.leave(work)

    async def restore(self, topic: str, partition: int, first_open: Incoming | None) -> None:
        """Read as much of the journal as the open deliveries of this partition may stand in."""
        since_ms = self._broker_clock.broker_now_ms()
        if first_open is not None:
            since_ms = min(since_ms, decode(first_open.value, DELIVERIES).data.first_dispatched_at_ms)
        await self._journal.follow(partition, topic, since_ms)
        self._tenures[topic, partition] = Tenure(topic, partition)

    def revoked(self, places: Sequence[tuple[str, int]]) -> None:
        """They are others' now: what has not begun is theirs to do."""
        for place in places:
            if (tenure := self._tenures.pop(place, None)) is not None:
                tenure.over = True
            topic, partition = place
            self._journal.release(partition, topic)
        self._cancel_unbegun(lambda job: job.tenure.over)

    def begin(self, work: Work) -> None:
        """Take one delivery; its task runs from here on."""
        if self._draining:
            self._left.append(work)
            return
        delivery = work.envelope.data
        assert isinstance(delivery, Delivery)
        job = Job(
            delivery=delivery,
            project_id=work.envelope.project_id,
            landed_ms=work.record.timestamp_ms,
            tenure=self._tenures[work.record.topic, work.record.partition],
        )
        task = supervised(self._carry_out(job, work), self._crash)
        self._jobs[task] = (job, work)
        metrics.IN_FLIGHT.set(len(self._jobs))
        task.add_done_callback(self._ended)

    async def _carry_out(self, job: Job, work: Work) -> None:
        traceparent.set(work.record.traceparent)
        place = parse_message_id(job.delivery.message_id)
        if place is None or place.partition != work.record.partition:
            await self._bury(work.record, "the message id does not belong in this partition")
        elif not await self._attempts.carry_out(job):
            return
        self._consumer.done(work)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._jobs[task]
        metrics.IN_FLIGHT.set(len(self._jobs))

    def _cancel_unbegun(self, which: Callable[[Job], bool]) -> None:
        for task, (job, work) in list(self._jobs.items()):
            if not job.begun and which(job):
                task.cancel()
                if self._draining:
                    self._left.append(work)
