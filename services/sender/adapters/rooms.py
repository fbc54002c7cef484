"""One provider as one address of ours sees it, or one smarthost: who is on the way to it, who waits, and what is known.

It must never let in more than its standing allows; the last slot but for critical mail is critical mail's. Who waits is
FIFO within a priority and destination, the higher priority first; destinations of one priority take turns.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.mail import Priority
from services.sender.domain.flow import Flow, Tally
from services.sender.domain.outcome import Outcome
from services.sender.domain.pacing import Meter, beginning, learn, signal_of
from services.sender.domain.shaping import SHAPES, Override, Shape
from services.sender.ports import Carried

# Express before standard, and within a lane the tier that comes first.
ORDER: tuple[Priority, ...] = ("critical", "high", "normal", "bulk")

_MOMENT_MS = 1_000  # what the rate alone makes one wait says little
_SWIFT_MS = 5_000  # a transaction that takes longer holds up more than itself

Key = tuple[str, str, str]  # path, source address or "", provider group


class Slot:
    """See `services.sender.ports.Slot`."""

    def __init__(
        self, room: "Room", destination: str, priority: Priority, learn: "Callable[[Slot, Outcome], None]"
    ) -> None:
        self.room = room
        self.destination = destination
        self.priority = priority
        self._learn = learn

    def tell(self, carried: Carried) -> None:
        if isinstance(carried.ended, Outcome):
            self._learn(self, carried.ended)


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    slot: Slot  # that it gets
    future: asyncio.Future[None]

    @property
    def destination(self) -> str:
        return self.slot.destination

    @property
    def priority(self) -> Priority:
        return self.slot.priority


@dataclass(slots=True)
class _Line:
    """One destination of a room, while it has work."""

    override: Override
    flow: Flow
    taken: int = 0
    waiting: int = 0
    meter: Meter = field(default_factory=Meter)


class Room:
    """Counts and queues. Whoever keeps it asks `admits` first, and says `enter` and `leave`."""

    def __init__(self, key: Key, shape: Shape, replicas: int, now_ms: int, *, smarthost: bool) -> None:
        self.key = key
        self.path, self.source_address, self.group = key
        self.shape = shape
        self.smarthost = smarthost
        self.standing = beginning(shape)
        # Whether its last transaction went well, and soon. What is not known to be quick may hang.
        self.swift = smarthost
        self.running = 0
        self._ordinary = 0  # of those, not critical
        self.waiting = 0
        self.used_ms = now_ms
        self._ended_ms = now_ms
        self.tally = Tally()
        self.timer: asyncio.TimerHandle | None = None  # until time alone lets somebody in
        self._replicas = replicas
        self._began: dict[Slot, int] = {}  # of what is on its way, the oldest first
        self._meter = Meter()
        self._flow = Flow(now_ms)
        self._lines: dict[str, _Line] = {}
        self._queues: dict[Priority, OrderedDict[str, deque[Waiter]]] = {tier: OrderedDict() for tier in ORDER}

    @property
    def label(self) -> str:
        """For metrics, bounded: a provider that nobody knows is one of the others."""
        return self.group if self.smarthost or self.group in SHAPES else "other"

    # --- who may go ---

    @property
    def limit(self) -> int:
        return self.standing.connections(self.shape)

    def reshape(self, shape: Shape, override_of: Callable[[str], Override]) -> None:
        """Policies have changed."""
        self.shape = shape
        for destination, line in self._lines.items():
            line.override = override_of(destination)

    def is_open(self, priority: Priority, now_ms: int) -> bool:
        """Whether there is room for anybody of this priority."""
        limit = self.limit
        if self.running >= limit or (priority != "critical" and self._ordinary >= max(1, limit - 1)):
            return False
        return self.opens_ms(now_ms) <= now_ms

    def opens_ms(self, now_ms: int) -> int:
        """When closure and rate let the next one go; now, where that is not later."""
        opens_ms = max(now_ms, self.standing.closed_until_ms)
        rate = self.standing.rate(self.shape, now_ms)
        return opens_ms if rate is None else max(opens_ms, self._meter.next_ms(rate, now_ms))

    def next_ms(self, now_ms: int) -> int | None:
        """When time alone lets somebody in who waits; None: it does not take time."""
        if (opens_ms := self.opens_ms(now_ms)) > now_ms:
            return opens_ms
        paced = [line for line in self._lines.values() if line.waiting and line.override.per_second is not None]
        later = [ms for line in paced if (ms := self._line_opens_ms(line, now_ms)) > now_ms]
        return min(later, default=None)

    def admits(self, destination: str, priority: Priority, now_ms: int) -> bool:
        if not self.is_open(priority, now_ms):
            return False
        line = self._lines.get(destination)
        return line is None or (line.taken < self._share(line) and self._line_opens_ms(line, now_ms) <= now_ms)

    def _share(self, line: _Line) -> int:
        """One slow destination leaves the other half of a smarthost to the rest."""
        share = max(1, self.limit // 2) if self.smarthost else self.limit
        return share if line.override.connections is None else min(share, line.override.connections)

    def _line_opens_ms(self, line: _Line, now_ms: int) -> int:
        rate = line.override.per_second
        return now_ms if rate is None else line.meter.next_ms(rate, now_ms)

    # --- who is on the way ---

    def enter(self, slot: Slot, now_ms: int) -> None:
        line = self._lines[slot.destination]
        line.taken += 1
        self.running += 1
        self._ordinary += slot.priority != "critical"
        self._began[slot] = self.used_ms = now_ms
        if (rate := self.standing.rate(self.shape, now_ms)) is not None:
            self._meter = self._meter.spent(rate, now_ms)
        if line.override.per_second is not None:
            line.meter = line.meter.spent(line.override.per_second, now_ms)

    def leave(self, slot: Slot, now_ms: int) -> None:
        line = self._lines[slot.destination]
        line.taken -= 1
        self.running -= 1
        self._ordinary -= slot.priority != "critical"
        del self._began[slot]
        self.used_ms = self._ended_ms = now_ms
        self._flow.ended(now_ms)
        line.flow.ended(now_ms)
        self.forget_idle(slot.destination)

    def know(self, destination: str, override: Override, now_ms: int) -> None:
        """Before it comes in, or waits; `forget_idle` where it does neither."""
        if destination not in self._lines:
            self._lines[destination] = _Line(override, Flow(now_ms))

    def forget_idle(self, destination: str) -> None:
        line = self._lines.get(destination)
        if line is not None and not line.taken and not line.waiting and line.override.per_second is None:
            del self._lines[destination]

    def learn(self, slot: Slot, outcome: Outcome, now_ms: int) -> bool:
        """How the transaction in this slot ended; whether well, and soon."""
        began_ms, signal = self._began[slot], signal_of(outcome)
        self.standing = learn(
            self.standing, signal, self.shape, began_ms=began_ms, now_ms=now_ms, replicas=self._replicas
        )
        self.tally.add(outcome, now_ms)
        return signal.pulse != "unreachable" and now_ms - began_ms <= _SWIFT_MS

    def hangs(self, now_ms: int) -> bool:
        """Whether something has been on its way for too long to call this a quick one."""
        return bool(self._began) and now_ms - next(iter(self._began.values())) > _SWIFT_MS

    # --- who waits ---

    def queue(self, waiter: Waiter, now_ms: int) -> None:
        line = self._lines[waiter.destination]
        if not self.waiting:
            self._flow = Flow(now_ms)
        if not line.waiting:
            line.flow = Flow(now_ms)
        self._queues[waiter.priority].setdefault(waiter.destination, deque()).append(waiter)
        line.waiting += 1
        self.waiting += 1
        self.used_ms = now_ms

    def first(self, priority: Priority, now_ms: int) -> Waiter | None:
        """Who may go, of this priority; its destination has had its turn then."""
        queues = self._queues[priority]
        if not queues or not self.is_open(priority, now_ms):
            return None
        found = next((name for name in queues if self.admits(name, priority, now_ms)), None)
        if found is None:
            return None
        queues.move_to_end(found)
        return queues[found][0]

    def ahead_of(self, priority: Priority) -> int:
        """How many wait who go before one of this priority who comes now."""
        tiers = ORDER[: ORDER.index(priority) + 1]
        return sum(len(queue) for tier in tiers for queue in self._queues[tier].values())

    def holds(self, waiter: Waiter) -> bool:
        return waiter in self._queues[waiter.priority].get(waiter.destination, ())

    def take_out(self, waiter: Waiter) -> None:
        queues = self._queues[waiter.priority]
        queue = queues[waiter.destination]
        queue.remove(waiter)
        if not queue:
            del queues[waiter.destination]
        self._lines[waiter.destination].waiting -= 1
        self.waiting -= 1

    def last_first(self) -> Sequence[Waiter]:
        """All who wait, the lowest priority and the youngest first."""
        return [
            waiter
            for priority in reversed(ORDER)
            for queue in reversed(self._queues[priority].values())
            for waiter in reversed(queue)
        ]

    def expected_ms(self, destination: str, ahead: int, now_ms: int) -> float | None:
        """How long one of this destination waits with so many before it. None: too early to say."""
        rate, open_since_ms = self.standing.rate(self.shape, now_ms), self.standing.closed_until_ms
        paced_ms = self.opens_ms(now_ms) - now_ms + (0.0 if rate is None else 1000 * ahead / rate)
        if open_since_ms > now_ms:
            return paced_ms
        if self.hangs(now_ms) and now_ms - self._ended_ms > _SWIFT_MS:
            return float("inf")
        flows = [(self._flow, ahead)] if self.waiting else []
        line = self._lines.get(destination)
        if line is not None and line.waiting and line.taken >= self._share(line):
            flows.append((line.flow, min(ahead, line.waiting)))
        rates = [(flow.per_second(now_ms, open_since_ms=open_since_ms), before) for flow, before in flows]
        expected = [1000 * (before + 1) / each if each else float("inf") for each, before in rates if each is not None]
        if not expected and paced_ms < _MOMENT_MS:
            return None
        return max([paced_ms, *expected])

    def own_ms(self, destination: str, now_ms: int) -> tuple[int, float | None]:
        """How many wait for this destination because its own share is taken, and how long the last of them waits. None:
        too early to say. Where its share is not taken nobody waits for it, but for the room.
        """
        line = self._lines.get(destination)
        if line is None or line.taken < self._share(line):
            return 0, None
        rate = line.flow.per_second(now_ms, open_since_ms=self.standing.closed_until_ms)
        if rate is None:
            return line.waiting, None
        return line.waiting, 1000 * (line.waiting + 1) / rate if rate else float("inf")

    def is_forgettable(self, now_ms: int, after_ms: int) -> bool:
        """Whether forgetting it forgets nothing of use."""
        idle = not self.running and not self.waiting and now_ms - self.used_ms > after_ms
        return idle and now_ms > max(self.standing.closed_until_ms, self.standing.slow_until_ms)
