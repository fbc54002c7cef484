"""Reading partitions whole, without a group: each record is applied once, in log order, by a plain function.

What tables, claims and read-backs are made of. It must never commit an offset, nor skip a record.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, assert_never

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from chassis.clock import Clock, SystemClock
from chassis.deadline import Within
from chassis.kafka import connected, connection, request_timeout_ms
from chassis.log import Incoming, LogUnavailable, incoming
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.telemetry import logger

Apply = Callable[[Incoming], None]

_log = logger("tail")
_SYSTEM_CLOCK = SystemClock()
_FETCH_WAIT_MS = 250  # an idle fetch costs both sides; with data it answers at once
_POLL_MS = 100  # how late a silent broker, or a gap at a partition's end, is noticed
_MAX_RECORDS = 500  # applied in one go: what else the loop does waits some milliseconds
_GATHER = 0.002  # seconds: partitions that come or go together are one new assignment …
# … and there is no other before the broker has answered that one's first fetch: it answers one after the other, whether
# anybody still wants to know or not, so each would wait for all before it.
_BETWEEN = _FETCH_WAIT_MS / 1000
_RETRY = 0.2  # seconds after an error of the brokers
_SILENCE = 5.0  # seconds without an answer that are worth a line in the log, and between two lines
_CLOSING = 2.0  # seconds for sockets to close

T = TypeVar("T")
Place = tuple[str, int]  # topic, partition


@dataclass(frozen=True, slots=True)
class FromTime:
    """Start at the first record at or after this broker time (ms); at the end where there is none."""

    ms: int


Start = int | FromTime | Literal["earliest", "latest"]  # an int is the next offset to apply


class NotFollowed(LogUnavailable):
    """Nobody applies this partition, or nobody does any more: no use in waiting on."""


class OffsetPastEnd(ValueError):
    """A start, or a position, that the partition does not reach: this is another log, or one that lost records."""


@dataclass(slots=True, eq=False)
class _Followed:
    """One partition. `next_offset` counts what is applied, whatever the consumer has read ahead."""

    apply: Apply
    next_offset: int
    answered_at: float  # monotonic seconds
    answer: int | None = None  # aiokafka's stamp of the last fetch response, to see a new one
    assigned: bool = False  # the consumer reads it, from `next_offset` on
    waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    def take(self, records: Iterable[ConsumerRecord]) -> None:
        for record in records:
            if record.offset >= self.next_offset:
                self.apply(incoming(record))
                self.next_offset = record.offset + 1
        self.wake()

    def wake(self) -> None:
        """Tell those whose offset is applied by now."""
        if not self.waiting:
            return
        still = []
        for offset, future in self.waiting:
            if future.done():
                continue
            if offset < self.next_offset:
                future.set_result(None)
            else:
                still.append((offset, future))
        self.waiting = still

    def give_up(self, reason: str) -> None:
        for _, future in self.waiting:
            if not future.done():
                future.set_exception(NotFollowed(reason))
        self.waiting.clear()


class Tail:
    """One consumer of a process for any number of partitions, which may come and go.

    A second connection asks for offsets, so that no question waits behind a long poll. Where `apply` raises, or a
    partition has lost records, the tail stops for good, `crash` is told, and whoever waits gets NotFollowed.
    """

    def __init__(
        self, kafka: KafkaSettings, *, client_id: str, crash: Crash | None = None, clock: Clock = _SYSTEM_CLOCK
    ) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._crash = crash
        self._clock = clock
        self._followed: dict[Place, _Followed] = {}
        self._reader: AIOKafkaConsumer | None = None
        self._asker: asyncio.Task[AIOKafkaConsumer] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._assigning: asyncio.TimerHandle | None = None
        self._assigned_at = float("-inf")  # monotonic
        self._silence_told_at = 0.0
        self._ended: str | None = "the tail is not started"

    async def start(self) -> None:
        """Begin to connect, in the background."""
        self._ended = None
        self._asker = asyncio.create_task(self._connect(f"{self._client_id}-offsets"), name="tail-asker")
        self._reading = asyncio.create_task(self._read(), name="tail")
        self._reading.add_done_callback(self._on_end)

    async def stop(self) -> None:
        """Close within a bounded time."""
        tasks = [task for task in (self._reading, self._asker) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._asker is not None and not self._asker.cancelled() and self._asker.exception() is None:
            await _close(self._asker.result())

    async def follow(self, topic: str, partition: int, apply: Apply, start: Start = "earliest") -> None:
        """Begin applying this partition. An exception from `apply` stops the service: it is a bug, not a record.

        Waits for the brokers as long as it takes to say where to start. An int below the log's start means its
        start; above its end it raises OffsetPastEnd.
        """
        place = (topic, partition)
        if place in self._followed:
            raise ValueError(f"{topic}/{partition} is followed already")
        first = await self._first_offset(TopicPartition(topic, partition), start)
        self._followed[place] = _Followed(apply, first, self._clock.monotonic())
        self._assign_soon()

    async def unfollow(self, topic: str, partition: int) -> None:
        """Stop applying it; after this returns `apply` is not called again."""
        followed = self._followed.pop((topic, partition), None)
        if followed is not None:
            followed.give_up(f"{topic}/{partition} is no longer followed")
            self._assign_soon()

    def position(self, topic: str, partition: int) -> int:
        """The next offset to be applied. Raises KeyError for a partition that is not followed."""
        return self._followed[topic, partition].next_offset

    async def applied(self, topic: str, partition: int, offset: int, *, within: float) -> None:
        """Wait until that offset has been applied. Raises LogUnavailable after `within` seconds, or NotFollowed."""
        followed = self._followed.get((topic, partition))
        if followed is None or self._ended is not None:
            raise NotFollowed(self._ended or f"{topic}/{partition} is not followed")
        if offset < followed.next_offset:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        followed.waiting.append((offset, future))
        try:
            with Within(within):
                await future
        except TimeoutError as error:
            raise LogUnavailable(f"{topic}/{partition}/{offset} was not read back within {within:g} s") from error

    async def caught_up(self, topic: str, partition: int, *, within: float) -> None:
        """Wait until everything that was in the partition at the time of the call is applied.

        Raises LogUnavailable after `within` seconds, or NotFollowed.
        """
        deadline = self._clock.monotonic() + within
        try:
            async with asyncio.timeout(within):
                ends = await self.end_offsets([(topic, partition)])
        except TimeoutError as error:
            raise LogUnavailable(f"the brokers did not say where {topic}/{partition} ends") from error
        last = ends[topic, partition] - 1
        await self.applied(topic, partition, last, within=max(0.0, deadline - self._clock.monotonic()))

    async def end_offsets(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """Where these (topic, partition) end now: the offset of the next record. Waits as long as it takes."""
        asked = [TopicPartition(*place) for place in places]
        ends = await self._ask(lambda consumer: consumer.end_offsets(asked))
        return {(place.topic, place.partition): offset for place, offset in ends.items()}

    def seconds_since_poll(self) -> float:
        """How long ago the brokers last answered: a stale tail is no ground for an answer.

        Of the partition that waits longest; 0 where none is followed, infinite where the tail has ended.
        """
        if self._ended is not None:
            return float("inf")
        now = self._clock.monotonic()
        return max((now - followed.answered_at for followed in self._followed.values()), default=0.0)

    async def _first_offset(self, place: TopicPartition, start: Start) -> int:
        """Where `start` is. Waits for the brokers as long as it takes."""
        match start:
            case "earliest":
                return await self._beginning(place)
            case "latest":
                return await self._end(place)
            case FromTime(ms):
                end = await self._end(place)  # asked first: what is appended in between is read, not passed over
                found = await self._ask(lambda consumer: consumer.offsets_for_times({place: ms}))
                return end if found[place] is None else int(found[place].offset)
            case int():
                beginning, end = await asyncio.gather(self._beginning(place), self._end(place))
                if start > end:
                    raise OffsetPastEnd(f"{place.topic}/{place.partition} ends at {end}, before {start}")
                return max(start, beginning)
            case _:
                assert_never(start)

    async def _beginning(self, place: TopicPartition) -> int:
        found = await self._ask(lambda consumer: consumer.beginning_offsets([place]))
        return int(found[place])

    async def _end(self, place: TopicPartition) -> int:
        found = await self._ask(lambda consumer: consumer.end_offsets([place]))
        return int(found[place])

    async def _ask(self, question: Callable[[AIOKafkaConsumer], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        while True:
            if self._asker is None or self._ended is not None:
                raise NotFollowed(self._ended or "the tail is not started")
            consumer = await asyncio.shield(self._asker)
            try:
                return await question(consumer)
            except KafkaError as error:
                _log.warning("brokers_gave_no_offsets", client_id=self._client_id, reason=repr(error))
            await self._clock.sleep(_RETRY)

    async def _read(self) -> None:
        """Connect, read, and begin anew at our own positions whenever the consumer has failed."""
        while True:
            self._reader = await self._connect(self._client_id)
            try:
                self._assign()
                while True:
                    try:
                        polled = await self._reader.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
                    except OffsetOutOfRangeError as error:
                        await self._find_way_back(error.args[0])
                        continue
                    except KafkaError as error:
                        _log.warning("tail_reconnects", client_id=self._client_id, reason=repr(error))
                        break
                    self._take(polled)
                    await self._note_progress(self._reader)
                    await asyncio.sleep(0)  # getmany does not wait while it has records: others want to run, too
            finally:
                reader, self._reader = self._reader, None
                await _close(reader)
            await self._clock.sleep(_RETRY)

    def _take(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        """Apply it all without a pause: wherever this task waits, `next_offset` says what a new assignment needs."""
        for place, records in polled.items():
            followed = self._followed.get((place.topic, place.partition))
            if followed is not None and followed.assigned:
                followed.take(records)

    async def _note_progress(self, reader: AIOKafkaConsumer) -> None:
        """See who answered, and step over what a compacted log no longer has, or never showed."""
        now = self._clock.monotonic()
        for (topic, partition), followed in list(self._followed.items()):
            if not followed.assigned:
                continue
            place = TopicPartition(topic, partition)
            answer = reader.last_poll_timestamp(place)
            if answer is not None and answer != followed.answer:
                followed.answer, followed.answered_at = answer, now
            if followed.waiting:  # else the next record says it as well
                followed.next_offset = max(followed.next_offset, await reader.position(place))
                followed.wake()
        silent_for = self.seconds_since_poll()
        if silent_for > _SILENCE and now - self._silence_told_at > _SILENCE:
            self._silence_told_at = now
            _log.warning("brokers_silent", client_id=self._client_id, seconds=round(silent_for, 1))

    def _assign_soon(self) -> None:
        if self._assigning is None:
            wait = max(_GATHER, self._assigned_at + _BETWEEN - self._clock.monotonic())
            self._assigning = asyncio.get_running_loop().call_later(wait, self._assign)

    def _assign(self) -> None:
        """Tell the consumer what to read from where: an assignment forgets all positions, so all are given anew."""
        if self._assigning is not None:
            self._assigning.cancel()
            self._assigning = None
        if self._reader is None:
            return  # on connecting
        self._assigned_at = self._clock.monotonic()
        if not self._followed:
            self._reader.unsubscribe()
            return
        self._reader.assign([TopicPartition(*place) for place in self._followed])
        for place, followed in self._followed.items():
            self._reader.seek(TopicPartition(*place), followed.next_offset)
            followed.assigned = True

    async def _find_way_back(self, lost: Mapping[TopicPartition, int]) -> None:
        """Retention has overtaken us: go on at the log's start. Past its end the log has lost records: stop."""
        for place in lost:
            beginning, end = await asyncio.gather(self._beginning(place), self._end(place))
            followed = self._followed.get((place.topic, place.partition))
            if followed is None or beginning <= followed.next_offset <= end:
                continue
            if followed.next_offset > end:
                raise OffsetPastEnd(f"{place.topic}/{place.partition} ends at {end}, before {followed.next_offset}")
            unread = beginning - followed.next_offset
            _log.error("records_expired_unread", topic=place.topic, partition=place.partition, records=unread)
            followed.next_offset = beginning
            followed.wake()
        self._assign()

    async def _connect(self, client_id: str) -> AIOKafkaConsumer:
        def make() -> AIOKafkaConsumer:
            return AIOKafkaConsumer(
                **connection(self._kafka),
                client_id=client_id,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",  # where to start is always said; to lose one's place is an error
                fetch_max_wait_ms=_FETCH_WAIT_MS,
                request_timeout_ms=request_timeout_ms(self._kafka),
            )

        return await connected(make, self._kafka, client_id=client_id)

    def _on_end(self, reading: asyncio.Task[None]) -> None:
        error = None if reading.cancelled() else reading.exception()
        self._ended = "the tail is stopped" if error is None else f"the tail has failed: {error!r}"
        for followed in self._followed.values():
            followed.give_up(self._ended)
        if error is not None:
            _log.critical("tail_failed", client_id=self._client_id, exc_info=error)
            if self._crash is not None:
                self._crash.report(error)


async def _close(consumer: AIOKafkaConsumer) -> None:
    closing = asyncio.create_task(consumer.stop())
    await asyncio.wait({closing}, timeout=_CLOSING)
    closing.cancel()
