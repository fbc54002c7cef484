"""The log: append keyed records, and know that they are there.

Every append is acks=all on an idempotent producer, bounded by a deadline. An append that could not be confirmed is
not dead: it may land at any later time. So a record whose late arrival would do harm carries `valid_until_ms`, readers
void it when its broker timestamp is later, and an ack counts here only if it passes the same test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.settings import KafkaSettings
from schemas.envelope import Envelope, Payload
from schemas.topics import Topic

Headers = tuple[tuple[str, bytes], ...]


class LogUnavailable(Exception):
    """The append was not confirmed within its deadline: it may or may not be (or come to be) in the log."""


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
    def traceparent(self) -> str | None: ...


def outgoing(
    topic: Topic,
    envelope: Envelope[Payload],
    *,
    key: str,
    partition: int | None = None,
    valid_until_ms: int | None = None,
    traceparent: str | None = None,
) -> Outgoing:
    """Encode `envelope` for `topic`, with the `content-type`, `ce_type`, `ce_id` and `traceparent` headers."""
    ...


def tombstone(topic: Topic, key: str, partition: int | None = None) -> Outgoing:
    """The removal of `key` from a compacted topic."""
    ...


class Log:
    """One producer of a process."""

    def __init__(self, kafka: KafkaSettings, *, client_id: str) -> None: ...

    async def start(self) -> None:
        """Connect. Waits for the brokers as long as it takes, saying so in the log."""

    async def stop(self) -> None:
        """Close within a bounded time; what is still unsent is given up."""

    async def append(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        """Append all, in order per partition; returns one ack per record. `within` is in seconds.

        Raises LogUnavailable when any ack is missing, late (past its `valid_until_ms`) or says nothing (offset or
        timestamp -1), after the deadline or a producer error; others of the same call may have landed.
        """
        ...

    async def append_together(self, records: Sequence[Outgoing], *, within: float) -> list[Ack]:
        """Append records of one topic and partition as one batch: all of them land, or none does."""
        ...

    def broker_now_ms(self) -> int:
        """The broker's clock, estimated from acks of LogAppendTime topics (the own clock until the first one)."""
        ...

    @property
    def reachable(self) -> bool:
        """Whether the last append, or the connection, went well: a reason for readiness, no promise."""
        ...
