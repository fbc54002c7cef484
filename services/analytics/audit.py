"""The audit: the log counted by itself, held against ClickHouse at the same position, so that lag is no drift (R37).

ClickHouse is counted first. Then the log is read on to where those counts reach, and not a record further: what the
tables had by then, they must have. It must never repair anything, and is needed for no mail.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import orjson

from chassis.clock import Clock
from chassis.ids import message_octets
from chassis.log import Incoming
from chassis.service import Crash
from chassis.telemetry import logger
from schemas.envelope import to_timestamp
from schemas.inputs import Submit
from services.analytics.domain.cursors import Positions
from services.analytics.domain.ledger import (
    HOUR_MS,
    Balance,
    Counts,
    Drifts,
    Hours,
    Octets,
    balances,
    fact_of,
    fold,
)
from services.analytics.metrics import LEDGER_COMPARED, LEDGER_DRIFT, LEDGER_HOURS, LEDGER_MISSING
from services.analytics.ports import LedgerBook, LedgerLog, LedgerTables, LogAway, StoreUnavailable

_log = logger("ledger")
T = TypeVar("T")

# One insert may become two parts, a moment apart, where its messages are of two months: what drifts is looked at twice.
_SECOND_LOOK = 0.2
_RECENT_MS = 3 * HOUR_MS  # looked at each time; the hours before by turns, a day at a time
_DAY_MS = 24 * HOUR_MS
_HOURS_SHOWN = 24  # series of the metric at most, the newest drifting hours


class Audit:
    """Compares, one caller at a time; what the log says is kept in the book as far as it was read."""

    def __init__(self, tables: LedgerTables, log: LedgerLog, book: LedgerBook, clock: Clock) -> None:
        self._tables = tables
        self._log = log
        self._book = book
        self._clock = clock
        self._turn = asyncio.Lock()
        self._begun = False
        self._decided: tuple[Positions, Positions] | None = None

    async def balances(self, hours: Hours, project_id: str | None = None) -> Sequence[Balance]:
        """Newest first. Raises StoreUnavailable or LogAway; what the log was read is kept all the same."""
        async with self._turn:
            if not self._begun:
                await self._begin()
                self._begun = True
            found = await self._compared(hours, project_id)
            if any(balance.drift for balance in found):
                await self._clock.sleep(_SECOND_LOOK)
                found = await self._compared(hours, project_id)
        return found

    async def forget(self, before_ms: int) -> None:
        async with self._turn:
            await asyncio.to_thread(self._book.forget, before_ms)

    async def _begin(self) -> None:
        """Where the book can not go on (the log was made anew, or has moved on without it), it begins anew."""
        beginnings, ends = await self._log.beginnings(), await self._log.ends()
        positions = self._book.positions()
        lost = [place for place, end in ends.items() if not beginnings[place] <= positions.get(place, beginnings[place]) <= end]
        if lost:
            await asyncio.to_thread(self._book.begin_anew, f"the log no longer has its place in {lost}")
            positions = {}
        start = {place: max(positions.get(place, 0), first) for place, first in beginnings.items()}
        await asyncio.to_thread(self._book.keep, fold({}, ()), start)

    async def _compared(self, hours: Hours, project_id: str | None) -> Sequence[Balance]:
        decided = await self._log.decided()
        ends = await self._log.ends()
        inserted = await self._log.inserted()  # before the count: all rows below are in it
        counted = await self._tables.counted(hours, project_id)
        reach = {place: max(inserted.get(place, 0), counted.reach.get(place, 0)) for place in ends}
        await self._read_events({place: min(offset, ends[place]) for place, offset in reach.items()})
        await self._read_inputs(decided, ends)
        log = await asyncio.to_thread(self._book.counts, hours, project_id)
        missing = await asyncio.to_thread(self._book.missing, hours, project_id)
        return balances(counted.accounts, log, missing)
