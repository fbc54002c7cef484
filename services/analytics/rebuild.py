"""The rebuild: tables beside the live ones are filled from the log's beginning, and take their place when they are as far (R39).

Mail, inserts and reads go on all the while; only inserts wait for the moment of the exchange. A process that dies in the
midst of it goes on where it was when it comes back. It must never replace tables by some that know less of the log.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.service import Crash, Part
from chassis.telemetry import logger
from services.analytics.domain.cursors import Positions
from services.analytics.ports import LogAway, LogPositions, Projection, Run, Shadow, StoreUnavailable

_log = logger("rebuild")
_LOOK_EVERY = 0.2  # seconds between two looks at how far it is
_AGAIN_AFTER = 1.0
_CLOSE = 5.0  # seconds that the last stretch has taken: then inserts may wait for the next one

Step = Literal["starting", "idle", "reading", "exchanging"]


class Progress(NamedTuple):
    """`read` of `records` that the log holds."""

    step: Step
    run: Run | None
    read: int
    records: int


class Refused(Exception):
    """The rebuild was not begun, and why."""


class Rebuild:
    """One at a time. `reader` makes a consumer that inserts by that projection, as that group, from the log's beginning."""

    def __init__(
        self,
        shadow: Shadow,
        positions: LogPositions,
        reader: Callable[[Projection, str], Part],
        inserts_held: Callable[[], AbstractAsyncContextManager[None]],
        clock: Clock,
        crash: Crash,
        *,
        group: str,
        instance: str,
    ) -> None:
        self._shadow = shadow
        self._positions = positions
        self._reader = reader
        self._inserts_held = inserts_held
        self._clock = clock
        self._crash = crash
        self._group = group
        self._instance = instance
        self._working: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()
        self.progress = Progress("starting", None, 0, 0)  # until it is known whether one was left

    async def start(self) -> None:
        """Go on with what a process of this name has left."""
        self._carry_out(self._left())

    async def stop(self) -> None:
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait({self._working})
        await self._positions.stop()

    async def begin(self, *, accept_loss: bool) -> None:
        """One that another process has left is gone on with. Raises Refused, StoreUnavailable or LogAway."""
        async with self._beginning:
            if self._working is not None and not self._working.done():
                return
            run = await self._shadow.left()
            if run is None:
                await self._check(accept_loss=accept_loss)
                now = self._clock.now_ms()
                run = Run(new_id("rbd", now), self._instance, now)
            self.progress = Progress("reading", run, 0, 0)
            self._carry_out(self._run(run))

    async def _check(self, *, accept_loss: bool) -> None:
        members = await self._positions.members(self._group)
        if members > 1:
            raise Refused(f"{members} processes of analytics insert: let there be one while the tables are exchanged.")
        lost = await self._shadow.lost(await self._positions.beginnings())
        if lost and not accept_loss:
            raise Refused(
                f"{lost} rows are older than the log reaches back: they would be gone. To accept that, say so."
            )

    def _carry_out(self, work: Coroutine[Any, Any, None]) -> None:
        self._working = asyncio.create_task(work, name="rebuild")
        self._crash.watch(self._working)

    async def _left(self) -> None:
        while True:
            try:
                run = await self._shadow.left()
            except StoreUnavailable as error:
                _log.warning("rebuild_waits", reason=str(error))
                await self._clock.sleep(_AGAIN_AFTER)
            else:
                break
        if run is not None and run.instance == self._instance:
            await self._run(run)
        self.progress = self.progress._replace(step="idle")

    async def _run(self, run: Run) -> None:
        """To its end, however often ClickHouse or the log is away: each step may be done again."""
        _log.info("rebuild_begins", run=run.run)
        while True:
            try:
                await self._rebuilt(run)
            except (StoreUnavailable, LogAway) as error:
                _log.warning("rebuild_waits", run=run.run, reason=str(error))
                await self._clock.sleep(_AGAIN_AFTER)
            else:
                break
        self.progress = self.progress._replace(step="idle")
        _log.info("rebuild_done", run=run.run, records=self.progress.records)

    async def _rebuilt(self, run: Run) -> None:
        self.progress = Progress("reading", run, 0, 0)
        await self._shadow.open(run)
        _log.info("rebuild_noted", run=run.run)  # from here on it outlives its process
        group = f"{self._group}.rebuild.{run.run}"
        reader = self._reader(self._shadow.projection, group)
        await reader.start()
        try:
            stretch = _CLOSE
            while stretch >= _CLOSE:
                began = self._clock.monotonic()
                await self._read_to(await self._positions.ends(), group)
                stretch = self._clock.monotonic() - began
            async with self._inserts_held():  # what they have brought in by now lies before these ends
                await self._read_to(await self._positions.ends(), group)
                self.progress = self.progress._replace(step="exchanging")
                await self._shadow.exchange(run)
        finally:
            await reader.stop()
        await self._shadow.drop()

    async def _read_to(self, ends: Positions, group: str) -> None:
        beginnings = await self._positions.beginnings()
        records = sum(ends.values()) - sum(beginnings.values())
        while True:
            stored = await self._positions.stored(group)
            behind = sum(max(0, end - stored.get(place, beginnings[place])) for place, end in ends.items())
            self.progress = self.progress._replace(read=records - behind, records=records)
            if not behind:
                return
            await self._clock.sleep(_LOOK_EVERY)
