"""Starts what may start, each attempt as a task, and gives the queue back what became of it.

It must never wait for an attempt while another could start.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

from chassis.clock import Clock
from chassis.failures import Reporter, supervised
from chassis.telemetry import logger
from services.webhooks.attempts import Attempts, PutOff, Settled
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.queue import Queue
from services.webhooks.handlers import DeliveryPartition
from services.webhooks.ports import Replaying

_log = logger("dispatch")
_HOLD_MS = 60_000  # an endpoint whose secret can't be opened, until it is looked at again
_PUT_OFF_MS = 500  # one that could not be recorded, or whose endpoint is not known yet
_SWEEP_EVERY = 60.0  # seconds
_CLOSED_PER_SWEEP = 500
_DRAIN_WITHIN = 16.0  # seconds that open requests get at the end: their own time-out, and the log


class Dispatcher:
    """A part of the service. Partitions come and go by `partition` as the group says."""

    def __init__(
        self,
        queue: Queue,
        attempts: Attempts,
        replays: Replaying,
        clock: Clock,
        *,
        give_up_after: timedelta,
        crash: Reporter | None,
    ) -> None:
        self._queue = queue
        self._attempts = attempts
        self._replays = replays
        self._clock = clock
        self._give_up_after = give_up_after
        self._crash = crash
        self._views: dict[int, DeliveryPartition] = {}
        self._woken = asyncio.Event()
        self._sweep_due = 0.0
        self._loop: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def partition(self, number: int) -> DeliveryPartition:
        """A new view of the partition, which takes the place of the last one (the factory's part)."""
        self._views[number] = DeliveryPartition(number, self._queue, self._replays, self._woken.set)
        return self._views[number]

    async def start(self) -> None:
        self._loop = supervised(self._run(), self._crash)

    async def stop(self) -> None:
        """Start nothing more; let open requests end, and be recorded, for a while."""
        if self._loop is not None:
            self._loop.cancel()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_DRAIN_WITHIN)
            for task in late:
                task.cancel()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            self._sweep()
            for delivery in self._queue.take(self._clock.now_ms()):
                self._spawn(delivery, give_up=False)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest()):
                    await self._woken.wait()

    def _rest(self) -> float:
        """Seconds until there is something to do, if nothing happens before."""
        rest = self._sweep_due - self._clock.monotonic()
        wakes_at_ms = self._queue.wakes_at_ms()
        if wakes_at_ms is not None:
            rest = min(rest, (wakes_at_ms - self._clock.now_ms()) / 1000)
        return max(0.0, rest)

    def _sweep(self) -> None:
        if self._clock.monotonic() < self._sweep_due:
            return
        self._sweep_due = self._clock.monotonic() + _SWEEP_EVERY
        now_ms = self._clock.now_ms()
        self._queue.sweep(now_ms)
        too_old_ms = now_ms - round(self._give_up_after.total_seconds() * 1000)
        for delivery in self._queue.take_old(too_old_ms, _CLOSED_PER_SWEEP):
            self._spawn(delivery, give_up=True)

    def _spawn(self, delivery: Delivery, *, give_up: bool) -> None:
        task = supervised(self._carry_out(delivery, give_up=give_up), self._crash)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _carry_out(self, delivery: Delivery, *, give_up: bool) -> None:
        if give_up:
            result = await self._attempts.give_up(delivery, self._give_up_after)
        else:
            result = await self._attempts.make(delivery)
        now_ms = self._clock.now_ms()
        match result:
            case Settled(following, failed):
                self._views[delivery.partition].settled(delivery.id, following)
            case PutOff(hold, failed):
                self._queue.hold(delivery.lane, now_ms + (_HOLD_MS if hold else _PUT_OFF_MS))
        self._queue.end(delivery, failed=failed, now_ms=now_ms)
        self._woken.set()
