"""The one door to ClickHouse: the embedded engine or a server, off the event loop, its faults in our words.

The embedded engine is synchronous and serves one call at a time, so it lives in one thread of its own; a server gets a
few. Inserts stand in line for one place, so a read waits for one insert at most, however much is caught up.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.exceptions import Error

from chassis.clock import Clock
from chassis.telemetry import logger
from services.analytics.adapters.schema import HISTORY, MIGRATIONS
from services.analytics.metrics import STORE_UP
from services.analytics.ports import StoreUnavailable

_log = logger("clickhouse")
T = TypeVar("T")

# Reads of a server that may run side by side.
_SERVER_THREADS = 4
_RETRY_EVERY = 1.0  # seconds between tries to connect at the start
_SERVER_TIMEOUT = 60  # seconds; far above any call's time: it only frees a thread from a server that hangs
_INSERT_SETTINGS = {
    # The batch is made here: the server must not hold it back to make a larger one.
    "async_insert": 0,
    # Nor compare it with earlier ones: rows that come again must reach the tables behind the views, too, whatever
    # became of them the first time.
    "insert_deduplicate": 0,
}


class ClickHouse:
    """One database. `start` makes it and its tables; until then, and while it is away, calls raise StoreUnavailable."""

    def __init__(
        self,
        url: str,
        database: str,
        retention: Sequence[str],
        clock: Clock,
        *,
        threads: ThreadPoolExecutor | None = None,
    ) -> None:
        """`threads` of another database of the same engine, where there is one."""
        self._url = url
        self.database = database
        self._retention = retention
        self._clock = clock
        # Whether others may read and write here, too.
        self.shared = urlsplit(url).scheme != "chdb"
        self._own_threads = threads is None
        self._threads = threads or ThreadPoolExecutor(
            _SERVER_THREADS if self.shared else 1, thread_name_prefix="clickhouse"
        )
        self._client: Any = None
        self._types: Mapping[tuple[str, str], Any] = {}
        self._inserting = asyncio.Lock()
        self._reachable = False

    async def start(self) -> None:
        """Connect and migrate; waits for ClickHouse as long as it takes, saying so in the log."""
        while True:
            try:
                self._client = await self._call(self._open)
            except StoreUnavailable as error:
                _log.warning("clickhouse_unavailable", reason=str(error))
                await self._clock.sleep(_RETRY_EVERY)
            else:
                _log.info("clickhouse_ready", database=self.database)
                return

    async def stop(self) -> None:
        if self._client is not None:
            await self._call(self._client.close)
            self._client = None
        if self._own_threads:
            await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def beside(self, database: str) -> "ClickHouse":
        """Another database of the same engine; it is stopped before this one."""
        return ClickHouse(self._url, database, self._retention, self._clock, threads=self._threads)

    def ready(self) -> list[str]:
        return [] if self._client is not None and self._reachable else ["clickhouse"]

    async def query(self, statement: str, parameters: Mapping[str, object], *, within: float) -> list[tuple[Any, ...]]:
        """Rows of a SELECT; `parameters` are bound by the server. Raises StoreUnavailable, after `within` seconds too."""
        client = self._connected()
        try:
            async with asyncio.timeout(within):
                return await self._call(lambda: list(client.query(statement, parameters=dict(parameters)).result_rows))
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer in {within} s") from error

    async def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[object]]) -> None:
        """One block, by columns. Raises StoreUnavailable, also where all or some of it may be there."""
        client = self._connected()
        types = [self._types[table, column] for column in columns]

        def work() -> None:
            client.insert(
                table, values, column_names=columns, column_types=types, column_oriented=True, settings=_INSERT_SETTINGS
            )

        async with self._inserting:
            await self._call(work)

    def inserts_held(self) -> AbstractAsyncContextManager[None]:
        """While it is held, inserts wait; none is under way. Reads go on."""
        return self._inserting

    async def command(self, statement: str, parameters: Mapping[str, object] | None = None) -> None:
        """A statement that answers nothing. Raises StoreUnavailable, also where it may have been carried out."""
        client = self._connected()
        await self._call(lambda: client.command(statement, parameters=dict(parameters or {})))

    def _connected(self) -> Any:
        if self._client is None:
            raise StoreUnavailable("not connected yet")
        return self._client

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (Error, OSError) as error:
            self._reachable = False
            STORE_UP.set(0)
            raise StoreUnavailable(f"{type(error).__name__}: {error}"[:500]) from error
        self._reachable = True
        STORE_UP.set(1)
        return done

    def _open(self) -> Any:
        options: dict[str, Any] = {"dsn": self._url}
        if self.shared:
            # Without a session, calls of several threads may share the client.
            options |= {"autogenerate_session_id": False, "connect_timeout": 2, "send_receive_timeout": _SERVER_TIMEOUT}
        first = clickhouse_connect.get_client(**options)
        first.command(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        first.close()
        client = clickhouse_connect.get_client(**options, database=self.database)
        self._migrate(client)
        columns = "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"
        self._types = {(table, name): get_from_name(kind) for table, name, kind in client.query(columns).result_rows}
        return client

    def _migrate(self, client: Any) -> None:
        client.command(HISTORY)
        applied = {name for (name,) in client.query("SELECT name FROM schema_migrations").result_rows}
        for migration in MIGRATIONS:
            if migration.name not in applied:
                for statement in migration.statements:
                    client.command(statement)
                client.insert("schema_migrations", [[migration.name]], column_names=["name"])
                _log.info("schema_migrated", migration=migration.name)
        for statement in self._retention:
            client.command(statement)
