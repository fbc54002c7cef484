"""Messages and inputs for tests of the router: valid by default, each field by keyword where a test is about it."""

from typing import Any

from chassis.ids import MessageIds
from schemas.envelope import to_timestamp
from schemas.inputs import (
    AttemptFinished,
    AttemptPostponed,
    AttemptRefused,
    AttemptUnknown,
    Cancel,
    Due,
    Feedback,
    Release,
    Reschedule,
    Submit,
)
from schemas.mail import Attempt, Category, Content, Lane, Phase

PROJECT = "prj_1"
START_MS = 1_790_000_000_000  # when every test begins, broker time
_COUNTER = iter(range(1 << 48))
_IDS = MessageIds({1: b"0123456789abcdef"}, 1, lambda bits: next(_COUNTER))


def message_id(lane: Lane = "standard", partition: int = 0) -> str:
    return _IDS.new(project_id=PROJECT, now_ms=START_MS, lane=lane, partition=partition).text


def content(subject: str = "Your code") -> Content:
    return Content(from_="Shop <hello@example.com>", to=["ada@example.org"], subject=subject, text="847291\n")


def submit(of: str, **fields: Any) -> Submit:
    known: dict[str, Any] = {
        "recipient": "Ada@example.org",
        "destination": "example.org",
        "content": content(),
        "tags": ["otp"],
        "metadata": {"order": "1042"},
        "priority": "normal",
        "environment": "live",
        "on_unknown": "resend",
        "channel": "api",
        "api_key_id": "key_1",
        "size": 42,
        "submission_id": "sub_1",
        "created_at_ms": START_MS,
        "valid_until_ms": START_MS + 400 * 86_400_000,
    }
    return Submit(message_id=of, **(known | fields))


def detail(number: int, *, phase: Phase = "reply", code: int | None = 250) -> Attempt:
    at = to_timestamp(START_MS)
    return Attempt(number=number, started_at=at, finished_at=at, path="upstream", phase=phase, code=code)


def delivered(of: str, attempt: int = 1, dispatch: int = 1) -> AttemptFinished:
    return _finished(of, attempt, dispatch, "delivered", "delivered")


def temporary(of: str, attempt: int = 1, dispatch: int = 1) -> AttemptFinished:
    return _finished(of, attempt, dispatch, "temporary", "transient")


def permanent(of: str, attempt: int = 1, dispatch: int = 1, category: Category = "rejected") -> AttemptFinished:
    return _finished(of, attempt, dispatch, "permanent", category)


def _finished(of: str, attempt: int, dispatch: int, outcome: Any, category: Category) -> AttemptFinished:
    return AttemptFinished(
        message_id=of,
        attempt=attempt,
        dispatch=dispatch,
        outcome=outcome,
        category=category,
        detail=detail(attempt),
        content=content() if outcome == "temporary" else None,
    )


def unknown(of: str, attempt: int = 1, dispatch: int = 1) -> AttemptUnknown:
    return AttemptUnknown(
        message_id=of, attempt=attempt, dispatch=dispatch, detail=detail(attempt, code=None), content=content()
    )


def postponed(of: str, attempt: int = 1, dispatch: int = 1, *, until_ms: int) -> AttemptPostponed:
    return AttemptPostponed(message_id=of, attempt=attempt, dispatch=dispatch, until_ms=until_ms, content=content())


def refused(of: str, attempt: int = 1, dispatch: int = 1) -> AttemptRefused:
    return AttemptRefused(
        message_id=of,
        attempt=attempt,
        dispatch=dispatch,
        suppression_id="sup_1",
        suppression_reason="manual",
        source_event_id=None,
    )


def due(of: str, kind: Any, attempt: int = 1, dispatch: int = 1) -> Due:
    return Due(message_id=of, kind=kind, attempt=attempt, dispatch=dispatch)


def too_late(of: str, attempt: int = 1, dispatch: int = 1) -> AttemptRefused:
    return AttemptRefused(message_id=of, attempt=attempt, dispatch=dispatch, cause="expired")


def cancel(of: str, request: str = "req_1", to: str = "ingest-1") -> Cancel:
    return Cancel(message_id=of, request_id=request, reply_to=to, by="key_1")


def reschedule(of: str, scheduled_ms: int, request: str = "req_2", to: str = "ingest-1") -> Reschedule:
    return Reschedule(message_id=of, request_id=request, reply_to=to, by="key_1", scheduled_ms=scheduled_ms)


def release(of: str, request: str = "req_3", to: str = "ingest-1") -> Release:
    return Release(message_id=of, request_id=request, reply_to=to, by="key_1")


def feedback(of: str, kind: Any, name: str = "fbk_1") -> Feedback:
    return Feedback(
        message_id=of, feedback_id=name, kind=kind, received_at_ms=START_MS, provider="example.org", by="provider"
    )
