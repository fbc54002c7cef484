"""A message as it stood at a time: its events up to then, folded as the tables fold all of them (R36).

Pure: events in, values out.
"""

from collections.abc import Iterable, Sequence

from schemas.envelope import Envelope, decode, to_ms
from schemas.events import MESSAGE_EVENTS, MessageEvent
from services.analytics.domain.messages import Message, Outcome
from services.analytics.domain.parameters import Parameters, Reader, time_value
from services.analytics.domain.rows import EventRow, Position, event_row

_NOWHERE = Position("", 0, 0)  # what is folded here stands in no table


def as_of_query(parameters: Parameters) -> int | None:
    """`as_of`, in Unix ms. Raises InvalidQuery."""
    reader = Reader(parameters)
    as_of = reader.take("as_of", time_value)
    reader.finish()
    return as_of


def events_until(timeline: Sequence[str], as_of: int | None) -> list[Envelope[MessageEvent]]:
    """The events that had happened by then, in order; all of them where no time is said."""
    events = [decode(event.encode(), MESSAGE_EVENTS) for event in timeline]
    return [event for event in events if as_of is None or to_ms(event.time) <= as_of]


def rows_until(timeline: Sequence[str], as_of: int) -> list[EventRow]:
    """The rows of those events."""
    rows = [event_row(event.encode(), MESSAGE_EVENTS, _NOWHERE) for event in timeline]
    return [row for row in rows if row.event_time <= as_of]


def as_it_stood(rows: Sequence[EventRow]) -> Message:
    """What the tables would say, had the last of these events been its last."""
    latest, first = rows[-1], rows[0]
    ended = [row for row in rows if row.category]
    return Message(
        message_id=latest.subject,
        sequence=latest.sequence,
        status=latest.status,
        recipient=latest.recipient,
        sender=_last(row.mail_from for row in rows),
        subject=_last(row.mail_subject for row in rows),
        tags=tuple(latest.tags),
        metadata=latest.metadata,
        created_at=first.created_at,
        updated_at=latest.event_time,
        attempts=max(row.attempt for row in rows),
        next_attempt_at=latest.next_attempt_at,
        reason=latest.reason,
        outcome=_outcome(ended[-1]) if ended else None,
        template=_last(row.template for row in rows),
        channel=_last(row.channel for row in rows),
        environment=_last(row.environment for row in rows),
        path=_last(row.path for row in rows),
    )


def _outcome(row: EventRow) -> Outcome:
    return Outcome(code=row.code, enhanced_code=row.enhanced_code, category=row.category, reply=row.reply)


def _last(said: Iterable[str]) -> str:
    """The last that says something: "" is nothing said."""
    return next((word for word in reversed(list(said)) if word), "")
