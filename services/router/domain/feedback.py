"""What comes back after delivery: bounces, complaints, unsubscriptions, each report counted once (R24, R27).

Pure. Only a bounce changes the status; an unsubscription's suppression is written by whoever took it.
"""

from typing import Any, assert_never

from schemas.envelope import to_timestamp
from schemas.events import FeedbackDetail, MessageBounced, MessageComplained, MessageUnsubscribed
from schemas.inputs import Feedback
from schemas.mail import TERMINAL, Attempt
from schemas.states import MessageState
from services.router.domain.decision import NOTHING, Context, Decision
from services.router.domain.telling import about, next_time, outcome

# Reports of one message that are told: a link that is followed a thousand times must not fill its record.
_MOST_REPORTS = 16


def hear(state: MessageState, report: Feedback, context: Context) -> Decision:
    """`report` on a message that is known, whatever its status."""
    if report.feedback_id in state.feedback_ids or len(state.feedback_ids) >= _MOST_REPORTS:
        return NOTHING
    received_at = to_timestamp(report.received_at_ms)
    detail = FeedbackDetail(kind=report.kind, received_at=received_at, provider=report.provider)
    match report.kind:
        case "bounce":
            return _bounce(state, report, detail, context)
        case "complaint":
            complained = MessageComplained(**about(state, state.status), **_stands(state), feedback=detail)
            return Decision((complained,), suppress="complaint", feedback_id=report.feedback_id)
        case "unsubscribe":
            unsubscribed = MessageUnsubscribed(**about(state, state.status), **_stands(state), feedback=detail)
            return Decision((unsubscribed,), feedback_id=report.feedback_id)
        case _:
            assert_never(report.kind)


def _stands(state: MessageState) -> dict[str, Any]:
    """What the message waits for: the report changes nothing of it, and whoever reads the last event sees it."""
    waits = not state.in_flight and state.due_at_ms is not None
    next_ms = next_time(state, state.due_at_ms) if waits and state.due_at_ms is not None else None
    return {"reason": state.reason, "next_attempt_at": None if next_ms is None else to_timestamp(next_ms)}


def _bounce(state: MessageState, report: Feedback, detail: FeedbackDetail, context: Context) -> Decision:
    """Of what was delivered, or may have been: a report can be faster than the outcome, or be all that is known."""
    perhaps_sent = state.status not in TERMINAL and (state.in_flight or bool(state.unknown_attempts))
    if state.status != "delivered" and not perhaps_sent:
        return NOTHING
    attempt = Attempt(
        number=state.attempt,
        started_at=detail.received_at,
        finished_at=detail.received_at,
        path=state.path or context.route.path,
        phase="reply",
    )
    bounced = MessageBounced(**about(state, "bounced"), **outcome(state, attempt, "invalid_recipient"), feedback=detail)
    return Decision((bounced,), suppress="bounce", feedback_id=report.feedback_id)
