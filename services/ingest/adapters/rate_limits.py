"""Rate limits in this process's memory, by fixed windows of a minute: a window's end is exactly X-RateLimit-Reset (R14).

The rules are `limits`'; the counters are ours, for the library's own keep a thread, or look at every key, to forget
old ones: both stall a loop that is busy.
"""

import math
from functools import lru_cache

from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from chassis.clock import Clock
from services.ingest.ports import Allowance


class WindowCounters(Storage):
    """Counts by key, each until its window ends. All windows are equally long, so the oldest are the first to go."""

    STORAGE_SCHEME = None

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._ends: dict[str, float] = {}  # Unix seconds; in the order in which windows began

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        self._forget_ended()
        if key not in self._ends:
            self._ends[key] = self._now() + expiry
        count = self._counts[key] = self._counts.get(key, 0) + amount
        return count

    def get(self, key: str) -> int:
        self._forget_ended()
        return self._counts.get(key, 0)

    def get_expiry(self, key: str) -> float:
        return self._ends.get(key, self._now())

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._counts)
        self._counts.clear()
        self._ends.clear()
        return count

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)
        self._ends.pop(key, None)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def _forget_ended(self) -> None:
        now = self._now()
        while self._ends and (oldest := next(iter(self._ends))) and self._ends[oldest] <= now:
            self.clear(oldest)

    def _now(self) -> float:
        return self._clock.now_ms() / 1000


class MemoryRateLimits:
    def __init__(self, clock: Clock) -> None:
        self._limiter = FixedWindowRateLimiter(WindowCounters(clock))

    def take(self, bucket: str, per_minute: int) -> Allowance:
        allowed = self._limiter.hit(_limit(per_minute), bucket)
        return self._allowance(bucket, per_minute, allowed=allowed)

    def look(self, bucket: str, per_minute: int) -> Allowance:
        return self._allowance(bucket, per_minute, allowed=True)

    def _allowance(self, bucket: str, per_minute: int, *, allowed: bool) -> Allowance:
        reset_time, remaining = self._limiter.get_window_stats(_limit(per_minute), bucket)
        return Allowance(allowed, per_minute, max(0, remaining), math.ceil(reset_time))


@lru_cache(maxsize=1024)
def _limit(per_minute: int) -> RateLimitItemPerMinute:
    return RateLimitItemPerMinute(per_minute)
