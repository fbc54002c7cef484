"""A test that somebody asks for: one call, whatever the endpoint's filters and breaker say (R31)."""

import json

from chassis.consume import Batch
from chassis.log import Incoming
from schemas.envelope import by_type, decode, encode, seal
from schemas.topics import TOPICS
from schemas.webhooks import WebhookDelivery, WebhookTest
from services.webhooks.attempts import Settled
from services.webhooks.domain.delivery import Delivery, delivery_of
from services.webhooks.domain.outcome import Answered
from services.webhooks.domain.queue import Limits, Queue
from services.webhooks.handlers import Commands
from tests.kit.examples import examples_of
from tests.unit.webhooks.made import NOW_MS, PROJECT, a_delivery, an_endpoint, unpaced
from tests.unit.webhooks.test_attempts import World
from tests.unit.webhooks.test_fan_out import Endpoints

TOPIC = TOPICS["webhook-commands"]


def a_batch(value: bytes) -> Batch:
    record = Incoming(TOPIC.name, 0, 0, NOW_MS, "whk_1", value, ())
    return Batch(TOPIC, 0, 0, 0, [(record, decode(value, TOPIC.types))])


def asked() -> bytes:
    return encode(
        seal(
            WebhookTest(webhook_id="whk_1", by="key_1"), record_id="evt_test", source="ingest", subject="whk_1",
            time_ms=NOW_MS, project_id=PROJECT,
        )
    )  # fmt: skip


async def the_delivery() -> Delivery:
    (made,) = await Commands().handle(a_batch(asked()))
    return delivery_of(decode(made.value, by_type(WebhookDelivery)), 0, None)


async def test_a_test_becomes_one_delivery_of_its_event_however_often_it_is_read() -> None:
    delivery = await the_delivery()
    assert delivery == await the_delivery()
    assert (delivery.cause, delivery.event_id, delivery.event_type) == ("test", "evt_test", "webhook.test")
    body = json.loads(delivery.body)
    assert body.pop("timestamp") == body["time"]
    assert body == json.loads(asked())


async def test_every_example_is_understood() -> None:
    for example in examples_of("webhook-commands"):
        assert len(await Commands().handle(a_batch(example.value))) == 1


async def test_a_test_that_fails_is_not_tried_again_and_reaches_a_disabled_endpoint() -> None:
    disabled = an_endpoint().model_copy(update={"disabled_at": "2026-09-21T14:13:20.123Z"})
    world = World(reply=Answered(500, None, ""), endpoints=Endpoints(disabled))
    assert await world.attempts.make(await the_delivery()) == Settled(None, failed=True)
    ((attempt, following),) = world.settled
    assert following is None
    assert attempt is not None
    assert (attempt.cause, attempt.outcome, attempt.status_code) == ("test", "exhausted", 500)


async def test_a_test_starts_beside_everything_that_keeps_the_endpoint_from_its_events() -> None:
    queue = Queue(Limits(per_endpoint=1, shared=20, total=80), unpaced)
    queue.put(a_delivery(1))
    queue.put(a_delivery(2))
    assert queue.take(NOW_MS) == [a_delivery(1)]  # as many as it may have
    queue.hold("whk_1", NOW_MS + 60_000)
    test = await the_delivery()
    queue.put(test)
    assert queue.take(NOW_MS) == [test]
