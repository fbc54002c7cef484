"""The router's view of one partition: folds inputs into decisions, lets timers and turns come as inputs, tells its queues.

All that changes a message is an input: a tick never decides, it only appends `Due` and `Recheck`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from chassis.clock import Clock
from chassis.failures import Retry
from chassis.log import Incoming, Outgoing, outgoing, tombstone
from chassis.partition_owner import Received, Step, Tenure
from chassis.telemetry import logger
from rules.pauses import Pauses
from schemas.envelope import decode, seal, to_ms
from schemas.inputs import Due, Release
from schemas.mail import TERMINAL, Content
from schemas.states import POSITION_KEY, STATE_RECORDS, MessageState, Position
from schemas.topics import TOPICS, message_inputs, message_state
from services.router.batch import Batch, Place, needs_suppressions
from services.router.domain.records import (
    SOURCE,
    due_input,
    position_record,
    recheck_input,
    state_record,
)
from services.router.guidance import Guidance
from services.router.metrics import BATCH, IN_FLIGHT, OLDEST_WAITING, SCHEDULED, WAITING
from services.router.ports import BrokerTime, Ladders, Store, Submissions, Suppressions, Tables
from services.router.queues import Queues
from services.router.rows import row_of
from services.router.stops import Stops

_log = logger("router")

_STALE_BACK_OFF = 0.2  # seconds until a batch comes again that found the suppressions stale
_SNAPSHOT_MS = 1000
_TOMBSTONES_PER_TICK = 200
_FORGET_MS = 1000  # between two looks for messages to forget, once there are none


@dataclass(frozen=True, slots=True)
class _Live:
    """What is counted of the local file."""

    queues: Queues
    stops: Stops


class RouterPartition:
    """Implements `chassis.partition_owner.OwnedPartition`, `PutsAgain` and `chassis.ownership.RemembersFences`."""

    def __init__(
        self,
        place: Place,
        store: Store,
        suppressions: Suppressions,
        ladders: Ladders,
        tables: Tables,
        submissions: Submissions,
        *,
        clock: Clock,
        now_ms: BrokerTime,
        window: int,
        feedback_window_ms: int,
    ) -> None:
        self._place = place
        self._store = store
        self._suppressions = suppressions
        self._ladders = ladders
        self._tables = tables
        self._submissions = submissions
        self._clock = clock
        self._now_ms = now_ms
        self._window = window
        self._feedback_window_ms = feedback_window_ms
        self._live_view: _Live | None = None  # counted when the restore is over
        self._listed: list[tuple[str, str, str]] = []  # added since the last tick
        self._regrouped: set[str] = set()  # destinations, since the last tick
        self._unwatch_groups = tables.watch(self._regrouped.add)
        self._unwatch = suppressions.watch(lambda *added: self._listed.append(added))
        self._snapshot_at_ms = 0
        self._forget_at_ms = 0

    # restoring

    def changelog_start(self) -> int | None:
        return self._store.next_offset()

    def changelog_fence(self) -> int | None:
        return self._store.fence()

    def fenced(self, offset: int) -> None:
        self._store.remember_fence(offset)

    def input_position(self) -> int | None:
        return self._store.input_offset()

    def apply(self, record: Incoming) -> None:
        if record.key == POSITION_KEY:
            if record.value is not None:
                self._store.remember_input_offset(orjson.loads(record.value)["data"]["input_offset"])
        else:
            self._apply_message(record)
        self._store.applied(record.offset, record.timestamp_ms)

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        position = Position(input_offset=input_offset, epoch=tenure.epoch, valid_until_ms=tenure.valid_until_ms)
        subject = f"{self._place.lane}:{self._place.partition}"
        return outgoing(
            message_state(self._place.lane),
            position_record(position, subject=subject, now_ms=self._now_ms()),
            key=POSITION_KEY,
            partition=self._place.partition,
            valid_until_ms=tenure.valid_until_ms,
        )

    def current(self, key: str, tenure: Tenure) -> Outgoing | None:
        """The live state of `key`, to be put again under `tenure` where a void record came last."""
        if key == POSITION_KEY:
            known = self._store.input_offset()
            return None if known is None else self.position_record(known, tenure)
        record = self._store.records([key]).get(key)
        if record is None:
            return None
        envelope = decode(record, STATE_RECORDS)
        assert isinstance(envelope.data, MessageState)
        again = envelope.data.model_copy(update={"epoch": tenure.epoch, "valid_until_ms": tenure.valid_until_ms})
        return outgoing(
            message_state(self._place.lane),
            state_record(again, project_id=envelope.project_id, now_ms=to_ms(envelope.time)),
            key=key,
            partition=self._place.partition,
            valid_until_ms=tenure.valid_until_ms,
        )

    def close(self) -> None:
        self._unwatch()
        self._unwatch_groups()
        self._store.close()
        for gauge in (WAITING, IN_FLIGHT, SCHEDULED, OLDEST_WAITING):
            gauge.remove(self._place.lane, str(self._place.partition))

    # inputs

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
        if needs_suppressions(inputs) and not await self._suppressions.fresh():
            raise Retry(_STALE_BACK_OFF, "the suppressions are not fresh")
        queues = self._live().queues
        began = self._clock.monotonic()
        now_ms = self._now_ms()
        batch = Batch(
            self._place,
            queues,
            self._suppressions,
            Guidance(self._tables.now(), self._ladders, self._place.ladder, now_ms),
            self._store.records({received.record.key for received in inputs}),
            now_ms=now_ms,
            tenure=tenure,
            first_offset=inputs[0].record.offset,
        )
        for received in inputs:
            batch.fold(received, await self._submitted(batch, received))
        step = batch.step()
        for message_id in batch.idle_timers:
            queues.forget(message_id)
        BATCH.labels(self._place.lane).observe(self._clock.monotonic() - began)
        return step

    async def _submitted(self, batch: Batch, received: Received) -> Content | None:
        """What a thin state's Submit says, where the watchdog or a release may hand the message out again."""
        given = received.envelope.data if received.envelope is not None else None
        if not isinstance(given, Release) and not (isinstance(given, Due) and given.kind == "watchdog"):
            return None
        state = batch.working(given.message_id).state
        if state is None or state.status in TERMINAL or state.content is not None or state.submit_offset is None:
            return None
        return await self._submissions.content(self._place.partition, state.submit_offset)

    # ticks

    async def tick(self, tenure: Tenure) -> Step:
        del tenure  # tombstones get its marks from the owner; the other records need none
        self._store.commit()
        live, directions, now_ms = self._live(), self._tables.now(), self._now_ms()
        queues = live.queues
        self._regroup(queues)
        live.stops.keep_up(directions)
        timers = queues.due(self._store, now_ms) + live.stops.flushed(directions) + queues.admitted(self._store, now_ms)
        outputs = [
            self._input(
                timer.message_id,
                due_input(
                    timer.message_id,
                    timer.project_id,
                    Due(message_id=timer.message_id, kind=timer.kind, attempt=timer.attempt, dispatch=timer.dispatch),
                    now_ms,
                ),
            )
            for timer in timers
        ]
        outputs += self._rechecks(now_ms) + self._snapshot(queues, directions.pauses, now_ms)
        return Step(state=self._forgotten(now_ms), outputs=outputs)

    def _rechecks(self, now_ms: int) -> list[Outgoing]:
        """An input to each message that waits for a recipient who was put on the list since the last tick."""
        listed, self._listed = self._listed, []
        return [
            self._input(message_id, recheck_input(message_id, project_id, suppression_id, now_ms))
            for project_id, address, suppression_id in listed
            for message_id in self._store.unsent_to(project_id, address)
        ]

    def _regroup(self, queues: Queues) -> None:
        for destination in self._regrouped:
            queues.regroup(destination, self._store)
        self._regrouped.clear()

    def _snapshot(self, queues: Queues, pauses: Pauses, now_ms: int) -> list[Outgoing]:
        if now_ms - self._snapshot_at_ms < _SNAPSHOT_MS:
            return []
        state = queues.snapshot(self._store, self._place.lane, self._place.partition, now_ms, pauses)
        if state is None:
            return []
        self._snapshot_at_ms = now_ms
        self._measure(queues, now_ms)
        key = f"{self._place.lane}:{self._place.partition}"
        envelope = seal(state, record_id=f"{key}:{now_ms}", source=SOURCE, subject=key, time_ms=now_ms, project_id="")
        return [outgoing(TOPICS["queue-state"], envelope, key=key)]

    def _measure(self, queues: Queues, now_ms: int) -> None:
        lane, partition = self._place.lane, str(self._place.partition)
        oldest = queues.oldest_ms
        WAITING.labels(lane, partition).set(queues.waiting)
        IN_FLIGHT.labels(lane, partition).set(queues.in_flight)
        SCHEDULED.labels(lane, partition).set(queues.scheduled)
        OLDEST_WAITING.labels(lane, partition).set(0 if oldest is None else max(0, now_ms - oldest) / 1000)

    def _forgotten(self, now_ms: int) -> list[Outgoing]:
        """Tombstones of messages closed longer ago than anything can still come back about them."""
        if now_ms < self._forget_at_ms:
            return []
        gone = self._store.closed_before(now_ms - self._feedback_window_ms, _TOMBSTONES_PER_TICK)
        if len(gone) < _TOMBSTONES_PER_TICK:
            self._forget_at_ms = now_ms + _FORGET_MS
        return [tombstone(message_state(self._place.lane), message_id, self._place.partition) for message_id in gone]

    def _input(self, message_id: str, envelope: Any) -> Outgoing:
        return outgoing(message_inputs(self._place.lane), envelope, key=message_id, partition=self._place.partition)

    # the local view

    def _live(self) -> "_Live":
        """The queues; counted at the first call, when the restore is over."""
        if self._live_view is None:
            self._store.commit()
            census = list(self._store.census())
            for destination, group in {(count.destination, count.group) for count in census}:
                if group != self._tables.group_of(destination):  # it became known while nobody looked
                    self._store.regroup(destination, self._tables.group_of(destination))
            queues = Queues(self._window, census, self._store.scheduled(), self._now_ms(), self._tables.group_of)
            self._live_view = _Live(queues, Stops(self._store, queues))
            for project_id, address in self._store.unsent_recipients():
                suppression_id = self._suppressions.id_of(project_id, address)
                if suppression_id is not None:
                    self._listed.append((project_id, address, suppression_id))
        return self._live_view

    def _apply_message(self, record: Incoming) -> None:
        live = self._live_view
        before = None if live is None else self._store.standing(record.key)
        row = None if record.value is None else row_of(record, self._group_of, self._bar)
        if row is None:
            self._store.remove(record.key)
        else:
            self._store.put(row)
        if live is not None:
            live.queues.moved(record.key, before, None if row is None else row.standing)

    def _group_of(self, destination: str) -> str:
        live = self._live_view
        return self._tables.group_of(destination) if live is None else live.queues.group_of(destination)

    def _bar(self, project_id: str, destination: str, waits_for: Sequence[str]) -> str | None:
        """While restoring there is none: whoever is stopped is called once, and stands behind one then."""
        if self._live_view is None:
            return None
        bar = self._live_view.stops.bar(project_id, destination, waits_for, self._tables.now())
        return None if bar is None else bar.text()
