"""What the ledger has counted from the log, in a SQLite file: each message's standing, the counts, and how far it has read.

A throw-away view: all three change in one transaction, so kill -9 at any moment leaves a file that goes on from where it
says it is; one that can not be used is deleted and counted again from the log. It must never ask ClickHouse.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from chassis.telemetry import logger
from services.analytics.domain.cursors import Positions
from services.analytics.domain.ledger import Account, Counts, Hours, Moves, Octets, Standing, hour_of

_log = logger("ledger")
_VERSION = 1  # of the file's layout
_LAYOUT = f"""
    BEGIN;
    CREATE TABLE standings (message BLOB PRIMARY KEY, sequence INTEGER NOT NULL, state TEXT NOT NULL,
      queued INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE counts (hour_ms INTEGER, project_id TEXT, word TEXT, number INTEGER NOT NULL,
      PRIMARY KEY (hour_ms, project_id, word)) WITHOUT ROWID;
    CREATE TABLE missing (message BLOB PRIMARY KEY, hour_ms INTEGER NOT NULL, project_id TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE positions (topic TEXT, partition INTEGER, next_offset INTEGER NOT NULL,
      PRIMARY KEY (topic, partition)) WITHOUT ROWID;
    PRAGMA user_version = {_VERSION};
    COMMIT;
"""
_COUNT = """
    INSERT INTO counts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number
"""


class LedgerBook:
    """One file, for one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.OperationalError where another process has the file: two with one state folder."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._rows = _opened(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._rows = self._anew(str(error))

    def positions(self) -> Positions:
        """Of each partition, the next offset to read."""
        found = self._rows.execute("SELECT topic, partition, next_offset FROM positions")
        return {(topic, partition): offset for topic, partition, offset in found}

    def standings(self, messages: Iterable[Octets]) -> Mapping[Octets, Standing]:
        """Of those that have one, of the few thousand of a piece of the log."""
        asked = list(set(messages))
        marks = ", ".join("?" * len(asked))
        rows = self._rows.execute(f"SELECT * FROM standings WHERE message IN ({marks})", asked)  # noqa: S608 — marks only
        return {message: Standing(sequence, state, bool(queued)) for message, sequence, state, queued in rows}

    def keep(self, moves: Moves, positions: Positions) -> None:
        """What was folded, and how far that was read."""
        with self._rows:
            self._rows.execute("BEGIN")
            rows = [(message, *standing) for message, standing in moves.standings.items()]
            self._rows.executemany("REPLACE INTO standings VALUES (?, ?, ?, ?)", rows)
            self._rows.executemany(_COUNT, [(*account, word, n) for (account, word), n in moves.counts.items()])
            self._rows.executemany("DELETE FROM missing WHERE message = ?", [(row[0],) for row in rows])
            self._read_to(positions)

    def keep_missing(self, missing: Mapping[Octets, str], positions: Positions) -> None:
        """Messages that were accepted and have no event, with their projects, and how far the inputs were read."""
        with self._rows:
            self._rows.execute("BEGIN")
            rows = [(message, hour_of(message), project_id) for message, project_id in missing.items()]
            self._rows.executemany("REPLACE INTO missing VALUES (?, ?, ?)", rows)
            self._read_to(positions)

    def counts(self, hours: Hours, project_id: str | None) -> Mapping[Account, Counts]:
        found: defaultdict[Account, Counts] = defaultdict(Counts)
        statement = """
            SELECT hour_ms, project_id, word, number FROM counts
            WHERE hour_ms >= ? AND hour_ms < ? AND (? IS NULL OR project_id = ?) AND number != 0
        """
        for hour_ms, project, word, number in self._rows.execute(statement, (*hours, project_id, project_id)):
            found[Account(hour_ms, project)][word] = number
        return found

    def missing(self, hours: Hours, project_id: str | None) -> Mapping[Account, int]:
        statement = """
            SELECT hour_ms, project_id, count(*) FROM missing
            WHERE hour_ms >= ? AND hour_ms < ? AND (? IS NULL OR project_id = ?) GROUP BY hour_ms, project_id
        """
        found = self._rows.execute(statement, (*hours, project_id, project_id))
        return {Account(hour_ms, project): number for hour_ms, project, number in found}

    def forget(self, before_ms: int) -> None:
        """Drop the hours before this one, which are counted no more."""
        oldest = (before_ms << 112).to_bytes(20)
        with self._rows:
            self._rows.execute("BEGIN")
            for table in ("standings", "missing"):
                self._rows.execute(f"DELETE FROM {table} WHERE message < ?", (oldest,))  # noqa: S608 — one of two words
            self._rows.execute("DELETE FROM counts WHERE hour_ms < ?", (before_ms,))

    def begin_anew(self, reason: str) -> None:
        """Forget everything: it is counted again from the log."""
        self._rows.close()
        self._rows = self._anew(reason)

    def close(self) -> None:
        self._rows.close()

    def _read_to(self, positions: Positions) -> None:
        rows = [(*place, offset) for place, offset in positions.items()]
        self._rows.executemany("REPLACE INTO positions VALUES (?, ?, ?)", rows)

    def _anew(self, reason: str) -> sqlite3.Connection:
        _log.warning("ledger_counted_again", file=self._path.name, reason=reason)
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return _opened(self._path)


def _opened(path: Path) -> sqlite3.Connection:
    """The file, laid out and ours alone. Raises sqlite3.DatabaseError, also where it is of another version."""
    rows = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
    try:
        _lay_out(rows)
    except sqlite3.DatabaseError:
        rows.close()
        raise
    return rows


def _lay_out(rows: sqlite3.Connection) -> None:
    rows.execute("PRAGMA locking_mode = EXCLUSIVE")
    rows.execute("PRAGMA journal_mode = WAL")
    rows.execute("PRAGMA synchronous = NORMAL")  # a power cut may take the last transactions, positions and all
    if rows.execute("PRAGMA user_version").fetchone() == (0,):
        rows.executescript(_LAYOUT)
    if rows.execute("PRAGMA user_version").fetchone() != (_VERSION,):
        raise sqlite3.DatabaseError("it is of another version")
