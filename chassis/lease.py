"""How long an owner may act on its group's word: a lease proven by commits, which the broker fences by generation.

Pure: it is given monotonic seconds, it never reads a clock.
"""

from dataclasses import dataclass

_NEVER = float("inf")


@dataclass(slots=True)
class Lease:
    """Monotonic seconds. A proof dates from before its commit was sent; one begun during a rebalance does not count.

    The life of it: `begin` when the group has assigned, `prove` with each commit it accepted, `suspend` when a
    rebalance begins (what is proven stays, nothing new counts), `revoke` when the assignment is given back or a commit
    was refused.
    """

    session_timeout: float
    margin: float = 1.5
    _proven_at: float = float("-inf")
    _counts_from: float = _NEVER

    def begin(self, now: float) -> None:
        """The group has assigned partitions at `now`: proofs begun from here on count."""
        self._proven_at = float("-inf")
        self._counts_from = now

    def prove(self, begun_at: float) -> None:
        """A commit sent after `begun_at` was accepted."""
        if begun_at >= self._counts_from:
            self._proven_at = max(self._proven_at, begun_at)

    def suspend(self) -> None:
        """A rebalance has begun: what is proven may be used up, but the group's word no longer renews it."""
        self._counts_from = _NEVER

    def revoke(self) -> None:
        """Nothing may be produced any more, until the group has assigned again (`begin`)."""
        self._proven_at = float("-inf")
        self._counts_from = _NEVER

    def valid(self, now: float) -> bool:
        return now < self.ends_at()

    def ends_at(self) -> float:
        """Monotonic time after which nothing may be produced."""
        return self._proven_at + self.session_timeout - self.margin
