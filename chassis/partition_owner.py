"""Stateful ownership: one process owns a partition's state, kept in a changelog, and is the only one that decides on it.

A plain aiokafka loop: pause first, restore in a task, fence, resume when ready; a lease from commits gates whatever an
owner writes. Per batch, each step acked before the next: 1 state records, read back unfenced; 2 outputs; 3 commit.
It must never emit an output whose state record it has not read back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chassis.clock import Clock
from chassis.failures import DeadLetters
from chassis.log import Incoming, Log, Outgoing
from chassis.settings import KafkaSettings
from chassis.tail import Tail
from schemas.envelope import Envelope, Payload
from schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class Received:
    """One input. `envelope` is None where the record is poison: `reason` says why, `dead_letter` where it lies."""

    record: Incoming
    envelope: Envelope[Payload] | None
    reason: str | None = None
    dead_letter: str | None = None


@dataclass(frozen=True, slots=True)
class Tenure:
    """Under what right the owner writes: its epoch (the fence's offset) and its lease's end in broker time (ms)."""

    epoch: int
    valid_until_ms: int


@dataclass(slots=True)
class Step:
    """What a batch, or a tick, made: `state` first, `outputs` only after the state has been read back."""

    state: list[Outgoing] = field(default_factory=list)
    outputs: list[Outgoing] = field(default_factory=list)


class OwnedPartition(Protocol):
    """A service's view of one partition. Synchronous, no I/O but its own local file; made anew at each take-over."""

    def changelog_start(self) -> int | None:
        """The next changelog offset the local file needs, or None to read from the beginning."""
        ...

    def apply(self, record: Incoming) -> None:
        """Fold a live changelog record (restore, or the own one read back). A null value is a tombstone."""
        ...

    def input_position(self) -> int | None:
        """The input offset to start at where the group has no commit (from the changelog's position record)."""
        ...

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
        """Fold a batch. May wait (for freshness) and may raise Retry; must be repeatable: nothing of it is final
        until its state has come back through `apply`."""
        ...

    async def tick(self, tenure: Tenure) -> Step:
        """Called about each 100 ms while owned: timers, snapshots."""
        ...

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        """The changelog record that remembers a commit, or None where the inputs need none."""
        ...

    def close(self) -> None: ...


Factory = Callable[[Topic, int], OwnedPartition]  # input topic, partition


class PartitionOwner:
    """The consumer group member of a stateful service.

    `changelogs` maps each input topic to its changelog (same number of partitions). Where an input topic is its own
    changelog (webhook deliveries), the partition is read from its beginning at each take-over, every record goes
    through `apply`, `decide` is never called, there is no fence, and only `tick` makes new records.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        log: Log,
        tail: Tail,
        clock: Clock,
        dead_letters: DeadLetters,
        *,
        group: str,
        changelogs: Mapping[Topic, Topic],
        factory: Factory,
        owner_id: str,
        max_batch: int = 500,
    ) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Finish the batch at hand, commit, leave the group."""

    def owned(self) -> Mapping[tuple[str, int], OwnedPartition]:
        """The partitions that are restored and running, by (input topic, partition)."""
        ...

    def ready(self) -> list[str]:
        """What is still missing, in words; empty when every assigned partition is restored."""
        ...

    def tenure(self, topic: str, partition: int) -> Tenure | None:
        """The right to write for a partition at this moment, or None where there is none."""
        ...

    async def append(self, topic: str, partition: int, records: Sequence[Outgoing]) -> bool:
        """Append in the name of the owned (input topic, partition); False where the lease is over."""
        ...
