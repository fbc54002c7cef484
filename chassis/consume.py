"""Stateless consuming in batches (FastStream): decode one by one, outputs acked, then an explicit commit per partition.

FastStream's own acknowledgement loses records (reference, section 1), so it is never used: no exception reaches
FastStream, and offsets are committed here, by partition, after the outputs.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from chassis.clock import Clock
from chassis.failures import DeadLetters
from chassis.log import Incoming, Log, Outgoing
from chassis.settings import KafkaSettings
from schemas.envelope import Envelope, Payload
from schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class Batch:
    """A contiguous range of one partition, poison records left out (they are in the DLQ already)."""

    topic: Topic
    partition: int
    first_offset: int
    last_offset: int
    records: Sequence[tuple[Incoming, Envelope[Payload]]]


Handle = Callable[[Batch], Awaitable[Sequence[Outgoing]]]
# Told (topic entry's name, partition, committed offset); answers the last offset the first batch must end at, or None.
FirstBatchEnd = Callable[[str, int, int], Awaitable[int | None]]


class BatchConsumer:
    """Calls `handle` per partition batch; what it returns is appended and acked before the commit.

    `handle` may raise Retry or Poison (failures.py). At a take-over the first batch can be cut at a given offset, for
    sinks that must repeat the boundaries of an insert.
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
        handle: Handle,
        max_records: int,
        max_wait: float = 0.02,
        first_batch_end: FirstBatchEnd | None = None,
    ) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def ready(self) -> list[str]: ...

    def lag(self) -> int:
        """Records behind the end of the assigned partitions, as last seen."""
        ...
