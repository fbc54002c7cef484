"""From a record of the log to a row of the read side: values in, values out.

Every field that a table is sorted or partitioned by is a function of the record alone, so a record that is inserted
again, in whatever batch, lands on the row it made before.
"""

from collections.abc import Iterator, Mapping, Sequence
from email.utils import parseaddr
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeVar, get_args, get_origin

import orjson

from chassis.ids import MessageId, parse_message_id
from schemas.envelope import Payload, to_ms, to_timestamp
from schemas.events import MESSAGE_EVENTS, MessageDelivered, MessageOutcome, MessageQueued
from schemas.mail import Status

# ClickHouse counts a row's age in 32-bit seconds: a later time would wrap round and the row be swept at once.
_LATEST_MS = (2**32 - 1) * 1000
_DAY_MS = 86_400_000
NOT_SAID = -1
_OUTCOMES = frozenset(name for name, payload in MESSAGE_EVENTS.items() if issubclass(payload, MessageOutcome))
_STATUSES = frozenset(get_args(Status))
_Json = dict[str, Any]


class Position(NamedTuple):
    """Where a record stands in the log."""

    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> tuple[str, int]:
        return self.topic, self.partition


class EventRow(NamedTuple):
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
    metadata: dict[str, str]
    tags: list[str]
    environment: str = ""
    recipient: str = ""
    recipient_domain: str = ""
    status: str = ""
    mail_from: str = ""
    mail_from_address: str = ""
    mail_subject: str = ""
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


_KINDS: tuple[Any, ...] = tuple(get_origin(kind) or kind for kind in EventRow.__annotations__.values())


class Dated(Protocol):
    """Any row: it belongs to the month of its time."""

    @property
    def time_ms(self) -> int: ...


Row = TypeVar("Row", bound=Dated)


def event_row(value: bytes, types: Mapping[str, type[Payload]], position: Position) -> EventRow:
    """The row of a message's or an account's event, which is kept as it is. Raises ValueError where it has no place.

    Whoever wrote it has held it against its schema. Here only what the row is made of is looked at: the schema's models
    would cost more than all else that becomes of an event on its way into the store.
    """
    try:
        event = orjson.loads(value)
        if event["type"] not in types:
            raise ValueError(f"unknown record type {event['type']!r:.80}")
        row = (_message_row if event["type"] in MESSAGE_EVENTS else _account_row)(event, value.decode(), position)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"does not fit its schema: {error!r:.80}") from error
    if tuple(map(type, row)) != _KINDS:
        wrong = [name for name, kind, field in zip(row._fields, _KINDS, row, strict=True) if type(field) is not kind]
        raise ValueError(f"does not fit its schema: {', '.join(wrong)}")
    if not {str}.issuperset(map(type, [*row.tags, *row.metadata.values()])):
        raise ValueError("does not fit its schema: tags or metadata")
    return row


def by_month(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows wherever the month changes: rows of one month are one part of their table, which is there whole or not at all.

    So no reader ever sees a later row of a partition before an earlier one.
    """
    for _, run in groupby(rows, key=lambda row: _month_of(row.time_ms // _DAY_MS)):
        yield list(run)


@lru_cache(maxsize=64)
def _month_of(day: int) -> str:
    return to_timestamp(day * _DAY_MS)[:7]


@lru_cache(maxsize=4096)  # a project has few senders, and taking one apart costs as much as reading the record
def address_of(mailbox: str) -> str:
    """`Name <A@b>` or `A@b` as `a@b`: what addresses are compared by."""
    address = parseaddr(mailbox)[1]
    return (address if "@" in address else mailbox).lower()


_message_id_of = lru_cache(maxsize=4096)(parse_message_id)  # a message's events follow one another closely


def _account_row(event: _Json, text: str, position: Position) -> EventRow:
    at = moment(event["time"])
    return EventRow(
        position=position,
        project_id=event["projectid"],
        event_type=event["type"],
        event_time=at,
        event_id=event["id"],
        subject=event["subject"],
        sequence=_fits(event.get("sequence") or 0, 32),
        event=text,
        created_at=at,
        metadata={},
        tags=[],
    )


def _message_row(event: _Json, text: str, position: Position) -> EventRow:
    data, event_type, sequence = event["data"], event["type"], event["sequence"]
    message_id = _message_id_of(data["message_id"])
    if message_id is None or event["subject"] != message_id.text:
        raise ValueError("subject and message_id are not one message's id")
    if type(sequence) is not int or not 0 < sequence < 2**32:
        raise ValueError("an event of a message needs its sequence")
    if data["status"] not in _STATUSES:
        raise ValueError("a status that is none")
    recipient, due = data["recipient"], data.get("next_attempt_at")
    queued = data if event_type == MessageQueued.TYPE else None
    attempt = data["attempt"] if event_type in _OUTCOMES else None
    return EventRow(
        position=position,
        project_id=event["projectid"],
        event_type=event_type,
        event_time=moment(event["time"]),
        event_id=event["id"],
        subject=message_id.text,
        sequence=sequence,
        event=text,
        created_at=sound(message_id.created_at_ms),
        metadata=data["metadata"],
        tags=data["tags"],
        environment=data["environment"],
        recipient=recipient,
        recipient_domain=recipient.rpartition("@")[2].lower(),
        status=data["status"],
        mail_from=queued["from"] if queued else "",
        mail_from_address=address_of(queued["from"]) if queued else "",
        mail_subject=queued["subject"] if queued else "",
        attempt=_fits(attempt["number"], 16) if attempt else 0,
        category=data["category"] if attempt else "",
        code=_fits(attempt.get("code") or 0, 16) if attempt else 0,
        enhanced_code=(attempt.get("enhanced_code") or "") if attempt else "",
        reply=(attempt.get("reply") or "") if attempt else "",
        reason=data.get("reason") or "",
        next_attempt_at=moment(due) if due else 0,
        template=(queued.get("template") or "") if queued else "",
        channel=queued["channel"] if queued else "",
        priority=queued["priority"] if queued else "",
        path=attempt["path"] if attempt else data.get("path") or "",
        first_attempt_ms=_since(message_id, attempt["started_at"]) if attempt and attempt["number"] == 1 else NOT_SAID,
        delivered_ms=_since(message_id, attempt["finished_at"])
        if attempt and event_type == MessageDelivered.TYPE
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
