"""A real ClickHouse, and the read side on it."""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from chassis.log import Log
from schemas.topics import TOPICS, Topic
from tests.integration.analytics.bench import SOURCES, Bench, built
from tests.integration.analytics.whole import PARTITIONS, Source
from tests.kit.broker import Broker
from tests.kit.clickhouse import Database, any_clickhouse, new_database
from tests.kit.topics import kafka_settings, new_topic, renamed


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


@pytest.fixture(scope="session")
def tables(clickhouse_url: str) -> Iterator[Database]:
    """The database of all benches, one after the other: they insert and read."""
    with new_database(clickhouse_url) as database:
        yield database


@pytest.fixture
async def bench(tables: Database) -> AsyncIterator[Bench]:
    async with built(tables) as found:
        yield found
    tables.empty()


@pytest.fixture
async def source(broker: Broker) -> AsyncIterator[Source]:
    log = Log(kafka_settings(broker.bootstrap_servers), client_id="test")
    await log.start()
    inputs = [TOPICS["message-inputs.express"], TOPICS["message-inputs.standard"]]
    yield Source(broker, log, await _made(broker, SOURCES), await _made(broker, inputs))
    await log.stop()


async def _made(broker: Broker, topics: Sequence[Topic]) -> list[Topic]:
    names = [await new_topic(broker.bootstrap_servers, partitions=PARTITIONS) for _ in topics]
    return [renamed(topic, name, partitions=PARTITIONS) for topic, name in zip(topics, names, strict=True)]


@pytest.fixture
def group() -> str:
    return f"analytics-{secrets.token_hex(4)}"
