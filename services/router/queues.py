"""One partition's queues in memory: what is in flight, what waits, who has been called. Counted from the local file once.

Only records that came back from the changelog move it; a batch at hand works on copies (`Overlay`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from schemas.envelope import to_timestamp
from schemas.mail import Lane
from schemas.tables import Queue, QueueState
from services.router.domain.admission import Group, Standing
from services.router.ports import Census, Horizon, Store, Timer

_MOST_QUEUES = 1000  # in one snapshot (schemas.tables.QueueState)
# Timers called and not decided yet: bounds what a tick reads again, and what a slow log can pile up.
_MOST_CALLED = 2000
_PER_TICK = 500


@dataclass(frozen=True, slots=True)
class _Called:
    destination: str
    tier: int | None  # of a place reserved for it; None for a timer, which reserves nothing


class Queues:
    """`window` is the number of deliveries in flight per destination."""

    def __init__(self, window: int, census: Iterable[Census], scheduled: int, now_ms: int) -> None:
        self._window = window
        self._groups: dict[str, Group] = {}
        self._called: dict[str, _Called] = {}
        self._stirred: set[str] = set()  # somebody there may have a place now
        self._closed: set[str] = set()
        self._changed: set[str] = set()  # since the last snapshot
        self._told = False  # the first snapshot replaces what the last owner said, even by nothing
        self._horizons: dict[str, Horizon] = {}
        self.waiting = 0
        self.in_flight = 0
        self.scheduled = scheduled
        for count in census:
            self._take(count, now_ms)

    def moved(self, message_id: str, before: Standing | None, after: Standing | None) -> None:
        """A message's record has come back from the changelog."""
        self.forget(message_id)
        place = after or before
        if place is None:
            return
        group = self._group(place.destination)
        group.count(before, after)
        if after is not None:
            group.learn(before, after)
        self.waiting += _count(after, "waiting") - _count(before, "waiting")
        self.in_flight += _count(after, "in_flight") - _count(before, "in_flight")
        self.scheduled += _count(after, "scheduled") - _count(before, "scheduled")
        self._touch(place.destination, group)

    def forget(self, message_id: str) -> None:
        """The timer of this message was decided, whatever came of it: it may be called again."""
        called = self._called.pop(message_id, None)
        if called is not None and called.tier is not None:
            group = self._group(called.destination)
            group.reserved[called.tier] -= 1
            self._touch(called.destination, group)

    def overlay(self) -> "Overlay":
        return Overlay(self)

    def group(self, destination: str) -> Group:
        """A copy to work on."""
        found = self._groups.get(destination)
        return Group.of(self._window) if found is None else found.copy()

    def has_reserved(self, message_id: str) -> bool:
        called = self._called.get(message_id)
        return called is not None and called.tier is not None

    def due(self, store: Store, now_ms: int) -> list[Timer]:
        """Timers to call now, each once until it has been decided."""
        room = _MOST_CALLED - sum(called.tier is None for called in self._called.values())
        if room <= 0:
            return []
        timers = store.due(now_ms, _MOST_CALLED + _PER_TICK)
        fresh = [timer for timer in timers if timer.message_id not in self._called][: min(room, _PER_TICK)]
        self._called.update((timer.message_id, _Called("", None)) for timer in fresh)
        return fresh

    def admitted(self, store: Store, now_ms: int) -> list[Timer]:
        """Who has a place now: called in the order of the queue, the place reserved until that is decided.

        A closure that ends counts from the next tick on: what was postponed is due now, and has the better rank.
        """
        calls = [timer for d in self._stirred if d in self._groups for timer in self._admit(d, store)]
        self._stirred.clear()
        for destination in [d for d in self._closed if self._groups[d].open(now_ms)]:
            self._closed.discard(destination)
            self._touch(destination, self._groups[destination])
        return calls

    def snapshot(self, store: Store, lane: Lane, partition: int, now_ms: int) -> QueueState | None:
        """The queues as people see them, or None where nothing has changed since the last time."""
        if self._told and not self._changed:
            return None
        self._told = True
        for destination in self._changed:
            self._horizons[destination] = store.horizon(destination)
        for destination in self._horizons.keys() - self._groups.keys():
            del self._horizons[destination]
        self._changed.clear()
        longest = sorted(self._horizons, key=lambda d: (-self._groups[d].waiting, d))[:_MOST_QUEUES]
        return QueueState(
            lane=lane, partition=partition, taken_at=to_timestamp(now_ms), queues=[self._queue(d) for d in longest]
        )

    @property
    def oldest_ms(self) -> int | None:
        """Acceptance of the oldest message that waits, as of the last snapshot."""
        return min((h.oldest_ms for h in self._horizons.values() if h.oldest_ms is not None), default=None)

    def _take(self, count: Census, now_ms: int) -> None:
        group = self._group(count.destination)
        group.in_flight[count.tier] = count.in_flight
        group.queued[count.tier] = count.queued
        group.waiting += count.waiting
        if count.postponed_until_ms is not None and count.postponed_until_ms > now_ms:
            group.close(count.postponed_until_ms)
        self.waiting += count.waiting
        self.in_flight += count.in_flight
        self._touch(count.destination, group)

    def _group(self, destination: str) -> Group:
        group = self._groups.get(destination)
        if group is None:
            group = self._groups[destination] = Group.of(self._window)
        return group

    def _touch(self, destination: str, group: Group) -> None:
        self._changed.add(destination)
        if group.closed_until_ms:
            self._closed.add(destination)
        if any(group.queued):
            self._stirred.add(destination)
        elif group.empty:
            del self._groups[destination]

    def _admit(self, destination: str, store: Store) -> Iterator[Timer]:
        group = self._groups[destination]
        reserved = group.reserved[:]
        tiers = list(group.calls())
        for tier in sorted(set(tiers)):
            wanted = tiers.count(tier)
            queue = store.queued(destination, tier, reserved[tier] + wanted)
            fresh = [timer for timer in queue if not self.has_reserved(timer.message_id)][:wanted]
            group.reserved[tier] -= wanted - len(fresh)
            self._called.update((timer.message_id, _Called(destination, tier)) for timer in fresh)
            yield from fresh

    def _queue(self, destination: str) -> Queue:
        group, horizon = self._groups[destination], self._horizons[destination]
        return Queue(
            destination=destination,
            waiting=group.waiting,
            in_flight=sum(group.in_flight),
            oldest_ms=horizon.oldest_ms,
            next_due_ms=horizon.next_due_ms,
        )


class Overlay:
    """The queues as a batch at hand sees them: its own decisions counted in, nothing of it kept."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._groups: dict[str, Group] = {}
        self._came: set[str] = set()  # called before, and their turn was decided in this batch

    def group(self, destination: str) -> Group:
        group = self._groups.get(destination)
        if group is None:
            group = self._groups[destination] = self._queues.group(destination)
        return group

    def moved(self, before: Standing | None, after: Standing) -> None:
        group = self.group(after.destination)
        group.count(before, after)
        group.learn(before, after)

    def called_has_room(self, message_id: str, destination: str, tier: int) -> bool:
        """Whether who was called from the queue may go: its reserved place is its own now."""
        group = self.group(destination)
        if self._queues.has_reserved(message_id) and message_id not in self._came:
            self._came.add(message_id)
            group.reserved[tier] -= 1
        return group.has_room(tier)


def _count(standing: Standing | None, what: str) -> int:
    return 0 if standing is None else int(getattr(standing, what))
