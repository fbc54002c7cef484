"""The local file of one partition: waiting messages, due times, queues and recipients as queries over message-state.

A throw-away view: it is never the only place of anything, and is removed as soon as it can not be trusted.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from chassis.telemetry import logger
from services.router.domain.admission import Standing
from services.router.metrics import FILES_DROPPED
from services.router.ports import Census, Horizon, Row, Timer

_log = logger("store")

_VERSION = 4  # 2: the fence is kept; 3: timers by kind, what is scheduled stands in no queue; 4: it is counted
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
  scheduled INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE INDEX oldest ON message (destination, created_at_ms) WHERE waiting = 1;
CREATE INDEX standing ON message (destination, tier, in_flight, queued, waiting, postponed_until_ms)
  WHERE (waiting = 1 OR in_flight = 1);
CREATE INDEX queue ON message (destination, tier, rank_ms, submit_offset) WHERE queued = 1;
CREATE INDEX next_due ON message (destination, due_at_ms) WHERE waiting = 1 AND due_at_ms IS NOT NULL;
CREATE INDEX due ON message (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX unsent ON message (project_id, address) WHERE closed_at_ms IS NULL AND in_flight = 0;
CREATE INDEX scheduled ON message (scheduled) WHERE scheduled = 1;
CREATE INDEX closed ON message (closed_at_ms) WHERE closed_at_ms IS NOT NULL;
CREATE TABLE place (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
PRAGMA user_version = {_VERSION};
"""
_PUT = "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CENSUS = (
    "SELECT destination, tier, sum(in_flight), sum(queued), sum(waiting), max(postponed_until_ms) FROM message"
    " WHERE (waiting = 1 OR in_flight = 1) GROUP BY destination, tier"
)
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
        columns = "destination, tier, in_flight, queued, waiting, postponed_until_ms, scheduled"
        for row in self._rows(f"SELECT {columns} FROM message WHERE message_id = ?", message_id):  # noqa: S608 — a constant
            destination, tier, in_flight, queued, waiting, postponed, scheduled = row
            return Standing(
                destination,
                tier,
                in_flight=bool(in_flight),
                queued=bool(queued),
                waiting=bool(waiting),
                postponed_until_ms=postponed,
                scheduled=bool(scheduled),
            )
        return None

    def due(self, now_ms: int, limit: int) -> Sequence[Timer]:
        query = (
            "SELECT message_id, project_id, timer, attempt, dispatch FROM message"
            " WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?"
        )
        return [Timer(*row) for row in self._rows(query, now_ms, limit)]

    def queued(self, destination: str, tier: int, limit: int) -> Sequence[Timer]:
        query = (
            "SELECT message_id, project_id, 'admission', attempt, dispatch FROM message"
            " WHERE queued = 1 AND destination = ? AND tier = ? ORDER BY rank_ms, submit_offset LIMIT ?"
        )
        return [Timer(*row) for row in self._rows(query, destination, tier, limit)]

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
        oldest = "SELECT min(created_at_ms) FROM message WHERE destination = ? AND waiting = 1"
        due = "SELECT min(due_at_ms) FROM message WHERE destination = ? AND waiting = 1 AND due_at_ms IS NOT NULL"
        return Horizon(self._one(oldest, destination), self._one(due, destination))

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

    def _one(self, query: str, *values: object) -> int | None:
        for (value,) in self._rows(query, *values):
            found: int | None = value
            return found
        return None

    def _rows(self, query: str, *values: object) -> Iterator[Any]:
        return iter(self._guarded(lambda: self._connection.execute(query, values).fetchall()))

    def _run(self, statement: str, *values: object) -> None:
        self._guarded(lambda: self._connection.execute(statement, values))

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Do it; a file that turns out to be damaged is removed, so that the next start is a clean one."""
        try:
            return work()
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
