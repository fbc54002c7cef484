"""Who may go out now: a bounded window of deliveries in flight per provider group, and who waits outside it (R10, R21).

Pure: it counts what it is told. One `Group` is the destinations behind one provider's servers, of one partition.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from schemas.mail import Priority, Status, WaitReason

TIER: Final[Mapping[Priority, int]] = {"critical": 0, "high": 1, "normal": 2, "bulk": 3}
STOPPED: Final[frozenset[WaitReason]] = frozenset({"destination_paused", "path_paused"})
_CRITICAL, _HIGH, _NORMAL, _BULK = range(4)
_TIERS: Final = range(4)
# Of so many calls one goes to mail that is tried again, where new mail waits, too: an hour's backlog of deferred mail
# never delays a password, and a flood of new mail never starves it.
_NEW_PER_RETRIED = 10
# A group that keeps postponing still gets this many at a time: enough to notice that it has recovered.
_SMALLEST_WINDOW = 4
# Until its deliveries widen it: of a tarpit all that is handed out comes back.
_FIRST_WINDOW = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a message stands, as far as its queue is concerned."""

    destination: str
    tier: int
    in_flight: bool = False
    queued: bool = False  # stands in line: for admission, or until a pause ends
    stopped: bool = False  # of those: not to be called
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
    stopped = waiting and reason in STOPPED and due_at_ms is None
    return Standing(
        destination,
        TIER[priority],
        in_flight=in_flight,
        queued=stopped or (waiting and reason == "admission"),
        stopped=stopped,
        waiting=waiting,
        postponed_until_ms=due_at_ms if waiting and reason == "postponed" else None,
        delivered=status == "delivered",
        scheduled=status == "scheduled",
    )


def _nobody() -> list[int]:
    return [0 for _ in _TIERS]


@dataclass(slots=True, kw_only=True)
class Counts:
    """Messages by tier."""

    in_flight: list[int] = field(default_factory=_nobody)
    reserved: list[int] = field(default_factory=_nobody)  # told to come in, not decided yet
    queued: list[int] = field(default_factory=_nobody)
    stopped: list[int] = field(default_factory=_nobody)  # of those in `queued`
    waiting: int = 0

    def count(self, before: Standing | None, after: Standing | None) -> None:
        """A message went from `before` to `after` (None: not known, or gone)."""
        for stand, by in ((before, -1), (after, +1)):
            if stand is not None:
                self.in_flight[stand.tier] += by * stand.in_flight
                self.queued[stand.tier] += by * stand.queued
                self.stopped[stand.tier] += by * stand.stopped
                self.waiting += by * stand.waiting

    def add(self, others: "Counts", by: Literal[1, -1]) -> None:
        """All of `others` come, or go; places are reserved in the group that called."""
        for tier in _TIERS:
            self.in_flight[tier] += by * others.in_flight[tier]
            self.queued[tier] += by * others.queued[tier]
            self.stopped[tier] += by * others.stopped[tier]
        self.waiting += by * others.waiting

    def callable(self, tier: int) -> int:
        return self.queued[tier] - self.stopped[tier]

    @property
    def nobody(self) -> bool:
        return not (self.waiting or any(self.in_flight) or any(self.reserved))


@dataclass(slots=True, kw_only=True)
class Group(Counts):
    """One provider group, and how wide its window is."""

    widest: int  # the configured window
    window: int
    closed_until_ms: int = 0  # 0: open; a closed one is opened by `open` alone
    calls_made: int = 0

    @classmethod
    def of(cls, window: int) -> "Group":
        return cls(widest=window, window=min(window, _FIRST_WINDOW))

    def copy(self) -> "Group":
        return replace(
            self,
            in_flight=self.in_flight[:],
            reserved=self.reserved[:],
            queued=self.queued[:],
            stopped=self.stopped[:],
        )

    @property
    def empty(self) -> bool:
        """Whether forgetting it forgets nothing."""
        return self.nobody and not self.closed_until_ms

    def used(self, tier: int) -> int:
        return self.in_flight[tier] + self.reserved[tier]

    def has_room(self, tier: int) -> bool:
        """Whether the window takes one more of this tier: a quarter is kept for critical, a tenth for bulk that waits."""
        if self.closed_until_ms or sum(self.in_flight) + sum(self.reserved) >= self.window:
            return False
        if tier == _HIGH:
            return self.used(_HIGH) < self.window - self.window // 4
        if tier == _NORMAL and self.callable(_BULK) > 0:
            return self.used(_NORMAL) < self.window - self.window // 10
        return True

    def takes_at_once(self, tier: int) -> bool:
        """Straight through: there is room, and nobody of this or a better tier waits for it."""
        return all(self.callable(better) <= 0 for better in range(tier + 1)) and self.has_room(tier)

    def calls(self) -> Iterator[int]:
        """The tiers to call one more from, best first; each is reserved a place at once."""
        for tier in _TIERS:
            while self.reserved[tier] < self.callable(tier) and self.has_room(tier):
                self.reserved[tier] += 1
                yield tier

    def retried_of(self, calls: int) -> int:
        """How many of the next `calls` go to mail that is tried again, though new mail waits."""
        before = self.calls_made
        self.calls_made += calls
        return self.calls_made // _NEW_PER_RETRIED - before // _NEW_PER_RETRIED

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
