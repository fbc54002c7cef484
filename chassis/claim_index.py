"""Where the fold of a claim log is kept: in memory, or in a SQLite file beside the positions it was read to.

A throw-away view: a file that can not be used is deleted and read again from the log. It must never decide who wins.
"""

import sqlite3
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Protocol

from chassis.telemetry import logger

_log = logger("claims")
_VERSION = 1  # of the file's layout
# Rows stay this much longer than their window: brokers' clocks differ, so a later record may bear an earlier time.
PURGE_MARGIN_MS = 60_000
_PURGE_ROWS = 500  # at a time: some milliseconds at most
_LAYOUT = """
    CREATE TABLE claims (
        key TEXT PRIMARY KEY, claim_id TEXT NOT NULL, value BLOB NOT NULL, topic_partition INTEGER NOT NULL,
        record_offset INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, closed_by BLOB
    );
    CREATE INDEX claims_by_time ON claims (topic_partition, timestamp_ms);
    CREATE TABLE positions (topic_partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL);
    CREATE TABLE origin (topic TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Winner:
    """The claim that holds a key."""

    claim_id: str
    value: bytes
    offset: int
    timestamp_ms: int
    closed_by: bytes | None


class ClaimIndex(Protocol):
    """One topic's winners by key. All calls are short; changes are kept at `commit`."""

    def get(self, key: str) -> Winner | None: ...

    def put(self, key: str, partition: int, winner: Winner) -> None: ...

    def drop(self, key: str) -> None: ...

    def drop_partition(self, partition: int) -> None:
        """Forget a partition and its position: it is read anew."""

    def position(self, partition: int) -> int | None:
        """The next offset to fold, where the index outlives the process."""

    def commit(self, positions: dict[int, int], oldest_ms: dict[int, int]) -> None:
        """Keep what was changed, as read up to `positions`; rows older than `oldest_ms` may go, some at a time."""

    def close(self) -> None: ...


class MemoryIndex:
    """For indexes that are small, or read anew at each take-over."""

    def __init__(self) -> None:
        self._partition_of: dict[str, int] = {}
        self._winners: dict[int, dict[str, Winner]] = {}  # each in the order of its log, so the oldest come first

    def get(self, key: str) -> Winner | None:
        partition = self._partition_of.get(key)
        return None if partition is None else self._winners[partition][key]

    def put(self, key: str, partition: int, winner: Winner) -> None:
        before = self.get(key)
        if before is not None and before.offset != winner.offset:
            self.drop(key)  # a new claim goes to the end
        self._partition_of[key] = partition
        self._winners.setdefault(partition, {})[key] = winner

    def drop(self, key: str) -> None:
        partition = self._partition_of.pop(key, None)
        if partition is not None:
            del self._winners[partition][key]

    def drop_partition(self, partition: int) -> None:
        for key in self._winners.pop(partition, {}):
            del self._partition_of[key]

    def position(self, partition: int) -> int | None:  # noqa: ARG002 - it never outlives the process
        return None

    def commit(self, positions: dict[int, int], oldest_ms: dict[int, int]) -> None:  # noqa: ARG002
        for partition, oldest in oldest_ms.items():
            first = islice(self._winners.get(partition, {}).items(), _PURGE_ROWS)
            expired = [key for key, winner in takewhile(lambda row: row[1].timestamp_ms < oldest, first)]  # noqa: B023
            for key in expired:
                self.drop(key)

    def close(self) -> None:
        self._partition_of.clear()
        self._winners.clear()


class FileIndex:
    """For many keys over a long window. kill -9 loses nothing that was committed; a power cut may: then it is rebuilt."""

    def __init__(self, path: Path, topic: str) -> None:
        """Raises sqlite3.OperationalError where another process has the file: two with one name, or one state folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._rows = _opened(path, topic)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise
            self._rows = _rebuilt(path, topic, error)
        except UnusableFile as error:
            self._rows = _rebuilt(path, topic, error)

    def get(self, key: str) -> Winner | None:
        found = self._rows.execute(
            "SELECT claim_id, value, record_offset, timestamp_ms, closed_by FROM claims WHERE key = ?", (key,)
        ).fetchone()
        return None if found is None else Winner(*found)

    def put(self, key: str, partition: int, winner: Winner) -> None:
        row = (winner.claim_id, winner.value, partition, winner.offset, winner.timestamp_ms, winner.closed_by)
        self._begin()
        self._rows.execute("REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)", (key, *row))

    def drop(self, key: str) -> None:
        self._begin()
        self._rows.execute("DELETE FROM claims WHERE key = ?", (key,))

    def drop_partition(self, partition: int) -> None:
        self._begin()
        self._rows.execute("DELETE FROM claims WHERE topic_partition = ?", (partition,))
        self._rows.execute("DELETE FROM positions WHERE topic_partition = ?", (partition,))
        self._rows.execute("COMMIT")

    def position(self, partition: int) -> int | None:
        found = self._rows.execute(
            "SELECT next_offset FROM positions WHERE topic_partition = ?", (partition,)
        ).fetchone()
        return None if found is None else int(found[0])

    def commit(self, positions: dict[int, int], oldest_ms: dict[int, int]) -> None:
        self._begin()
        self._rows.executemany("REPLACE INTO positions VALUES (?, ?)", positions.items())
        self._rows.executemany(
            "DELETE FROM claims WHERE rowid IN"
            " (SELECT rowid FROM claims WHERE topic_partition = ? AND timestamp_ms < ? LIMIT ?)",
            [(partition, oldest, _PURGE_ROWS) for partition, oldest in oldest_ms.items()],
        )
        self._rows.execute("COMMIT")

    def close(self) -> None:
        self._rows.close()

    def _begin(self) -> None:
        if not self._rows.in_transaction:
            self._rows.execute("BEGIN")


class UnusableFile(Exception):
    """A file that is damaged, of another version, or another topic's."""


def _opened(path: Path, topic: str) -> sqlite3.Connection:
    """The file, laid out and ours alone. Raises sqlite3.DatabaseError or UnusableFile."""
    rows = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        rows.execute("PRAGMA locking_mode = EXCLUSIVE")
        rows.execute("PRAGMA journal_mode = WAL")
        rows.execute("PRAGMA synchronous = OFF")  # the operating system keeps what a killed process wrote
        if rows.execute("PRAGMA user_version").fetchone() == (0,):
            rows.executescript(f"BEGIN; {_LAYOUT} PRAGMA user_version = {_VERSION}; COMMIT;")
            rows.execute("INSERT INTO origin VALUES (?)", (topic,))
        _check(rows, topic)
    except (sqlite3.DatabaseError, UnusableFile):
        rows.close()
        raise
    return rows


def _check(rows: sqlite3.Connection, topic: str) -> None:
    (version,) = rows.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        raise UnusableFile(f"it has version {version}")
    (verdict,) = rows.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise UnusableFile(verdict)
    if (found := rows.execute("SELECT topic FROM origin").fetchone()) != (topic,):
        raise UnusableFile(f"it is of {found}")


def _rebuilt(path: Path, topic: str, reason: Exception) -> sqlite3.Connection:
    _log.warning("claim_index_rebuilt", file=path.name, reason=str(reason))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return _opened(path, topic)
