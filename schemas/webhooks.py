"""What is still to be sent to an endpoint, and the log of what was tried."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.envelope import Payload, Timestamp, by_type

LONGEST_REPLAY_MS = 14 * 24 * 3_600_000  # how far back a replay reaches; as long as the log of attempts is kept
AttemptOutcome = Literal["succeeded", "failed", "exhausted"]  # exhausted: the last one failed
DeliveryCause = Literal["event", "test", "replay"]
ReplayStatus = Literal["queued", "running", "done", "failed"]
ReplayFailure = Literal["endpoint_disabled", "too_many_failed"]


class WebhookDelivery(Payload):
    """Key: id = hash(event, endpoint, replay). Pending until its tombstone; written again after each failed attempt."""

    TYPE: ClassVar[str] = "webhook.delivery"
    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    body: str  # the JSON that is signed and sent, the same bytes at each attempt
    attempt: int  # 1 is the next to be made of a new delivery
    due_at_ms: int
    created_at_ms: int  # when the event happened, or when its replay was asked for
    cause: DeliveryCause = "event"
    replay_id: str | None = None


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
    outcome: AttemptOutcome
    status_code: int | None
    error: str | None
    response: str | None  # at most 16 kB of what the endpoint said
    next_attempt_at: Timestamp | None
    cause: DeliveryCause = "event"
    replay_id: str | None = None


class WebhookTest(Payload):
    """A test event, asked for with the API: called as it stands, once, whatever the endpoint's filters say."""

    TYPE: ClassVar[str] = "webhook.test"
    webhook_id: str
    by: str  # the key's id


class WebhookReplay(Payload):
    """Events to be called once more, as asked for with the API; in webhook-deliveries how far it has come, until its tombstone."""

    TYPE: ClassVar[str] = "webhook.replay"
    id: str
    webhook_id: str
    by: str  # the key's id
    event_id: str | None  # that one event, whatever the endpoint's filters say
    since: Timestamp
    until: Timestamp  # exclusive
    event_types: list[str]  # types, families, "*"; empty: those that the endpoint asks for
    only_failed: bool
    round: int = 0  # of its records: a later one counts; 0 has not begun
    left: dict[str, tuple[int, int]] = Field(default_factory=dict)  # "topic/partition": the next offset, and the end
    matched: int = 0  # events found so far that were asked for, whether they failed or not
    queued: int = 0  # … and of these, deliveries made


class ReplayState(Payload):
    """Key: replay id. What its owner sees of a replay: asked for by ingest, told further by who carries it out."""

    TYPE: ClassVar[str] = "table.webhook_replay"
    id: str
    project_id: str
    webhook_id: str
    status: ReplayStatus  # done: all that was found is queued; the attempts tell what became of it
    event_id: str | None
    since: Timestamp
    until: Timestamp
    event_types: list[str]
    only_failed: bool
    created_at: Timestamp
    matched: int = 0
    queued: int = 0
    finished_at: Timestamp | None = None
    reason: ReplayFailure | None = None


WEBHOOK_COMMANDS = by_type(WebhookTest, WebhookReplay)
WEBHOOK_DELIVERIES = by_type(WebhookDelivery, WebhookReplay)
WEBHOOK_ATTEMPTS = by_type(WebhookAttempt)
WEBHOOK_REPLAYS = by_type(ReplayState)
