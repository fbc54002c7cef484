"""The public contract: what happened to a message, and to an account. Additive changes only.

No body, no secret, no key. The router is the only writer of message events; `sequence` is dense per message
and `status` is the state after the event, so no reader ever has to fold.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.envelope import Payload, Timestamp, by_type
from schemas.mail import Attempt, Category, Channel, Environment, Priority, Status, WaitReason


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
    size: int  # bytes of text, html, subject and headers
    submission_id: str  # shared by the messages of one request
    created_at: Timestamp


class MessageAccepted(MessageEvent):
    """The router owns it: suppression passed, path chosen."""

    TYPE: ClassVar[str] = "message.accepted"
    path: str
    suppression_checked_at: Timestamp
    reason: WaitReason | None  # set where it waits for admission
    next_attempt_at: Timestamp | None


class MessageOutcome(MessageEvent):
    """One attempt ended; what follows stands in `status` and `next_attempt_at`."""

    attempt: Attempt
    category: Category
    reason: WaitReason | None
    next_attempt_at: Timestamp | None


class MessageDelivered(MessageOutcome):
    TYPE: ClassVar[str] = "message.delivered"


class MessageDeferred(MessageOutcome):
    TYPE: ClassVar[str] = "message.deferred"


class MessageBounced(MessageOutcome):
    TYPE: ClassVar[str] = "message.bounced"


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


MESSAGE_EVENTS = by_type(
    MessageQueued,
    MessageAccepted,
    MessageDelivered,
    MessageDeferred,
    MessageBounced,
    MessageUnknown,
    MessageSuppressed,
    MessageHeld,
)

SuppressionReason = Literal["hard_bounce", "manual", "complaint", "unsubscribed"]
SuppressionOrigin = Literal["api", "bounce"]


class SuppressionChange(Payload):
    id: str
    recipient: str
    reason: SuppressionReason
    origin: SuppressionOrigin
    source_event_id: str | None
    by: str  # the key's id, or "router"


class SuppressionAdded(SuppressionChange):
    TYPE: ClassVar[str] = "suppression.added"


class SuppressionRemoved(SuppressionChange):
    TYPE: ClassVar[str] = "suppression.removed"


ACCOUNT_EVENTS = by_type(SuppressionAdded, SuppressionRemoved)
