"""One ingest, a second replica of it, and a tenant, on one broker for all tests of this folder."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from chassis.log import Log
from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant, replica, writer
from tests.kit.broker import Broker, provision_topics, started_broker


@pytest.fixture(scope="package")
def own_broker() -> Iterator[Broker]:
    """Shared, for starting one takes seconds: who stops it starts it again. Tenants keep the tests apart."""
    with started_broker() as started:
        provision_topics(started.bootstrap_servers)
        yield started


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def log(own_broker: Broker) -> AsyncIterator[Log]:
    async with writer(own_broker) as found:
        yield found


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def ingest(own_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder: Path = tmp_path_factory.mktemp("ingest")
    async with replica(own_broker, folder) as client:
        await holds(client.ready)
        yield client


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def other_ingest(own_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A second replica."""
    folder: Path = tmp_path_factory.mktemp("other-ingest")
    async with replica(own_broker, folder) as client:
        await holds(client.ready)
        yield client


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def tenant(log: Log, ingest: Client) -> Tenant:
    found = await new_tenant(log)
    await known(ingest, found)
    return found
