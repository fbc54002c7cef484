"""The life of one message: `decide` says what an input means for it (`services.router.domain.evolution.evolve`: what follows).

Pure: time, table look-ups, chance and the admission verdict come in through `Context`. It must never read anything else.
"""

from typing import Any, assert_never

from schemas.envelope import to_timestamp
from schemas.events import (
    MessageAccepted,
    MessageBounced,
    MessageDeferred,
    MessageDelivered,
    MessageHeld,
    MessageQueued,
    MessageSuppressed,
    MessageUnknown,
)
from schemas.inputs import (
    AttemptFinished,
    AttemptInput,
    AttemptPostponed,
    AttemptRefused,
    AttemptUnknown,
    Due,
    Recheck,
    Submit,
)
from schemas.mail import TERMINAL, Attempt, Category, Content, WaitReason
from schemas.states import MessageState
from services.router.domain.decision import (
    NOTHING,
    Context,
    Decision,
    Given,
    HandOut,
    Listed,
    OpenInput,
    Unreadable,
    Wait,
)

# A timer that fired earlier than this before its time was fired by a wrong clock: it fires again.
_EARLY_MS = 1_000


def decide(state: MessageState | None, given: Given, context: Context) -> Decision:
    """What `given` means for the message in `state` (None: nobody knows it yet)."""
    match given:
        case Submit():
            return _submit(given, context) if state is None else NOTHING
        case Unreadable():
            return _unreadable(state, given)
        case _:
            if state is None or state.status in TERMINAL:
                return NOTHING
            return _decide_open(state, given, context)


# what the inputs mean


def _decide_open(state: MessageState, given: OpenInput, context: Context) -> Decision:
    """`given` for a message that is known and has not ended."""
    match given:
        case AttemptFinished():
            decision = _finished(state, given, context)
        case AttemptUnknown():
            decision = _unknown(state, given, context)
        case AttemptPostponed():
            decision = _postponed(state, given, context)
        case AttemptRefused():
            decision = _refused(state, given)
        case Due():
            decision = _due(state, given, context)
        case Recheck():
            decision = NOTHING if state.in_flight or context.listed is None else _suppressed(state, context.listed)
        case _:
            assert_never(given)
    return decision


def _submit(submit: Submit, context: Context) -> Decision:
    if context.landed_ms > submit.valid_until_ms:
        return NOTHING
    queued = MessageQueued(
        **_of(submit, "queued"),
        from_=submit.content.from_,
        subject=submit.content.subject,
        priority=submit.priority,
        channel=submit.channel,
        api_key_id=submit.api_key_id,
        size=submit.size,
        submission_id=submit.submission_id,
        created_at=to_timestamp(submit.created_at_ms),
    )
    if context.listed is not None:
        stopped = MessageSuppressed(
            **_of(submit, "suppressed"),
            reason=context.listed.reason,
            source_event_id=context.listed.source_event_id,
            by="router",
        )
        return Decision((queued, stopped))
    accepted = MessageAccepted(
        **_of(submit, "accepted"),
        path=context.path,
        suppression_checked_at=to_timestamp(context.checked_at_ms),
        reason=None if context.room else "admission",
        next_attempt_at=None,
    )
    if context.room:
        return Decision((queued, accepted), hand_out=HandOut(1, 1))
    waits = Wait(1, 1, "admission", due_at_ms=None, rank_ms=None, content=submit.content)
    return Decision((queued, accepted), wait=waits)


def _finished(state: MessageState, finished: AttemptFinished, context: Context) -> Decision:
    late = finished.attempt in state.unknown_attempts
    if not late and not _handed_out_before(state, finished):
        return NOTHING
    match finished.outcome:
        case "delivered":
            event = MessageDelivered(
                **_of(state, "delivered"), **_outcome(finished.detail, finished.category, reason=None, next_ms=None)
            )
            return Decision((event,))
        case "permanent":
            # The next attempt is under way already: what it brings is the truth.
            if late and state.in_flight:
                return NOTHING
            return _bounced(state, finished.detail, finished.category)
        case "temporary":
            return _temporary(state, finished, context, late=late)
        case _:
            assert_never(finished.outcome)


def _temporary(state: MessageState, finished: AttemptFinished, context: Context, *, late: bool) -> Decision:
    if state.status == "held":
        return NOTHING
    if late:
        # Only the word `unknown` was wrong: it stays where it waits.
        if state.in_flight or state.status != "unknown" or finished.attempt != state.attempt - 1:
            return NOTHING
        corrected = _outcome(finished.detail, finished.category, reason=state.reason, next_ms=state.due_at_ms)
        return Decision((MessageDeferred(**_of(state, "deferred"), **corrected),), known_attempt=finished.attempt)
    due = context.ladder.due_after(state.attempt, context.now_ms, context.jitter)
    if due is None:
        return _bounced(state, finished.detail, finished.category)
    outcome = _outcome(finished.detail, finished.category, reason="retry_ladder", next_ms=due)
    deferred = MessageDeferred(**_of(state, "deferred"), **outcome)
    return Decision((deferred,), wait=_next_attempt(state, due, finished.content))


def _unknown(state: MessageState, unknown: AttemptUnknown, context: Context) -> Decision:
    if state.status == "held" or not _handed_out_before(state, unknown):
        return NOTHING
    due = context.ladder.due_after(state.attempt, context.now_ms, context.jitter)
    if due is None:
        return _bounced(state, unknown.detail, "unknown")
    event = MessageUnknown(
        **_of(state, "unknown"), **_outcome(unknown.detail, "unknown", reason="retry_ladder", next_ms=due)
    )
    wait = _next_attempt(state, due, unknown.content)
    return Decision((event,), wait=wait, unknown_attempt=state.attempt)


def _postponed(state: MessageState, postponed: AttemptPostponed, context: Context) -> Decision:
    if not _is_in_flight(state, postponed):
        return NOTHING
    until = max(postponed.until_ms, context.now_ms)
    return Decision(
        wait=Wait(
            state.attempt, state.dispatch + 1, "postponed", due_at_ms=until, rank_ms=None, content=postponed.content
        )
    )


def _refused(state: MessageState, refused: AttemptRefused) -> Decision:
    if not _is_in_flight(state, refused):
        return NOTHING
    return _suppressed(state, Listed(refused.suppression_reason or "manual", refused.source_event_id))


def _due(state: MessageState, due: Due, context: Context) -> Decision:
    if (due.attempt, due.dispatch) != (state.attempt, state.dispatch) or not _timer_fits(state, due, context):
        return NOTHING
    if due.kind == "watchdog":
        return _hand_out(state, HandOut(state.attempt, state.dispatch + 1), context)
    if context.listed is not None:
        return _suppressed(state, context.listed)
    if context.room:
        return _hand_out(state, HandOut(state.attempt, state.dispatch), context)
    if due.kind == "admission":
        return NOTHING
    return Decision(wait=Wait(state.attempt, state.dispatch, "admission", due_at_ms=None, rank_ms=None, content=None))


def _hand_out(state: MessageState, hand_out: HandOut, context: Context) -> Decision:
    if state.content is None and context.submitted is None:
        return _held(state, source=None)  # its content is past the log's retention
    return Decision(hand_out=hand_out)


def _timer_fits(state: MessageState, due: Due, context: Context) -> bool:
    """Whether this timer is the one the message waits for, and its time has come by the broker's clock."""
    match due.kind:
        case "admission":
            return state.reason == "admission"
        case "retry":
            fits = state.reason in {"retry_ladder", "postponed"}
        case "watchdog":
            fits = state.in_flight
        case "schedule" | "expiry":
            return False
        case _:
            assert_never(due.kind)
    return fits and state.due_at_ms is not None and context.landed_ms + _EARLY_MS >= state.due_at_ms


def _unreadable(state: MessageState | None, poison: Unreadable) -> Decision:
    if state is not None:
        held = state.status == "held" or state.status in TERMINAL
        return NOTHING if held else _held(state, source=poison.dead_letter)
    nobody = {"recipient": "", "status": "held", "tags": [], "metadata": {}, "environment": "live"}
    event = MessageHeld(
        message_id=poison.message_id,
        **nobody,
        reason="internal_error",
        source_event_id=poison.dead_letter,
        by="router",
    )
    return Decision((event,))


def _handed_out_before(state: MessageState, about: AttemptInput) -> bool:
    """Whether the outcome is of the present attempt: of the hand-out in flight, or of an earlier one.

    The journal lets one hand-out of an attempt run only, so whichever reports is the truth about the attempt.
    """
    return about.attempt == state.attempt and about.dispatch < state.dispatch + state.in_flight


def _is_in_flight(state: MessageState, about: AttemptInput) -> bool:
    return state.in_flight and (about.attempt, about.dispatch) == (state.attempt, state.dispatch)


# what a decision is made of


def _next_attempt(state: MessageState, due_ms: int, content: Content | None) -> Wait:
    return Wait(state.attempt + 1, 1, "retry_ladder", due_at_ms=due_ms, rank_ms=due_ms, content=content)


def _bounced(state: MessageState, detail: Attempt, category: Category) -> Decision:
    event = MessageBounced(**_of(state, "bounced"), **_outcome(detail, category, reason=None, next_ms=None))
    return Decision((event,), suppress=category == "invalid_recipient")


def _suppressed(state: MessageState, listed: Listed) -> Decision:
    event = MessageSuppressed(
        **_of(state, "suppressed"), reason=listed.reason, source_event_id=listed.source_event_id, by="router"
    )
    return Decision((event,))


def _held(state: MessageState, source: str | None) -> Decision:
    event = MessageHeld(**_of(state, "held"), reason="internal_error", source_event_id=source, by="router")
    return Decision((event,))


def _of(known: MessageState | Submit, status: str) -> dict[str, Any]:
    """What every event says of its message."""
    return {
        "message_id": known.message_id,
        "recipient": known.recipient,
        "status": status,
        "tags": known.tags,
        "metadata": known.metadata,
        "environment": known.environment,
    }


def _outcome(detail: Attempt, category: Category, *, reason: WaitReason | None, next_ms: int | None) -> dict[str, Any]:
    return {
        "attempt": detail,
        "category": category,
        "reason": reason,
        "next_attempt_at": None if next_ms is None else to_timestamp(next_ms),
    }
