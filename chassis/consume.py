"""Stateless consuming in batches (FastStream): decode one by one, outputs acked, then an explicit commit per partition.

FastStream's own acknowledgement loses records (it swallows what a handler raises and commits past it), so it is never
used: no exception reaches FastStream, and offsets are committed here, by partition, after the outputs.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER
from faststream.kafka.subscriber.usecase import BatchSubscriber
from faststream.middlewares import AckPolicy
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from chassis.clock import Clock
from chassis.failures import (
    RETRIES,
    DeadLetters,
    Done,
    Poison,
    Retry,
    attempt,
    contained,
    stop_service,
    supervised,
)
from chassis.kafka import connection
from chassis.log import Incoming, Log, Outgoing, incoming
from chassis.member import FETCH_WAIT, group_arguments, stored_offsets
from chassis.progress import Progress
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.telemetry import logger
from schemas.envelope import Envelope, MalformedRecord, Payload, decode
from schemas.topics import Topic

_log = logger("consume")

APPEND_WITHIN = 5.0  # seconds for one piece of a batch's outputs, or for a dead letter
APPEND_AT_ONCE = 2000  # records in a piece: a fan-out may make a hundred of one input, and time-outs are per append
COMMIT_WITHIN = 2.0
COMMIT_EVERY = 0.2  # seconds: what is done meanwhile goes in one commit, and may come again after a crash
RECONNECT_AFTER = 1.0
GATHER_WITHIN = 0.05  # seconds in all
GATHER_POLL_MS = 20  # a fetch from a broker nearby takes a few milliseconds

T = TypeVar("T")
R = TypeVar("R")  # what a record is read as


@dataclass(frozen=True)  # with slots, a generic alias of it can not be called
class BatchOf(Generic[R]):
    """A contiguous range of one partition, poison records left out (they are in the DLQ already)."""

    topic: Topic
    partition: int
    first_offset: int
    last_offset: int
    records: Sequence[tuple[Incoming, R]]


Batch = BatchOf[Envelope[Payload]]
Handle = Callable[[Batch], Awaitable[Sequence[Outgoing]]]
HandleOf = Callable[[BatchOf[R]], Awaitable[Sequence[Outgoing]]]
Read = Callable[[Incoming, Topic], R]  # raises MalformedRecord


def enveloped(record: Incoming, topic: Topic) -> Envelope[Payload]:
    """The record, held against its schema."""
    return decode(record.value, topic.types)


@dataclass(frozen=True, slots=True)
class Gathering:
    """For a sink whose calls cost much however little they carry: what has come of all partitions goes together.

    aiokafka fetches no more of a partition while a first record of it waits to be taken, so waiting alone gathers
    nothing: after the pause, what lies at the broker by then is fetched as well.
    """

    linger: float  # seconds that the first record after a quiet time waits for those that follow it
    every: float  # seconds between two beginnings while records keep coming
    enough: int  # records of one poll that are worth a call of their own at once: a backlog is not slowed down


class BatchConsumer:
    """Calls `handle` per partition batch; what it returns is appended and acked before the commit, which follows soon.

    `handle` may raise Retry or Poison (failures.py); it is called for all partitions of a poll side by side. After
    Retry the very same batch comes again, while its partition is paused; a batch without a record that can be `read` is
    committed unseen. A poll waits up to `max_wait` seconds for a first record; it gathers others only as `gathering` says. A fetch
    waits at the broker for up to `fetch_wait` seconds. What nobody handles is reported to `crash`.
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
        handle: HandleOf[R],
        read: Read[R] = enveloped,  # type: ignore[assignment]  # where it is not said, R is what this one reads
        max_records: int,
        max_wait: float = 0.2,
        fetch_wait: float = FETCH_WAIT,
        gathering: Gathering | None = None,
        crash: Crash | None = None,
    ) -> None:
        self._kafka = kafka
        self._log = log
        self._clock = clock
        self._dead_letters = dead_letters
        self._group = group
        self._topics = {topic.name: topic for topic in topics}
        self._handle: HandleOf[Any] = handle
        self._read: Read[Any] = read
        self._max_records = max_records
        self._max_wait = max_wait
        self._fetch_wait = fetch_wait
        self._gathering = gathering
        self._crash = crash
        self._progress = Progress(group, clock)
        self._broker: KafkaBroker | None = None
        self._subscriber: BatchSubscriber | None = None
        self._handling = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._done: dict[TopicPartition, int] = {}  # handled below these offsets, and not committed yet
        self._commits: asyncio.Task[None] | None = None
        self._joined = False
        self._stopped = False
        self._failed = False
        self._began = float("-inf")  # monotonic: when the last poll's records were handed on
        self._buried: defaultdict[TopicPartition, set[int]] = defaultdict(set)  # poison of the batch at hand
        self._preparing: asyncio.Task[None] | None = None
        self._unprepared: set[TopicPartition] = set()
        self._retrying: dict[TopicPartition, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Join the group. Waits for the brokers, and for the first assignment, as long as it takes."""
        while True:
            self._broker = self._make()
            try:
                await self._broker.start()
            except KafkaError as error:
                _log.warning("waiting_for_brokers", group=self._group, reason=str(error))
                await self._broker.stop()
                await self._clock.sleep(RECONNECT_AFTER)
            else:
                self._commits = supervised(self._commit_often(), self)
                return

    async def stop(self) -> None:
        """Finish the batch at hand, commit, leave the group."""
        self._stopped = True
        self._let_go()
        if self._commits is not None:
            self._commits.cancel()
            await self._settled()
        if self._broker is not None:
            await self._broker.stop()

    def ready(self) -> list[str]:
        """What is still missing, in words."""
        if not self._joined:
            return [f"group {self._group}: not joined yet"]
        return [f"group {self._group}: preparing {place.topic}/{place.partition}" for place in sorted(self._unprepared)]

    def lag(self) -> int:
        """Records behind the end of the assigned partitions, as last seen."""
        return self._progress.lag()

    # what FastStream calls

    def _make(self) -> KafkaBroker:
        broker = KafkaBroker(
            self._kafka.bootstrap_servers.split(","),
            security=_security(self._kafka),
            client_id=f"sendarix-{self._group}",
            consumer_only=True,  # the log has the producer; topics are provisioned
            allow_auto_create_topics=False,
            apply_types=False,
            logger=None,
        )
        self._subscriber = broker.subscriber(
            *self._topics,
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            group_id=self._group,
            auto_offset_reset="earliest",  # where retention has overtaken us; where to start is said by `_prepare`
            max_records=self._max_records,
            batch_timeout_ms=round(self._max_wait * 1000),
            listener=_Listener(self),
            parser=_parsed,
            decoder=_undecoded,
            **group_arguments(self._kafka, self._fetch_wait),
        )
        self._subscriber(self._consume)
        return broker

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        assert self._subscriber is not None
        assert self._subscriber.consumer is not None
        return self._subscriber.consumer

    async def _consume(self, records: tuple[ConsumerRecord, ...]) -> None:
        """FastStream's handler. Whatever happens in it, FastStream does not hear of it."""
        if not self._failed and not self._stopped:  # else the next commit would pass what has failed, or is not begun
            await contained(self._consume_all(records), self)

    def report(self, error: BaseException) -> None:
        """A failure that nobody named (see `chassis.failures.Reporter`)."""
        self._failed = True
        stop_service(error, self._crash)

    async def _consume_all(self, records: tuple[ConsumerRecord, ...]) -> None:
        async with self._handling:
            found = records if self._gathering is None else await self._gathered(records, self._gathering)
            by_place: defaultdict[TopicPartition, list[Incoming]] = defaultdict(list)
            for record in found:
                by_place[TopicPartition(record.topic, record.partition)].append(incoming(record))
            assigned = self._consumer.assignment()  # a batch may be left from before a rebalance
            await asyncio.gather(*(self._work(place, batch) for place, batch in by_place.items() if place in assigned))

    async def _gathered(self, records: Sequence[ConsumerRecord], gathering: Gathering) -> Sequence[ConsumerRecord]:
        """These records, and what else has come once the pause is over."""
        if len(records) < gathering.enough:
            since = self._clock.monotonic() - self._began
            await self._clock.sleep(max(gathering.linger, gathering.every - since))
        found = list(records)
        until = self._clock.monotonic() + GATHER_WITHIN
        while len(found) < self._max_records and self._clock.monotonic() < until:
            more = await self._poll(self._max_records - len(found))
            if not more:
                break
            found += more
        self._began = self._clock.monotonic()
        return found

    async def _poll(self, at_most: int) -> Sequence[ConsumerRecord]:
        try:
            async with asyncio.timeout(GATHER_WITHIN):  # in a rebalance aiokafka waits for its end, and that for us
                found = await self._consumer.getmany(timeout_ms=GATHER_POLL_MS, max_records=at_most)
        except (TimeoutError, KafkaError, ConsumerStoppedError):
            return ()  # what there is to say, FastStream's next poll is told
        return [record for records in found.values() for record in records]

    async def took(self, places: set[TopicPartition]) -> None:
        """The group has assigned: where each partition starts is asked and set here, not by aiokafka."""
        if self._stopped:
            return  # a rebalance ends while we leave: FastStream has let the consumer go, and nothing is read any more
        self._consumer.pause(*places)  # before any await: a fetch may be on its way already
        for place in places:
            self._consumer.seek(place, 0)  # any position will do while it is paused
        self._let_go()
        self._done.clear()
        self._joined = True
        if places:
            self._unprepared = set(places)
            self._preparing = supervised(self._prepare_all(sorted(places)), self)

    async def gave_back(self, places: set[TopicPartition]) -> None:
        """The group rebalances: let the batch at hand be finished and committed."""
        self._let_go()
        await self._settled()
        self._progress.gone((place.topic, place.partition) for place in places)

    async def _settled(self) -> None:
        """Wait for the batch at hand, and commit it."""
        try:
            async with asyncio.timeout(self._kafka.session_timeout.total_seconds() / 2), self._handling:
                await self._commit()
        except TimeoutError:
            _log.warning("batch_outlasts_rebalance", group=self._group)

    def _let_go(self) -> None:
        """Forget what belongs to an assignment."""
        for task in (self._preparing, *self._retrying.values()):
            if task is not None:
                task.cancel()
        for memory in (self._unprepared, self._retrying, self._buried):
            memory.clear()

    # one partition

    async def _prepare_all(self, places: Sequence[TopicPartition]) -> None:
        stored = await self._insist(lambda: stored_offsets(self._kafka, self._group, places))
        await asyncio.gather(*(self._prepare(place, stored.get(place)) for place in places))

    async def _prepare(self, place: TopicPartition, stored: OffsetAndMetadata | None) -> None:
        """Find where it starts, then let it flow."""
        start = await self._insist(lambda: self._beginning_of(place)) if stored is None else stored.offset
        self._unprepared.discard(place)
        self._consumer.seek(place, start)
        self._consumer.resume(place)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        while True:
            match await attempt(ask()):
                case Done(value=answer):
                    return answer
                case Poison() as poison:
                    raise poison
                case Retry() as retry:
                    _log.warning("preparing_failed", group=self._group, reason=retry.reason)
                    await self._clock.sleep(retry.after)

    async def _beginning_of(self, place: TopicPartition) -> int:
        try:
            async with asyncio.timeout(COMMIT_WITHIN):
                first: dict[TopicPartition, int] = await self._consumer.beginning_offsets([place])
        except (TimeoutError, KafkaError) as error:
            raise Retry(RECONNECT_AFTER, f"beginning of {place}: {error!r}") from error
        return first[place]

    async def _work(self, place: TopicPartition, records: list[Incoming]) -> None:
        """Handle them as one batch; where a dependency is away it waits in a task, its partition paused."""
        retry = await self._handled(place, records)
        if retry is not None:
            self._consumer.pause(place)
            self._retrying[place] = supervised(self._work_again(place, records, retry), self)

    async def _work_again(self, place: TopicPartition, records: list[Incoming], retry: Retry) -> None:
        outcome: Retry | None = retry
        while outcome is not None:
            await self._clock.sleep(outcome.after)
            outcome = await self._handled(place, records)
        self._retrying.pop(place, None)
        self._consumer.resume(place)

    async def _handled(self, place: TopicPartition, records: list[Incoming]) -> Retry | None:
        """Handle, append, note for the next commit. A record that proves poison is buried, and the rest handled without it."""
        self._tell(place, records[0].offset)  # now, for it may be the first one, and take for ever
        while True:
            match await attempt(self._outputs(place, records)):
                case Retry() as retry:
                    RETRIES.labels(self._group, place.topic).inc()
                    _log.warning(
                        "batch_retried",
                        topic=place.topic,
                        partition=place.partition,
                        first_offset=records[0].offset,
                        after=retry.after,
                        reason=retry.reason,
                    )
                    return retry
                case Poison() as poison:
                    retry_burial = await self._bury_verdict(place, poison)
                    if retry_burial is not None:
                        return retry_burial
                case Done():
                    self._buried.pop(place, None)
                    self._note(place, records[-1].offset + 1)
                    return None

    async def _outputs(self, place: TopicPartition, records: list[Incoming]) -> None:
        readable = await self._readable(place, records)
        if readable:
            first, last = records[0].offset, records[-1].offset
            batch = BatchOf(self._topics[place.topic], place.partition, first, last, readable)
            outputs = await self._handle(batch)
            for start in range(0, len(outputs), APPEND_AT_ONCE):
                await self._log.append(outputs[start : start + APPEND_AT_ONCE], within=APPEND_WITHIN)
            self._dead_letters.handled(len(readable))

    async def _readable(self, place: TopicPartition, records: list[Incoming]) -> list[tuple[Incoming, Any]]:
        buried, readable = self._buried[place], []
        for record in records:
            if record.offset in buried:
                continue
            try:
                readable.append((record, self._read(record, self._topics[place.topic])))
            except MalformedRecord as error:
                await self._bury(place, record, str(error), "MalformedRecord")
        return readable

    async def _bury(self, place: TopicPartition, record: Incoming, reason: str, error_type: str) -> None:
        await self._dead_letters.bury(
            self._topics[place.topic], record, reason, within=APPEND_WITHIN, error_type=error_type
        )
        self._buried[place].add(record.offset)

    async def _bury_verdict(self, place: TopicPartition, poison: Poison) -> Retry | None:
        if poison.record.offset in self._buried[place]:
            raise poison  # it was not in the batch: a bug
        outcome = await attempt(self._bury(place, poison.record, poison.reason, "Poison"))
        return outcome if isinstance(outcome, Retry) else None

    # commits

    def _note(self, place: TopicPartition, offset: int) -> None:
        if place in self._consumer.assignment():
            self._done[place] = offset
        self._tell(place, offset)

    def _tell(self, place: TopicPartition, offset: int) -> None:
        """Everything below `offset` is done."""
        if place in self._consumer.assignment():
            self._progress.at((place.topic, place.partition), offset, self._consumer.highwater(place))

    async def _commit_often(self) -> None:
        while True:
            await self._clock.sleep(COMMIT_EVERY)
            await self._commit()

    async def _commit(self) -> None:
        """Where it fails the batches may come again, to us or to another: harmless."""
        async with self._committing:
            done = dict(self._done)
            if not done:
                return
            try:
                async with asyncio.timeout(COMMIT_WITHIN):
                    await self._consumer.commit(done)
            except CommitFailedError:
                _log.warning("commit_refused", group=self._group)  # the group has moved on
            except (TimeoutError, KafkaError) as error:
                _log.warning("commit_failed", group=self._group, reason=repr(error))
                return
            for place, offset in done.items():
                if self._done.get(place) == offset:
                    del self._done[place]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka only logs what a listener raises: here it stops the service."""

    def __init__(self, consumer: BatchConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await contained(self._consumer.took(assigned), self._consumer)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await contained(self._consumer.gave_back(revoked), self._consumer)


async def _parsed(records: tuple[ConsumerRecord, ...]) -> KafkaMessage:
    """FastStream's own parser fails on a header that is not UTF-8, and its batch is lost: this one reads nothing."""
    return KafkaMessage(body=b"", raw_message=records, consumer=FAKE_CONSUMER)


async def _undecoded(message: KafkaMessage) -> Any:
    return message.raw_message


def _security(kafka: KafkaSettings) -> BaseSecurity:
    """The settings in FastStream's words."""
    arguments = connection(kafka)
    context = arguments.get("ssl_context")
    if not kafka.security_protocol.startswith("SASL"):
        return BaseSecurity(ssl_context=context)
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    return kinds[kafka.sasl_mechanism](
        username=arguments["sasl_plain_username"] or "",
        password=arguments["sasl_plain_password"] or "",
        ssl_context=context,
    )
