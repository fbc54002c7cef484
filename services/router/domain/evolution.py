"""`evolve`: what a message is after a decision. The other half of `services.router.domain.message`.

Pure. A state's `attempt` and `dispatch` name the hand-out that is in flight, or else the one that comes next;
`due_at_ms` is the time of its timer: the next attempt while it waits, the watchdog while it is in flight.
"""

from typing import Any

from chassis.ids import parse_message_id
from schemas.events import (
    MessageAccepted,
    MessageComplained,
    MessageEvent,
    MessageHeld,
    MessageOutcome,
    MessageScheduled,
    MessageUnsubscribed,
    MessageWaiting,
)
from schemas.inputs import Submit
from schemas.mail import TERMINAL, WaitReason
from schemas.states import JsonObject, MessageState
from services.router.domain.decision import Context, Decision, Given, HandOut, Wait
from services.router.domain.transitions import follow

# Verdicts that are remembered: a client repeats its last request, and not one of long ago.
_VERDICTS = 8


def evolve(state: MessageState | None, given: Given, decision: Decision, context: Context) -> MessageState:
    """The message after `decision`. Raises IllegalTransition where the state table forbids it."""
    before = state if state is not None else _born(given, context)
    status = None if state is None else state.status
    for event in decision.events:
        if not isinstance(event, MessageComplained | MessageUnsubscribed | MessageWaiting):  # these keep it
            status = follow(status, event.status)
    changes: dict[str, Any] = {
        "status": status,
        "sequence": before.sequence + len(decision.events),
        "input_offset": context.offset,
        "unknown_attempts": _unknown_attempts(before, decision),
        "verdicts": _verdicts(before, decision),
    }
    if decision.events:
        changes["told_reason"] = _told_reason(decision.events[-1])
    if decision.feedback_id is not None:
        changes["feedback_ids"] = [*before.feedback_ids, decision.feedback_id]
    if status in TERMINAL:
        changes |= _closed(before, context)
    elif decision.hand_out is not None:
        changes |= _handed_out(before, decision.hand_out, context)
    elif decision.wait is not None:
        changes |= _waiting(before, decision.wait)
    return before.model_copy(update=changes)


def _born(given: Given, context: Context) -> MessageState:
    """The message before its first event."""
    known: dict[str, Any]
    match given:
        case Submit():
            known = {
                "recipient": given.recipient,
                "destination": given.destination,
                "tags": given.tags,
                "metadata": given.metadata,
                "environment": given.environment,
                "priority": given.priority,
                "on_unknown": given.on_unknown,
                "from_": given.content.from_,
                "created_at_ms": given.created_at_ms,
                "submit_offset": context.offset,
                "scheduled_ms": given.scheduled_ms,
                "deliver_before_ms": given.deliver_before_ms,
            }
        case _:
            known = _as_the_id_says(given.message_id)
    return MessageState(
        message_id=given.message_id,
        status="queued",
        sequence=0,
        **known,
        content=None,
        attempt=1,
        dispatch=1,
        in_flight=False,
        first_dispatched_at_ms=None,
        due_at_ms=None,
        reason=None,
        rank_ms=context.landed_ms,
        unknown_attempts=[],
        closed_at_ms=None,
        input_offset=context.offset,
        outbox=[],
        epoch=0,
        valid_until_ms=0,
    )


def _as_the_id_says(message_id: str) -> dict[str, Any]:
    parts = parse_message_id(message_id)
    assert parts is not None, "only a message's own id makes a message"
    return {
        "recipient": "",
        "destination": "",
        "tags": [],
        "metadata": {},
        "environment": "live",
        "priority": "high" if parts.lane == "express" else "normal",
        "on_unknown": "resend",
        "from_": "",
        "created_at_ms": parts.created_at_ms,
        "submit_offset": None,
    }


def _told_reason(event: MessageEvent) -> WaitReason | None:
    """What a reader of the last event takes the message to wait for."""
    waits = MessageOutcome | MessageAccepted | MessageWaiting | MessageScheduled | MessageHeld
    reports = MessageComplained | MessageUnsubscribed
    return event.reason if isinstance(event, waits | reports) else None


def _unknown_attempts(before: MessageState, decision: Decision) -> list[int]:
    kept = [attempt for attempt in before.unknown_attempts if attempt != decision.known_attempt]
    return kept if decision.unknown_attempt is None else [*kept, decision.unknown_attempt]


def _verdicts(before: MessageState, decision: Decision) -> list[JsonObject]:
    if decision.reply is None:
        return before.verdicts
    told = decision.reply.verdict
    others = [known for known in before.verdicts if known["request_id"] != told.request_id]
    return [*others, told.model_dump(mode="json")][-_VERDICTS:]


def _closed(before: MessageState, context: Context) -> dict[str, Any]:
    """Once: what comes back later about a closed message does not keep it for longer."""
    return {
        "content": None,
        "in_flight": False,
        "first_dispatched_at_ms": None,
        "due_at_ms": None,
        "reason": None,
        "unknown_attempts": [],
        "closed_at_ms": before.closed_at_ms or context.now_ms,
    }


def _handed_out(before: MessageState, hand_out: HandOut, context: Context) -> dict[str, Any]:
    route = context.route
    return {
        "attempt": hand_out.attempt,
        "dispatch": hand_out.dispatch,
        "in_flight": True,
        "first_dispatched_at_ms": before.first_dispatched_at_ms or context.now_ms,
        "due_at_ms": context.now_ms + context.watchdog_ms,
        "reason": None,
        "content": before.content or context.submitted,
        "path": route.path,
        "route_id": route.route_id,
        "route_version": route.route_version,
        "source_address": before.source_address if before.path == route.path else None,
        "waits_for": [],
    }


def _waiting(before: MessageState, wait: Wait) -> dict[str, Any]:
    same_attempt = wait.attempt == before.attempt
    return {
        "attempt": wait.attempt,
        "dispatch": wait.dispatch,
        "in_flight": False,
        "first_dispatched_at_ms": before.first_dispatched_at_ms if same_attempt else None,
        "due_at_ms": wait.due_at_ms,
        "reason": wait.reason,
        "rank_ms": before.rank_ms if wait.rank_ms is None else wait.rank_ms,
        "content": wait.content or before.content,
        "source_address": before.source_address if same_attempt else wait.source_address,
        "waits_for": list(wait.waits_for),
        "scheduled_ms": wait.due_at_ms if wait.reason == "scheduled" else before.scheduled_ms,
    }
