"""The router's own record of a message, and the marks of its owner: what a takeover restores.

Internal to the router; nobody else may read these topics.
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from schemas.envelope import Payload, by_type
from schemas.mail import Content, Environment, OnUnknown, Priority, Status, Value, WaitReason

FENCE_KEY = "__fence"
POSITION_KEY = "__position"

JsonObject = dict[str, Any]


class OutboxEntry(Value):
    """What one input made, complete, so that it can be emitted again with the same ids and content."""

    input_offset: int
    events: list[JsonObject] = Field(default_factory=list)  # envelopes of message-events, in order
    # Envelope of a Delivery; `content` null (it is the state's, or stands in the Submit of this offset) and
    # `valid_until_ms` 0 (it is the lease of whoever emits it).
    delivery: JsonObject | None = None
    pool: str | None = None  # whose senders the delivery is for; None in older records: the installation's
    suppression: JsonObject | None = None  # envelope of a Suppression
    account_event: JsonObject | None = None  # envelope of an account event
    reply: JsonObject | None = None  # envelope of a Verdict; its subject is the ingest instance that waits


class MessageState(Payload):
    """The aggregate after its last input. Void where it landed after `valid_until_ms` or behind a newer fence."""

    TYPE: ClassVar[str] = "state.message"
    message_id: str
    status: Status
    sequence: int  # of the last event
    recipient: str
    destination: str
    tags: list[str]
    metadata: dict[str, str]
    environment: Environment
    priority: Priority
    on_unknown: OnUnknown
    from_: Annotated[str, Field(alias="from")]
    created_at_ms: int
    content: Content | None  # held from the first wait on, until closed
    attempt: int  # number of the present or next attempt
    dispatch: int
    in_flight: bool  # handed out, no outcome yet
    first_dispatched_at_ms: int | None  # of this attempt
    due_at_ms: int | None  # its timer: the next attempt while it waits, the watchdog while it is in flight
    reason: WaitReason | None
    rank_ms: int  # its place within its tier: when it was accepted, or when a deferred one is due
    submit_offset: int | None  # where its Submit lies: what a thin state's content is read from
    unknown_attempts: list[int]  # a late outcome of these still corrects the status
    closed_at_ms: int | None
    scheduled_ms: int | None = None
    deliver_before_ms: int | None = None
    path: str | None = None  # of the last hand-out; None in older records
    route_id: str | None = None  # the rule that chose it; None: the installation's default
    route_version: int | None = None
    source_address: str | None = None  # of the last attempt, where a greylist wants to see it again
    # Paths, none of which could be taken when its turn came: it waits for any of them.
    waits_for: list[str] = Field(default_factory=list)
    told_reason: WaitReason | None = None  # what the last event said that it waits for
    # Of the last commands, as Verdict documents: a repeat gets the same one.
    verdicts: list[JsonObject] = Field(default_factory=list)
    feedback_ids: list[str] = Field(default_factory=list)  # reports that have been counted
    input_offset: int  # the last input folded
    outbox: list[OutboxEntry]
    epoch: int  # the owner's
    valid_until_ms: int  # broker time: the owner's lease


class Fence(Payload):
    """A new owner's mark; its offset is the owner's epoch. State records of older epochs behind it are void."""

    TYPE: ClassVar[str] = "state.fence"
    owner: str


class Position(Payload):
    """The last committed input offset, for a group whose own record of it has lapsed."""

    TYPE: ClassVar[str] = "state.position"
    input_offset: int
    epoch: int
    valid_until_ms: int


STATE_RECORDS = by_type(MessageState, Fence, Position)
