"""Who may go out now: a bounded window of deliveries in flight per destination, and who waits outside it in which order (R10).

Pure: it counts what it is told. One `Group` is one destination of one partition.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.mail import Priority, Status, WaitReason

TIER: Final[Mapping[Priority, int]] = {"critical": 0, "high": 1, "normal": 2, "bulk": 3}
_CRITICAL, _HIGH, _NORMAL, _BULK = range(4)
_TIERS: Final = range(4)
# A destination that keeps postponing still gets this many at a time: enough to notice that it has recovered.
_SMALLEST_WINDOW = 4


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a message stands, as far as its queue is concerned."""

    destination: str
    tier: int
    in_flight: bool = False
    queued: bool = False  # for admission
    waiting: bool = False  # for anything: admission, its time, a postponed destination
    postponed_until_ms: int | None = None
    delivered: bool = False
    scheduled: bool = False  # for the time that its client chose


def standing(  # one place says what a state means for the queues, whoever holds that state
    *,
    destination: str,
    priority: Priority,
    status: Status,
    in_flight: bool,
    reason: WaitReason | None,
    due_at_ms: int | None,
    closed: bool,
) -> Standing:
    # What waits for a person, or for the time that its client chose, stands in no queue.
    waiting = not closed and not in_flight and status not in {"held", "scheduled"}
    return Standing(
        destination,
        TIER[priority],
        in_flight=in_flight,
        queued=waiting and reason == "admission",
        waiting=waiting,
        postponed_until_ms=due_at_ms if waiting and reason == "postponed" else None,
        delivered=status == "delivered",
        scheduled=status == "scheduled",
    )


def _nobody() -> list[int]:
    return [0 for _ in _TIERS]


@dataclass(slots=True)
class Group:
    """Counts of one destination by tier, and how wide its window is."""

    widest: int  # the configured window
    window: int
    in_flight: list[int] = field(default_factory=_nobody)
    reserved: list[int] = field(default_factory=_nobody)  # told to come in, not decided yet
    queued: list[int] = field(default_factory=_nobody)
    waiting: int = 0
    closed_until_ms: int = 0  # 0: open; a closed one is opened by `open` alone

    @classmethod
    def of(cls, window: int) -> "Group":
        return cls(widest=window, window=window)

    def copy(self) -> "Group":
        return replace(self, in_flight=self.in_flight[:], reserved=self.reserved[:], queued=self.queued[:])

    @property
    def empty(self) -> bool:
        """Whether forgetting it forgets nothing."""
        return not (self.waiting or any(self.in_flight) or any(self.reserved) or self.closed_until_ms)

    def used(self, tier: int) -> int:
        return self.in_flight[tier] + self.reserved[tier]

    def has_room(self, tier: int) -> bool:
        """Whether the window takes one more of this tier: a quarter is kept for critical, a tenth for bulk that waits."""
        if self.closed_until_ms or sum(self.in_flight) + sum(self.reserved) >= self.window:
            return False
        if tier == _HIGH:
            return self.used(_HIGH) < self.window - self.window // 4
        if tier == _NORMAL and self.queued[_BULK]:
            return self.used(_NORMAL) < self.window - self.window // 10
        return True

    def takes_at_once(self, tier: int) -> bool:
        """Straight through: there is room, and nobody of this or a better tier waits for it."""
        return not any(self.queued[: tier + 1]) and self.has_room(tier)

    def calls(self) -> Iterator[int]:
        """The tiers to call one more from, best first; each is reserved a place at once."""
        for tier in _TIERS:
            while self.reserved[tier] < self.queued[tier] and self.has_room(tier):
                self.reserved[tier] += 1
                yield tier

    def count(self, before: Standing | None, after: Standing | None) -> None:
        """A message of this group went from `before` to `after` (None: not known, or gone)."""
        for stand, by in ((before, -1), (after, +1)):
            if stand is not None:
                self.in_flight[stand.tier] += by * stand.in_flight
                self.queued[stand.tier] += by * stand.queued
                self.waiting += by * stand.waiting

    def learn(self, before: Standing | None, after: Standing) -> None:
        """A postponed hand-out closes the group until its time and halves the window; each delivery widens it by one."""
        if before is None or not before.in_flight:
            return
        if after.postponed_until_ms is not None:
            self.close(after.postponed_until_ms)
        elif after.delivered:
            self.window = min(self.widest, self.window + 1)

    def close(self, until_ms: int) -> None:
        if not self.closed_until_ms:
            self.window = max(min(_SMALLEST_WINDOW, self.widest), self.window // 2)
        self.closed_until_ms = max(self.closed_until_ms, until_ms)

    def open(self, now_ms: int) -> bool:
        """End a closure whose time has come; whether there was one."""
        if not self.closed_until_ms or now_ms < self.closed_until_ms:
            return False
        self.closed_until_ms = 0
        return True
