"""Ten thousand deliveries wait for one dead endpoint; another's come as soon as before (R31, D95)."""

import time
from collections.abc import AsyncIterator

import pytest

from chassis.log import Log
from services.webhooks.metrics import PENDING
from tests.integration.webhooks.stage import Stage, running
from tests.kit.broker import Broker, free_ports
from tests.kit.topics import kafka_settings
from tests.kit.waiting import eventually
from tests.kit.webhook_receiver import WebhookReceiver

PENDING_DELIVERIES = 10_000
PROBES = 40


@pytest.fixture(scope="module")
async def log(own_broker: Broker) -> AsyncIterator[Log]:
    made = Log(kafka_settings(own_broker.bootstrap_servers), client_id="test")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def stage(own_broker: Broker, log: Log) -> Stage:
    return Stage(own_broker, log)


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as entered:
        yield entered


async def p95(stage: Stage, receiver: WebhookReceiver) -> float:
    """Seconds from an event's append to its arrival."""
    took = []
    for _ in range(PROBES):
        already, began = len(receiver.received), time.monotonic()
        await stage.events(tags=["alive"])
        await receiver.requests("/alive", already + 1)
        took.append(time.monotonic() - began)
    return sorted(took)[round(0.95 * PROBES) - 1]


async def test_r31_ten_thousand_pending_of_a_dead_endpoint_cost_another_nothing(
    stage: Stage, receiver: WebhookReceiver
) -> None:
    (nobody,) = free_ports(1)
    await stage.endpoint(f"http://127.0.0.1:{nobody}/", tags=["dead"])
    await stage.endpoint(receiver.url("/alive"), tags=["alive"])
    async with running(stage.broker):
        before = await p95(stage, receiver)
        await stage.events(PENDING_DELIVERIES, tags=["dead"])

        async def all_wait() -> bool:
            (family,) = PENDING.collect()
            return bool(family.samples[0].value >= PENDING_DELIVERIES - 100)

        await eventually(all_wait, within=60)
        beside = await p95(stage, receiver)
    assert beside < 2 * before + 0.1, f"p95 {before:.3f} s alone, {beside:.3f} s beside the dead endpoint"
