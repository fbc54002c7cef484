"""The rounds in which verified domains are looked at again, in the background. Several replicas may do it: it is harmless."""

import asyncio
from collections.abc import Awaitable, Callable

from chassis.clock import Clock
from chassis.service import Crash

_EVERY = 600.0  # seconds between rounds: a day's check comes at most that much late


class DomainChecks:
    """A part of the service (`chassis.service.Part`)."""

    def __init__(self, check_due: Callable[[], Awaitable[None]], clock: Clock, crash: Crash) -> None:
        self._check_due = check_due
        self._clock = clock
        self._crash = crash
        self._checking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._checking = asyncio.create_task(self._check_for_ever(), name="domain-checks")
        self._crash.watch(self._checking)

    async def stop(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait({self._checking})

    async def _check_for_ever(self) -> None:
        while True:
            await self._clock.sleep(_EVERY)
            await self._check_due()
