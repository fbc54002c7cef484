"""The life of one message: `decide` says what an input means for it (`services.router.domain.evolution.evolve`: what follows).

Pure: time, table look-ups, chance and the admission verdict come in through `Context`. It must never read anything else.
"""

from typing import assert_never

from chassis.ids import event_id
from schemas.envelope import to_timestamp
from schemas.events import (
    MessageDeferred,
    MessageDelivered,
    MessageHeld,
    MessageQueued,
    MessageScheduled,
    MessageUnknown,
)
from schemas.inputs import (
    AttemptFinished,
    AttemptInput,
    AttemptPostponed,
    AttemptRefused,
    AttemptUnknown,
    Cancel,
    Due,
    Feedback,
    Recheck,
    Release,
    Reschedule,
    Submit,
)
from schemas.mail import TERMINAL, WaitReason
from schemas.states import MessageState
from services.router.domain.commands import obey
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
from services.router.domain.feedback import hear
from services.router.domain.telling import (
    about,
    accepted,
    bounced,
    by_terms,
    expired,
    given_up,
    held,
    in_line,
    lapsed,
    next_attempt,
    next_time,
    outcome,
    retry_reason,
    retry_time,
    suppressed,
    told,
    too_late,
)
from services.router.domain.timers import fire

# A time that is this close is as good as now: nothing is gained by waiting for it.
_AT_ONCE_MS = 1_000
# Until mail whose path was down is routed again: senders have told of the path by then.
_ROUTE_AGAIN_MS = 5_000


def decide(state: MessageState | None, given: Given, context: Context) -> Decision:
    """What `given` means for the message in `state` (None: nobody knows it yet)."""
    match given:
        case Submit():
            return _submit(given, context) if state is None else NOTHING
        case Unreadable():
            return _unreadable(state, given)
        case Cancel() | Reschedule() | Release():
            return obey(state, given, context)
        case Feedback():
            return NOTHING if state is None else hear(state, given, context)
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
            decision = fire(state, given, context)
        case Recheck():
            stop = None if state.in_flight else context.listed
            decision = NOTHING if stop is None else Decision((suppressed(state, stop),))
        case _:
            assert_never(given)
    return decision


def _submit(submit: Submit, context: Context) -> Decision:
    if context.landed_ms > submit.valid_until_ms:
        return NOTHING
    queued = _queued(submit)
    if context.listed is not None:
        return Decision((queued, suppressed(submit, context.listed)))
    if too_late(submit, context.now_ms):
        return Decision((queued, expired(submit)))
    if submit.scheduled_ms is not None and submit.scheduled_ms > context.landed_ms + _AT_ONCE_MS:
        return _scheduled(queued, submit, submit.scheduled_ms)
    return _admitted(queued, submit, context)


def _admitted(queued: MessageQueued, submit: Submit, context: Context) -> Decision:
    if context.lapsed:
        return lapsed(submit, 1, 1, submit.content, queued)
    if context.stopped is None and context.room:
        return Decision((queued, accepted(submit, context)), hand_out=HandOut(1, 1))
    return Decision((queued, accepted(submit, context)), wait=in_line(1, 1, context, submit.content))


def _queued(submit: Submit) -> MessageQueued:
    return MessageQueued(
        **about(submit, "queued"),
        from_=submit.content.from_,
        subject=submit.content.subject,
        priority=submit.priority,
        channel=submit.channel,
        api_key_id=submit.api_key_id,
        size=submit.size,
        submission_id=submit.submission_id,
        created_at=to_timestamp(submit.created_at_ms),
        scheduled_time=None if submit.scheduled_ms is None else to_timestamp(submit.scheduled_ms),
        deliver_before=None if submit.deliver_before_ms is None else to_timestamp(submit.deliver_before_ms),
        template=submit.template,
        template_version=submit.template_version,
        request_id=submit.request_id,
        redrive_of=submit.redrive_of,
    )


def _scheduled(queued: MessageQueued, submit: Submit, time_ms: int) -> Decision:
    """Its rank is its time: when that has come, it goes behind who has waited since before."""
    event = MessageScheduled(
        **about(submit, "scheduled"),
        scheduled_time=to_timestamp(time_ms),
        reason="scheduled",
        next_attempt_at=to_timestamp(next_time(submit, time_ms)),
    )
    wait = Wait(1, 1, "scheduled", due_at_ms=time_ms, rank_ms=time_ms, content=submit.content)
    return Decision((queued, event), wait=wait)


def _finished(state: MessageState, finished: AttemptFinished, context: Context) -> Decision:
    late = finished.attempt in state.unknown_attempts
    if not late and not _handed_out_before(state, finished):
        return NOTHING
    match finished.outcome:
        case "delivered":
            event = MessageDelivered(
                **about(state, "delivered"),
                **outcome(state, finished.detail, finished.category, rule_id=finished.rule_id),
            )
            return Decision((event,))
        case "permanent":
            # The next attempt is under way already: what it brings is the truth.
            if late and state.in_flight:
                return NOTHING
            return bounced(state, finished.detail, finished.category, finished.rule_id)
        case "temporary":
            return _late_temporary(state, finished, context) if late else _temporary(state, finished, context)
        case _:
            assert_never(finished.outcome)


def _temporary(state: MessageState, finished: AttemptFinished, context: Context) -> Decision:
    if state.status == "held":
        return NOTHING
    due = retry_time(state, state.attempt, context)
    if due is None:
        return given_up(state, finished, context)
    said = outcome(
        state,
        finished.detail,
        finished.category,
        rule_id=finished.rule_id,
        reason=retry_reason(finished),
        next_ms=next_time(state, due),
    )
    event = MessageDeferred(**about(state, "deferred"), **said, **by_terms(context))
    return Decision((event,), wait=next_attempt(state, due, finished))


def _late_temporary(state: MessageState, finished: AttemptFinished, context: Context) -> Decision:
    """What was called unknown was not sent. Where it waits for its time it stays; where it was held for this, it goes on."""
    if state.in_flight or finished.attempt != state.attempt - 1:
        return NOTHING
    wait = None
    if state.reason == "held_unknown":
        due = retry_time(state, finished.attempt, context)
        if due is None:  # the ladder has become shorter since
            return given_up(state, finished, context)
        wait = Wait(state.attempt, state.dispatch, "retry_ladder", due_at_ms=due, rank_ms=due, content=None)
    elif state.status != "unknown" or state.due_at_ms is None:
        return NOTHING
    else:
        due = state.due_at_ms
    said = outcome(
        state,
        finished.detail,
        finished.category,
        rule_id=finished.rule_id,
        reason="retry_ladder",
        next_ms=next_time(state, due),
    )
    event = MessageDeferred(**about(state, "deferred"), **said, **by_terms(context))
    return Decision((event,), wait=wait, known_attempt=finished.attempt)


def _unknown(state: MessageState, unknown: AttemptUnknown, context: Context) -> Decision:
    if state.status == "held" or not _handed_out_before(state, unknown):
        return NOTHING
    due = retry_time(state, state.attempt, context)
    if due is None:
        return given_up(state, unknown, context)
    if state.on_unknown == "hold":
        return _held_unknown(state, unknown)
    said = outcome(state, unknown.detail, "unknown", reason="retry_ladder", next_ms=next_time(state, due))
    event = MessageUnknown(**about(state, "unknown"), **said, **by_terms(context))
    return Decision((event,), wait=next_attempt(state, due, unknown), unknown_attempt=state.attempt)


def _held_unknown(state: MessageState, unknown: AttemptUnknown) -> Decision:
    """A person decides whether it may go twice."""
    said = MessageUnknown(**about(state, "unknown"), **outcome(state, unknown.detail, "unknown", reason="held_unknown"))
    event = MessageHeld(
        **about(state, "held"),
        reason="held_unknown",
        source_event_id=event_id(state.message_id, state.sequence + 1),
        by="router",
    )
    wait = Wait(state.attempt + 1, 1, "held_unknown", due_at_ms=None, rank_ms=None, content=unknown.content)
    return Decision((said, event), wait=wait, unknown_attempt=state.attempt)


def _postponed(state: MessageState, postponed: AttemptPostponed, context: Context) -> Decision:
    if not _is_in_flight(state, postponed):
        return NOTHING
    reason: WaitReason = "postponed"
    until = max(postponed.until_ms, context.now_ms)
    if postponed.reason == "path_down":  # the others of its group are not to blame, and another path may do
        until, reason = min(until, context.now_ms + _ROUTE_AGAIN_MS), "path_paused"
    wait = Wait(state.attempt, state.dispatch + 1, reason, due_at_ms=until, rank_ms=None, content=postponed.content)
    return told(state, wait)


def _refused(state: MessageState, refused: AttemptRefused) -> Decision:
    if not _is_in_flight(state, refused):
        return NOTHING
    if refused.cause == "expired":
        return Decision((expired(state),))
    listed = Listed(refused.suppression_reason or "manual", refused.source_event_id)
    return Decision((suppressed(state, listed),))


def _unreadable(state: MessageState | None, poison: Unreadable) -> Decision:
    if state is not None:
        stands = state.status == "held" or state.status in TERMINAL
        return NOTHING if stands else held(state, source=poison.dead_letter)
    event = MessageHeld(
        message_id=poison.message_id,
        recipient="",
        status="held",
        tags=[],
        metadata={},
        environment="live",
        reason="internal_error",
        source_event_id=poison.dead_letter,
        by="router",
    )
    return Decision((event,), wait=Wait(1, 1, "internal_error", due_at_ms=None, rank_ms=None, content=None))


def _handed_out_before(state: MessageState, about_it: AttemptInput) -> bool:
    """Whether the outcome is of the present attempt: of the hand-out in flight, or of an earlier one.

    The journal lets one hand-out of an attempt run only, so whichever reports is the truth about the attempt.
    """
    return about_it.attempt == state.attempt and about_it.dispatch < state.dispatch + state.in_flight


def _is_in_flight(state: MessageState, about_it: AttemptInput) -> bool:
    return state.in_flight and (about_it.attempt, about_it.dispatch) == (state.attempt, state.dispatch)
