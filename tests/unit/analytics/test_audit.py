"""The audit compares both sides at one position, whatever each has read, and its file changes all at once (R37)."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.clock import SystemClock
from chassis.ids import message_octets
from chassis.log import Incoming
from chassis.service import Crash
from schemas.envelope import Envelope, encode
from schemas.events import MessageEvent
from services.analytics.adapters.ledger_book import LedgerBook
from services.analytics.audit import Audit, Auditor
from services.analytics.domain.cursors import Positions
from services.analytics.domain.ledger import HOUR_MS, Account, Balance, Counts, Hours, Standing, fact_of, fold
from services.analytics.ports import Counted
from tests.kit.history import PROJECT, History

NOON = 1_780_000_000_000 // HOUR_MS * HOUR_MS
HOURS = Hours(NOON - HOUR_MS, NOON + HOUR_MS)
PLACE = ("events", 0)


def records_of(events: Sequence[Envelope[MessageEvent]]) -> list[Incoming]:
    return [Incoming(*PLACE, offset, 0, event.subject, encode(event), ()) for offset, event in enumerate(events)]


def lives() -> list[Incoming]:
    history = History(NOON)
    told = [
        *history.life("queued", "accepted", "deferred", "delivered", "bounced"),
        *history.life("queued", "suppressed"),
    ]
    return records_of([*told, *told[2:4], *history.life("queued", "accepted", "held")])


@dataclass(slots=True)
class InsertedAs:
    """ClickHouse with what stands before `reach`; `lost`: one offset that it has lost."""

    records: list[Incoming]
    reach: int = 0
    lost: int | None = None

    async def counted(self, hours: Hours, project_id: str | None) -> Counted:
        there = [record for record in self.records[: self.reach] if record.offset != self.lost]
        moves = fold({}, [fact for record in there if (fact := fact_of(record.value))])
        accounts: dict[Account, Counts] = {}
        for (account, word), number in moves.counts.items():
            accounts.setdefault(account, Counts())[word] += number
        return Counted(accounts, {PLACE: there[-1].offset + 1} if there else {})


@dataclass(slots=True)
class Written:
    """The log, of which the group has committed what lies below `committed`."""

    records: list[Incoming]
    committed: int = 0
    read_to: list[int] = field(default_factory=list)

    async def beginnings(self) -> Positions:
        return {PLACE: 0}

    async def ends(self) -> Positions:
        return {PLACE: len(self.records)}

    async def inserted(self) -> Positions:
        return {PLACE: self.committed}

    async def decided(self) -> Positions:
        return {}

    async def read(self, start: Positions, end: Positions) -> AsyncIterator[Sequence[Incoming]]:
        first, last = start[PLACE], end.get(PLACE, 0)
        for offset in range(first, last):  # piece by piece
            yield [self.records[offset]]
        self.read_to.append(max(first, last))

    async def stop(self) -> None: ...


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=5))
async def test_lag_is_no_drift_however_far_each_side_is(steps: list[tuple[int, int]]) -> None:
    """The tables reach further with each look, what was committed lies at or behind that, the log is all there."""
    records, reach = lives(), 0
    tables, log = InsertedAs(records), Written(records)
    with TemporaryDirectory() as folder:
        audit = Audit(tables, log, LedgerBook(Path(folder) / "ledger.sqlite"), SystemClock())
        for further, behind in steps:
            reach = min(reach + further, len(records))
            tables.reach, log.committed = reach, max(0, reach - behind)
            assert [balance.drift for balance in await audit.balances(HOURS) if balance.drift] == []
            assert max(log.read_to) <= reach, "the log was read further than the tables reach"
        await audit.stop()


@pytest.mark.parametrize(("lost", "drift"), [(4, 1), (6, 1), (11, 1), (2, 0)])  # the last: a later event says more
async def test_what_was_committed_and_is_not_there_drifts(tmp_path: Path, lost: int, drift: int) -> None:
    """The newest row of a partition, too: what was committed says that it must be there."""
    records = lives()
    tables, log = InsertedAs(records, len(records), lost), Written(records, len(records))
    audit = Audit(tables, log, LedgerBook(tmp_path / "ledger.sqlite"), SystemClock())
    assert sum(balance.drift for balance in await audit.balances(HOURS)) == drift
    tables.lost = None
    assert sum(balance.drift for balance in await audit.balances(HOURS)) == 0
    await audit.stop()


async def test_a_log_that_is_not_the_one_it_has_read_is_counted_from_its_beginning(tmp_path: Path) -> None:
    records = lives()
    for written in (records, records[:5]):  # the second one ends before the file's place
        tables, log = InsertedAs(written, len(written)), Written(written, len(written))
        audit = Audit(tables, log, LedgerBook(tmp_path / "ledger.sqlite"), SystemClock())
        assert [balance.drift for balance in await audit.balances(HOURS)] == [0]
        await audit.stop()


def test_the_file_keeps_standings_counts_and_positions_together_or_none_of_them(tmp_path: Path) -> None:
    book = LedgerBook(tmp_path / "ledger.sqlite")
    first, *others = [fact for record in lives() if (fact := fact_of(record.value))]
    book.keep(fold({}, [first]), {PLACE: 1})
    with pytest.raises(sqlite3.IntegrityError):
        book.keep(fold({}, others), {PLACE: None})  # type: ignore[dict-item]  # fails last
    assert book.positions() == {PLACE: 1}
    assert book.counts(HOURS, PROJECT) == {Account(NOON, PROJECT): Counts(queued=1, in_flight=1)}
    assert book.standings([fact.message for fact in others]) == {first.message: Standing(1, "in_flight", queued=True)}
    book.close()
    again = LedgerBook(tmp_path / "ledger.sqlite")
    assert again.positions() == {PLACE: 1}
    again.forget(NOON + HOUR_MS)
    assert (again.counts(HOURS, None), again.standings([first.message])) == ({}, {})
    again.close()


def test_a_file_that_can_not_be_used_is_made_anew_and_one_that_is_held_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database at all, " * 100)
    book = LedgerBook(path)
    lost = message_octets(lives()[0].key)
    assert lost is not None
    book.keep_missing({lost: PROJECT}, {PLACE: 3})
    with pytest.raises(sqlite3.OperationalError):
        LedgerBook(path)
    assert book.missing(HOURS, PROJECT) == {Account(NOON, PROJECT): 1}
    assert book.missing(HOURS, "prj_other") == {}
    book.close()


@dataclass(slots=True)
class Asked:
    """An audit that finds nothing, and keeps what it was asked."""

    hours: list[Hours] = field(default_factory=list)

    async def balances(self, hours: Hours, project_id: str | None = None) -> Sequence[Balance]:
        self.hours.append(hours)
        return []

    async def forget(self, before_ms: int) -> None: ...

    async def stop(self) -> None: ...


async def test_the_newest_hours_are_in_every_look_and_no_hour_is_asked_twice_in_one() -> None:
    days, seen = 3, set[int]()
    for turn in range(1, days + 1):
        asked, now = Asked(), SystemClock().now_ms()
        auditor = Auditor(asked, SystemClock(), Crash(), every=1, window=timedelta(days=days))  # type: ignore[arg-type]
        await auditor._look(turn)
        looked_at = [hour for hours in asked.hours for hour in range(*hours, HOUR_MS)]
        assert len(looked_at) == len(set(looked_at))
        assert now // HOUR_MS * HOUR_MS in looked_at
        seen |= set(looked_at)
    assert len(seen) >= days * 24
