"""Three brokers, each topic on all of them, an ack from two: one may die, two may not (R1, R3; D12)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant, queued_in, replica, writer
from tests.kit.broker import Broker, EmbeddedBroker, provision_topics, three_brokers

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


class Sending:
    """Keyed mails, one after the other, each asked for until it is accepted or `patience` (seconds) is over."""

    def __init__(self, client: Client, tenant: Tenant) -> None:
        self._client = client
        self._tenant = tenant
        self._next = 0
        self.accepted: set[str] = set()
        self.statuses: Counter[int] = Counter()

    async def some(self, count: int, *, patience: float) -> int:
        """How many of `count` were accepted."""
        before = len(self.accepted)
        for _ in range(count):
            self._next += 1
            await self._one(f"three-{self._next}", patience)
        return len(self.accepted) - before

    async def _one(self, key: str, patience: float) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + patience
        while True:
            reply = await self._client.send(self._tenant, self._tenant.mail(), key)
            self.statuses[reply.status] += 1
            if reply.status == 202:
                self.accepted.add(reply.json["message_id"])
            if reply.status == 202 or clock() > until:
                return
            assert reply.status == 503, reply.raw
            await asyncio.sleep(0.3)


async def test_one_of_three_brokers_may_die_and_two_may_not(tmp_path: Path, say: Callable[[str], None]) -> None:
    """D12: with one gone it goes on; with two gone it is 503, and never 202; with two back everything accepted is there."""
    with three_brokers() as brokers:
        cluster = cast("Broker", SimpleNamespace(bootstrap_servers=_all(brokers)))
        await asyncio.to_thread(provision_topics, cluster.bootstrap_servers, replicas=3, in_sync=2)
        async with writer(cluster) as log:
            tenant = await new_tenant(log)
        async with replica(cluster, tmp_path) as ingest:
            await holds(ingest.alive)
            await known(ingest, tenant)
            sending = Sending(ingest, tenant)
            assert await sending.some(20, patience=10) == 20
            brokers[0].kill()
            assert await sending.some(20, patience=30) == 20, "with two of three it goes on"
            brokers[1].kill()
            assert await sending.some(3, patience=3) == 0, "nothing is acknowledged that is on one disk"
            await asyncio.to_thread(brokers[1].restart)
            assert await sending.some(20, patience=60) == 20
            queued = await queued_in(cluster)
            assert sending.accepted <= set(queued)
            assert len(queued) == len(set(queued)), "no mail twice"
            say(f"{len(sending.accepted)} accepted, {dict(sending.statuses)}")


def _all(brokers: list[EmbeddedBroker]) -> str:
    return ",".join(broker.bootstrap_servers for broker in brokers)
