"""The log: append keyed records, and know that they are there.

Every append is acks=all on an idempotent producer, bounded by a deadline. An append that could not be confirmed is
not dead: it may land at any later time. So a record whose late arrival would do harm carries `valid_until_ms`, readers
void it when its broker timestamp is later, and an ack counts here only if it passes the same test.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import DuplicateSequenceNumber, KafkaError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from chassis.clock import Clock, SystemClock
from chassis.deadline import Within
from chassis.producer import Producer
from chassis.settings import KafkaSettings
from chassis.telemetry import logger
from chassis.telemetry import traceparent as current_traceparent
from schemas.envelope import CONTENT_TYPE, Envelope, Payload, encode
from schemas.topics import Topic

Headers = tuple[tuple[str, bytes], ...]

_log = logger("log")
_SYSTEM_CLOCK = SystemClock()
_TOGETHER_BYTES = 8 * 1024 * 1024  # the largest batch that message-inputs take: one request's submissions
# How long a producer that was given up may still be acked for others who wait on it, before it is dropped.
_LAST_CHANCE = 2.0
_APPEND_TIME = 1  # RecordMetadata.timestamp_type: the broker's clock


class LogUnavailable(Exception):
    """The append was not confirmed within its deadline: it may or may not be (or come to be) in the log."""


class RecordTooLarge(LogUnavailable):
    """The topic does not take a record or batch of this size: no use in trying again."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record on its way. `value` None is a tombstone; `partition` None lets the key decide (murmur2)."""

    topic: str
    key: str
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    valid_until_ms: int | None = None  # broker time; only for topics with LogAppendTime


@dataclass(frozen=True, slots=True)
class Ack:
    topic: str
    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record as it was read: bytes untouched, header values that are missing become b""."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: bytes | None
    headers: Headers

    @property
    def traceparent(self) -> str | None:
        found = (value for name, value in self.headers if name == "traceparent")
        value = next(found, None)
        return None if value is None else value.decode("ascii", "replace")


def incoming(record: ConsumerRecord) -> Incoming:
    """Take what a consumer read; a key or header that is not UTF-8, or not there, never stops the reading."""
    headers = tuple((name, value or b"") for name, value in record.headers) if record.headers else ()
    key = "" if record.key is None else record.key.decode("utf-8", "replace")
    return Incoming(record.topic, record.partition, record.offset, record.timestamp, key, record.value, headers)


def outgoing(
    topic: Topic,
    envelope: Envelope[Payload],
    *,
    key: str,
    partition: int | None = None,
    valid_until_ms: int | None = None,
    traceparent: str | None = None,
) -> Outgoing:
    """Encode `envelope` for `topic`, with the `content-type`, `ce_type`, `ce_id` and `traceparent` headers.

    Without a `traceparent` the one of the work at hand is taken; the header is left out where there is none.
    """
    headers: Headers = (
        ("content-type", CONTENT_TYPE.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_id", envelope.id.encode()),
    )
    parent = traceparent or current_traceparent.get()
    if parent is not None:
        headers += (("traceparent", parent.encode()),)
    return Outgoing(topic.name, key, encode(envelope), partition, headers, valid_until_ms)


def tombstone(topic: Topic, key: str, partition: int | None = None) -> Outgoing:
    """The removal of `key` from a compacted topic."""
    return Outgoing(topic.name, key, None, partition)


@dataclass(slots=True)
class BrokerClock:
    """The broker's clock as an offset to our monotonic one, in ms. Pure.

    A record sent at s and acked at r got its timestamp T between the two, so the offset lies in [T - r, T - s]. The
    estimate moves only when an ack proves it wrong, and then to the nearer bound: it is never off by more than the
    last round trip, a slow ack does no harm, and a step of either clock is followed at the next ack.
    """

    offset_ms: float | None = None

    def observe(self, timestamp_ms: int, sent_at: float, acked_at: float) -> None:
        """`sent_at` and `acked_at` are monotonic seconds."""
        lowest, highest = timestamp_ms - acked_at * 1000, timestamp_ms - sent_at * 1000
        self.offset_ms = lowest if self.offset_ms is None else min(max(self.offset_ms, lowest), highest)


Produce = Callable[[Sequence[Outgoing], Producer, AIOKafkaProducer], Awaitable[list[RecordMetadata]]]


class Log:
    """One producer of a process."""

    def __init__(self, kafka: KafkaSettings, *, client_id: str, clock: Clock = _SYSTEM_CLOCK) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._clock = clock
        self._broker_clock = BrokerClock()
        self._producer: Producer | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._reachable = False

    async def start(self) -> None:
        """Connect. Waits for the brokers as long as it takes, saying so in the log."""
        self._producer = Producer(self._kafka, self._client_id)
        await asyncio.shield(self._producer.connected)
        self._reachable = True

    async def stop(self) -> None:
        """Close within a bounded time; what is still unsent is given up."""
        if self._producer is not None:
            self._close(self._producer)
            self._producer = None
        if self._closing:
            await asyncio.wait(self._closing)

    async def append(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        """Append all, in order per partition; returns one ack per record. `within` is in seconds.

        Raises LogUnavailable when any ack is missing, late (past its `valid_until_ms`) or says nothing (offset or
        timestamp -1), after the deadline or a producer error; others of the same call may have landed.
        """
        if not records:
            return []
        return await self._confirmed(records, _send_each, within)

    async def append_together(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        """Append records of one topic and partition as one batch: all of them land, or none does."""
        if not records:
            return []
        topic, partition = records[0].topic, records[0].partition
        if partition is None or any((r.topic, r.partition) != (topic, partition) for r in records):
            raise ValueError("append_together needs one topic and one named partition")
        batch, timestamps = _batch_of(records)

        async def send_batch(_: Sequence[Outgoing], link: Producer, producer: AIOKafkaProducer) -> list[RecordMetadata]:
            async with link.queue_of(topic, partition):
                sent = await producer.send_batch(batch, topic, partition=partition)
            first: RecordMetadata = await sent
            if first.timestamp_type == _APPEND_TIME:
                timestamps[:] = [first.timestamp] * len(records)
            return [first._replace(offset=first.offset + i, timestamp=t) for i, t in enumerate(timestamps)]

        return await self._confirmed(records, send_batch, within)

    def broker_now_ms(self) -> int:
        """The broker's clock, estimated from acks of LogAppendTime topics (the own clock until the first one)."""
        offset_ms = self._broker_clock.offset_ms
        return self._clock.now_ms() if offset_ms is None else round(self._clock.monotonic() * 1000 + offset_ms)

    @property
    def reachable(self) -> bool:
        """Whether the last append, or the connection, went well: a reason for readiness, no promise."""
        return self._reachable

    async def _confirmed(self, records: Sequence[Outgoing], produce: Produce, within: float) -> list[Ack]:
        link = self._producer
        if link is None:
            raise LogUnavailable("the log is not started, or stopped")
        sent_at = self._clock.monotonic()
        try:
            with Within(within):
                connected = link.connected
                producer = connected.result() if connected.done() else await asyncio.shield(connected)
                metadata = await produce(records, link, producer)
            acks = [acked(record, about) for record, about in zip(records, metadata, strict=True)]
        except TimeoutError as error:
            self._give_up(link, "deadline")
            raise LogUnavailable(f"no ack within {within:g} s") from error
        except MessageSizeTooLargeError as error:
            self._give_up(link, "record_too_large")  # the refused batch has used up sequence numbers
            raise RecordTooLarge(f"{records[0].topic} does not take a record of this size") from error
        except KafkaError as error:
            self._give_up(link, repr(error))
            raise LogUnavailable(f"not appended: {error!r}") from error
        self._reachable = True
        self._learn(metadata, sent_at)
        for record, ack in zip(records, acks, strict=True):
            if record.valid_until_ms is not None and ack.timestamp_ms > record.valid_until_ms:
                raise LogUnavailable(f"landed {ack.timestamp_ms - record.valid_until_ms} ms too late, so it is void")
        return acks

    def _learn(self, metadata: Sequence[RecordMetadata], sent_at: float) -> None:
        acked_at = self._clock.monotonic()
        for about in (metadata[0], metadata[-1]) if len(metadata) > 1 else metadata:
            if about.timestamp_type == _APPEND_TIME:
                self._broker_clock.observe(about.timestamp, sent_at, acked_at)

    def _give_up(self, link: Producer, reason: str) -> None:
        """Put a new producer in its place at once: what the old one holds it would try for ever."""
        self._reachable = False
        if link is not self._producer or not link.connected.done():
            return  # another append did so already; or nothing was sent yet
        _log.warning("producer_replaced", reason=reason)
        self._producer = Producer(self._kafka, self._client_id)
        self._close(link)

    def _close(self, link: Producer) -> None:
        closing = asyncio.create_task(link.close(_LAST_CHANCE), name="producer-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _send_each(records: Sequence[Outgoing], _: Producer, producer: AIOKafkaProducer) -> list[RecordMetadata]:
    sent: list[asyncio.Future[RecordMetadata]] = []
    try:
        for r in records:
            headers = list(r.headers)
            sent.append(await producer.send(r.topic, r.value, r.key.encode(), r.partition, headers=headers))
        return [await sent[0]] if len(sent) == 1 else await asyncio.gather(*sent)
    except BaseException:
        for future in sent:
            future.add_done_callback(_heard)
        raise


def acked(record: Outgoing, about: RecordMetadata) -> Ack:
    """The ack, if it is one. Raises DuplicateSequenceNumber where the broker only said "had it" and not where.

    In a batch answered like that, aiokafka counts offsets up from -1, so only the log's start tells for each record.
    """
    unplaced = about.offset < 0 or about.timestamp < 0 or (about.log_start_offset or 0) < 0
    if unplaced or (record.valid_until_ms is not None and about.timestamp_type != _APPEND_TIME):
        raise DuplicateSequenceNumber
    return Ack(about.topic, about.partition, about.offset, about.timestamp)


def _heard(future: asyncio.Future[RecordMetadata]) -> None:
    """Nobody waits for this ack any more; without a look at it asyncio would complain of a failure."""
    if not future.cancelled():
        future.exception()


def _batch_of(records: Sequence[Outgoing]) -> tuple[BatchBuilder, list[int]]:
    """One Kafka batch, and the timestamps it gives its records where the topic keeps those. Raises RecordTooLarge."""
    batch = BatchBuilder(_TOGETHER_BYTES, 0)
    timestamps = []
    for record in records:
        made = batch.append(timestamp=None, key=record.key.encode(), value=record.value, headers=list(record.headers))
        if made is None:
            raise RecordTooLarge(f"more than {_TOGETHER_BYTES} bytes in one batch for {record.topic}")
        timestamps.append(made.timestamp)
    batch.close()
    return batch, timestamps
