"""When an endpoint counts as failing, as recovered, and as one that nobody should call any more."""

from dataclasses import dataclass
from typing import Any, Literal

from chassis.ids import derived_id
from schemas.envelope import Envelope, Payload, seal, to_ms, to_timestamp
from schemas.events import DeliveryExhausted, EndpointChange, EndpointDisabled, EndpointFailing, EndpointRecovered
from schemas.tables import EndpointExhaustion, EndpointHealth, WebhookEndpoint
from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.records import SOURCE, Made

FAILING_ATTEMPT = 4  # half an hour after the first
DISABLE_AFTER_MS = 5 * 24 * 3_600_000
# … and of two messages at least, so far apart: one that nobody could take is no reason.
MESSAGES_APART_MS = 12 * 3_600_000
EXHAUSTED_WINDOW_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Change:
    """What a call has changed: the health from now on (None: it is well), and the events that tell of it."""

    health: EndpointHealth | None
    events: tuple[Envelope[Payload], ...]


def change_of(
    endpoint: WebhookEndpoint, health: EndpointHealth | None, delivery: Delivery, made: Made, arrived_ms: int | None
) -> Change | None:
    """What this call says of its endpoint; None where that is no news. `arrived_ms`: when one last arrived, if known.

    It is news to whoever has not heard of it: where two see the same at once, each tells what it saw, in its own event.
    """
    enabled = endpoint.enabled_at or endpoint.created_at
    if health is not None and health.failing_since <= enabled:
        health = None  # its owner has enabled it since
    at = to_timestamp(made.at_ms + made.duration_ms)
    if delivery.cause == "test" or (health is not None and health.disabled_at is not None):
        return None
    match made.verdict.kind:
        case "succeeded":
            return None if health is None else _recovered(endpoint, health, delivery, made, at)
        case "ended":
            since = health or _failing(endpoint, delivery, at)
            return _disabled(endpoint, since, "gone", delivery, made, at)
        case "failed" if health is not None:
            hopeless = _hopeless(health, delivery, to_ms(at))
            return _disabled(endpoint, health, "failing", delivery, made, at) if hopeless else None
        case _:
            arrives = arrived_ms is not None and arrived_ms >= delivery.created_at_ms
            if delivery.attempt < FAILING_ATTEMPT or arrives:
                return None
            event = EndpointFailing(**_told(endpoint, delivery, made, at))
            return Change(_failing(endpoint, delivery, at), (_sealed(event, endpoint),))


def _failing(endpoint: WebhookEndpoint, delivery: Delivery, at: str) -> EndpointHealth:
    return EndpointHealth(
        id=endpoint.id,
        project_id=endpoint.project_id,
        failing_since=at,
        first_event_at=to_timestamp(delivery.created_at_ms),
    )


def _hopeless(health: EndpointHealth, delivery: Delivery, at_ms: int) -> bool:
    long_enough = at_ms - to_ms(health.failing_since) >= DISABLE_AFTER_MS
    return long_enough and delivery.created_at_ms - to_ms(health.first_event_at) >= MESSAGES_APART_MS


def _recovered(endpoint: WebhookEndpoint, health: EndpointHealth, delivery: Delivery, made: Made, at: str) -> Change:
    event = EndpointRecovered(**_told(endpoint, delivery, made, at), failing_since=health.failing_since)
    return Change(None, (_sealed(event, endpoint),))


def _disabled(
    endpoint: WebhookEndpoint,
    health: EndpointHealth,
    reason: Literal["gone", "failing"],
    delivery: Delivery,
    made: Made,
    at: str,
) -> Change:
    told = _told(endpoint, delivery, made, at)
    event = EndpointDisabled(**told, reason=reason, failing_since=health.failing_since)
    disabled = health.model_copy(update={"disabled_at": at, "disabled_reason": reason})
    return Change(disabled, (_sealed(event, endpoint),))


def exhausted_of(
    endpoint: WebhookEndpoint, told: EndpointExhaustion | None, delivery: Delivery, made: Made
) -> Envelope[Payload] | None:
    """The event that this last call has failed; None where its owner was `told` of another one in the same window."""
    at_ms = made.at_ms + made.duration_ms
    if told is not None and to_ms(told.told_at) // EXHAUSTED_WINDOW_MS >= at_ms // EXHAUSTED_WINDOW_MS:
        return None
    at = to_timestamp(at_ms)
    return _sealed(DeliveryExhausted(**_told(endpoint, delivery, made, at), attempts=delivery.attempt), endpoint)


def _told(endpoint: WebhookEndpoint, delivery: Delivery, made: Made, at: str) -> dict[str, Any]:
    return {
        "webhook_id": endpoint.id,
        "url": endpoint.url,
        "at": at,
        "event_id": delivery.event_id,
        "status_code": made.verdict.status_code,
        "error": made.verdict.error,
    }


def _sealed(data: EndpointChange, endpoint: WebhookEndpoint) -> Envelope[Payload]:
    """Its id is a function of all that it says: one id never has two contents, whoever tells it and however often."""
    return seal(
        data,
        record_id=derived_id("evt", data.TYPE, data.model_dump_json()),
        source=SOURCE,
        subject=endpoint.id,
        time_ms=to_ms(data.at),
        project_id=endpoint.project_id,
    )
