"""Rate limits by fixed windows of a minute, in this process's memory or shared in Valkey: a window's end is exactly
X-RateLimit-Reset (R14).

In Valkey they are counted by `limits`; the counters in memory are ours, for the library's keep a thread, or look at every
key, to forget old ones: both stall a loop that is busy.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from limits.aio.storage import RedisStorage

from chassis.clock import Clock
from chassis.telemetry import logger
from services.ingest import metrics
from services.ingest.ports import Allowance

_WINDOW = 60  # seconds
_VALKEY_AWAY = 1.0  # seconds until one request asks it again: meanwhile, none waits for it
_VALKEY_CONNECTIONS = 32  # they are busy for a millisecond; more would only stand in its memory

_log = logger("rate_limits")


@dataclass(slots=True)
class _Window:
    ends: float  # Unix seconds
    count: int = 0


class MemoryRateLimits:
    """Counts by bucket, each until its window ends. All windows are equally long, so the oldest are the first to go."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}  # in the order in which they began

    def take(self, bucket: str, per_minute: int) -> Allowance:
        now = self._forget_ended()
        window = self._windows.get(bucket)
        if window is None:
            window = self._windows[bucket] = _Window(now + _WINDOW)
        window.count += 1
        left = per_minute - window.count
        return Allowance(left >= 0, per_minute, max(0, left), math.ceil(window.ends))

    def look(self, bucket: str, per_minute: int) -> Allowance:
        now = self._forget_ended()
        window = self._windows.get(bucket) or _Window(now)
        return Allowance(True, per_minute, max(0, per_minute - window.count), math.ceil(window.ends))

    def _forget_ended(self) -> float:
        now = self._clock.now_ms() / 1000
        while self._windows and self._windows[oldest := next(iter(self._windows))].ends <= now:
            del self._windows[oldest]
        return now


class ValkeyRateLimits:
    """Counters that all replicas share. A window is the server's: of its clock, from a key's first request on."""

    def __init__(self, url: str, clock: Clock, *, within: float) -> None:
        """`within`: seconds that an answer may take."""
        self._within = within
        self._storage = RedisStorage(
            f"async+{url}",
            implementation="valkey",
            key_prefix="sendarix",
            socket_timeout=within,
            socket_connect_timeout=within,
        )
        errors = self._storage.base_exceptions
        self._errors: tuple[type[Exception], ...] = (
            OSError,
            TimeoutError,
            *(errors if isinstance(errors, tuple) else (errors,)),
        )
        self._clock = clock
        self._turns = asyncio.Semaphore(_VALKEY_CONNECTIONS)
        self._ends: dict[str, int] = {}  # Unix seconds by API key: asked for once per window
        self._ask_again_at = float("-inf")  # monotonic
        self._away = False

    async def start(self) -> None:
        """Connects with the first request: to be away is no reason not to start."""

    async def stop(self) -> None:
        bridge: Any = self._storage.bridge  # its type knows no connections
        await bridge.get_connection().aclose()

    async def take(self, bucket: str, per_minute: int) -> Allowance | None:
        async with self._turns:
            allowance = None if self._is_left_alone() else await self._counted(bucket, per_minute)
        if allowance is None:
            metrics.locally_counted_requests.inc()
        return allowance

    def _is_left_alone(self) -> bool:
        """While it is away, one request a second asks for it: the others do not wait for that one's answer."""
        now = self._clock.monotonic()
        if self._away and now < self._ask_again_at:
            return True
        self._ask_again_at = now + _VALKEY_AWAY
        return False

    async def _counted(self, bucket: str, per_minute: int) -> Allowance | None:
        try:
            async with asyncio.timeout(self._within):
                count = await self._storage.incr(bucket, _WINDOW)
                reset_at = await self._reset_at(bucket, count)
        except self._errors as error:
            self._told(away=True, reason=repr(error))
            return None
        self._told(away=False)
        return Allowance(count <= per_minute, per_minute, max(0, per_minute - count), reset_at)

    async def _reset_at(self, bucket: str, count: int) -> int:
        now = self._clock.now_ms() / 1000
        if count == 1:
            self._ends[bucket] = math.ceil(now + _WINDOW)
        elif self._ends.get(bucket, 0) <= now:
            self._ends[bucket] = math.ceil(await self._storage.get_expiry(bucket))
        return self._ends[bucket]

    def _told(self, *, away: bool, reason: str = "") -> None:
        """Log it once, when it goes and when it comes back."""
        if away and not self._away:
            _log.warning("rate_limits_not_shared", reason=reason)
        elif self._away and not away:
            _log.info("rate_limits_shared_again")
        self._away = away
