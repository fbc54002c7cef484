"""A topic that the contract names is not there (R1; D11): nothing is acknowledged, and the service says why."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import TOPICS
from tests.integration.ingest import stage
from tests.integration.ingest.stage import holds, known, new_tenant, replica, writer
from tests.kit.broker import Broker, provision_topics, started_broker

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PATIENCE", 0.0)


@pytest.fixture
def lost() -> Iterator[Broker]:
    """A broker that nobody else uses: it will lack a topic."""
    with started_broker() as broker:
        provision_topics(broker.bootstrap_servers)
        yield broker


async def test_d11_without_its_topic_a_mail_is_503_and_the_replica_is_not_ready(lost: Broker, tmp_path: Path) -> None:
    """D11."""
    async with writer(lost) as log:
        tenant = await new_tenant(log)
    admin = AIOKafkaAdminClient(bootstrap_servers=lost.bootstrap_servers)
    await admin.start()
    name = TOPICS["message-inputs.standard"].name
    await admin.delete_topics([name])

    async def gone() -> bool:
        return name not in await admin.list_topics()

    await holds(gone)
    await admin.close()
    async with replica(lost, tmp_path) as ingest:
        await holds(ingest.alive)
        await known(ingest, tenant)
        reply = await ingest.send(tenant, tenant.mail())
        assert (reply.status, reply.json["error"]["code"]) == (503, "unavailable")
        assert int(reply.headers["Retry-After"]) > 0
        assert (await ingest.send(tenant, tenant.mail(priority="high"))).status == 202, "the other lane goes on"

        async def not_ready() -> bool:
            ready = await ingest.call("GET", "/health/ready")
            return ready.status == 503 and "message-inputs.standard" in ready.raw.decode()

        await holds(not_ready)
