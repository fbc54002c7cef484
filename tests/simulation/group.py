"""A consumer group: who owns which partition, how far each is committed, and members who are not told of their loss.

A member that is cut off, or frozen, is a zombie: its partitions go to others after the session time-out, and it learns
of that only when it is back.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tests.simulation.cluster import Cluster
from tests.simulation.faults import Faults
from tests.simulation.process import Process

SESSION = 10.0  # seconds
MARGIN = 1.5  # as chassis.lease


class Member(Protocol):
    """One process in the group."""

    @property
    def process(self) -> Process: ...

    @property
    def seat(self) -> "Seat": ...

    def assigned(self, place: TopicPartition) -> None: ...

    async def revoked(self, place: TopicPartition) -> None: ...


@dataclass(slots=True)
class Seat:
    """What a member knows of the group. `cut_at`: since when the group does not hear it."""

    group: "Group"
    process: Process
    cut_at: float | None = None
    places: set[TopicPartition] = field(default_factory=set)
    giving: asyncio.Lock = field(default_factory=asyncio.Lock)

    def remaining(self) -> float:
        silent_since = [at for at in (self.cut_at, self.process.frozen_at) if at is not None]
        if not silent_since:
            return SESSION - MARGIN - 0.3
        return min(silent_since) + SESSION - MARGIN - self.process.monotonic()

    async def stored(self, place: TopicPartition) -> OffsetAndMetadata | None:
        await self.process.sleep(0.002)
        offset = self.group.committed.get(place)
        return None if offset is None else OffsetAndMetadata(offset, "")

    async def commit_at(self, place: TopicPartition, offset: int) -> bool:
        await self.process.sleep(0.002)
        if (
            self.cut_at is not None
            or self.group.owners.get(place) is not self
            or self.group.faults.happens("commit lost")
        ):
            return False
        self.group.committed[place] = offset
        return True


class Group:
    def __init__(self, cluster: Cluster, places: Sequence[TopicPartition]) -> None:
        self.faults: Faults = cluster.faults
        self.cluster = cluster
        self.committed: dict[TopicPartition, int] = {}
        self.owners: dict[TopicPartition, Seat | None] = dict.fromkeys(places)
        self.members: dict[str, Member] = {}

    def join(self, member: Member) -> None:
        self.members[member.process.name] = member
        _later(0.5, self._share)

    def silent(self, member: Member) -> None:
        """The group does not hear it any more: dead, frozen or cut off. Looks again after the session time-out."""
        began = member.process.monotonic()
        _later(SESSION, self._expire, member, began)

    def back(self, member: Member) -> None:
        """Frozen or cut off, and heard again: it learns what it has lost."""
        lost = [place for place in member.seat.places if self.owners[place] is not member.seat]
        if not lost:
            member.seat.cut_at = None
            return
        if member.seat.cut_at is None:  # it has no lease until it knows
            member.seat.cut_at = member.process.monotonic() - SESSION
        member.process.spawn(self._rejoin(member, lost))

    async def move(self, place: TopicPartition) -> None:
        """A rebalance: its owner gives the partition back, and another member has it, or the same one again."""
        seat = self.owners[place]
        owner = None if seat is None else self._member_of(seat)
        heirs = self._alive()
        if owner is None or not heirs or owner not in heirs:
            return
        heir = self.faults.random.choice(heirs)
        await asyncio.sleep(self.faults.random.uniform(0.01, 0.3))
        if heir is owner:
            return
        giving = owner.process.spawn(self._give_back(owner, place))
        await asyncio.wait([giving], timeout=SESSION)
        if self.owners[place] is owner.seat:
            self.owners[place] = None
        self._share()

    async def _give_back(self, member: Member, place: TopicPartition) -> None:
        async with member.seat.giving:  # a member has one rebalance at a time
            await member.revoked(place)
            member.seat.places.discard(place)

    async def _rejoin(self, member: Member, lost: Sequence[TopicPartition]) -> None:
        await member.process.sleep(self.faults.random.uniform(0.05, 1))
        for place in lost:
            await self._give_back(member, place)
        member.seat.cut_at = None
        _later(0.1, self._share)

    def _expire(self, member: Member, began: float) -> None:
        seat = member.seat
        silent = [at for at in (seat.cut_at, seat.process.frozen_at) if at is not None]
        if not seat.process.dead and (not silent or min(silent) > began):
            return
        for place, owner in self.owners.items():
            if owner is seat:
                self.owners[place] = None
        self._share()

    def _share(self) -> None:
        """Every partition without an owner goes to a member that is heard."""
        for place, owner in self.owners.items():
            heirs = [member for member in self._alive() if place not in member.seat.places]
            if owner is None and heirs:
                heir = self.faults.random.choice(heirs)
                self.owners[place] = heir.seat
                heir.seat.places.add(place)
                if place in self.committed and self.faults.happens("rewind"):
                    self.committed[place] = self.faults.random.randint(0, self.committed[place])
                heir.process.context.run(heir.assigned, place)
            elif owner is None:
                _later(1, self._share)
                return

    def _alive(self) -> list[Member]:
        return [
            member
            for member in self.members.values()
            if not member.process.dead and member.seat.cut_at is None and member.process.frozen_at is None
        ]

    def _member_of(self, seat: Seat) -> Member | None:
        return next((member for member in self.members.values() if member.seat is seat), None)


def in_world(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of no process."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


def _later(seconds: float, call: Callable[..., None], *args: Any) -> None:
    asyncio.get_running_loop().call_later(seconds, call, *args, context=contextvars.Context())
