"""Which endpoints an event goes to."""

from collections.abc import Iterable, Sequence

from schemas.envelope import Envelope, to_ms
from schemas.events import MessageEvent
from schemas.tables import WebhookEndpoint

# An event's time and an endpoint's creation are read on different machines. Half a second of their clocks' difference
# may bring an endpoint an event from just before it, and never costs it one from just after.
CLOCK_SKEW_MS = 500


def matching(event: Envelope[MessageEvent], endpoints: Iterable[WebhookEndpoint]) -> Sequence[WebhookEndpoint]:
    """The endpoints of the event's project that asked for its type and for one of its tags, and were there before it."""
    return [endpoint for endpoint in endpoints if _wants(endpoint, event)]


def _wants(endpoint: WebhookEndpoint, event: Envelope[MessageEvent]) -> bool:
    return (
        endpoint.project_id == event.project_id
        and ("*" in endpoint.events or event.type in endpoint.events)
        and (not endpoint.tags or not set(endpoint.tags).isdisjoint(event.data.tags))
        and to_ms(endpoint.created_at) <= to_ms(event.time) + CLOCK_SKEW_MS
    )
