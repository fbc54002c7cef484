"""A message as the read side knows it, and the objects of the API made from it.

Shapes only: this module must never decide what is shown to whom.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from chassis.ids import MessageId
from schemas.envelope import to_timestamp
from services.analytics.domain.answers import Json, raw, time_or_none

# An id may be made by a machine whose clock is ahead of ours by this much.
CLOCK_SKEW_MS = 60_000
_SCHEDULING = re.compile(r'"type":"message\.(?:re)?scheduled"')


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the last attempt ended; 0 and "" say "none"."""

    code: int
    enhanced_code: str
    category: str
    reply: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message as of its latest event. Times are Unix ms; 0 and "" say "none"."""

    message_id: str
    sequence: int
    status: str
    recipient: str
    sender: str
    subject: str
    tags: Sequence[str]
    metadata: Mapping[str, str]
    created_at: int
    updated_at: int
    attempts: int
    next_attempt_at: int
    reason: str
    outcome: Outcome | None
    template: str
    channel: str
    environment: str
    path: str


def message_view(message: Message) -> Json:
    """A message in a list."""
    return {
        "message_id": message.message_id,
        "status": message.status,
        "recipient": message.recipient,
        "from": message.sender or None,
        "subject": message.subject or None,
        "tags": list(message.tags),
        "metadata": dict(message.metadata),
        "template": message.template or None,
        "channel": message.channel or None,
        "path": message.path or None,
        "environment": message.environment or None,
        "created_at": to_timestamp(message.created_at),
        "updated_at": to_timestamp(message.updated_at),
        "scheduled_time": time_or_none(message.next_attempt_at) if message.status == "scheduled" else None,
        "attempts": message.attempts,
        "next_attempt_at": time_or_none(message.next_attempt_at),
        "reason": message.reason or None,
        "outcome": _outcome_view(message.outcome),
    }


def message_with_timeline(message: Message, timeline: Sequence[str]) -> Json:
    """One message; `timeline` holds its events as they stand in Kafka, and so they are given out."""
    view = {**message_view(message), "timeline": [raw(event) for event in timeline]}
    scheduled = [event for event in timeline if _SCHEDULING.search(event)]
    if scheduled:  # the last one counts, whatever has happened since
        view["scheduled_time"] = orjson.loads(scheduled[-1])["data"]["scheduled_time"]
    return view


def pending_view(message_id: MessageId) -> Json:
    """A message whose first event has not arrived yet: accepted it is (R30)."""
    created_at = to_timestamp(message_id.created_at_ms)
    return {"message_id": message_id.text, "status": "queued", "created_at": created_at, "pending": True}


def may_be_pending(message_id: MessageId, now_ms: int, window_ms: int) -> bool:
    """Whether an id is young enough for its first event to be on its way."""
    return -CLOCK_SKEW_MS <= now_ms - message_id.created_at_ms < window_ms


def _outcome_view(outcome: Outcome | None) -> Json | None:
    if outcome is None:
        return None
    return {
        "code": outcome.code or None,
        "enhanced_code": outcome.enhanced_code or None,
        "category": outcome.category,
        "reply": outcome.reply or None,
    }
