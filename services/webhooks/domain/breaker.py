"""One endpoint's circuit breaker: while most of its requests fail it gets one at a time, seldom.

Closed until at least 10 requests within 5 minutes are there and 70 % of them failed; then open for 30 s, and half open
until one request, the probe, has told: a success closes it, a failure opens it for twice as long, at most 10 min.
What it refuses uses no attempt.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

WINDOW_MS = 300_000
FEWEST_REQUESTS = 10
FAILING = 0.7
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 30_000, 600_000
_SLOT_MS = 10_000  # requests are counted in slots, so that a busy endpoint costs 30 counters

State = Literal["closed", "open", "half_open"]


@dataclass(slots=True)
class _Slot:
    began_ms: int
    requests: int = 0
    failures: int = 0


@dataclass(slots=True)
class Breaker:
    """Times are Unix ms, given by the caller."""

    _slots: deque[_Slot] = field(default_factory=deque)
    _pause_ms: int = 0  # of the present trip; 0 is closed
    _until_ms: int = 0
    _probing: bool = False

    def state(self, now_ms: int) -> State:
        if self._pause_ms == 0:
            return "closed"
        return "open" if now_ms < self._until_ms else "half_open"

    def opens_at_ms(self) -> int | None:
        """From when on a request may start (0: at any time); None while a probe runs: its end decides."""
        if self._pause_ms == 0:
            return 0
        return None if self._probing else self._until_ms

    def started(self) -> bool:
        """A request begins; whether it is the probe."""
        self._probing = self._pause_ms > 0
        return self._probing

    def ended(self, *, probe: bool, failed: bool | None, now_ms: int) -> None:
        """A request has ended; `failed` None says nothing about the endpoint. Those begun before a trip do not count."""
        if probe:
            self._probing = False
            if failed is not None:
                self._told(failed=failed, now_ms=now_ms)
        elif self._pause_ms == 0 and failed is not None:
            self._count(failed=failed, now_ms=now_ms)

    def quiet(self, now_ms: int) -> bool:
        """Whether there is nothing to remember."""
        return not self._probing and self._until_ms + WINDOW_MS < now_ms and not self._recent(now_ms)

    def _told(self, *, failed: bool, now_ms: int) -> None:
        if failed:
            self._open(min(2 * self._pause_ms, LONGEST_PAUSE_MS), now_ms)
        else:
            self._pause_ms = 0
            self._slots.clear()

    def _count(self, *, failed: bool, now_ms: int) -> None:
        slots = self._recent(now_ms)
        if not slots or now_ms - slots[-1].began_ms >= _SLOT_MS:
            slots.append(_Slot(now_ms))
        slots[-1].requests += 1
        slots[-1].failures += failed
        requests, failures = sum(slot.requests for slot in slots), sum(slot.failures for slot in slots)
        if requests >= FEWEST_REQUESTS and failures >= FAILING * requests:
            self._open(FIRST_PAUSE_MS, now_ms)

    def _recent(self, now_ms: int) -> deque[_Slot]:
        while self._slots and now_ms - self._slots[0].began_ms >= WINDOW_MS:
            self._slots.popleft()
        return self._slots

    def _open(self, pause_ms: int, now_ms: int) -> None:
        self._pause_ms = pause_ms
        self._until_ms = now_ms + pause_ms
