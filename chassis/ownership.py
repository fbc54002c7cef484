"""The contract between a stateful service and the owner of its partitions: what a partition's view must be able to do.

Services import these names from `chassis.partition_owner`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from chassis.log import Incoming, Outgoing
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
        """The next changelog offset the local file needs (see `RemembersFences`), or None to read from the beginning."""
        ...

    def apply(self, record: Incoming) -> None:
        """Fold a live changelog record (restore, or the own one read back). A null value is a tombstone.

        Fences, void records and records that are not JSON never come here.
        """
        ...

    def input_position(self) -> int | None:
        """The input offset to start at where the group has no commit (from the changelog's position record)."""
        ...

    async def decide(self, inputs: Sequence[Received], tenure: Tenure) -> Step:
        """Fold a batch. May wait (for freshness) and may raise Retry; must be repeatable: nothing of it is final
        until its state has come back through `apply`.
        """
        ...

    async def tick(self, tenure: Tenure) -> Step:
        """Called about each 100 ms while owned: timers, snapshots."""
        ...

    def position_record(self, input_offset: int, tenure: Tenure) -> Outgoing | None:
        """The changelog record that remembers a commit, or None where the inputs need none."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class PutsAgain(Protocol):
    """Optional in an `OwnedPartition`: puts a live value again where a void record came last.

    Compaction keeps a key's last record, and forgets the fence that voided it. So the owner writes the value once more.
    """

    def current(self, key: str, tenure: Tenure) -> Outgoing | None:
        """The state record of `key` as it stands, under `tenure`; None (a tombstone is written) where there is none."""
        ...


@runtime_checkable
class RemembersFences(Protocol):
    """For an `OwnedPartition` that goes on from a local file: the fence is kept there with the place.

    Without it, what an older owner landed behind that fence would count for whoever begins to read after the fence.
    """

    def fenced(self, offset: int) -> None:
        """A fence has come in the changelog, at this offset."""
        ...

    def changelog_fence(self) -> int | None:
        """The newest fence that the local file knows of; None for none."""
        ...


Factory = Callable[[Topic, int], OwnedPartition]  # input topic, partition
