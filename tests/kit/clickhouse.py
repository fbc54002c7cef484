"""A real ClickHouse for tests: a given one (TEST_CLICKHOUSE), one in a container where a Docker engine answers, or chDB.

chDB takes one folder per process, so a test run has one engine. A database of its own costs a test a CPU-second: who only
inserts and reads takes the next turn at one that is emptied in between.
"""

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import clickhouse_connect
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClickHouseSettings(BaseSettings):
    """`TEST_CLICKHOUSE`: URL of a server to test against; databases with random names come and go in it."""

    model_config = SettingsConfigDict(env_prefix="TEST_", extra="ignore")

    clickhouse: str | None = None


@dataclass(frozen=True, slots=True)
class Database:
    """A database that only one test knows; made by whoever connects first."""

    url: str
    name: str

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What a test asks behind the back of the code; tables by their bare names."""
        client = clickhouse_connect.get_client(dsn=self.url, database=self.name)
        try:
            return [tuple(row) for row in client.query(statement).result_rows]
        finally:
            client.close()

    def command(self, *statements: str) -> None:
        """What an operator would type; tables by their bare names."""
        client = clickhouse_connect.get_client(dsn=self.url, database=self.name)
        try:
            for statement in statements:
                client.command(statement)
        finally:
            client.close()

    def empty(self) -> None:
        """Leave the tables and what was migrated, and no other row."""
        filled = "SELECT name FROM system.tables WHERE database = currentDatabase() AND total_rows > 0"
        tables = {str(name) for (name,) in self.rows(filled)} - {"schema_migrations"}
        self.command(*(f"TRUNCATE TABLE {table} SYNC" for table in tables))


@contextmanager
def any_clickhouse() -> Iterator[str]:
    """The URL of a ClickHouse."""
    given = ClickHouseSettings().clickhouse
    if given is not None:
        yield given
    elif _docker_answers():
        yield from _in_container()
    else:
        folder = tempfile.mkdtemp(prefix="sendarix-clickhouse-")
        try:
            yield f"chdb://{folder}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_database(url: str) -> Iterator[Database]:
    database = Database(url, f"test_{secrets.token_hex(6)}")
    yield database
    client = clickhouse_connect.get_client(dsn=url)
    # At once: what lies about for ClickHouse's eight minutes makes each next database dearer.
    client.command(f"DROP DATABASE IF EXISTS {database.name} SYNC")
    client.close()


def _in_container() -> Iterator[str]:
    from testcontainers.clickhouse import ClickHouseContainer

    with ClickHouseContainer("clickhouse/clickhouse-server:latest", port=8123) as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(8123)
        yield f"http://{container.username}:{container.password}@{host}:{port}"


def _docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=1, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
