"""One partition's queues in memory: what is in flight, what waits, who has been called. Counted from the local file once.

Only records that came back from the changelog move it; a batch at hand works on copies (`Overlay`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rules.pauses import Pauses
from schemas.envelope import to_timestamp
from schemas.mail import Lane
from schemas.routing import QueueKind
from schemas.tables import Queue, QueueState
from services.router.domain.admission import Counts, Group, Standing
from services.router.ports import Census, Horizon, Moved, Store, Timer

_MOST_QUEUES = 1000  # in one snapshot (schemas.tables.QueueState)
# Timers called and not decided yet: bounds what a tick reads again, and what a slow log can pile up.
_MOST_CALLED = 2000
_PER_TICK = 500


@dataclass(frozen=True, slots=True)
class _Called:
    group: str  # where a place is reserved for it
    tier: int | None  # None for a timer, which reserves nothing


@dataclass(slots=True, kw_only=True)
class _Destination(Counts):
    """A destination's part in the counts of its group."""

    group: str


class Queues:
    """`window` is the number of deliveries in flight per provider group; `group_of` tells a destination's."""

    def __init__(
        self, window: int, census: Iterable[Census], scheduled: int, now_ms: int, group_of: Callable[[str], str]
    ) -> None:
        self._window = window
        self._group_of = group_of
        self._groups: dict[str, Group] = {}
        self._destinations: dict[str, _Destination] = {}
        self._called: dict[str, _Called] = {}
        self._stirred: set[str] = set()  # groups in which somebody may have a place now
        self._closed: set[str] = set()
        self._changed: set[str] = set()  # destinations, since the last snapshot
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
        destination, group = self._place(place.destination)
        destination.count(before, after)
        group.count(before, after)
        if after is not None:
            group.learn(before, after)
        self.waiting += _count(after, "waiting") - _count(before, "waiting")
        self.in_flight += _count(after, "in_flight") - _count(before, "in_flight")
        self.scheduled += _count(after, "scheduled") - _count(before, "scheduled")
        self._touch(place.destination)

    def forget(self, message_id: str) -> None:
        """The timer of this message was decided, whatever came of it: it may be called again."""
        called = self._called.pop(message_id, None)
        if called is not None and called.tier is not None:
            self._group(called.group).reserved[called.tier] -= 1
            self._stir(called.group)

    def overlay(self) -> "Overlay":
        return Overlay(self)

    def group_of(self, destination: str) -> str:
        """As it is counted here: what the table says now counts from the next `regroup` on."""
        known = self._destinations.get(destination)
        return self._group_of(destination) if known is None else known.group

    def group(self, name: str) -> Group:
        """A copy to work on."""
        found = self._groups.get(name)
        return Group.of(self._window) if found is None else found.copy()

    def regroup(self, destination: str, store: Store) -> None:
        """Its provider is known, or another one: it goes there with all that is counted of it."""
        known, name = self._destinations.get(destination), self._group_of(destination)
        if known is None or known.group == name:
            return
        before = self._groups[known.group]
        before.add(known, -1)
        if before.empty:
            del self._groups[known.group]
            self._stirred.discard(known.group)
        known.group = name
        self._group(name).add(known, 1)
        store.regroup(destination, name)
        self._touch(destination)

    def stopped(self, moved: Iterable[Moved], by: int) -> None:
        """So many in line were stopped (`by` 1), or let go (-1)."""
        for some in moved:
            for counts in self._place(some.destination):
                counts.stopped[some.tier] += by * some.messages
            self._touch(some.destination)

    def touch(self, kind: QueueKind, name: str) -> None:
        """A pause of these came or went: people are to see it."""
        if kind == "destination" and name in self._destinations:
            self._changed.add(name)
        elif kind == "provider_group":
            self._changed.update(d for d, counts in self._destinations.items() if counts.group == name)

    def reserved_in(self, message_id: str) -> str | None:
        """The group in which a place is kept for it: not the message's own where that has become another since."""
        called = self._called.get(message_id)
        return None if called is None or called.tier is None else called.group

    def due(self, store: Store, now_ms: int) -> list[Timer]:
        """Timers to call now, each once until it has been decided."""
        return self._timers(lambda limit: store.due(now_ms, limit))

    def flushed(self, find: Callable[[int], Iterable[Timer]]) -> list[Timer]:
        """As many as may be called of those that `find` finds, of which it is given the most to look for."""
        return self._timers(find)

    def admitted(self, store: Store, now_ms: int) -> list[Timer]:
        """Who has a place now: called in the order of the queue, the place reserved until that is decided.

        A closure that ends counts from the next tick on: what was postponed is due now, and has the better rank.
        """
        calls = [timer for name in self._stirred if name in self._groups for timer in self._admit(name, store)]
        self._stirred.clear()
        for name in list(self._closed):
            group = self._groups.get(name)
            if group is None or group.open(now_ms):
                self._closed.discard(name)
                self._stir(name)
        return calls

    def snapshot(self, store: Store, lane: Lane, partition: int, now_ms: int, pauses: Pauses) -> QueueState | None:
        """The queues as people see them, or None where nothing has changed since the last time."""
        if self._told and not self._changed:
            return None
        self._told = True
        for destination in self._changed:
            self._horizons[destination] = store.horizon(destination)
        for destination in self._horizons.keys() - self._destinations.keys():
            del self._horizons[destination]
        self._changed.clear()
        longest = sorted(self._horizons, key=lambda d: (-self._destinations[d].waiting, d))[:_MOST_QUEUES]
        return QueueState(
            lane=lane,
            partition=partition,
            taken_at=to_timestamp(now_ms),
            queues=[self._queue(d, pauses) for d in longest],
        )

    @property
    def oldest_ms(self) -> int | None:
        """Acceptance of the oldest message that waits, as of the last snapshot."""
        return min((h.oldest_ms for h in self._horizons.values() if h.oldest_ms is not None), default=None)

    def _take(self, count: Census, now_ms: int) -> None:
        destination, group = self._place(count.destination)
        for counts in (destination, group):
            counts.in_flight[count.tier] += count.in_flight
            counts.queued[count.tier] += count.queued
            counts.stopped[count.tier] += count.stopped
            counts.waiting += count.waiting
        if count.postponed_until_ms is not None and count.postponed_until_ms > now_ms:
            group.close(count.postponed_until_ms)
        self.waiting += count.waiting
        self.in_flight += count.in_flight
        self._touch(count.destination)

    def _place(self, name: str) -> tuple[_Destination, Group]:
        destination = self._destinations.get(name)
        if destination is None:
            destination = self._destinations[name] = _Destination(group=self._group_of(name))
        return destination, self._group(destination.group)

    def _group(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group.of(self._window)
        return group

    def _touch(self, name: str) -> None:
        destination = self._destinations[name]
        self._changed.add(name)
        if destination.nobody:
            del self._destinations[name]
        self._stir(destination.group)

    def _stir(self, name: str) -> None:
        group = self._groups.get(name)
        if group is None:
            return
        if group.closed_until_ms:
            self._closed.add(name)
        if any(group.queued):
            self._stirred.add(name)
        elif group.empty:
            del self._groups[name]

    def _timers(self, find: Callable[[int], Iterable[Timer]]) -> list[Timer]:
        room = _MOST_CALLED - sum(called.tier is None for called in self._called.values())
        if room <= 0:
            return []
        timers = find(_MOST_CALLED + _PER_TICK)
        fresh = [timer for timer in timers if timer.message_id not in self._called][: min(room, _PER_TICK)]
        self._called.update((timer.message_id, _Called("", None)) for timer in fresh)
        return fresh

    def _admit(self, name: str, store: Store) -> Iterator[Timer]:
        group = self._groups[name]
        reserved = group.reserved[:]
        tiers = list(group.calls())
        for tier in sorted(set(tiers)):
            wanted = tiers.count(tier)
            fresh = self._next(name, tier, wanted, reserved[tier], store)
            group.reserved[tier] -= wanted - len(fresh)
            self._called.update((timer.message_id, _Called(name, tier)) for timer in fresh)
            yield from fresh

    def _next(self, name: str, tier: int, wanted: int, called: int, store: Store) -> list[Timer]:
        """New mail, and mail that is tried again for its share and for what is left."""
        share = self._groups[name].retried_of(wanted)
        new = self._waiting(store, name, tier, wanted, called, retried=False)
        if share == 0 and len(new) == wanted:
            return new
        retried = self._waiting(store, name, tier, max(share, wanted - len(new)), called, retried=True)
        return new[: wanted - len(retried)] + retried

    def _waiting(self, store: Store, name: str, tier: int, wanted: int, called: int, *, retried: bool) -> list[Timer]:
        queue = store.queued(name, tier, called + wanted, retried=retried)
        return [timer for timer in queue if self.reserved_in(timer.message_id) is None][:wanted]

    def _queue(self, name: str, pauses: Pauses) -> Queue:
        destination, horizon = self._destinations[name], self._horizons[name]
        return Queue(
            destination=name,
            waiting=destination.waiting,
            in_flight=sum(destination.in_flight),
            oldest_ms=horizon.oldest_ms,
            next_due_ms=horizon.next_due_ms,
            provider_group=destination.group,
            reason=horizon.reason,
            paused=pauses.concern(name, destination.group),
        )


class Overlay:
    """The queues as a batch at hand sees them: its own decisions counted in, nothing of it kept."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._groups: dict[str, Group] = {}
        self._came: set[str] = set()  # called before, and their turn was decided in this batch

    def group_of(self, destination: str) -> str:
        return self._queues.group_of(destination)

    def takes_at_once(self, destination: str, tier: int) -> bool:
        return self._group(self.group_of(destination)).takes_at_once(tier)

    def moved(self, before: Standing | None, after: Standing) -> None:
        group = self._group(self.group_of(after.destination))
        group.count(before, after)
        group.learn(before, after)

    def called_has_room(self, message_id: str, destination: str, tier: int) -> bool:
        """Whether who was called from the queue may go: its reserved place is its own now."""
        reserved_in = self._queues.reserved_in(message_id)
        if reserved_in is not None and message_id not in self._came:
            self._came.add(message_id)
            self._group(reserved_in).reserved[tier] -= 1
        return self._group(self.group_of(destination)).has_room(tier)

    def _group(self, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = self._queues.group(name)
        return group


def _count(standing: Standing | None, what: str) -> int:
    return 0 if standing is None else int(getattr(standing, what))
