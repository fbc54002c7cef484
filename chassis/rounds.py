"""Work that begins together: what several partitions append in the same moment goes to the brokers in one request.

A round begins at once where none runs; who comes meanwhile waits for the next one. So an idle owner loses no time, and a
busy one works in batches over all its partitions. It must never let one slow partition hold up the others for longer
than a moment.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis.clock import Clock

LONGEST_WAIT = 0.05  # seconds; a round takes some 10 ms, so by then something in it is stuck


class _Round:
    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.members = 0
        self.timer: asyncio.Task[None] | None = None


class Rounds:
    """The rounds of one process, in one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running = 0
        self._next: _Round | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the next round, and be part of it."""
        mine = self._next or self._gather()
        mine.members += 1
        try:
            await mine.begun.wait()
            yield
        finally:
            mine.members -= 1
            if mine.members == 0 and mine.begun.is_set():
                self._ended()

    def _gather(self) -> _Round:
        gathering = self._next = _Round()
        if self._running:
            gathering.timer = asyncio.create_task(self._begin_late(gathering))
        else:  # after those who were woken in this same turn of the loop
            asyncio.get_running_loop().call_soon(self._begin, gathering)
        return gathering

    async def _begin_late(self, gathered: _Round) -> None:
        await self._clock.sleep(LONGEST_WAIT)
        gathered.timer = None
        self._begin(gathered)

    def _begin(self, gathered: _Round) -> None:
        if gathered is not self._next:
            return  # begun already
        self._next = None
        if gathered.timer is not None:
            gathered.timer.cancel()
        if gathered.members:  # else all of them were cancelled
            self._running += 1
            gathered.begun.set()

    def _ended(self) -> None:
        self._running -= 1
        if not self._running and self._next is not None:
            self._begin(self._next)
