"""A real ClickHouse, and the read side on it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.analytics.bench import Bench, built
from tests.kit.clickhouse import Database, any_clickhouse, new_database


@pytest.fixture(scope="session")
def clickhouse_url() -> Iterator[str]:
    """One engine for the whole run."""
    with any_clickhouse() as url:
        yield url


@pytest.fixture
def clickhouse(clickhouse_url: str) -> Iterator[Database]:
    """A database of the test's own."""
    with new_database(clickhouse_url) as database:
        yield database


@pytest.fixture
async def bench(clickhouse: Database) -> AsyncIterator[Bench]:
    async with built(clickhouse) as found:
        yield found
