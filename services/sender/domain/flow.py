"""How fast a queue empties, and what came of what left it: counts over a while that slides along.

Pure: time comes in as a number. Both forget in steps, so that a busy queue costs no more than an idle one.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from services.sender.domain.classification import SET_UP
from services.sender.domain.outcome import Outcome

_SPAN_MS = 5_000
# Within so short a time nothing has to have ended: a TLS connection is not made in less.
_NO_NEWS_MS = 1_000

WINDOW_MS = 300_000  # of a tally
_STEP_MS = 10_000


class Flow:
    """Mails per second that leave a queue in which others wait, as of the last few seconds."""

    def __init__(self, now_ms: int) -> None:
        self._since_ms = now_ms
        self._start_ms = now_ms
        self._count = 0
        self._before = 0  # in the span before this one

    def ended(self, now_ms: int) -> None:
        self._slide(now_ms)
        self._count += 1

    def per_second(self, now_ms: int, *, open_since_ms: int = 0) -> float | None:
        """None: too early to say. While it was closed nothing could leave."""
        self._slide(now_ms)
        fresh = 1 - (now_ms - self._start_ms) / _SPAN_MS
        ended = self._count + self._before * fresh
        span_ms = min(_SPAN_MS, now_ms - max(self._since_ms, open_since_ms))
        if not ended and span_ms < _NO_NEWS_MS:
            return None
        return 1000 * ended / max(1, span_ms)

    def _slide(self, now_ms: int) -> None:
        steps = (now_ms - self._start_ms) // _SPAN_MS
        if steps <= 0:
            return
        self._before = self._count if steps == 1 else 0
        self._count = 0
        self._start_ms += steps * _SPAN_MS


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
