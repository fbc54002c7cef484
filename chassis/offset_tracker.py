"""Work that finishes out of order, committed in order: bounded in flight, contiguous commits, the open set in the
commit's metadata so that a take-over does not repeat everything that was finished above one slow record.

A commit never passes an unfinished record.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from chassis.clock import Clock
from chassis.failures import DeadLetters
from chassis.log import Incoming, Log
from chassis.settings import KafkaSettings
from schemas.envelope import Envelope, Payload
from schemas.topics import Topic

METADATA_LIMIT = 4096  # bytes of commit metadata the broker takes (offset.metadata.max.bytes)


@dataclass(slots=True)
class OffsetTracker:
    """One partition's offsets. Pure."""

    next_offset: int  # everything below is finished
    _open: set[int] = field(default_factory=set)
    _seen: int = 0  # the highest offset taken, plus one

    def take(self, offset: int) -> bool:
        """Begin a record; False where it was finished already, before a take-over."""
        ...

    def finish(self, offset: int) -> None: ...

    @property
    def in_flight(self) -> int: ...

    def commit_point(self) -> tuple[int, str]:
        """The offset to commit (the lowest unfinished) and the metadata that holds what is finished above it."""
        ...

    @classmethod
    def restored(cls, offset: int, metadata: str) -> "OffsetTracker":
        """From a commit; metadata that can not be read is ignored."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """One record to be carried out; hand it to `TrackedConsumer.done` when its outcome is in the log."""

    record: Incoming
    envelope: Envelope[Payload]


class TrackedConsumer:
    """A group member whose records are worked on concurrently.

    `restore` is awaited in a task for newly assigned partitions, with the records' first open offset, before any of
    their work is handed out. `begin` gets each record once per assignment, synchronously, and starts a task for it.
    `revoked` is told which partitions are gone. A poison record is dead-lettered and counts as finished.
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
    ) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Take nothing new, wait for work in flight (bounded), commit, leave."""

    def done(self, work: Work) -> None: ...

    def holds(self, topic: str, partition: int) -> bool:
        """Whether this process may begin something for that partition now: assigned, and the lease is valid."""
        ...

    def lease_ends_ms(self) -> int:
        """The lease's end in broker time (ms): the `valid_until_ms` of what is written under it."""
        ...

    def ready(self) -> list[str]: ...
