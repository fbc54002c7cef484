"""Which endpoints an event goes to."""

from collections.abc import Iterable, Sequence

from schemas.envelope import Envelope, Payload, to_ms, to_timestamp
from schemas.events import EndpointChange, MessageEvent
from schemas.tables import WebhookEndpoint

# An event's time and an endpoint's creation are read on different machines. Half a second of their clocks' difference
# may bring an endpoint an event from just before it, and never costs it one from just after.
CLOCK_SKEW_MS = 500


def matching(event: Envelope[Payload], endpoints: Iterable[WebhookEndpoint]) -> Sequence[WebhookEndpoint]:
    """The endpoints of the event's project that ask for its type and one of its tags, were there before it, and are on."""
    created_by = to_timestamp(to_ms(event.time) + CLOCK_SKEW_MS)  # such times sort as text
    return [endpoint for endpoint in endpoints if endpoint.created_at <= created_by and _wants(endpoint, event)]


def _wants(endpoint: WebhookEndpoint, event: Envelope[Payload]) -> bool:
    return (
        endpoint.project_id == event.project_id
        and endpoint.disabled_at is None
        and asks_for(endpoint.events, event.type)
        and carries_tag_of(endpoint, event.data)
        and not is_about(event.data, endpoint)
    )


def asks_for(wanted: Sequence[str], event_type: str) -> bool:
    """Whether a list of types, families (`message.*`) and `*` names this type."""
    family = f"{event_type.partition('.')[0]}.*"
    return "*" in wanted or event_type in wanted or family in wanted


def carries_tag_of(endpoint: WebhookEndpoint, data: Payload) -> bool:
    """Whether the endpoint's tags let it pass. They choose among mail: what happens beside it carries none."""
    return not endpoint.tags or not isinstance(data, MessageEvent) or not set(endpoint.tags).isdisjoint(data.tags)


def is_about(data: Payload, endpoint: WebhookEndpoint) -> bool:
    """An endpoint is not called about itself: its failures would go round in circles."""
    return isinstance(data, EndpointChange) and data.webhook_id == endpoint.id
