"""How attempts ended within the last minutes, as routers want to know it (R20).

Pure: time comes in as a number. It forgets in steps, so that a busy provider costs no more than an idle one.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from services.sender.domain.classification import SET_UP
from services.sender.domain.outcome import Outcome

WINDOW_MS = 300_000
_STEP_MS = 10_000


@dataclass(slots=True)
class Tally:
    """How attempts ended within the last five minutes."""

    _steps: deque[tuple[int, Counter[str]]] = field(default_factory=deque)

    def add(self, outcome: Outcome, now_ms: int) -> None:
        step = now_ms // _STEP_MS
        if not self._steps or self._steps[-1][0] != step:
            self._steps.append((step, Counter()))
            self._forget(step)
        self._steps[-1][1].update(_kinds(outcome))

    def sums(self, now_ms: int) -> Counter[str]:
        self._forget(now_ms // _STEP_MS)
        total: Counter[str] = Counter()
        for _, counted in self._steps:
            total.update(counted)
        return total

    def _forget(self, step: int) -> None:
        while self._steps and self._steps[0][0] <= step - WINDOW_MS // _STEP_MS:
            self._steps.popleft()


def _kinds(outcome: Outcome) -> list[str]:
    """The fields of `schemas.routing.PathHealth` that it counts in."""
    match outcome.outcome:
        case "delivered":
            return ["delivered"]
        case "unknown":
            return []
        case "temporary":
            kinds = ["deferred"]
            if outcome.phase in SET_UP:
                kinds.append("failed")
        case "permanent":
            kinds = ["bounced"]
    if outcome.category == "ip_blocked":
        kinds.append("blocked")
    if outcome.category == "throttled":
        kinds.append("throttled")
    return kinds
