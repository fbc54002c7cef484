"""Cancel, reschedule, release: what a client asks of a message, and the verdict that it gets (R6, R7).

Pure. The verdict is true of the moment in the log at which it was given, and is the same each time it is asked for.
"""

from dataclasses import replace
from typing import Literal, assert_never

from chassis.blob_keys import kept_until_ms
from schemas.envelope import to_timestamp
from schemas.events import MessageCancelled, MessageRescheduled
from schemas.inputs import Cancel, Release, Reschedule
from schemas.mail import TERMINAL, Content
from schemas.replies import Verdict
from schemas.states import MessageState
from services.router.domain.decision import NOTHING, Context, Decision, Reply, Wait
from services.router.domain.telling import about, accepted, expired, may_run, next_time, start, suppressed, too_late

AnyCommand = Cancel | Reschedule | Release


def obey(state: MessageState | None, command: AnyCommand, context: Context) -> Decision:
    """The command's effect, if it has one, and its verdict in any case."""
    if state is None:
        nobody = Verdict(
            request_id=command.request_id,
            message_id=command.message_id,
            verdict="unknown_message",
            status=None,
            sequence=0,
            reason=None,
        )
        return Decision(reply=Reply(command.reply_to, nobody))
    for told in state.verdicts:
        if told["request_id"] == command.request_id:
            return Decision(reply=Reply(command.reply_to, Verdict.model_validate(told)))
    match command:
        case Cancel():
            decision = _cancel(state, command)
        case Reschedule():
            decision = _reschedule(state, command)
        case Release():
            decision = _release(state, command, context)
        case _:
            assert_never(command)
    return decision


def _cancel(state: MessageState, cancel: Cancel) -> Decision:
    if state.status == "cancelled":
        return _done(state, cancel)
    if state.status in TERMINAL:
        return _refused(state, cancel, "already_sent" if state.status == "delivered" else state.status)
    if may_run(state):
        return _refused(state, cancel, "being_sent")
    event = MessageCancelled(**about(state, "cancelled"), reason="cancelled by a client", by=cancel.by)
    return _done(state, cancel, Decision((event,)))


def _reschedule(state: MessageState, reschedule: Reschedule) -> Decision:
    if state.status != "scheduled":
        return _refused(state, reschedule, "not_scheduled")
    time_ms = reschedule.scheduled_ms
    if too_late(state, time_ms):
        return _refused(state, reschedule, "after_deliver_before")
    if not _is_kept(state.content, time_ms):
        return _refused(state, reschedule, "content_not_kept")
    event = MessageRescheduled(
        **about(state, "scheduled"),
        scheduled_time=to_timestamp(time_ms),
        reason="scheduled",
        next_attempt_at=to_timestamp(next_time(state, time_ms)),
        by=reschedule.by,
    )
    wait = Wait(state.attempt, state.dispatch, "scheduled", due_at_ms=time_ms, rank_ms=time_ms, content=None)
    return _done(state, reschedule, Decision((event,), wait=wait), scheduled_ms=time_ms)


def _release(state: MessageState, release: Release, context: Context) -> Decision:
    """A held message goes on with its next attempt; one that was being sent, with the same: its journal knows."""
    if state.status != "held":
        return _refused(state, release, "not_held")
    if context.listed is not None:
        return _refused(state, release, "suppressed", Decision((suppressed(state, context.listed),)))
    if too_late(state, context.now_ms) and not may_run(state):
        return _refused(state, release, "expired", Decision((expired(state),)))
    content = state.content or context.submitted
    if content is None or not _is_kept(content, context.now_ms):
        return _refused(state, release, "no_content")
    if context.lapsed:
        return _refused(state, release, "domain_not_verified")
    return _done(state, release, start(state, context, accepted(state, context)))


def _is_kept(content: Content | None, time_ms: int) -> bool:
    """Whether what lies in object storage is still there at that time; what stands in the records always is."""
    if content is None or content.blob is None:
        return True
    try:
        return time_ms < kept_until_ms(content.blob.key)
    except ValueError:  # nothing that the sweeper would take
        return True


def _done(
    state: MessageState, command: AnyCommand, decision: Decision = NOTHING, *, scheduled_ms: int | None = None
) -> Decision:
    return _judged(state, command, decision, "done", None, scheduled_ms)


def _refused(state: MessageState, command: AnyCommand, reason: str, decision: Decision = NOTHING) -> Decision:
    still = state.due_at_ms if state.status == "scheduled" else None
    return _judged(state, command, decision, "refused", reason, still)


def _judged(  # the verdict stands on the message as the command leaves it
    state: MessageState,
    command: AnyCommand,
    decision: Decision,
    verdict: Literal["done", "refused"],
    reason: str | None,
    scheduled_ms: int | None,
) -> Decision:
    told = Verdict(
        request_id=command.request_id,
        message_id=state.message_id,
        verdict=verdict,
        status=decision.events[-1].status if decision.events else state.status,
        sequence=state.sequence + len(decision.events),
        reason=reason,
        scheduled_ms=scheduled_ms,
    )
    return replace(decision, reply=Reply(command.reply_to, told))
