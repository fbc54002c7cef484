"""A message's timers: which one it has, and what it means when one fires.

Pure. A timer that is not the message's own, or came before its time by the broker's clock, changes nothing; a `flush`
is somebody's wish and has no time.
"""

from typing import Literal, assert_never

from schemas.inputs import Due
from schemas.mail import Status, WaitReason
from schemas.states import MessageState
from services.router.domain.admission import STOPPED
from services.router.domain.decision import NOTHING, Context, Decision, HandOut
from services.router.domain.telling import accepted, expired, held, lapsed, may_run, start, suppressed, too_late

TimerKind = Literal["retry", "admission", "watchdog", "schedule", "expiry", "flush"]

# A retry that fired earlier than this before its time was fired by a wrong clock: it fires again. What a client has
# named the time of (`schedule`, `expiry`) is never early.
_EARLY_MS = 1_000
_OF_REASON: dict[WaitReason, TimerKind] = {
    "retry_ladder": "retry",
    "greylisted": "retry",
    "postponed": "retry",
    "path_paused": "retry",  # with a time; without one it stands in line
    "scheduled": "schedule",
}


def next_timer(  # one place says which timer a state has, whoever holds that state
    *,
    status: Status,
    in_flight: bool,
    reason: WaitReason | None,
    due_at_ms: int | None,
    deliver_before_ms: int | None,
    first_dispatched_at_ms: int | None,
    closed: bool,
) -> tuple[TimerKind, int] | None:
    """The earlier of the two: for what comes next, and for the end of its time while no attempt may run."""
    if closed:
        return None
    if in_flight:
        return None if due_at_ms is None else ("watchdog", due_at_ms)
    kind = None if reason is None else _OF_REASON.get(reason)
    own = None if kind is None or due_at_ms is None else (kind, due_at_ms)
    in_doubt = status == "held" and reason == "internal_error" and first_dispatched_at_ms is not None
    if deliver_before_ms is None or in_doubt or (own is not None and own[1] < deliver_before_ms):
        return own
    return "expiry", deliver_before_ms


def fire(state: MessageState, due: Due, context: Context) -> Decision:
    """What this timer makes of an open message."""
    if (due.attempt, due.dispatch) != (state.attempt, state.dispatch) or not _fits(state, due, context):
        return NOTHING
    if due.kind == "watchdog":  # the first hand-out may have run: its journal knows, whatever time it is
        decision = _again(state, context)
    elif due.kind == "expiry":
        decision = Decision((expired(state),))
    elif context.listed is not None:
        decision = Decision((suppressed(state, context.listed),))
    elif too_late(state, context.now_ms):
        decision = Decision((expired(state),))
    elif context.lapsed:
        decision = lapsed(state, state.attempt, state.dispatch, None)
    elif due.kind == "schedule":
        decision = start(state, context, accepted(state, context))
    elif due.kind == "admission" and state.reason == "admission" and context.stopped is None and not context.room:
        decision = NOTHING
    else:
        decision = start(state, context)
    return decision


def _again(state: MessageState, context: Context) -> Decision:
    if state.content is None and context.submitted is None:
        return held(state, source=None)  # its content is past the log's retention
    return Decision(hand_out=HandOut(state.attempt, state.dispatch + 1))


def _fits(state: MessageState, due: Due, context: Context) -> bool:
    """Whether it is the timer that the message waits for, and its time has come."""
    match due.kind:
        case "admission":
            return state.reason == "admission" or (state.reason in STOPPED and state.due_at_ms is None)
        case "retry":
            timed = _OF_REASON.get(state.reason) == "retry" if state.reason is not None else False
            return timed and _has_come(state.due_at_ms, context, _EARLY_MS)
        case "watchdog":
            return state.in_flight and _has_come(state.due_at_ms, context, _EARLY_MS)
        case "schedule":
            return state.status == "scheduled" and _has_come(state.due_at_ms, context, 0)
        case "expiry":
            return not may_run(state) and _has_come(state.deliver_before_ms, context, 0)
        case "flush":
            return state.reason in {"retry_ladder", "greylisted", "postponed"}
        case _:
            assert_never(due.kind)


def _has_come(time_ms: int | None, context: Context, early_ms: int) -> bool:
    return time_ms is not None and context.landed_ms + early_ms >= time_ms
