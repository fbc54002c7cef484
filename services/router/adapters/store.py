"""The local file of one partition: waiting messages, due times, queues and recipients as queries over message-state.

A throw-away view: it is never the only place of anything, and is removed as soon as it can not be trusted.
"""

import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from chassis.telemetry import logger
from schemas.routing import QueueFlush, QueueKind
from services.router.domain.admission import Standing
from services.router.domain.pauses import Bar
from services.router.metrics import FILES_DROPPED
from services.router.ports import Census, Horizon, Moved, Row, Timer

_log = logger("store")

# 2: the fence is kept; 3: timers by kind, what is scheduled stands in no queue; 4: it is counted; 5: provider groups, bars
_VERSION = 5
# Half of `delete.retention.ms` (Kafka's default, 24 h): a file that lags by more may have missed tombstones.
_OLDEST = timedelta(hours=12)
_IDS_PER_QUERY = 500
_RECIPIENTS_PER_QUERY = 5000
_COMMIT_AFTER = 2000  # records: a restore is not one transaction of a gigabyte

# `standing` holds all that a destination's queue is counted from, so that a million scheduled mails are not read for it.
_SCHEMA = f"""
CREATE TABLE message (
  message_id TEXT PRIMARY KEY, project_id TEXT NOT NULL, address TEXT NOT NULL, destination TEXT NOT NULL,
  tier INTEGER NOT NULL, in_flight INTEGER NOT NULL, queued INTEGER NOT NULL, waiting INTEGER NOT NULL,
  postponed_until_ms INTEGER, attempt INTEGER NOT NULL, dispatch INTEGER NOT NULL, rank_ms INTEGER NOT NULL,
  submit_offset INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, timer TEXT, due_at_ms INTEGER, closed_at_ms INTEGER,
  scheduled INTEGER NOT NULL, provider TEXT NOT NULL, bar TEXT, retried INTEGER NOT NULL, reason TEXT, path TEXT,
  changed_ms INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE INDEX oldest ON message (destination, created_at_ms) WHERE waiting = 1;
CREATE INDEX standing ON message (destination, tier, in_flight, queued, waiting, postponed_until_ms, bar, provider)
  WHERE (waiting = 1 OR in_flight = 1);
CREATE INDEX queue ON message (provider, tier, retried, rank_ms, submit_offset) WHERE queued = 1 AND bar IS NULL;
CREATE INDEX deferred ON message (provider, rank_ms, submit_offset) WHERE waiting = 1 AND queued = 0;
CREATE INDEX stopped ON message (bar, retried, rank_ms, submit_offset) WHERE bar IS NOT NULL;
CREATE INDEX next_due ON message (destination, due_at_ms) WHERE waiting = 1 AND due_at_ms IS NOT NULL;
CREATE INDEX due ON message (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX unsent ON message (project_id, address) WHERE closed_at_ms IS NULL AND in_flight = 0;
CREATE INDEX scheduled ON message (scheduled) WHERE scheduled = 1;
CREATE INDEX closed ON message (closed_at_ms) WHERE closed_at_ms IS NOT NULL;
CREATE TABLE place (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
PRAGMA user_version = {_VERSION};
"""
_PUT = f"INSERT OR REPLACE INTO message VALUES ({', '.join('?' * 25)})"  # noqa: S608 — marks only
_CENSUS = (
    "SELECT destination, min(provider), tier, sum(in_flight), sum(queued), sum(bar IS NOT NULL), sum(waiting),"
    " max(postponed_until_ms) FROM message WHERE (waiting = 1 OR in_flight = 1) GROUP BY destination, tier"
)
_COLUMN: dict[QueueKind, str] = {"destination": "destination", "provider_group": "provider", "path": "path"}
_SET_PLACE = "INSERT OR REPLACE INTO place VALUES (?, ?)"


class DamagedFile(RuntimeError):
    """The file was unreadable and is gone: the service stops, and comes back with one that is made anew."""


class SqliteStore:
    """One file; `synchronous` is off, because a lost one is rebuilt from the changelog. Use `open_store`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path)
        self._uncommitted = 0
        self._guarded(self._prepare)
        self._next_offset = self._place("next_offset")
        self._input_offset = self._place("input_offset")
        self._timestamp_ms = self._place("timestamp_ms")
        self._fence = self._place("fence")
        self._none_due_before_ms = 0.0  # the first timer is not earlier, so that most ticks need no question

    def fault(self, now_ms: int) -> str | None:
        """Why the file can not be gone on with, if it can not."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            return f"schema version {version}, not {_VERSION}"
        if self._timestamp_ms is not None and now_ms - self._timestamp_ms > _OLDEST.total_seconds() * 1000:
            return "it lags by more than half of the changelog's tombstone retention"
        return None

    def next_offset(self) -> int | None:
        return self._next_offset

    def input_offset(self) -> int | None:
        return self._input_offset

    def fence(self) -> int | None:
        return self._fence

    def remember_fence(self, offset: int) -> None:
        self._fence = offset

    def put(self, row: Row) -> None:
        stand = row.standing
        if row.due_at_ms is not None:
            self._none_due_before_ms = min(self._none_due_before_ms, row.due_at_ms)
        self._run(
            _PUT,
            row.message_id,
            row.project_id,
            row.address,
            stand.destination,
            stand.tier,
            stand.in_flight,
            stand.queued,
            stand.waiting,
            stand.postponed_until_ms,
            row.attempt,
            row.dispatch,
            row.rank_ms,
            row.submit_offset,
            row.created_at_ms,
            row.timer,
            row.due_at_ms,
            row.closed_at_ms,
            stand.scheduled,
            row.group,
            row.bar,
            row.attempt > 1,
            row.reason,
            row.path,
            row.changed_ms,
            row.record,
        )

    def remove(self, message_id: str) -> None:
        self._run("DELETE FROM message WHERE message_id = ?", message_id)

    def remember_input_offset(self, offset: int) -> None:
        self._input_offset = offset

    def applied(self, offset: int, timestamp_ms: int) -> None:
        self._next_offset = offset + 1
        self._timestamp_ms = timestamp_ms
        self._uncommitted += 1
        if self._uncommitted >= _COMMIT_AFTER:
            self.commit()

    def commit(self) -> None:
        """Keep what was applied, together with how far that is."""
        if not self._uncommitted:
            return
        for name in ("next_offset", "input_offset", "timestamp_ms", "fence"):
            value = getattr(self, f"_{name}")
            if value is not None:
                self._run(_SET_PLACE, name, value)
        self._guarded(self._connection.commit)
        self._uncommitted = 0

    def records(self, message_ids: Iterable[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        remaining = iter(message_ids)
        while wanted := list(islice(remaining, _IDS_PER_QUERY)):
            marks = ", ".join("?" * len(wanted))
            query = f"SELECT message_id, record FROM message WHERE message_id IN ({marks})"  # noqa: S608 — marks only
            found.update(self._rows(query, *wanted))
        return found

    def standing(self, message_id: str) -> Standing | None:
        columns = "destination, tier, in_flight, queued, waiting, postponed_until_ms, scheduled, bar IS NOT NULL"
        for row in self._rows(f"SELECT {columns} FROM message WHERE message_id = ?", message_id):  # noqa: S608 — a constant
            destination, tier, in_flight, queued, waiting, postponed, scheduled, stopped = row
            return Standing(
                destination,
                tier,
                in_flight=bool(in_flight),
                queued=bool(queued),
                stopped=bool(stopped),
                waiting=bool(waiting),
                postponed_until_ms=postponed,
                scheduled=bool(scheduled),
            )
        return None

    def due(self, now_ms: int, limit: int) -> Sequence[Timer]:
        if now_ms < self._none_due_before_ms:
            return []
        query = (
            "SELECT message_id, project_id, timer, attempt, dispatch FROM message"
            " WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?"
        )
        found = [Timer(*row) for row in self._rows(query, now_ms, limit)]
        if not found:
            first = self._one("SELECT min(due_at_ms) FROM message WHERE due_at_ms IS NOT NULL")
            self._none_due_before_ms = math.inf if first is None else first
        return found

    def queued(self, group: str, tier: int, limit: int, *, retried: bool) -> Sequence[Timer]:
        query = (
            "SELECT message_id, project_id, 'admission', attempt, dispatch FROM message"
            " WHERE queued = 1 AND bar IS NULL AND provider = ? AND tier = ? AND retried = ?"
            " ORDER BY rank_ms, submit_offset LIMIT ?"
        )
        return [Timer(*row) for row in self._rows(query, group, tier, retried, limit)]

    def flushed(self, flush: QueueFlush, flushed_ms: int, limit: int) -> Sequence[Timer]:
        query = (
            "SELECT message_id, project_id, 'flush', attempt, dispatch FROM message"  # noqa: S608 — constants
            " WHERE waiting = 1 AND queued = 0 AND reason IN ('retry_ladder', 'greylisted', 'postponed')"
            f" AND {_COLUMN[flush.kind]} = ? AND changed_ms <= ? AND ? IN ('', project_id) ORDER BY rank_ms, submit_offset LIMIT ?"
        )
        return [Timer(*row) for row in self._rows(query, flush.name, flushed_ms, flush.project_id, limit)]

    def regroup(self, destination: str, group: str) -> None:
        self._run(
            "UPDATE message SET provider = ? WHERE destination = ? AND (waiting = 1 OR in_flight = 1)",
            group,
            destination,
        )

    def stop(self, bar: Bar, limit: int) -> Sequence[Moved]:
        first = (
            "SELECT message_id FROM message WHERE queued = 1 AND bar IS NULL"  # noqa: S608 — constants
            f" AND {_COLUMN[bar.kind]} = ? AND ? IN ('', project_id) LIMIT ?"
        )
        return self._barred(bar.text(), first, bar.names[0], bar.project_id, limit)

    def let_go(self, bar: Bar, limit: int) -> Sequence[Moved]:
        first = "SELECT message_id FROM message WHERE bar = ? ORDER BY retried, rank_ms, submit_offset LIMIT ?"
        return self._barred(None, first, bar.text(), limit)

    def bars(self) -> Iterable[Bar]:
        return [Bar.parse(text) for (text,) in self._rows("SELECT DISTINCT bar FROM message WHERE bar IS NOT NULL")]

    def unsent_to(self, project_id: str, address: str) -> Sequence[str]:
        query = (
            "SELECT message_id FROM message"
            " WHERE project_id = ? AND address = ? AND closed_at_ms IS NULL AND in_flight = 0"
        )
        return [message_id for (message_id,) in self._rows(query, project_id, address)]

    def unsent_recipients(self) -> Iterable[tuple[str, str]]:
        query = (
            "SELECT DISTINCT project_id, address FROM message"
            " WHERE closed_at_ms IS NULL AND in_flight = 0 AND (project_id, address) > (?, ?)"
            " ORDER BY project_id, address LIMIT ?"
        )
        last = ("", "")
        while page := list(self._rows(query, *last, _RECIPIENTS_PER_QUERY)):
            yield from page
            last = page[-1]

    def census(self) -> Iterable[Census]:
        return (Census(*row) for row in self._rows(_CENSUS))

    def scheduled(self) -> int:
        return self._one("SELECT count(*) FROM message WHERE scheduled = 1") or 0

    def horizon(self, destination: str) -> Horizon:
        oldest = (
            "SELECT created_at_ms, reason, bar FROM message WHERE destination = ? AND waiting = 1"
            " ORDER BY created_at_ms LIMIT 1"
        )
        due = "SELECT min(due_at_ms) FROM message WHERE destination = ? AND waiting = 1 AND due_at_ms IS NOT NULL"
        next_due_ms = self._one(due, destination)
        for created_at_ms, reason, bar in self._rows(oldest, destination):
            return Horizon(created_at_ms, next_due_ms, reason if bar is None else Bar.parse(bar).reason)
        return Horizon(None, next_due_ms)

    def closed_before(self, ms: int, limit: int) -> Sequence[str]:
        query = "SELECT message_id FROM message WHERE closed_at_ms < ? ORDER BY closed_at_ms LIMIT ?"
        return [message_id for (message_id,) in self._rows(query, ms, limit)]

    def close(self) -> None:
        """Keep what was applied, and let the file go."""
        self.commit()
        self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")  # a kill -9 leaves the last commit readable
        self._connection.execute("PRAGMA synchronous = OFF")
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            self._connection.executescript(_SCHEMA)

    def _place(self, name: str) -> int | None:
        return self._one("SELECT max(value) FROM place WHERE name = ?", name)

    def _barred(self, bar: str | None, first: str, *values: object) -> Sequence[Moved]:
        """Give `bar` to the messages that `first` selects; where they stand."""
        update = f"UPDATE message SET bar = ? WHERE message_id IN ({first}) RETURNING destination, tier"  # noqa: S608 — constants
        moved = Counter(self._rows(update, bar, *values))
        return [Moved(destination, tier, messages) for (destination, tier), messages in moved.items()]

    def _one(self, query: str, *values: object) -> int | None:
        for (value,) in self._rows(query, *values):
            found: int | None = value
            return found
        return None

    def _rows(self, query: str, *values: object) -> Iterator[Any]:
        return iter(self._guarded(self._fetched, query, values))

    def _run(self, statement: str, *values: object) -> None:
        self._guarded(self._connection.execute, statement, values)

    def _fetched(self, query: str, values: Sequence[object]) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    def _guarded(self, work: Callable[..., Any], *arguments: object) -> Any:
        """Do it; a file that turns out to be damaged is removed, so that the next start is a clean one."""
        try:
            return work(*arguments)
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            self._connection.close()
            _remove(self._path, "damaged")
            raise DamagedFile(f"{self._path} was damaged ({error}) and has been removed") from error


def open_store(path: Path, now_ms: int) -> SqliteStore:
    """The partition's file, as it is or made anew where it can not be used (`now_ms`: the broker's clock)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        store = SqliteStore(path)
    except DamagedFile as error:
        _log.warning("local_file_dropped", path=str(path), reason=str(error))
        return SqliteStore(path)
    fault = store.fault(now_ms)
    if fault is None:
        return store
    _log.warning("local_file_dropped", path=str(path), reason=fault)
    store.close()
    _remove(path, "outdated")
    return SqliteStore(path)


def _remove(path: Path, cause: str) -> None:
    FILES_DROPPED.labels(cause).inc()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
