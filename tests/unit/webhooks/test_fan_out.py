"""From events to deliveries (R31, D97): the same event makes the same records, whoever reads it."""

import json
from collections.abc import Iterable, Sequence

import pytest

from chassis.consume import Batch
from chassis.failures import Retry
from chassis.log import Incoming, Outgoing
from schemas.envelope import Envelope, by_type, decode, encode
from schemas.tables import WebhookEndpoint
from schemas.topics import TOPICS, Topic
from schemas.webhooks import WebhookDelivery
from services.webhooks.handlers import FanOut
from tests.kit.examples import examples_of
from tests.unit.webhooks.made import NOW_MS, PROJECT, an_endpoint, an_event

EVENTS = TOPICS["message-events"]


class Endpoints:
    def __init__(self, *endpoints: WebhookEndpoint, fresh: bool = True) -> None:
        self._endpoints = endpoints
        self._fresh = fresh

    async def find(self, endpoint_id: str) -> WebhookEndpoint | None:
        if not self._fresh:
            raise Retry(0.5, "not known as of now")
        return next((endpoint for endpoint in self._endpoints if endpoint.id == endpoint_id), None)

    def of_project(self, project_id: str) -> Iterable[WebhookEndpoint]:
        return [endpoint for endpoint in self._endpoints if endpoint.project_id == project_id]

    async def caught_up(self, *, within: float) -> bool:
        return self._fresh


def a_record(value: bytes, key: str = "msg", offset: int = 0) -> Incoming:
    return Incoming(EVENTS.name, 3, offset, NOW_MS, key, value, (("traceparent", b"00-a-b-01"),))


def a_batch(*values: bytes) -> Batch:
    records = [(a_record(value, offset=n), decode(value, EVENTS.types)) for n, value in enumerate(values)]
    return Batch(EVENTS, 3, 0, len(values) - 1, records)


def read(made: Sequence[Outgoing]) -> list[Envelope[WebhookDelivery]]:
    return [decode(record.value, by_type(WebhookDelivery)) for record in made]


async def test_one_delivery_per_event_and_endpoint_that_wants_it() -> None:
    fan_out = FanOut(Endpoints(an_endpoint("whk_1"), an_endpoint("whk_2"), an_endpoint("whk_3", tags=["news"])))
    made = await fan_out.handle(a_batch(encode(an_event(1)), encode(an_event(2))))
    found = {(delivery.data.event_id, delivery.data.endpoint_id) for delivery in read(made)}
    assert found == {(an_event(n).id, endpoint) for n in (1, 2) for endpoint in ("whk_1", "whk_2")}


async def test_a_re_read_event_makes_the_very_same_records() -> None:
    batch = a_batch(encode(an_event()))
    first = await FanOut(Endpoints(an_endpoint())).handle(batch)
    assert await FanOut(Endpoints(an_endpoint())).handle(batch) == first
    (delivery,) = read(first)
    assert first[0].key == delivery.data.id == delivery.subject
    assert first[0].partition is None  # the key decides, and always the same
    assert delivery.data.due_at_ms == delivery.data.created_at_ms == NOW_MS
    assert delivery.project_id == an_event().project_id


async def test_the_trace_goes_on() -> None:
    (made,) = await FanOut(Endpoints(an_endpoint())).handle(a_batch(encode(an_event())))
    assert ("traceparent", b"00-a-b-01") in made.headers


async def test_the_body_is_the_event_as_it_stands_in_kafka_with_the_timestamp_on_top() -> None:
    value = b' {"future":1.0, ' + encode(an_event())[1:]  # a field that we do not know, spaced as its writer liked
    (delivery,) = read(await FanOut(Endpoints(an_endpoint())).handle(a_batch(value)))
    body = delivery.data.body
    assert body == '{"timestamp":"2026-09-21T14:13:20.123Z","future":1.0, ' + encode(an_event())[1:].decode()
    assert json.loads(body)["timestamp"] == json.loads(body)["time"]


async def test_nothing_is_decided_on_endpoints_of_yesterday() -> None:
    with pytest.raises(Retry):
        await FanOut(Endpoints(an_endpoint(), fresh=False)).handle(a_batch(encode(an_event())))


@pytest.mark.parametrize("topic", [EVENTS, TOPICS["account-events"]], ids=lambda topic: topic.entry)
async def test_every_event_of_the_contract_goes_out_but_what_speaks_of_the_whole_installation(topic: Topic) -> None:
    for example in examples_of(topic.entry):
        event = decode(example.value, topic.types)
        endpoint = an_endpoint("whk_other", project=event.project_id or PROJECT, created_ms=0)
        batch = Batch(topic, 3, 0, 0, [(a_record(example.value), event)])
        made = read(await FanOut(Endpoints(endpoint)).handle(batch))
        bodies = [json.loads(delivery.data.body) for delivery in made]
        assert bodies == ([{"timestamp": event.time, **json.loads(example.value)}] if event.project_id else [])
