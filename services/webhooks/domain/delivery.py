"""One event on its way to one endpoint, small enough to be kept in memory by the hundred thousand."""

import sys
from dataclasses import dataclass, replace

from schemas.envelope import Envelope
from schemas.webhooks import DeliveryCause, WebhookDelivery


@dataclass(frozen=True, slots=True)
class Delivery:
    """`attempt` is the next to be made, `due_at_ms` when; `created_at_ms` when the event happened, or its replay was asked for."""

    id: str
    partition: int
    project_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    body: str
    attempt: int
    due_at_ms: int
    created_at_ms: int
    traceparent: str | None = None
    cause: DeliveryCause = "event"
    replay_id: str | None = None

    @property
    def lane(self) -> str:
        """What it takes turns with: a test or a replay waits for none of the endpoint's own events, and none of them for it."""
        return self.endpoint_id if self.cause == "event" else f"{self.endpoint_id}:{self.cause}"

    @property
    def version(self) -> int:
        """Of its records in the log: the highest counts."""
        return self.attempt

    def again(self, due_at_ms: int) -> "Delivery":
        """The same, one attempt later."""
        return replace(self, attempt=self.attempt + 1, due_at_ms=due_at_ms)


def delivery_of(envelope: Envelope[WebhookDelivery], partition: int, traceparent: str | None) -> Delivery:
    """A record as it is kept; the strings that many share are kept once."""
    data = envelope.data
    return Delivery(
        id=data.id,
        partition=partition,
        project_id=sys.intern(envelope.project_id),
        endpoint_id=sys.intern(data.endpoint_id),
        event_id=data.event_id,
        event_type=sys.intern(data.event_type),
        body=data.body,
        attempt=data.attempt,
        due_at_ms=data.due_at_ms,
        created_at_ms=data.created_at_ms,
        traceparent=traceparent,
        cause=data.cause,
        replay_id=data.replay_id,
    )
