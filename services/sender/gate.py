"""The two points of no return of a transaction: DATA, and the body (R11, R23)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.sender.ports import Stop, Suppressed

FRESH_WITHIN = 2.0  # seconds to wait for a fresh suppression table with a transaction open


@dataclass(frozen=True, slots=True)
class SendGate:
    """See `services.sender.ports.Gate`."""

    may_begin: Callable[[], bool]
    suppressed: Suppressed
    project_id: str
    recipient: str
    tags: Sequence[str]
    is_too_late: Callable[[], bool]
    deadline_is_over: Callable[[], bool]

    async def settle(self) -> None:
        """Wait a moment for a fresh table rather than throw a transaction away."""
        if not self.suppressed.fresh():
            await self.suppressed.wait_fresh(FRESH_WITHIN)

    def before_data(self) -> Stop | None:
        if not self.may_begin():
            return "lease"
        if not self.suppressed.fresh():
            return "stale"
        if self.suppressed.find(self.project_id, self.recipient, self.tags) is not None:
            return "suppressed"
        if self.is_too_late():
            return "expired"
        return "deadline" if self.deadline_is_over() else None

    def before_body(self) -> Stop | None:
        return "deadline" if self.deadline_is_over() else None
