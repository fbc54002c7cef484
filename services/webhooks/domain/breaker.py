"""One endpoint's circuit breaker: an endpoint that mostly fails is left alone for a while, without using attempts. Pure."""

from collections import deque
from dataclasses import dataclass, field

_WINDOW_MS = 5 * 60_000
_LEAST_REQUESTS = 10
_FAILING = 0.7  # of the window
_FIRST_OPEN_MS, _LONGEST_OPEN_MS = 30_000, 10 * 60_000


@dataclass(slots=True)
class Breaker:
    """Closed: everything passes. Open until `open_until_ms`; then one probe decides."""

    open_until_ms: int = 0
    _open_for_ms: int = _FIRST_OPEN_MS
    _outcomes: deque[tuple[int, bool]] = field(default_factory=deque)  # (when, delivered)
    _failures: int = 0

    @property
    def half_open(self) -> bool:
        """It was open: one request at a time until one is delivered."""
        return self.open_until_ms > 0

    def admits(self, now_ms: int, running: int) -> bool:
        """Whether a request may start, with `running` under way."""
        return now_ms >= self.open_until_ms and not (self.half_open and running)

    def record(self, now_ms: int, *, delivered: bool) -> None:
        """Take in a request's end."""
        if self.half_open:
            self._probed(now_ms, delivered=delivered)
            return
        self._outcomes.append((now_ms, delivered))
        self._failures += not delivered
        while self._outcomes[0][0] < now_ms - _WINDOW_MS:
            self._failures -= not self._outcomes.popleft()[1]
        count = len(self._outcomes)
        if count >= _LEAST_REQUESTS and self._failures >= _FAILING * count:
            self._open(now_ms)

    def _probed(self, now_ms: int, *, delivered: bool) -> None:
        if delivered:
            self.open_until_ms, self._open_for_ms = 0, _FIRST_OPEN_MS
        elif now_ms >= self.open_until_ms:  # not one that was under way when it opened
            self._open_for_ms = min(2 * self._open_for_ms, _LONGEST_OPEN_MS)
            self._open(now_ms)

    def _open(self, now_ms: int) -> None:
        self.open_until_ms = now_ms + self._open_for_ms
        self._outcomes.clear()
        self._failures = 0
