"""Which endpoints want an event, and the delivery each of them gets. Pure; ids are functions of event and endpoint."""

from collections.abc import Iterable, Iterator

from chassis.ids import derived_id
from schemas.envelope import Envelope, Payload
from schemas.events import MessageEvent
from schemas.tables import WebhookEndpoint
from schemas.webhooks import WebhookDelivery


def deliveries(
    event: Envelope[Payload], value: bytes, endpoints: Iterable[WebhookEndpoint], now_ms: int
) -> Iterator[WebhookDelivery]:
    """One delivery per endpoint of the event's project that asked for it. `value` is the event's JSON as on Kafka."""
    for endpoint in endpoints:
        if wants(endpoint, event):
            yield WebhookDelivery(
                id=derived_id("whd", event.id, endpoint.id),
                endpoint_id=endpoint.id,
                event_id=event.id,
                event_type=event.type,
                body=body_of(value, event.time),
                attempt=1,
                due_at_ms=now_ms,
                created_at_ms=now_ms,
            )


def wants(endpoint: WebhookEndpoint, event: Envelope[Payload]) -> bool:
    """Its types, its tags (none named: all), and nothing from before it was there."""
    assert isinstance(event.data, MessageEvent)
    typed = "*" in endpoint.events or event.type in endpoint.events
    tagged = not endpoint.tags or not set(endpoint.tags).isdisjoint(event.data.tags)
    return typed and tagged and event.time >= endpoint.created_at


def body_of(value: bytes, time: str) -> str:
    """The event's own JSON with `timestamp` in front, as Standard Webhooks asks; not a byte of it changes."""
    assert value.startswith(b"{")
    return f'{{"timestamp":"{time}",{value[1:].decode()}'
