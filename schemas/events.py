"""The public contract: what happened to a message, and to an account. Additive changes only.

No body, no secret, no key. The router is the only writer of message events; `sequence` is dense per message
and `status` is the state after the event, so no reader ever has to fold.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from schemas.alerts import Measure
from schemas.envelope import Payload, Timestamp, by_type
from schemas.mail import Attempt, Category, Channel, Environment, Priority, Status, Tls, Value, WaitReason
from schemas.routing import PolicyUse, ScheduleFrom


class MessageEvent(Payload):
    """What every event of a message says of it."""

    message_id: str
    recipient: str
    status: Status
    tags: list[str]
    metadata: dict[str, str]
    environment: Environment


class MessageQueued(MessageEvent):
    """Accepted durably: the router has read the submission."""

    TYPE: ClassVar[str] = "message.queued"
    from_: Annotated[str, Field(alias="from")]
    subject: str
    priority: Priority
    channel: Channel
    api_key_id: str
    size: int  # bytes of text, html, subject, headers and attachments
    submission_id: str  # shared by the messages of one request
    created_at: Timestamp
    scheduled_time: Timestamp | None = None
    deliver_before: Timestamp | None = None
    template: str | None = None
    template_version: int | None = None
    request_id: str | None = None  # the X-Request-Id of the answer to the request
    redrive_of: str | None = None  # the message that failed, which this one sends once more


class MessageScheduled(MessageEvent):
    """Waits for its time."""

    TYPE: ClassVar[str] = "message.scheduled"
    scheduled_time: Timestamp
    reason: WaitReason
    next_attempt_at: Timestamp


class MessageRescheduled(MessageScheduled):
    """Moved to another time, by a key."""

    TYPE: ClassVar[str] = "message.rescheduled"
    by: str


class MessageAccepted(MessageEvent):
    """The router owns it: suppression passed, path chosen."""

    TYPE: ClassVar[str] = "message.accepted"
    path: str
    pool: str | None = None  # whose senders carry it out
    route_id: str | None = None  # the rule that chose the path; None: the installation's default
    route_version: int | None = None
    suppression_checked_at: Timestamp
    reason: WaitReason | None  # set where it waits for admission
    next_attempt_at: Timestamp | None
    tls: Tls | None = None  # that the rule or a policy asks for
    policies: list[PolicyUse] = Field(default_factory=list)  # that decided something here


class MessageWaiting(MessageEvent):
    """It waits for something else than the event before it said. The status stays."""

    TYPE: ClassVar[str] = "message.waiting"
    reason: WaitReason
    next_attempt_at: Timestamp | None  # None: as soon as it may
    waits_for: list[str] = Field(default_factory=list)  # paths, any of which would do


class FeedbackDetail(Value):
    kind: Literal["bounce", "complaint", "unsubscribe"]
    received_at: Timestamp
    provider: str | None = None


class MessageOutcome(MessageEvent):
    """One attempt ended; what follows stands in `status` and `next_attempt_at`."""

    attempt: Attempt
    category: Category
    rule_id: str | None = None  # of the classification table, where a reply decided
    reason: WaitReason | None
    next_attempt_at: Timestamp | None
    feedback: FeedbackDetail | None = None  # what came back later, and made this of a message that had been delivered
    route_id: str | None = None  # the rule that chose the attempt's path; None: the installation's default
    route_version: int | None = None
    # How it was decided whether, and when, there is a next attempt; None and empty where that was not the question.
    attempts_allowed: int | None = None
    schedule_from: ScheduleFrom | None = None
    policies: list[PolicyUse] = Field(default_factory=list)


class MessageDelivered(MessageOutcome):
    """The recipient's mail server has taken it."""

    TYPE: ClassVar[str] = "message.delivered"


class MessageDeferred(MessageOutcome):
    """The attempt failed for now; another follows."""

    TYPE: ClassVar[str] = "message.deferred"


GaveUp = Literal["last_attempt", "max_age"]  # the schedule has no more, or the next would come too late by a policy


class MessageBounced(MessageOutcome):
    """It failed for good, or the last attempt did."""

    TYPE: ClassVar[str] = "message.bounced"
    gave_up: GaveUp | None = None  # why a temporary outcome was the last; None: the outcome itself was permanent


class MessageUnknown(MessageOutcome):
    """Nobody can know whether the recipient has it: the sender died, or the reply after the dot was lost."""

    TYPE: ClassVar[str] = "message.unknown"


class MessageSuppressed(MessageEvent):
    """Not sent: the recipient stands on the suppression list."""

    TYPE: ClassVar[str] = "message.suppressed"
    reason: str  # the suppression's reason
    source_event_id: str | None  # what put the address on the list
    by: str


class MessageHeld(MessageEvent):
    """Waits for a person."""

    TYPE: ClassVar[str] = "message.held"
    reason: WaitReason
    source_event_id: str | None
    by: str


class MessageCancelled(MessageEvent):
    """Will not be sent: a key asked so before an attempt had begun."""

    TYPE: ClassVar[str] = "message.cancelled"
    reason: str
    by: str


class MessageExpired(MessageEvent):
    """Will not be sent: its `deliver_before` has passed."""

    TYPE: ClassVar[str] = "message.expired"
    reason: str
    by: str


class MessageComplained(MessageEvent):
    """The recipient calls it spam. The status stays, and so does what the message waits for."""

    TYPE: ClassVar[str] = "message.complained"
    feedback: FeedbackDetail
    reason: WaitReason | None = None
    next_attempt_at: Timestamp | None = None


class MessageUnsubscribed(MessageEvent):
    """The recipient wants no more of it. The status stays, and so does what the message waits for."""

    TYPE: ClassVar[str] = "message.unsubscribed"
    feedback: FeedbackDetail
    reason: WaitReason | None = None
    next_attempt_at: Timestamp | None = None


MESSAGE_EVENTS = by_type(
    MessageQueued,
    MessageScheduled,
    MessageRescheduled,
    MessageAccepted,
    MessageWaiting,
    MessageDelivered,
    MessageDeferred,
    MessageBounced,
    MessageUnknown,
    MessageSuppressed,
    MessageHeld,
    MessageCancelled,
    MessageExpired,
    MessageComplained,
    MessageUnsubscribed,
)

SuppressionReason = Literal["hard_bounce", "manual", "complaint", "unsubscribed"]
SuppressionOrigin = Literal["api", "bounce", "complaint", "unsubscribe"]


class SuppressionChange(Payload):
    id: str
    recipient: str
    reason: SuppressionReason
    origin: SuppressionOrigin
    source_event_id: str | None
    by: str  # the key's id, or "router"
    scope: str = "*"  # a tag, or the whole project


class SuppressionAdded(SuppressionChange):
    TYPE: ClassVar[str] = "suppression.added"


class SuppressionRemoved(SuppressionChange):
    TYPE: ClassVar[str] = "suppression.removed"


class RecipientUnsubscribed(Payload):
    """A recipient used the link of a mail (RFC 8058). The suppression list follows by itself."""

    TYPE: ClassVar[str] = "recipient.unsubscribed"
    recipient: str
    scope: str  # a tag, or "*" for the whole project
    message_id: str
    by: str


class RoutingChange(Payload):
    """Where mail goes, or how fast, was changed; `before` and `after` are as the API shows it, null where there is nothing."""

    id: str
    name: str
    version: int
    change: Literal["created", "changed", "deleted", "undone"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    by: str  # the key's id
    source_event_id: str | None = None


class RouteChanged(RoutingChange):
    """A rule that chooses a path. An envelope without a `projectid` speaks of the whole installation, here and below."""

    TYPE: ClassVar[str] = "route.changed"


class UpstreamChanged(RoutingChange):
    """A smarthost; that its password is another one now shows in `version` alone."""

    TYPE: ClassVar[str] = "upstream.changed"


class PolicyChanged(RoutingChange):
    """Retry schedule, TLS or pace."""

    TYPE: ClassVar[str] = "policy.changed"


class AlertRuleChanged(RoutingChange):
    """A rule of alerts; of what it watches, `alert.raised` and `alert.resolved` tell."""

    TYPE: ClassVar[str] = "alert_rule.changed"


class AlertChange(Payload):
    """A rule of alerts holds, or does so no more. Once each of an episode: the id is a function of rule and episode."""

    rule_id: str
    name: str
    measure: Measure
    value: float | None
    threshold: float | None  # what `value` was held against; of a baseline as it was then
    window_seconds: int
    episode: int  # of this rule: 1, 2, …
    at: Timestamp  # the end of the window
    source_event_id: str | None = None


class AlertRaised(AlertChange):
    TYPE: ClassVar[str] = "alert.raised"


class AlertResolved(AlertChange):
    """`recovered`: for a whole window the condition did not hold. Or nobody looks any more."""

    TYPE: ClassVar[str] = "alert.resolved"
    raised_at: Timestamp
    because: Literal["recovered", "disabled", "deleted"]


class QueueChange(Payload):
    kind: Literal["destination", "provider_group", "path"]
    name: str
    reason: str | None
    by: str  # the key's id
    source_event_id: str | None = None


class QueuePaused(QueueChange):
    """Such mail waits, of the project or of all, until it is resumed."""

    TYPE: ClassVar[str] = "queue.paused"


class QueueResumed(QueueChange):
    TYPE: ClassVar[str] = "queue.resumed"


class QueueFlushed(QueueChange):
    """What waited there for its next attempt is due at once."""

    TYPE: ClassVar[str] = "queue.flushed"


class EndpointChange(Payload):
    """Of a webhook endpoint. It is not called about itself."""

    webhook_id: str
    url: str
    at: Timestamp
    event_id: str | None  # of the call that told
    status_code: int | None = None
    error: str | None = None


class EndpointFailing(EndpointChange):
    """A delivery has failed four times, and nothing has arrived since its first attempt."""

    TYPE: ClassVar[str] = "endpoint.failing"


class EndpointRecovered(EndpointChange):
    """A call has arrived again."""

    TYPE: ClassVar[str] = "endpoint.recovered"
    failing_since: Timestamp


class EndpointDisabled(EndpointChange):
    """It is called no more: it said that it is gone, or nothing has arrived for days. Its owner may enable it again."""

    TYPE: ClassVar[str] = "endpoint.disabled"
    reason: Literal["gone", "failing"]
    failing_since: Timestamp


class DeliveryExhausted(EndpointChange):
    """An event was tried for the last time. Of an endpoint the first in a day is told; the attempts list has all."""

    TYPE: ClassVar[str] = "delivery.exhausted"
    attempts: int


ACCOUNT_EVENTS = by_type(
    SuppressionAdded,
    SuppressionRemoved,
    RecipientUnsubscribed,
    RouteChanged,
    UpstreamChanged,
    PolicyChanged,
    AlertRuleChanged,
    AlertRaised,
    AlertResolved,
    QueuePaused,
    QueueResumed,
    QueueFlushed,
    EndpointFailing,
    EndpointRecovered,
    EndpointDisabled,
    DeliveryExhausted,
)
