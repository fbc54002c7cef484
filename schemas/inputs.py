"""Everything that can change a message, keyed by message_id: the router decides on these in log order.

A duplicate changes nothing. No producer but the named ones; the router never trusts an input's clock.
"""

from typing import ClassVar, Literal

from schemas.envelope import Payload, by_type
from schemas.mail import Attempt, Category, Channel, Content, Environment, OnUnknown, Priority


class MessageInput(Payload):
    message_id: str


class Submit(MessageInput):
    """ingest: one mail to one envelope recipient, validated. Void where it landed after `valid_until_ms`."""

    TYPE: ClassVar[str] = "input.submit"
    recipient: str  # the envelope recipient, as it will stand in RCPT TO
    destination: str  # its domain: A-label, lower case
    content: Content
    tags: list[str]
    metadata: dict[str, str]
    priority: Priority
    environment: Environment
    on_unknown: OnUnknown
    channel: Channel
    api_key_id: str
    size: int
    submission_id: str
    created_at_ms: int
    valid_until_ms: int  # broker time
    scheduled_ms: int | None = None  # not before
    deliver_before_ms: int | None = None  # not after: then it expires
    template: str | None = None  # name of the template it was made from
    template_version: int | None = None
    request_id: str | None = None  # the X-Request-Id of the answer to the request
    redrive_of: str | None = None  # the message that failed, which this one sends once more


class AttemptInput(MessageInput):
    """sender: about one hand-out (`dispatch`) of one attempt. `content` comes back where the mail may go again."""

    attempt: int  # 1, 2, …
    dispatch: int  # rises each time the router hands the same attempt out again


class AttemptFinished(AttemptInput):
    TYPE: ClassVar[str] = "input.attempt_finished"
    outcome: Literal["delivered", "temporary", "permanent"]
    category: Category
    rule_id: str | None = None  # of the classification table, where a reply decided
    detail: Attempt
    content: Content | None  # null unless temporary


class AttemptUnknown(AttemptInput):
    TYPE: ClassVar[str] = "input.attempt_unknown"
    detail: Attempt
    content: Content


class AttemptPostponed(AttemptInput):
    """Not started: hand it out again, no attempt is used."""

    TYPE: ClassVar[str] = "input.attempt_postponed"
    until_ms: int
    content: Content
    reason: Literal["busy", "paced", "path_down"] = "busy"


class AttemptRefused(AttemptInput):
    """Stopped right before DATA, no attempt is used: the recipient was suppressed meanwhile, or its time is over."""

    TYPE: ClassVar[str] = "input.attempt_refused"
    cause: Literal["suppressed", "expired"] = "suppressed"
    suppression_id: str | None = None
    suppression_reason: str | None = None
    source_event_id: str | None = None


class Due(MessageInput):
    """router's timer: the waiting time of this attempt is over, or admission has room for it, or it is overdue.

    `schedule`: the time it was scheduled for has come; `expiry`: its `deliver_before` has passed; `flush`: somebody
    wants it to go now, whatever its time.
    """

    TYPE: ClassVar[str] = "input.due"
    kind: Literal["retry", "admission", "watchdog", "schedule", "expiry", "flush"]
    attempt: int
    dispatch: int


class Recheck(MessageInput):
    """router's table watch: a suppression of this recipient was added while the message waited."""

    TYPE: ClassVar[str] = "input.recheck"
    suppression_id: str


class Command(MessageInput):
    """ingest, for a client that waits: the verdict goes to `replies` and is kept, so that a repeat gets the same one."""

    request_id: str  # the same for every repeat of one request
    reply_to: str  # the ingest instance that waits
    by: str  # id of the key


class Cancel(Command):
    TYPE: ClassVar[str] = "input.cancel"


class Reschedule(Command):
    TYPE: ClassVar[str] = "input.reschedule"
    scheduled_ms: int


class Release(Command):
    """A held message goes on."""

    TYPE: ClassVar[str] = "input.release"


class Feedback(MessageInput):
    """What came back after delivery: a bounce, a complaint, an unsubscription."""

    TYPE: ClassVar[str] = "input.feedback"
    feedback_id: str  # the same for every copy of one report
    kind: Literal["bounce", "complaint", "unsubscribe"]
    received_at_ms: int
    provider: str | None
    by: str  # "recipient", "provider", "sandbox"


MESSAGE_INPUTS = by_type(
    Submit,
    AttemptFinished,
    AttemptUnknown,
    AttemptPostponed,
    AttemptRefused,
    Due,
    Recheck,
    Cancel,
    Reschedule,
    Release,
    Feedback,
)
