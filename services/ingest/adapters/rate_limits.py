"""Rate limits in this process's memory, by fixed windows of a minute: a window's end is exactly X-RateLimit-Reset (R14)."""

import math
from functools import lru_cache

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from services.ingest.ports import Allowance


class MemoryRateLimits:
    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

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
