"""How long an owner may act on its group's word: a lease proven by commits, which the broker fences by generation."""

from dataclasses import dataclass


@dataclass(slots=True)
class Lease:
    """Monotonic seconds. A proof dates from before its commit was sent; one begun during a rebalance does not count."""

    session_timeout: float
    margin: float = 1.5
    _proven_at: float = float("-inf")

    def prove(self, begun_at: float) -> None: ...

    def revoke(self) -> None: ...

    def valid(self, now: float) -> bool: ...

    def ends_at(self) -> float:
        """Monotonic time after which nothing may be produced."""
        ...
