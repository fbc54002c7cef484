"""Which endpoints an event goes to."""

from collections.abc import Iterable, Sequence

from schemas.envelope import Envelope, to_ms
from schemas.events import MessageEvent
from schemas.tables import WebhookEndpoint

# An event's time and an endpoint's creation are read on different machines. Half a second of their clocks' difference
# may bring an endpoint an event from just before it, and never costs it one from just after.
CLOCK_SKEW_MS = 500


def matching(event: Envelope[MessageEvent], endpoints: Iterable[WebhookEndpoint]) -> Sequence[WebhookEndpoint]:
    """The endpoints of the event's project that ask for its type and one of its tags, were there before it, and are on."""
    return [endpoint for endpoint in endpoints if _wants(endpoint, event)]


def _wants(endpoint: WebhookEndpoint, event: Envelope[MessageEvent]) -> bool:
    return (
        endpoint.project_id == event.project_id
        and endpoint.disabled_at is None
        and asks_for(endpoint.events, event.type)
        and (not endpoint.tags or not set(endpoint.tags).isdisjoint(event.data.tags))
        and to_ms(endpoint.created_at) <= to_ms(event.time) + CLOCK_SKEW_MS
    )


def asks_for(wanted: Sequence[str], event_type: str) -> bool:
    """Whether a list of types, families (`message.*`) and `*` names this type."""
    family = f"{event_type.partition('.')[0]}.*"
    return "*" in wanted or event_type in wanted or family in wanted
