"""One provider as one address of ours sees it, or one smarthost: who is on the way to it, who waits, and what is known.

Pure: time comes in as a number. It must never let in more than its standing allows; the last slot but for critical mail
is critical mail's, and a slow destination of a smarthost leaves the other half of it to the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic

from schemas.mail import Priority
from services.sender.domain.holds import Holds
from services.sender.domain.outcome import Outcome
from services.sender.domain.pacing import Meter, beginning, learn, signal_of
from services.sender.domain.queue import Queue, W
from services.sender.domain.shaping import SHAPES, Override, Shape
from services.sender.domain.tally import Tally
from services.sender.domain.traffic import Traffic

_SWIFT_MS = 5_000  # a transaction that takes longer holds up more than itself
# A queue that empties as fast as this costs no memory worth speaking of, and giving back costs more than waiting.
_SHORT_MS = 1_000
_HALF, _EIGHTH = 2, 8

Key = tuple[str, str, str]  # path, source address or "", provider group


@dataclass(frozen=True, slots=True)
class Prospect:
    """What one who waits has before it."""

    ahead: int
    wait_ms: float | None  # None: too early to say
    part: int | None  # of all that is at hand so much may wait for the same: one in so many; None: as much as comes

    @property
    def is_slow(self) -> bool:
        return self.part == _EIGHTH


@dataclass(slots=True)
class _Line:
    """One destination of a room, while it has work."""

    override: Override
    traffic: Traffic = field(default_factory=Traffic)
    meter: Meter = field(default_factory=Meter)


class Room(Generic[W]):
    """Counts and queues. Whoever keeps it asks `admits` first, and says `enter` and `leave`."""

    def __init__(self, key: Key, shape: Shape, replicas: int, now_ms: int, *, smarthost: bool) -> None:
        self.key = key
        self.path, self.source_address, self.group = key
        self.shape = shape
        self.smarthost = smarthost
        self.standing = beginning(shape)
        # Whether its last transaction went well, and soon. What is not known to be quick may hang.
        self.swift = smarthost
        self.tally = Tally()
        self.holds = Holds()
        self.waiting: Queue[W] = Queue()
        self._replicas = replicas
        self.traffic = Traffic()
        self._ordinary = 0  # of those on their way, not critical
        self._meter = Meter()
        self._lines: dict[str, _Line] = {}
        self._used_ms = now_ms

    @property
    def label(self) -> str:
        """For metrics, bounded: a provider that nobody knows is one of the others."""
        return self.group if self.smarthost or self.group in SHAPES else "other"

    @property
    def running(self) -> int:
        return len(self.traffic)

    @property
    def limit(self) -> int:
        return self.standing.connections(self.shape)

    def reshape(self, shape: Shape, override_of: Callable[[str], Override]) -> None:
        """Policies have changed."""
        self.shape = shape
        for destination, line in self._lines.items():
            line.override = override_of(destination)

    # --- who may go ---

    def admits(self, destination: str, priority: Priority, now_ms: int) -> bool:
        if not self.is_open(priority, now_ms):
            return False
        line = self._lines.get(destination)
        return line is None or not (self._is_full(line) or self._line_opens_ms(line, now_ms) > now_ms)

    def is_open(self, priority: Priority, now_ms: int) -> bool:
        """Whether there is room for anybody of this priority."""
        limit = self.limit
        if self.running >= limit or (priority != "critical" and self._ordinary >= max(1, limit - 1)):
            return False
        return self.opens_ms(now_ms) <= now_ms

    def first(self, priority: Priority, now_ms: int) -> W | None:
        """Who goes next, of this priority."""
        if not self.is_open(priority, now_ms):
            return None
        return self.waiting.first(priority, lambda destination: self.admits(destination, priority, now_ms))

    def opens_ms(self, now_ms: int) -> int:
        """When closure and rate let the next one go; now, where that is not later."""
        opens_ms = max(now_ms, self.standing.closed_until_ms)
        rate = self.standing.rate(self.shape, now_ms)
        return opens_ms if rate is None else max(opens_ms, self._meter.next_ms(rate, now_ms))

    def next_ms(self, now_ms: int) -> int | None:
        """When time alone lets somebody in who waits; None: it does not take time."""
        if (opens_ms := self.opens_ms(now_ms)) > now_ms:
            return opens_ms
        opening = (self._line_opens_ms(self._lines[name], now_ms) for name in self.waiting.destinations())
        return min((ms for ms in opening if ms > now_ms), default=None)

    def _is_full(self, line: _Line) -> bool:
        share = max(1, self.limit // 2) if self.smarthost else self.limit
        return len(line.traffic) >= min(share, line.override.connections or share)

    def _line_opens_ms(self, line: _Line, now_ms: int) -> int:
        rate = line.override.per_second
        return now_ms if rate is None else line.meter.next_ms(rate, now_ms)

    # --- who is on the way ---

    def know(self, destination: str, override: Override) -> None:
        """Before one comes in, or waits; `forget_idle` where it does neither."""
        if destination not in self._lines:
            self._lines[destination] = _Line(override)

    def forget_idle(self, destination: str) -> None:
        line = self._lines.get(destination)
        if line is not None and not line.traffic and not self.waiting.of(destination) and not line.override.per_second:
            del self._lines[destination]

    def enter(self, who: W, now_ms: int) -> None:
        line = self._lines[who.mail.destination]
        line.traffic.enter(who, now_ms)
        self.traffic.enter(who, now_ms)
        self._ordinary += who.mail.priority != "critical"
        self._used_ms = now_ms
        if (rate := self.standing.rate(self.shape, now_ms)) is not None:
            self._meter = self._meter.spent(rate, now_ms)
        if line.override.per_second is not None:
            line.meter = line.meter.spent(line.override.per_second, now_ms)

    def leave(self, who: W, now_ms: int) -> None:
        self._lines[who.mail.destination].traffic.leave(who, now_ms)
        self.traffic.leave(who, now_ms)
        self._ordinary -= who.mail.priority != "critical"
        self._used_ms = now_ms
        self.forget_idle(who.mail.destination)

    def learn(self, who: W, outcome: Outcome, now_ms: int) -> bool:
        """How its transaction ended; whether well, and soon."""
        began_ms, signal = self.traffic.began_ms(who), signal_of(outcome)
        self.standing = learn(
            self.standing, signal, self.shape, began_ms=began_ms, now_ms=now_ms, replicas=self._replicas
        )
        if signal.pace is not None:
            self.holds.learn(signal.pace, who.mail, now_ms)
        self.tally.add(outcome, now_ms)
        return signal.pulse != "unreachable" and now_ms - began_ms <= _SWIFT_MS

    def hangs(self, now_ms: int) -> bool:
        """Whether something has been on its way for too long to call this a quick one."""
        return self.traffic.oldest_ms(now_ms) > _SWIFT_MS

    def is_forgettable(self, now_ms: int, after_ms: int) -> bool:
        """Whether forgetting it forgets nothing of use."""
        known_ms = max(self.standing.closed_until_ms, self.standing.slow_until_ms, self.holds.last_ms())
        return not self.running and not self.waiting and now_ms > max(known_ms, self._used_ms + after_ms)

    # --- who waits, and for how long ---

    def prospect(self, destination: str, ahead: int, now_ms: int) -> Prospect:
        """Of one that has so many before it in this room.

        What waits for all of a smarthost may be as much as comes: giving some of it back would only let more of the same
        in. There it is a destination that can be slow; until that is known it leaves half of what is at hand to the rest.
        """
        line = self._lines.get(destination)
        own = None if line is None or not self._is_full(line) else line  # it is its own share that keeps it waiting
        if own is not None:
            ahead = min(ahead, self.waiting.of(destination))
        wait_ms = self._wait_ms(line, (own or self).traffic, ahead, now_ms)
        if (wait_ms is not None and wait_ms <= _SHORT_MS) or (self.smarthost and own is None):
            return Prospect(ahead, wait_ms, None)
        return Prospect(ahead, wait_ms, _HALF if self.smarthost and wait_ms is None else _EIGHTH)

    def _wait_ms(self, line: _Line | None, traffic: Traffic, ahead: int, now_ms: int) -> float | None:
        known_ms = self.opens_ms(now_ms) - now_ms + _evenly(self.standing.rate(self.shape, now_ms), ahead)
        if line is not None:
            known_ms = max(known_ms, self._line_opens_ms(line, now_ms) - now_ms)
        if self.standing.closed(now_ms):
            return known_ms
        usual_ms = traffic.wait_ms(ahead, now_ms)
        if usual_ms is None:
            return known_ms if known_ms > _SHORT_MS else None
        return max(known_ms, usual_ms)

    def slow(self, priority: Priority, now_ms: int) -> int:
        """How many wait here for what is not quick, of those that go before one of this priority."""
        ahead = self.waiting.ahead_of(priority)
        if not self.smarthost:
            return 0 if self.prospect("", len(self.waiting), now_ms).part is None else ahead
        names = [name for name in self.waiting.destinations() if self.prospect(name, ahead, now_ms).is_slow]
        return min(ahead, sum(self.waiting.of(name) for name in names))


def _evenly(per_second: float | None, ahead: int) -> float:
    return 0.0 if per_second is None else 1000 * ahead / per_second
