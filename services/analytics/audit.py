"""The audit: the log counted by itself, held against ClickHouse at the same position, so that lag is no drift (R37).

ClickHouse is counted first. Then the log is read on to where those counts reach, and not a record further: what the
tables had by then, they must have. It must never repair anything, and is needed for no mail.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from chassis.clock import Clock
from chassis.log import Incoming
from chassis.service import Crash
from chassis.telemetry import logger
from schemas.envelope import to_timestamp
from schemas.inputs import Submit
from services.analytics.domain.cursors import Positions
from services.analytics.domain.ledger import (
    HOUR_MS,
    Balance,
    Drifts,
    Hours,
    balances,
    fact_of,
    fold,
    submission_of,
)
from services.analytics.metrics import LEDGER_COMPARED, LEDGER_DRIFT, LEDGER_HOURS, LEDGER_MISSING
from services.analytics.ports import LedgerBook, LedgerLog, LedgerTables, LogAway, StoreUnavailable

_log = logger("ledger")
T = TypeVar("T")

# One insert may become two parts, a moment apart, where its messages are of two months: what drifts is looked at twice.
_SECOND_LOOK = 0.2
_SUBMIT = ("ce_type", Submit.TYPE.encode())
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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")  # one call of the book ends before the next
        self._begun = self._stopped = False
        self._settling: tuple[Positions, Positions] | None = None

    async def balances(self, hours: Hours, project_id: str | None = None) -> Sequence[Balance]:
        """Newest first. Raises StoreUnavailable or LogAway; what the log was read is kept all the same."""
        async with self._turn:
            if self._stopped:
                raise LogAway("the ledger is stopped")
            if not self._begun:
                await self._begin()
                self._begun = True
            found = await self._compared(hours, project_id)
            if any(balance.drift for balance in found):
                await self._clock.sleep(_SECOND_LOOK)
                found = await self._compared(hours, project_id)
        return found

    async def stop(self) -> None:
        async with self._turn:
            self._stopped = True
            await self._log.stop()
            await self._in_thread(self._book.close)
        self._thread.shutdown()

    async def forget(self, before_ms: int) -> None:
        async with self._turn:
            await self._in_thread(self._book.forget, before_ms)

    async def _begin(self) -> None:
        """Where the book can not go on (the log was made anew, or has moved on without it), it begins anew."""
        beginnings, ends = await self._log.beginnings(), await self._log.ends()
        positions = await self._in_thread(self._book.positions)
        lost = [
            place
            for place, end in ends.items()
            if not beginnings[place] <= positions.get(place, beginnings[place]) <= end
        ]
        if lost:
            await self._in_thread(self._book.begin_anew, f"the log no longer has its place in {lost}")
            positions = {}
        start = {place: max(positions.get(place, 0), first) for place, first in beginnings.items()}
        await self._in_thread(self._book.keep, fold({}, ()), start)

    async def _compared(self, hours: Hours, project_id: str | None) -> Sequence[Balance]:
        decided = await self._log.decided()
        ends = await self._log.ends()  # behind every event of what was decided by then
        inserted = await self._log.inserted()  # before the count: all rows below are in it
        counted = await self._tables.counted(hours, project_id)
        reach = {place: max(inserted.get(place, 0), counted.reach.get(place, 0)) for place in ends}
        await self._read_events({place: min(offset, ends[place]) for place, offset in reach.items()})
        await self._read_inputs(decided, ends)
        log = await self._in_thread(self._book.counts, hours, project_id)
        missing = await self._in_thread(self._book.missing, hours, project_id)
        return balances(counted.accounts, log, missing)

    async def _read_events(self, end: Positions) -> None:
        async for piece in self._log.read(await self._in_thread(self._book.positions), end):
            facts = [fact for record in piece if (fact := fact_of(record.value)) is not None]
            known = await self._in_thread(self._book.standings, [fact.message for fact in facts])
            await self._in_thread(self._book.keep, fold(known, facts), _behind(piece))

    async def _read_inputs(self, decided: Positions, ends: Positions) -> None:
        """What was submitted below `decided` has its events before `ends`: once those are read, who has none is missing."""
        decided, ends = self._settling or (decided, ends)
        positions = await self._in_thread(self._book.positions)
        if any(positions[place] < end for place, end in ends.items()):
            self._settling = decided, ends
            return
        self._settling = None
        async for piece in self._log.read(positions, decided):
            submits = [record for record in piece if _SUBMIT in record.headers]
            submissions = [submission_of(record.value, record.timestamp_ms) for record in submits]
            submitted = dict(submission for submission in submissions if submission is not None)
            known = await self._in_thread(self._book.standings, submitted)
            missing = {message: project for message, project in submitted.items() if message not in known}
            await self._in_thread(self._book.keep_missing, missing, _behind(piece))

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """A call of the book, off the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class Auditor:
    """Looks at all hours, again and again, and says by metric and log line which drift."""

    def __init__(self, audit: Audit, clock: Clock, crash: Crash, *, every: float, window: timedelta) -> None:
        """`window`: older hours may have lost rows or records to their retention already."""
        self._audit = audit
        self._clock = clock
        self._crash = crash
        self._every = every
        self._window_ms = int(window.total_seconds() * 1000)
        self._drifts = Drifts()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._watching = asyncio.create_task(self._watch(), name="ledger")
        self._crash.watch(self._watching)

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self._audit.stop()

    async def _watch(self) -> None:
        turn = 0
        while True:
            turn += 1
            try:
                await self._look(turn)
            except (StoreUnavailable, LogAway) as error:
                _log.warning("ledger_waits", reason=str(error))
            await self._clock.sleep(self._every)

    async def _look(self, turn: int) -> None:
        """The newest hours, those that are known to drift, and the day whose turn it is."""
        end = self._clock.now_ms() // HOUR_MS * HOUR_MS + HOUR_MS
        days = max(1, self._window_ms // _DAY_MS)
        last = end - (turn % days) * _DAY_MS
        day, recent = Hours(last - _DAY_MS, last), Hours(end - _RECENT_MS, end)
        drifting = [Hours(hour, hour + HOUR_MS) for hour in self._drifts.by_hour() if hour < recent.first_ms]
        newest = () if last == end else (recent,)  # where they are not of the day
        for hours in (*newest, *drifting[:_HOURS_SHOWN], day):
            self._note(hours, await self._audit.balances(hours))
        if turn % days == 0:
            await self._audit.forget(end - self._window_ms)
        LEDGER_COMPARED.set(self._clock.now_ms() / 1000)

    def _note(self, hours: Hours, found: Sequence[Balance]) -> None:
        news, gone = self._drifts.noted(hours, found)
        for balance in news:
            _log.error(
                "ledger_drifts",
                hour=to_timestamp(balance.account.hour_ms),
                project_id=balance.account.project_id,
                drift=balance.drift,
                missing=balance.missing,
                clickhouse=dict(balance.tables),
                log=dict(balance.log),
            )
        for account in gone:
            _log.info("ledger_even", hour=to_timestamp(account.hour_ms), project_id=account.project_id)
        by_hour = self._drifts.by_hour()
        LEDGER_DRIFT.clear()
        for hour in sorted(by_hour, reverse=True)[:_HOURS_SHOWN]:
            LEDGER_DRIFT.labels(to_timestamp(hour)).set(by_hour[hour])
        LEDGER_HOURS.set(len(by_hour))
        LEDGER_MISSING.set(self._drifts.missing())


def _behind(piece: Sequence[Incoming]) -> Positions:
    """The next offsets to read, once this was."""
    return {(record.topic, record.partition): record.offset + 1 for record in piece}
