"""Work that finishes out of order, committed in order: bounded in flight, contiguous commits, the open set in the
commit's metadata so that a take-over does not repeat everything that was finished above one slow record.

A commit never passes an unfinished record.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from chassis.clock import Clock
from chassis.failures import LOG_BACK_OFF, RETRIES, DeadLetters, Done, Poison, Retry, attempt, supervised
from chassis.log import Incoming, Log, incoming
from chassis.member import Member
from chassis.offsets import METADATA_LIMIT, OffsetTracker
from chassis.progress import Progress
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.telemetry import logger
from schemas.envelope import Envelope, MalformedRecord, Payload, decode
from schemas.topics import Topic

__all__ = ["METADATA_LIMIT", "OffsetTracker", "TrackedConsumer", "Work"]

_log = logger("offset_tracker")

COMMIT_EVERY = 0.2  # seconds between two commits, where there is anything to say
RENEW_EVERY = 0.5  # … and where there is not: the lease needs its proof
POLL = 0.1  # seconds to wait for records
POLL_BESIDE_FULL = 0.02  # … while a topic is left out because it has no room
BURY_WITHIN = 5.0  # seconds for one dead letter
DRAIN_WITHIN = 10.0  # seconds that `stop` waits for work in flight
DRAIN_LOOK = 0.05
BITE = 16  # a topic is asked again once so much of max_in_flight is free (one in so many), not for each single record
_NOWHERE = TopicPartition("nowhere", 0)  # never assigned: to ask for it is to ask, and to get nothing


@dataclass(frozen=True, slots=True)
class Work:
    """One record to be carried out; hand it to `TrackedConsumer.done` when its outcome is in the log."""

    record: Incoming
    envelope: Envelope[Payload]


@dataclass(slots=True, eq=False)
class _Held:
    """One assigned partition."""

    topic: Topic
    place: TopicPartition
    tracker: OffsetTracker
    open: bool = False  # restored: its work is handed out
    end: int = 0  # of the partition when it was assigned
    first: asyncio.Future[Incoming | None] | None = None  # while the first open record is looked for
    work: dict[int, Work] = field(default_factory=dict)
    in_flight: int = 0  # begun, or being buried


class TrackedConsumer:
    """A group member whose records are worked on concurrently.

    `restore` is awaited in a task for newly assigned partitions, with the records' first open offset, before any of
    their work is handed out. `begin` gets each record once per assignment, synchronously, and starts a task for it.
    `revoked` is told which partitions are gone. A poison record is dead-lettered and counts as finished.

    Topics are Kafka names (`Topic.name`). `max_in_flight` counts per topic, so that one lane's flood leaves the other
    its room. `restore` gets the first open record that can be read, or None where there was none; it may raise Retry.
    A partition that comes back at once keeps its work, and is not told as revoked. What nobody handles is reported to
    `crash`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        log: Log,
        clock: Clock,
        dead_letters: DeadLetters,
        *,
        group: str,
        topics: Sequence[Topic],
        restore: Callable[[str, int, Incoming | None], Awaitable[None]],
        begin: Callable[[Work], None],
        revoked: Callable[[Sequence[tuple[str, int]]], None],
        max_in_flight: int,
        crash: Crash | None = None,
    ) -> None:
        self._log = log
        self._clock = clock
        self._dead_letters = dead_letters
        self._group = group
        self._topics = {topic.name: topic for topic in topics}
        self._types = {topic.name: topic.types for topic in topics}
        self._restore = restore
        self._begin = begin
        self._revoked = revoked
        self._max_in_flight = max_in_flight
        self._crash = crash
        self._member = Member(kafka, clock, group=group, topics=list(self._topics), membership=self, crash=crash)
        self._keep_for = kafka.session_timeout.total_seconds() - self._member.lease.margin
        self._progress = Progress(group, clock)
        self._held: dict[TopicPartition, _Held] = {}
        self._in_flight: Counter[str] = Counter()  # by topic
        self._tasks: set[asyncio.Task[None]] = set()  # restores and dead letters
        self._restoring: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._burying = asyncio.Lock()
        self._joined = False
        self._stopping = False

    async def start(self) -> None:
        """Join the group; partitions become ready in the background (`ready`). Waits for the brokers."""
        await self._member.start()
        self._loops = [supervised(self._poll(), self._crash), supervised(self._commit_often(), self._crash)]

    async def stop(self) -> None:
        """Take nothing new, wait for work in flight (bounded), commit, leave."""
        self._stopping = True
        self._end_restores()
        if self._loops:
            self._member.consumer.pause(*self._member.consumer.assignment())
            await self._drained()
        for task in (*self._loops, *self._tasks):
            task.cancel()
        self._note_offsets()
        await self._member.commit()
        await self._member.stop()

    def done(self, work: Work) -> None:
        """Its outcome is in the log. Ignored where its partition was lost meanwhile: others do it again."""
        place = TopicPartition(work.record.topic, work.record.partition)
        held = self._held.get(place)
        if held is not None and held.work.get(work.record.offset) is work:
            del held.work[work.record.offset]
            self._finish(held, work.record.offset)

    def leave(self, work: Work) -> None:
        """It is not done, and will not be done here, since we are to stop: `stop` need not wait for it."""
        held = self._held.get(TopicPartition(work.record.topic, work.record.partition))
        if held is not None and held.work.get(work.record.offset) is work:
            del held.work[work.record.offset]
            self._count(held, -1)

    def holds(self, topic: str, partition: int) -> bool:
        """Whether this process may begin something for that partition now: assigned, and the lease is valid."""
        held = self._held.get(TopicPartition(topic, partition))
        return held is not None and held.open and self._member.remaining() > 0

    def lease_ends_ms(self) -> int:
        """The lease's end in broker time (ms): the `valid_until_ms` of what is written under it. Now, where there is none."""
        return self._log.broker_now_ms() + int(max(0.0, self._member.remaining()) * 1000)

    def ready(self) -> list[str]:
        """What is still missing, in words; empty when every assigned partition is restored."""
        if not self._joined:
            return [f"group {self._group}: not joined yet"]
        missing = [
            f"group {self._group}: restoring {place.topic}/{place.partition}"
            for place, held in self._held.items()
            if not held.open
        ]
        if self._held and self._member.remaining() <= 0:
            missing.append(f"group {self._group}: the brokers have not confirmed the assignment")
        return missing

    # assignments

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """The group's word (see `chassis.member.Membership`)."""
        self._joined = True
        kept = self._kept(partitions)
        self._drop([place for place in self._held if place not in kept])
        for place in kept:
            self._go_on(self._held[place], self._held[place].tracker.to_read)
        for place in partitions:
            if place not in kept and not self._stopping:
                task = supervised(self._open(place), self._crash)
                self._restoring.add(task)
                task.add_done_callback(self._restoring.discard)

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Say how far it is, and wait for nothing: that would hold up the whole group."""
        del partitions
        self._end_restores()
        self._note_offsets()
        await self._member.commit()

    def _kept(self, partitions: Sequence[TopicPartition]) -> set[TopicPartition]:
        """Those that nobody else can have had meanwhile: the group still knew us a short time ago."""
        if self._clock.monotonic() - self._member.accepted_at >= self._keep_for:
            return set()
        return {place for place in partitions if place in self._held and self._held[place].open}

    def _drop(self, gone: Sequence[TopicPartition]) -> None:
        for place in gone:
            held = self._held.pop(place)
            self._in_flight[place.topic] -= held.in_flight
        self._progress.gone((place.topic, place.partition) for place in gone)
        if gone:
            self._revoked([(place.topic, place.partition) for place in gone])

    def _end_restores(self) -> None:
        for task in self._restoring:
            task.cancel()

    async def _open(self, place: TopicPartition) -> None:
        while True:
            match await attempt(self._restored(place)):
                case Retry() as retry:
                    _log.warning("restore_failed", topic=place.topic, partition=place.partition, reason=retry.reason)
                    await self._clock.sleep(retry.after)
                case Poison() as poison:
                    raise poison
                case Done():
                    return

    async def _restored(self, place: TopicPartition) -> None:
        stored = await self._member.stored(place)
        first, end = await self._member.ends_of(place)
        offset, metadata = (first, "") if stored is None else (stored.offset, stored.metadata)
        tracker = OffsetTracker.restored(offset, metadata)
        held = self._held[place] = _Held(self._topics[place.topic], place, tracker, end=end)
        if not await self._member.commit_at(place, *tracker.commit_point()):
            raise Retry(LOG_BACK_OFF, "the group has not confirmed the assignment")
        await self._restore(place.topic, place.partition, await self._first_open(held))
        held.open = True
        self._go_on(held, offset)
        _log.info("partition_tracked", topic=place.topic, partition=place.partition, start=offset)

    async def _first_open(self, held: _Held) -> Incoming | None:
        """The first record still to be done that can be read; None where the partition had none when it was assigned."""
        if held.tracker.next_offset >= held.end:
            return None
        held.first = asyncio.get_running_loop().create_future()
        self._member.consumer.seek(held.place, held.tracker.next_offset)
        self._member.consumer.resume(held.place)
        try:
            return await held.first
        finally:
            held.first = None
            if held.place in self._member.consumer.assignment():
                self._member.consumer.pause(held.place)

    def _go_on(self, held: _Held, offset: int) -> None:
        self._member.offsets[held.place] = OffsetAndMetadata(*held.tracker.commit_point())
        self._member.consumer.seek(held.place, offset)
        if not self._stopping:
            self._member.consumer.resume(held.place)

    # work

    async def _poll(self) -> None:
        """Never stops asking, full or not: who does not ask is put out of the group.

        A topic that has no room is left out. Were it paused, what was fetched of it would be lost, and fetched again.
        """
        while True:
            bite = max(1, self._max_in_flight // BITE)
            rooms = {topic: room for topic in self._topics if (room := self._room(topic)) >= bite}
            wait = POLL if len(rooms) == len(self._topics) else POLL_BESIDE_FULL
            batches = await self._member.consumer.getmany(
                *self._hungry(rooms), timeout_ms=round(wait * 1000), max_records=min(rooms.values(), default=1)
            )
            for place, records in batches.items():
                held = self._held.get(place)
                if held is not None:
                    self._deliver(held, [incoming(record) for record in records])

    def _room(self, topic: str) -> int:
        return self._max_in_flight - self._in_flight[topic]

    def _hungry(self, rooms: Collection[str]) -> Sequence[TopicPartition]:
        """The partitions to ask: all (none is named) where every topic has room."""
        if len(rooms) == len(self._topics):
            return ()
        places = [place for place, held in self._held.items() if place.topic in rooms or not held.open]
        return places or [_NOWHERE]

    def _deliver(self, held: _Held, records: Sequence[Incoming]) -> None:
        if held.open:
            for record in records:
                self._take(held, record)
        elif held.first is not None and not held.first.done():
            found = next((record for record in records if self._readable(record) is not None), None)
            if found is not None or records[-1].offset + 1 >= held.end:
                held.first.set_result(found)

    def _take(self, held: _Held, record: Incoming) -> None:
        if self._stopping or not held.tracker.take(record.offset):
            return
        self._count(held, 1)
        try:
            envelope = decode(record.value, self._types[record.topic])
        except MalformedRecord as error:
            task = supervised(self._bury(held, record, str(error)), self._crash)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._dead_letters.handled(1)
        work = held.work[record.offset] = Work(record, envelope)
        self._begin(work)

    def _readable(self, record: Incoming) -> Envelope[Payload] | None:
        try:
            return decode(record.value, self._types[record.topic])
        except MalformedRecord:
            return None

    async def _bury(self, held: _Held, record: Incoming, reason: str) -> None:
        """Until it lies in the DLQ its offset is open: no commit passes it (D27)."""
        async with self._burying:  # one by one, so that the limits see each before the next
            while True:
                buried = await attempt(
                    self._dead_letters.bury(
                        held.topic, record, reason, within=BURY_WITHIN, error_type="MalformedRecord"
                    )
                )
                if isinstance(buried, Done):
                    break
                RETRIES.labels(self._group, record.topic).inc()
                await self._clock.sleep(LOG_BACK_OFF)
        if self._held.get(held.place) is held:
            self._finish(held, record.offset)

    def _finish(self, held: _Held, offset: int) -> None:
        held.tracker.finish(offset)
        self._count(held, -1)

    def _count(self, held: _Held, step: int) -> None:
        held.in_flight += step
        self._in_flight[held.place.topic] += step

    # commits

    async def _commit_often(self) -> None:
        while True:
            await self._clock.sleep(COMMIT_EVERY)
            self._note_offsets()
            due = self._clock.monotonic() - self._member.accepted_at >= RENEW_EVERY - COMMIT_EVERY
            if self._member.pending or due:
                await self._member.commit()

    def _note_offsets(self) -> None:
        """Put into the next commit how far each partition is."""
        for place, held in self._held.items():
            if place in self._member.offsets:
                offset, metadata = held.tracker.commit_point()
                self._member.offsets[place] = OffsetAndMetadata(offset, metadata)
                end = self._member.consumer.highwater(place)
                self._progress.at((place.topic, place.partition), offset, end)

    async def _drained(self) -> None:
        deadline = self._clock.monotonic() + DRAIN_WITHIN
        while (left := sum(self._in_flight.values())) and self._clock.monotonic() < deadline:
            await self._clock.sleep(DRAIN_LOOK)
        if left:
            _log.warning("left_with_work_in_flight", group=self._group, count=left)
