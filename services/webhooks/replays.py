"""Replays: reads the log again by time, a stretch at a time, and makes of what it finds deliveries of the same partition.

It must never take more than half of the process's time, nor have more than a few hundred deliveries of one replay
pending: events that happen now come first. Progress is a record, so what a kill leaves behind goes on from there; who
asked for it reads of its end, and of why, in another.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from chassis.clock import Clock
from chassis.failures import LOG_BACK_OFF, Reporter, Retry, supervised
from chassis.ids import message_time_of
from chassis.log import Incoming, LogUnavailable, Outgoing, outgoing, tombstone
from chassis.telemetry import logger
from schemas.envelope import Envelope, MalformedRecord, Payload, decode
from schemas.tables import WebhookEndpoint
from schemas.topics import TOPICS, Topic
from schemas.webhooks import WEBHOOK_ATTEMPTS, ReplayFailure, ReplayStatus, WebhookAttempt
from services.webhooks.domain.records import replay_record, replay_state, replayed_delivery
from services.webhooks.domain.replay import Failed, Left, Replay
from services.webhooks.metrics import REPLAYED
from services.webhooks.ports import Endpoints, History, Keeper, Results

_log = logger("replays")
_EVENTS, _ACCOUNT = TOPICS["message-events"], TOPICS["account-events"]
_DELIVERIES, _ATTEMPTS = TOPICS["webhook-deliveries"], TOPICS["webhook-attempts"]
_REPLAYS = TOPICS["webhook-replays"]
_STRETCH = 500  # records
_MOST_WAITING = 500  # deliveries of one replay
_LOOK_EVERY = 0.2  # seconds

P = TypeVar("P", bound=Payload)


class Replays:
    """A part of the service: each replay is a task, and they take turns."""

    def __init__(
        self, endpoints: Endpoints, history: History, results: Results, clock: Clock, crash: Reporter | None
    ) -> None:
        self._endpoints = endpoints
        self._history = history
        self._results = results
        self._clock = clock
        self._crash = crash
        self._turn = asyncio.Lock()
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, replay: Replay, keeper: Keeper) -> None:
        """Carry it out, from where it stands; one that runs sees for itself how it stands."""
        if replay.id in self._running:
            return
        task = self._running[replay.id] = supervised(self._carry_out(replay.id, keeper), self._crash)
        task.add_done_callback(lambda done: self._forget(replay.id, done))

    def end(self, replay_id: str) -> None:
        """Another process has it now."""
        task = self._running.pop(replay_id, None)
        if task is not None:
            task.cancel()

    async def start(self) -> None:
        """Nothing: partitions begin what stands in them."""

    async def stop(self) -> None:
        tasks = list(self._running.values())
        for replay_id in list(self._running):
            self.end(replay_id)
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, replay_id: str, task: asyncio.Task[None]) -> None:
        if self._running.get(replay_id) is task:
            del self._running[replay_id]

    async def _carry_out(self, replay_id: str, keeper: Keeper) -> None:
        failed: Failed | None = None
        while (replay := keeper.replay(replay_id)) is not None:
            try:
                if replay.asked.only_failed and failed is None:
                    failed = await self._failed(replay)
                await self._go_on(replay, keeper, failed)
            except (Retry, LogUnavailable) as error:
                _log.warning("replay_waits", replay=replay_id, reason=str(error))
                await self._clock.sleep(error.after if isinstance(error, Retry) else LOG_BACK_OFF)

    async def _go_on(self, replay: Replay, keeper: Keeper, failed: Failed | None) -> None:
        """Its beginning, one stretch, or its end. Raises Retry."""
        endpoint = await self._endpoints.find(replay.asked.webhook_id)
        if endpoint is None:  # and with it who could ask how the replay stands
            await self._close(replay, keeper, tombstone(_REPLAYS, replay.id), "endpoint_deleted")
        elif endpoint.disabled_at is not None:
            await self._fail(replay, keeper, "endpoint_disabled")
        elif failed is not None and failed.too_many:
            await self._fail(replay, keeper, "too_many_failed")
        elif not replay.begun:
            await self._record(replay, keeper, replay.with_left(await self._window(replay)), [])
        elif replay.left:
            while keeper.waiting(replay.id) >= _MOST_WAITING:
                await self._clock.sleep(_LOOK_EVERY)
            await self._read_stretch(replay, keeper, endpoint, failed)
        else:
            await self._close(replay, keeper, self._state(replay, "done"), "done")

    async def _window(self, replay: Replay) -> Left:
        since_ms, until_ms = replay.window_ms
        return {
            f"{topic.entry}/{partition}": span
            for topic in _topics_of(replay)
            for partition, span in (await self._history.between(topic, since_ms, until_ms)).items()
        }

    async def _read_stretch(
        self, replay: Replay, keeper: Keeper, endpoint: WebhookEndpoint, failed: Failed | None
    ) -> None:
        place, (offset, end) = next(iter(replay.left.items()))
        entry, _, partition = place.partition("/")
        topic, made, matched = TOPICS[entry], list[Outgoing](), 0

        def take(record: Incoming) -> None:
            nonlocal matched
            event = _decoded(record, topic.types, replay.trait)
            if event is None or not replay.wants(event, endpoint):
                return
            matched += 1
            if failed is not None and event.id not in failed.event_ids:
                return
            delivery = replayed_delivery(event, record.value or b"", replay)
            parent = record.traceparent
            made.append(
                outgoing(_DELIVERIES, delivery, key=delivery.data.id, partition=replay.partition, traceparent=parent)
            )

        after = await self._read(topic, int(partition), offset, end, take)
        only_one = replay.asked.event_id is not None
        left = {} if made and only_one else {**replay.left, place: (after, end)}
        await self._record(replay, keeper, replay.with_left(left, matched=matched, queued=len(made)), made)

    async def _failed(self, replay: Replay) -> Failed:
        """The events that failed at the endpoint since the window's beginning, and have not arrived. Raises Retry."""
        failed = Failed(replay.asked.webhook_id)
        spans = await self._history.between(_ATTEMPTS, replay.window_ms[0], self._clock.now_ms())
        for told in (failed.failure, failed.arrival):
            for partition, (offset, end) in spans.items():
                at = offset
                while at < end and not failed.too_many:
                    at = await self._read(_ATTEMPTS, partition, at, end, _attempts(replay, told))
        return failed

    async def _read(self, topic: Topic, partition: int, offset: int, end: int, take: Callable[[Incoming], None]) -> int:
        """Take one stretch; the next offset. What it took of the process's time it leaves to others. Raises Retry."""
        async with self._turn:
            began = self._clock.monotonic()
            records, after = await self._history.read(topic.name, partition, offset, min(_STRETCH, end - offset))
            for record in records:
                if record.offset < end:
                    take(record)
            await self._clock.sleep(self._clock.monotonic() - began)
        return after

    async def _record(self, replay: Replay, keeper: Keeper, following: Replay, made: Sequence[Outgoing]) -> None:
        progress = outgoing(
            _DELIVERIES,
            replay_record(following),
            key=replay.id,
            partition=replay.partition,
            traceparent=replay.traceparent,
        )
        await self._results.append(replay.partition, [*made, progress, self._state(following, "running")])
        REPLAYED.inc(len(made))
        keeper.settled(replay.id, following)

    async def _fail(self, replay: Replay, keeper: Keeper, reason: ReplayFailure) -> None:
        await self._close(replay, keeper, self._state(replay, "failed", reason), reason)

    def _state(self, replay: Replay, status: ReplayStatus, reason: ReplayFailure | None = None) -> Outgoing:
        return outgoing(_REPLAYS, replay_state(replay, status, self._clock.now_ms(), reason), key=replay.id)

    async def _close(self, replay: Replay, keeper: Keeper, last: Outgoing, cause: str) -> None:
        """First its last state, acked: once it is closed, nobody would write it again."""
        await self._results.append(replay.partition, [last])
        await self._results.append(replay.partition, [tombstone(_DELIVERIES, replay.id, replay.partition)])
        _log.info("replay_closed", replay=replay.id, endpoint=replay.asked.webhook_id, cause=cause)
        keeper.settled(replay.id, None)


def _topics_of(replay: Replay) -> Sequence[Topic]:
    """Where its events may lie."""
    event_id = replay.asked.event_id
    if event_id is None:
        return (_EVENTS, _ACCOUNT)
    return (_ACCOUNT,) if message_time_of(event_id) is None else (_EVENTS,)


def _attempts(replay: Replay, told: Callable[[WebhookAttempt], None]) -> Callable[[Incoming], None]:
    trait = replay.asked.webhook_id.encode()

    def take(record: Incoming) -> None:
        attempt = _decoded(record, WEBHOOK_ATTEMPTS, trait)
        if attempt is not None:
            told(attempt.data)

    return take


def _decoded(record: Incoming, types: Mapping[str, type[P]], trait: bytes) -> Envelope[P] | None:
    """The record, if it has the trait; what can't be read lies in the dead letters since it was first read."""
    if record.value is None or trait not in record.value:
        return None
    try:
        return decode(record.value, types)
    except MalformedRecord:
        return None
