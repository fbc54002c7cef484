"""`evolve`: what a message is after a decision. The other half of `services.router.domain.message`.

Pure. A state's `attempt` and `dispatch` name the hand-out that is in flight, or else the one that comes next;
`due_at_ms` is the time of its timer: the next attempt while it waits, the watchdog while it is in flight.
"""

from typing import Any

from chassis.ids import parse_message_id
from schemas.inputs import Submit
from schemas.mail import TERMINAL
from schemas.states import MessageState
from services.router.domain.decision import Context, Decision, Given, HandOut, Wait
from services.router.domain.transitions import follow


def evolve(state: MessageState | None, given: Given, decision: Decision, context: Context) -> MessageState:
    """The message after `decision`. Raises IllegalTransition where the state table forbids it."""
    before = state if state is not None else _born(given, context)
    status = None if state is None else state.status
    for event in decision.events:
        status = follow(status, event.status)
    changes: dict[str, Any] = {
        "status": status,
        "sequence": before.sequence + len(decision.events),
        "input_offset": context.offset,
        "unknown_attempts": _unknown_attempts(before, decision),
    }
    if status in TERMINAL:
        changes |= _closed(context)
    elif status == "held":
        changes |= _parked(before)
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


def _unknown_attempts(before: MessageState, decision: Decision) -> list[int]:
    kept = [attempt for attempt in before.unknown_attempts if attempt != decision.known_attempt]
    return kept if decision.unknown_attempt is None else [*kept, decision.unknown_attempt]


def _closed(context: Context) -> dict[str, Any]:
    return {
        "content": None,
        "in_flight": False,
        "first_dispatched_at_ms": None,
        "due_at_ms": None,
        "reason": None,
        "unknown_attempts": [],
        "closed_at_ms": context.now_ms,
    }


def _parked(before: MessageState) -> dict[str, Any]:
    """Held: a hand-out that is out there may still report, by a dispatch below the next one."""
    return {
        "in_flight": False,
        "dispatch": before.dispatch + before.in_flight,
        "due_at_ms": None,
        "reason": "internal_error",
    }


def _handed_out(before: MessageState, hand_out: HandOut, context: Context) -> dict[str, Any]:
    return {
        "attempt": hand_out.attempt,
        "dispatch": hand_out.dispatch,
        "in_flight": True,
        "first_dispatched_at_ms": before.first_dispatched_at_ms or context.now_ms,
        "due_at_ms": context.now_ms + context.watchdog_ms,
        "reason": None,
        "content": before.content or context.submitted,
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
    }
