"""The local file: a throw-away view that survives a kill -9, and is thrown away when it can not be trusted."""

import sqlite3
from pathlib import Path

import pytest

from services.router.adapters.store import _CENSUS, DamagedFile, SqliteStore, open_store
from services.router.domain.admission import Standing
from services.router.domain.timers import TimerKind
from services.router.ports import Horizon, Row, Timer
from tests.kit.router_inputs import START_MS

HOUR = 3_600_000
WAITS = Standing("example.org", 2, waiting=True)
QUEUED = Standing("example.org", 2, waiting=True, queued=True)
FLIES = Standing("example.org", 2, in_flight=True)


def row(
    name: str,
    standing: Standing,
    *,
    timer: TimerKind | None = None,
    due: int | None = None,
    rank: int = 0,
    closed: int | None = None,
    address: str = "ada@example.org",
) -> Row:
    if due is not None and timer is None:
        timer = "watchdog" if standing.in_flight else "retry"
    return Row(
        message_id=name,
        project_id="prj_1",
        address=address,
        standing=standing,
        group=standing.destination,
        bar=None,
        reason="admission" if standing.queued else "retry_ladder",
        path=None,
        changed_ms=START_MS,
        attempt=1,
        dispatch=1,
        rank_ms=rank,
        submit_offset=rank,
        created_at_ms=START_MS + rank,
        timer=timer,
        due_at_ms=due,
        closed_at_ms=closed,
        record=name.encode(),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "standard-0.sqlite"


@pytest.fixture
def store(path: Path) -> SqliteStore:
    return open_store(path, START_MS)


def test_timers_come_by_their_time_and_say_what_they_are(store: SqliteStore) -> None:
    for one in (row("b", WAITS, due=20), row("a", FLIES, due=10), row("later", WAITS, due=30), row("q", QUEUED)):
        store.put(one)
    assert store.due(20, 10) == [Timer("a", "prj_1", "watchdog", 1, 1), Timer("b", "prj_1", "retry", 1, 1)]
    assert store.due(20, 1) == [Timer("a", "prj_1", "watchdog", 1, 1)]


def test_the_queue_is_by_rank_and_holds_one_tier_of_one_destination(store: SqliteStore) -> None:
    for one in (row("2", QUEUED, rank=2), row("1", QUEUED, rank=1), row("w", WAITS, rank=0)):
        store.put(one)
    store.put(row("bulk", Standing("example.org", 3, waiting=True, queued=True)))
    store.put(row("else", Standing("other.org", 2, waiting=True, queued=True)))
    assert [timer.message_id for timer in store.queued("example.org", 2, 10, retried=False)] == ["1", "2"]


def test_horizon_census_and_recipients(store: SqliteStore) -> None:
    postponed = Standing("example.org", 2, waiting=True, postponed_until_ms=99)
    for one in (row("a", WAITS, due=50, rank=5), row("b", postponed, due=99, rank=3), row("c", FLIES, due=7, rank=1)):
        store.put(one)
    store.put(row("gone", Standing("example.org", 2), closed=START_MS))
    assert store.horizon("example.org") == Horizon(START_MS + 3, 50, "retry_ladder")
    assert store.horizon("nowhere.org") == Horizon(None, None)
    (census,) = store.census()
    assert (census.in_flight, census.queued, census.waiting, census.postponed_until_ms) == (1, 0, 2, 99)
    assert sorted(store.unsent_to("prj_1", "ada@example.org")) == ["a", "b"]
    assert store.unsent_to("prj_2", "ada@example.org") == []
    assert list(store.unsent_recipients()) == [("prj_1", "ada@example.org")]
    assert store.closed_before(START_MS + 1, 10) == ["gone"]
    assert store.closed_before(START_MS, 10) == []


def test_scheduled_mail_has_a_timer_and_stands_in_no_queue(store: SqliteStore) -> None:  # R6
    scheduled = Standing("example.org", 2)
    store.put(row("s", scheduled, timer="schedule", due=10))
    store.put(row("q", QUEUED, timer="expiry", due=5))
    assert [(timer.message_id, timer.kind) for timer in store.due(10, 10)] == [("q", "expiry"), ("s", "schedule")]
    assert [(timer.message_id, timer.kind) for timer in store.queued("example.org", 2, 10, retried=False)] == [
        ("q", "admission")
    ]
    (census,) = store.census()
    assert (census.queued, census.waiting) == (1, 1)
    assert sorted(store.unsent_to("prj_1", "ada@example.org")) == ["q", "s"]


def test_the_queues_are_counted_without_a_look_at_the_records(store: SqliteStore) -> None:  # D22
    plan = store._connection.execute(f"EXPLAIN QUERY PLAN {_CENSUS}").fetchall()
    assert [step[3] for step in plan] == ["SCAN message USING COVERING INDEX standing"]


def test_recipients_come_in_pages_each_once(store: SqliteStore) -> None:
    for number in range(12_000):
        store.put(row(f"m{number}", WAITS, address=f"a{number // 2:05d}@example.org"))
    found = list(store.unsent_recipients())
    assert len(found) == len(set(found)) == 6000


def test_records_of_many_and_of_none(store: SqliteStore) -> None:
    names = [f"m{number}" for number in range(1200)]
    for name in names:
        store.put(row(name, WAITS))
    assert store.records([*names, "nobody"]) == {name: name.encode() for name in names}
    store.remove("m0")
    assert store.records(["m0"]) == {}
    assert store.standing("m1") == WAITS
    assert store.standing("m0") is None


def test_after_a_kill_the_file_says_how_far_it_is_and_holds_no_more(path: Path, store: SqliteStore) -> None:
    store.put(row("kept", WAITS))
    store.remember_input_offset(7)
    store.remember_fence(40)
    store.applied(41, START_MS)
    store.commit()
    store.put(row("lost", WAITS))
    store.remember_fence(42)
    store.applied(43, START_MS)
    store._connection.close()  # kill -9: nothing is committed any more
    again = open_store(path, START_MS + HOUR)
    assert (again.next_offset(), again.input_offset(), again.fence()) == (42, 7, 40)
    assert set(again.records(["kept", "lost"])) == {"kept"}


def test_a_long_restore_is_committed_on_the_way(path: Path, store: SqliteStore) -> None:
    for offset in range(2500):
        store.put(row(f"m{offset}", WAITS))
        store.applied(offset, START_MS)
    store._connection.close()
    assert open_store(path, START_MS).next_offset() == 2000


def test_a_file_that_lags_by_half_of_the_tombstones_retention_is_dropped(path: Path, store: SqliteStore) -> None:
    store.applied(41, START_MS)
    store.close()
    assert open_store(path, START_MS + 12 * HOUR).next_offset() == 42
    assert open_store(path, START_MS + 12 * HOUR + 1).next_offset() is None


def test_a_file_of_another_schema_is_dropped(path: Path, store: SqliteStore) -> None:
    store.applied(41, START_MS)
    store.commit()
    store._connection.execute("PRAGMA user_version = 99")
    store.close()
    assert open_store(path, START_MS).next_offset() is None


@pytest.mark.parametrize(
    "junk", [b"not a database, and long enough to be looked at" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_dropped(path: Path, junk: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(junk)
    assert open_store(path, START_MS).next_offset() is None


def test_damage_found_on_the_way_removes_the_file_and_stops(path: Path, store: SqliteStore) -> None:
    store._connection.execute("DROP TABLE message")
    with pytest.raises(DamagedFile):
        store.due(0, 1)
    assert not path.exists()
    assert open_store(path, START_MS).due(0, 1) == []


def test_closing_keeps_everything(path: Path, store: SqliteStore) -> None:
    store.put(row("a", WAITS))
    store.applied(0, START_MS)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.due(0, 1)
    assert open_store(path, START_MS).records(["a"]) == {"a": b"a"}
