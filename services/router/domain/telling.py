"""What decisions are made of: the events' fields, and the endings that more than one input can bring.

Pure. It must never decide whether something happens, only say what it is when it does.
"""

from typing import Any

from schemas.envelope import to_timestamp
from schemas.events import (
    GaveUp,
    MessageAccepted,
    MessageBounced,
    MessageEvent,
    MessageExpired,
    MessageHeld,
    MessageSuppressed,
    MessageWaiting,
)
from schemas.inputs import AttemptFinished, AttemptUnknown, Submit
from schemas.mail import DEAD_RECIPIENT, Attempt, Category, Content, WaitReason
from schemas.states import MessageState
from services.router.domain.decision import Context, Decision, HandOut, Listed, Wait

# What a message waits for that ends by itself.
_UNTIL_A_TIME: frozenset[WaitReason | None] = frozenset({"retry_ladder", "greylisted", "postponed"})


def about(known: MessageState | Submit, status: str) -> dict[str, Any]:
    """What every event says of its message."""
    return {
        "message_id": known.message_id,
        "recipient": known.recipient,
        "status": status,
        "tags": known.tags,
        "metadata": known.metadata,
        "environment": known.environment,
    }


def outcome(
    state: MessageState,
    detail: Attempt,
    category: Category,
    *,
    rule_id: str | None = None,
    reason: WaitReason | None = None,
    next_ms: int | None = None,
) -> dict[str, Any]:
    """What an event says of an attempt that has ended."""
    known = detail.path == state.path  # of a late one nobody knows any more which rule it went by
    return {
        "attempt": detail,
        "category": category,
        "rule_id": rule_id,
        "reason": reason,
        "next_attempt_at": None if next_ms is None else to_timestamp(next_ms),
        "route_id": state.route_id if known else None,
        "route_version": state.route_version if known else None,
    }


def by_terms(context: Context) -> dict[str, Any]:
    """What an event says of how the next attempt, or that there is none, was decided."""
    return {
        "attempts_allowed": len(context.ladder.waits_ms) + 1,
        "schedule_from": context.schedule_from,
        "policies": list(context.policies),
    }


def next_time(known: MessageState | Submit, due_ms: int) -> int:
    """When something happens to what is due at `due_ms`: it may expire before."""
    return due_ms if known.deliver_before_ms is None else min(due_ms, known.deliver_before_ms)


def too_late(known: MessageState | Submit, now_ms: int) -> bool:
    return known.deliver_before_ms is not None and now_ms >= known.deliver_before_ms


def may_run(state: MessageState) -> bool:
    """Whether a sender may be at it: in flight, or held while it was, and nobody has told since."""
    parked = state.status == "held" and state.reason == "internal_error"
    return state.in_flight or (parked and state.first_dispatched_at_ms is not None)


# what a message goes on with


def accepted(known: MessageState | Submit, context: Context) -> MessageAccepted:
    return MessageAccepted(
        **about(known, "accepted"),
        path=context.route.path,
        pool=context.route.pool,
        route_id=context.route.route_id,
        route_version=context.route.route_version,
        suppression_checked_at=to_timestamp(context.checked_at_ms),
        reason=context.stopped or (None if context.room else "admission"),
        next_attempt_at=None,
        tls=context.route.tls,
        policies=[] if context.route.tls_by is None else [context.route.tls_by],
    )


def told(state: MessageState, wait: Wait) -> Decision:
    """The decision to wait, and an event where that is for something else than its readers know.

    That a time has come, and the message stands in line now, they see by the clock: after an outage thousands do so at once.
    """
    in_line_by_now = wait.reason == "admission" and state.told_reason in _UNTIL_A_TIME
    no_time_any_more = wait.due_at_ms is None and state.due_at_ms is not None  # its path was to be back by then
    if (wait.reason == state.told_reason and not no_time_any_more) or in_line_by_now:
        return Decision(wait=wait)
    event = MessageWaiting(
        **about(state, state.status),
        reason=wait.reason,
        next_attempt_at=None if wait.due_at_ms is None else to_timestamp(next_time(state, wait.due_at_ms)),
        waits_for=list(wait.waits_for),
    )
    return Decision((event,), wait=wait)


def start(state: MessageState, context: Context, *events: MessageAccepted) -> Decision:
    """The next attempt goes out, or waits where it may not, or has no room. Its content must be known."""
    if context.stopped is not None or not context.room:
        wait = in_line(state.attempt, state.dispatch, context, context.submitted)
        return Decision(events, wait=wait) if events else told(state, wait)
    return Decision(events, hand_out=HandOut(state.attempt, state.dispatch))


def in_line(attempt: int, dispatch: int, context: Context, content: Content | None) -> Wait:
    """With its rank as it is, until its turn comes."""
    return Wait(
        attempt,
        dispatch,
        context.stopped or "admission",
        due_at_ms=None,
        rank_ms=None,
        content=content,
        waits_for=context.route.waits_for if context.stopped == "path_paused" else (),
    )


def next_attempt(state: MessageState, due_ms: int, finished: AttemptFinished | AttemptUnknown) -> Wait:
    """A greylist knows us by our address: it is kept for the next attempt."""
    return Wait(
        state.attempt + 1,
        1,
        retry_reason(finished),
        due_at_ms=due_ms,
        rank_ms=due_ms,
        content=finished.content,
        source_address=finished.detail.source_address if is_greylisted(finished) else None,
    )


def retry_reason(finished: AttemptFinished | AttemptUnknown) -> WaitReason:
    return "greylisted" if is_greylisted(finished) else "retry_ladder"


def is_greylisted(finished: AttemptFinished | AttemptUnknown) -> bool:
    return isinstance(finished, AttemptFinished) and finished.category == "greylisted"


def retry_time(state: MessageState, attempt: int, context: Context) -> int | None:
    """When the attempt after `attempt` is due; None where it has been the last: by the ladder, or by the mail's age."""
    due = context.ladder.due_after(attempt, context.now_ms, context.jitter)
    if due is None or context.max_age_ms is None:
        return due
    return due if due <= max(state.created_at_ms, state.scheduled_ms or 0) + context.max_age_ms else None


# how a message ends, or comes to a halt


def bounced(
    state: MessageState, detail: Attempt, category: Category, rule_id: str | None = None, **terms: Any
) -> Decision:
    event = MessageBounced(**about(state, "bounced"), **outcome(state, detail, category, rule_id=rule_id), **terms)
    return Decision((event,), suppress="bounce" if category in DEAD_RECIPIENT else None)


def given_up(state: MessageState, ended: AttemptFinished | AttemptUnknown, context: Context) -> Decision:
    """A temporary outcome that is the last: the schedule has no more, or the next would come too late by a policy."""
    why: GaveUp = "last_attempt" if ended.attempt > len(context.ladder.waits_ms) else "max_age"
    category, rule_id = ("unknown", None) if isinstance(ended, AttemptUnknown) else (ended.category, ended.rule_id)
    return bounced(state, ended.detail, category, rule_id, gave_up=why, **by_terms(context))


def suppressed(known: MessageState | Submit, listed: Listed) -> MessageSuppressed:
    return MessageSuppressed(
        **about(known, "suppressed"), reason=listed.reason, source_event_id=listed.source_event_id, by="router"
    )


def expired(known: MessageState | Submit) -> MessageExpired:
    return MessageExpired(**about(known, "expired"), reason="deliver_before has passed", by="router")


def lapsed(
    known: MessageState | Submit, attempt: int, dispatch: int, content: Content | None, *events: MessageEvent
) -> Decision:
    """Held until somebody releases it, which looks at the sender's domain again."""
    event = MessageHeld(**about(known, "held"), reason="held_policy", source_event_id=None, by="router")
    wait = Wait(attempt, dispatch, "held_policy", due_at_ms=None, rank_ms=None, content=content)
    return Decision((*events, event), wait=wait)


def held(state: MessageState, source: str | None) -> Decision:
    """By an internal error. A hand-out that is out there may still report, by a dispatch below the next one."""
    event = MessageHeld(**about(state, "held"), reason="internal_error", source_event_id=source, by="router")
    parked = Wait(
        state.attempt,
        state.dispatch + state.in_flight,
        "internal_error",
        due_at_ms=None,
        rank_ms=None,
        content=None,
    )
    return Decision((event,), wait=parked)
