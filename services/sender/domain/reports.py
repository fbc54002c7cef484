"""What is written down of an attempt and told to the router: outcomes as records (schemas.deliveries, schemas.inputs).

Pure. The same outcome always makes the same record, whoever tells it, and how often.
"""

from dataclasses import dataclass
from typing import Literal

from schemas.deliveries import AttemptRecorded, AttemptStarted, Delivery
from schemas.envelope import to_timestamp
from schemas.inputs import AttemptFinished, AttemptPostponed, AttemptRefused, AttemptUnknown
from schemas.mail import Attempt
from schemas.tables import Suppression
from services.sender.domain.outcome import Outcome

PostponedFor = Literal["busy", "paced", "path_down"]


@dataclass(frozen=True, slots=True)
class Hop:
    """Where an attempt went, as far as it got."""

    source_address: str | None = None
    mx_host: str | None = None
    mx_address: str | None = None
    tls: str | None = None


def path_of(delivery: Delivery) -> str:
    """The path that the router wants; mail of a test key never leaves the sandbox, whatever that says."""
    return "sandbox" if delivery.environment == "test" else delivery.path


def recorded(
    delivery: Delivery, owner: str, ended: Outcome, hop: Hop, *, started_at_ms: int, now_ms: int
) -> AttemptRecorded:
    """The outcome of an attempt of ours."""
    detail = Attempt(
        number=delivery.attempt,
        started_at=to_timestamp(started_at_ms),
        finished_at=to_timestamp(now_ms),
        path=path_of(delivery),
        source_address=hop.source_address,
        mx_host=hop.mx_host,
        mx_address=hop.mx_address,
        tls=hop.tls,
        phase=ended.phase,
        reply=ended.reply,
        code=ended.code,
        enhanced_code=ended.enhanced_code,
    )
    return AttemptRecorded(
        message_id=delivery.message_id,
        attempt=delivery.attempt,
        dispatch=delivery.dispatch,
        owner=owner,
        outcome=ended.outcome,
        category=ended.category,
        rule_id=ended.rule_id,
        detail=detail,
    )


def not_sent(delivery: Delivery, owner: str) -> AttemptRecorded:
    """A claim that is given up: a higher dispatch may have the attempt."""
    return AttemptRecorded(
        message_id=delivery.message_id,
        attempt=delivery.attempt,
        dispatch=delivery.dispatch,
        owner=owner,
        outcome="not_sent",
        category=None,
        detail=None,
    )


def given_up(claim: AttemptStarted, delivery: Delivery, *, now_ms: int) -> AttemptRecorded:
    """Another's claim, whose owner has gone silent: it may have written the dot."""
    detail = Attempt(
        number=claim.attempt,
        started_at=to_timestamp(claim.started_at_ms),
        finished_at=to_timestamp(now_ms),
        path=path_of(delivery),
        phase="reply",
    )
    return AttemptRecorded(
        message_id=claim.message_id,
        attempt=claim.attempt,
        dispatch=claim.dispatch,
        owner=claim.owner,
        outcome="unknown",
        category="unknown",
        detail=detail,
    )


def ended(delivery: Delivery, record: AttemptRecorded) -> AttemptFinished | AttemptUnknown:
    """The router's input for an outcome (not for `not_sent`), in the name of the delivery at hand."""
    assert record.detail is not None
    assert record.category is not None
    if record.outcome == "unknown":
        return AttemptUnknown(
            message_id=delivery.message_id,
            attempt=delivery.attempt,
            dispatch=delivery.dispatch,
            detail=record.detail,
            content=delivery.content,
        )
    assert record.outcome != "not_sent"
    return AttemptFinished(
        message_id=delivery.message_id,
        attempt=delivery.attempt,
        dispatch=delivery.dispatch,
        outcome=record.outcome,
        category=record.category,
        rule_id=record.rule_id,
        detail=record.detail,
        content=delivery.content if record.outcome == "temporary" else None,
    )


def refused(delivery: Delivery, found: Suppression) -> AttemptRefused:
    return AttemptRefused(
        message_id=delivery.message_id,
        attempt=delivery.attempt,
        dispatch=delivery.dispatch,
        suppression_id=found.id,
        suppression_reason=found.reason,
        source_event_id=found.source_event_id,
    )


def too_late(delivery: Delivery, now_ms: int) -> bool:
    """Whether it is of no use any more (`now_ms`: the broker's clock)."""
    return delivery.deliver_before_ms is not None and now_ms >= delivery.deliver_before_ms


def expired(delivery: Delivery) -> AttemptRefused:
    return AttemptRefused(
        message_id=delivery.message_id,
        attempt=delivery.attempt,
        dispatch=delivery.dispatch,
        cause="expired",
    )


def postponed(delivery: Delivery, until_ms: int, reason: PostponedFor) -> AttemptPostponed:
    return AttemptPostponed(
        message_id=delivery.message_id,
        attempt=delivery.attempt,
        dispatch=delivery.dispatch,
        until_ms=until_ms,
        content=delivery.content,
        reason=reason,
    )
