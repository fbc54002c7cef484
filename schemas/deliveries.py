"""What the router hands to a sender, and the sender's journal of what it did with it."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.envelope import Payload, by_type
from schemas.mail import Attempt, Category, Content, Environment, Priority, Tls


class Delivery(Payload):
    """Carry out one attempt. Void where it landed after `valid_until_ms`."""

    TYPE: ClassVar[str] = "delivery.requested"
    message_id: str
    recipient: str
    destination: str
    content: Content
    environment: Environment
    priority: Priority
    tags: list[str] = Field(default_factory=list)  # a suppression may be of one tag
    attempt: int
    dispatch: int
    created_at_ms: int  # of the message: the Date header
    first_dispatched_at_ms: int  # of this attempt: how far back its journal may lie
    valid_until_ms: int  # broker time
    deliver_before_ms: int | None = None  # no DATA after it
    path: str = "upstream"  # as schemas.routing names them
    tls: Tls | None = None  # as route or policy demand; None: as the path says
    source_address: str | None = None  # of the last attempt, where a greylist wants to see the same one again


DELIVERIES = by_type(Delivery)


class JournalEntry(Payload):
    message_id: str
    attempt: int
    dispatch: int
    owner: str  # the sender process, and its job, whose claim this is, or is about


class AttemptStarted(JournalEntry):
    """A claim: the first live one per (message, attempt) in log order may send. Void after `valid_until_ms`."""

    TYPE: ClassVar[str] = "journal.started"
    started_at_ms: int
    deadline_ms: int  # broker time: no byte of the body is written after it
    valid_until_ms: int


class AttemptRecorded(JournalEntry):
    """What became of it. `not_sent` opens the attempt for a higher dispatch."""

    TYPE: ClassVar[str] = "journal.recorded"
    outcome: Literal["delivered", "temporary", "permanent", "unknown", "not_sent"]
    category: Category | None
    rule_id: str | None = None  # of the classification table, where a reply decided
    detail: Attempt | None


ATTEMPT_JOURNAL = by_type(AttemptStarted, AttemptRecorded)
