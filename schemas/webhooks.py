"""What is still to be sent to an endpoint, and the log of what was tried."""

from typing import ClassVar, Literal

from schemas.envelope import Payload, Timestamp, by_type

DeliveryCause = Literal["event", "test"]


class WebhookDelivery(Payload):
    """Key: id = hash(event, endpoint). Pending until its tombstone; written again after each failed attempt."""

    TYPE: ClassVar[str] = "webhook.delivery"
    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    body: str  # the JSON that is signed and sent, the same bytes at each attempt
    attempt: int  # 1 is the next to be made of a new delivery
    due_at_ms: int
    created_at_ms: int
    cause: DeliveryCause = "event"


class WebhookAttempt(Payload):
    """One HTTP request to an endpoint, for people to read."""

    TYPE: ClassVar[str] = "webhook.attempt"
    id: str
    delivery_id: str
    endpoint_id: str
    event_id: str
    event_type: str
    attempt: int
    at: Timestamp
    duration_ms: int
    outcome: Literal["succeeded", "failed", "exhausted"]
    status_code: int | None
    error: str | None
    response: str | None  # at most 16 kB of what the endpoint said
    next_attempt_at: Timestamp | None
    cause: DeliveryCause = "event"


class WebhookTest(Payload):
    """A test event, asked for with the API: called as it stands, once, whatever the endpoint's filters say."""

    TYPE: ClassVar[str] = "webhook.test"
    webhook_id: str
    by: str  # the key's id


WEBHOOK_COMMANDS = by_type(WebhookTest)
WEBHOOK_DELIVERIES = by_type(WebhookDelivery)
WEBHOOK_ATTEMPTS = by_type(WebhookAttempt)
