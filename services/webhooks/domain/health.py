"""When an endpoint counts as failing, as recovered, and as one that nobody should call any more."""

from dataclasses import dataclass, field
from typing import Any, Literal

from chassis.ids import derived_id
from schemas.envelope import Envelope, Payload, seal, to_ms, to_timestamp
from schemas.events import DeliveryExhausted, EndpointDisabled, EndpointFailing, EndpointRecovered
from schemas.tables import EndpointHealth, WebhookEndpoint
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

    Event ids are functions of what caused them: who sees the same, or sees it again after a crash, says the same.
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
            return Change(_failing(endpoint, delivery, at), (_sealed(event, endpoint, at, "failing", delivery.id),))


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
    return Change(None, (_sealed(event, endpoint, at, "recovered", health.failing_since),))


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
    enabled = endpoint.enabled_at or endpoint.created_at
    return Change(disabled, (_sealed(event, endpoint, at, "disabled", enabled),))


@dataclass(slots=True)
class Exhausted:
    """Which endpoints' owners have been told today that something did not arrive at all."""

    _told: dict[str, int] = field(default_factory=dict)  # endpoint: window

    def event(self, endpoint: WebhookEndpoint, delivery: Delivery, made: Made) -> Envelope[Payload] | None:
        """The event, if it is the first of its endpoint's window here; other processes' has the same id."""
        at_ms = made.at_ms + made.duration_ms
        window = at_ms // EXHAUSTED_WINDOW_MS
        if self._told.get(endpoint.id) == window:
            return None
        at = to_timestamp(at_ms)
        event = DeliveryExhausted(**_told(endpoint, delivery, made, at), attempts=delivery.attempt)
        return _sealed(event, endpoint, at, "exhausted", str(window))

    def told(self, endpoint: WebhookEndpoint, made: Made) -> None:
        self._told[endpoint.id] = (made.at_ms + made.duration_ms) // EXHAUSTED_WINDOW_MS


def _told(endpoint: WebhookEndpoint, delivery: Delivery, made: Made, at: str) -> dict[str, Any]:
    return {
        "webhook_id": endpoint.id,
        "url": endpoint.url,
        "at": at,
        "event_id": delivery.event_id,
        "status_code": made.verdict.status_code,
        "error": made.verdict.error,
    }


def _sealed(data: Payload, endpoint: WebhookEndpoint, at: str, *cause: str) -> Envelope[Payload]:
    return seal(
        data,
        record_id=derived_id("evt", endpoint.id, *cause),
        source=SOURCE,
        subject=endpoint.id,
        time_ms=to_ms(at),
        project_id=endpoint.project_id,
    )
