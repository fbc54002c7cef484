"""Who waits for a provider or a smarthost, and who goes first (R10).

Pure. FIFO within a priority and destination, the higher priority first; destinations of one priority take turns.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from schemas.mail import Priority

# Express before standard, and within a lane the tier that comes first.
ORDER: tuple[Priority, ...] = ("critical", "high", "normal", "bulk")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mail that wants a slot, as far as that matters."""

    destination: str
    priority: Priority
    recipient: str = ""
    sender_domain: str = ""
    is_retry: bool = False  # its time is the ladder's


class Waiting(Protocol):
    """Who waits with it: told apart from others by what it is, not by what it says."""

    @property
    def mail(self) -> Candidate: ...

    def __hash__(self) -> int: ...


W = TypeVar("W", bound=Waiting)


class Queue(Generic[W]):
    def __init__(self) -> None:
        self._tiers: dict[Priority, OrderedDict[str, deque[W]]] = {tier: OrderedDict() for tier in ORDER}
        self._lengths: Counter[Priority] = Counter()
        self._counts: Counter[str] = Counter()  # by destination

    def __len__(self) -> int:
        return self._lengths.total()

    def __contains__(self, who: W) -> bool:
        return who in self._tiers[who.mail.priority].get(who.mail.destination, ())

    def add(self, who: W) -> None:
        self._tiers[who.mail.priority].setdefault(who.mail.destination, deque()).append(who)
        self._lengths[who.mail.priority] += 1
        self._counts[who.mail.destination] += 1

    def remove(self, who: W) -> None:
        tier, destination = self._tiers[who.mail.priority], who.mail.destination
        tier[destination].remove(who)
        if not tier[destination]:
            del tier[destination]
        self._lengths[who.mail.priority] -= 1
        self._counts[destination] -= 1
        if not self._counts[destination]:
            del self._counts[destination]

    def destinations(self) -> Sequence[str]:
        return [*self._counts]

    def of(self, destination: str) -> int:
        """How many wait for it."""
        return self._counts[destination]

    def ahead_of(self, priority: Priority) -> int:
        """How many go before one of this priority who comes now."""
        return sum(self._lengths[tier] for tier in ORDER[: ORDER.index(priority) + 1])

    def first(self, priority: Priority, may_go: Callable[[str], bool]) -> W | None:
        """Who goes next, of this priority, to a destination that may be gone to; that one has had its turn then."""
        tier = self._tiers[priority]
        found = next((destination for destination in tier if may_go(destination)), None)
        if found is None:
            return None
        tier.move_to_end(found)
        return tier[found][0]

    def last_first(self) -> Sequence[W]:
        """All, the lowest priority and the youngest first."""
        return [
            who for tier in reversed(ORDER) for line in reversed(self._tiers[tier].values()) for who in reversed(line)
        ]
