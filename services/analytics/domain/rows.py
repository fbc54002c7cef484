"""From a record of the log to a row of the read side: values in, values out.

Every field that a table is sorted or partitioned by is a function of the record alone, so a record that is inserted
again, in whatever batch, lands on the row it made before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from functools import lru_cache
from itertools import groupby
from typing import Protocol, TypeVar

from chassis.ids import MessageId, parse_message_id
from schemas.envelope import Envelope, Payload, to_ms, to_timestamp
from schemas.events import (
    MessageAccepted,
    MessageCancelled,
    MessageComplained,
    MessageDelivered,
    MessageEvent,
    MessageExpired,
    MessageHeld,
    MessageOutcome,
    MessageQueued,
    MessageScheduled,
    MessageSuppressed,
    MessageUnsubscribed,
    MessageWaiting,
)

# ClickHouse counts a row's age in 32-bit seconds: a later time would wrap round and the row be swept at once.
_LATEST_MS = (2**32 - 1) * 1000
NOT_SAID = -1
# Put together once: it costs as much as all else of a row.
_WAITS = MessageOutcome | MessageAccepted | MessageWaiting | MessageScheduled | MessageComplained | MessageUnsubscribed
_ENDED = MessageSuppressed | MessageHeld | MessageCancelled | MessageExpired


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands in the log."""

    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> tuple[str, int]:
        return self.topic, self.partition


@dataclass(frozen=True, slots=True)
class EventRow:
    """One public event. Times are Unix ms; 0 and "" say "none" (the tables have no nulls: they would cost a column each)."""

    position: Position
    project_id: str
    event_type: str
    event_time: int
    event_id: str
    subject: str
    sequence: int
    event: str
    created_at: int
    environment: str = ""
    recipient: str = ""
    recipient_domain: str = ""
    status: str = ""
    mail_from: str = ""
    mail_from_address: str = ""
    mail_subject: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] | None = None
    attempt: int = 0
    category: str = ""
    code: int = 0
    enhanced_code: str = ""
    reply: str = ""
    reason: str = ""
    next_attempt_at: int = 0
    template: str = ""
    channel: str = ""
    priority: str = ""
    path: str = ""
    first_attempt_ms: int = NOT_SAID  # from acceptance to the first attempt; of scheduled mail nobody asks
    delivered_ms: int = NOT_SAID  # from acceptance to delivery

    @property
    def time_ms(self) -> int:
        return self.event_time


class Dated(Protocol):
    """Any row: it belongs to the month of its time."""

    @property
    def time_ms(self) -> int: ...


Row = TypeVar("Row", bound=Dated)


def event_row(envelope: Envelope[Payload], value: bytes, position: Position) -> EventRow:
    """The row of a message's or an account's event; `value` is kept as it is. Raises ValueError where it has no place."""
    data = envelope.data
    if isinstance(data, MessageEvent):
        return _message_row(envelope, data, value, position)
    at = moment(envelope.time)
    return EventRow(
        position=position,
        project_id=envelope.project_id,
        event_type=envelope.type,
        event_time=at,
        event_id=envelope.id,
        subject=envelope.subject,
        sequence=envelope.sequence or 0,
        event=value.decode(),
        created_at=at,
    )


def by_month(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows wherever the month changes: rows of one month are one part of their table, which is there whole or not at all.

    So no reader ever sees a later row of a partition before an earlier one.
    """
    for _, run in groupby(rows, key=lambda row: to_timestamp(row.time_ms)[:7]):
        yield list(run)


@lru_cache(maxsize=4096)  # a project has few senders, and taking one apart costs as much as reading the record
def address_of(mailbox: str) -> str:
    """`Name <A@b>` or `A@b` as `a@b`: what addresses are compared by."""
    address = parseaddr(mailbox)[1]
    return (address if "@" in address else mailbox).lower()


def _message_row(envelope: Envelope[Payload], data: MessageEvent, value: bytes, position: Position) -> EventRow:
    message_id = parse_message_id(data.message_id)
    if message_id is None or envelope.subject != data.message_id:
        raise ValueError("subject and message_id are not one message's id")
    if envelope.sequence is None or not 0 < envelope.sequence < 2**32:
        raise ValueError("an event of a message needs its sequence")
    queued = data if isinstance(data, MessageQueued) else None
    attempt = data.attempt if isinstance(data, MessageOutcome) else None
    waiting = data if isinstance(data, _WAITS) else None
    caused = data if isinstance(data, _ENDED) else waiting
    due = waiting.next_attempt_at if waiting else None
    return EventRow(
        position=position,
        project_id=envelope.project_id,
        event_type=envelope.type,
        event_time=moment(envelope.time),
        event_id=envelope.id,
        subject=data.message_id,
        sequence=envelope.sequence,
        event=value.decode(),
        created_at=sound(message_id.created_at_ms),
        environment=data.environment,
        recipient=data.recipient,
        recipient_domain=data.recipient.rpartition("@")[2].lower(),
        status=data.status,
        mail_from=queued.from_ if queued else "",
        mail_from_address=address_of(queued.from_) if queued else "",
        mail_subject=queued.subject if queued else "",
        tags=tuple(data.tags),
        metadata=data.metadata,
        attempt=_fits(attempt.number, 16) if attempt else 0,
        category=data.category if isinstance(data, MessageOutcome) else "",
        code=_fits(attempt.code or 0, 16) if attempt else 0,
        enhanced_code=(attempt.enhanced_code or "") if attempt else "",
        reply=(attempt.reply or "") if attempt else "",
        reason=(caused.reason or "") if caused else "",
        next_attempt_at=moment(due) if due else 0,
        template=(queued.template or "") if queued else "",
        channel=queued.channel if queued else "",
        priority=queued.priority if queued else "",
        path=attempt.path if attempt else data.path if isinstance(data, MessageAccepted) else "",
        first_attempt_ms=_since(message_id, attempt.started_at) if attempt and attempt.number == 1 else NOT_SAID,
        delivered_ms=_since(message_id, attempt.finished_at)
        if attempt and isinstance(data, MessageDelivered)
        else NOT_SAID,
    )


def _since(message_id: MessageId, timestamp: str) -> int:
    """Milliseconds since the message was accepted; what is scheduled waits because it was told to."""
    if message_id.scheduled:
        return NOT_SAID
    return min(max(moment(timestamp) - message_id.created_at_ms, 0), 2**31 - 1)


def moment(timestamp: str) -> int:
    """Unix ms. Raises ValueError where no row could hold it."""
    return sound(to_ms(timestamp))


def sound(ms: int) -> int:
    """Raises ValueError where no row could hold the time."""
    if not 0 <= ms <= _LATEST_MS:
        raise ValueError("a time that is out of range")
    return ms


def _fits(number: int, bits: int) -> int:
    if not 0 <= number < 2**bits:
        raise ValueError("a number that is out of range")
    return number
