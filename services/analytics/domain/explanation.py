"""Why a message went as it did: decisions in order, each with the event that shows it (R36).

Pure: events in, decisions out. What no event says is not explained, so nothing is guessed from how things are today.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from chassis.ids import MessageId
from schemas.envelope import Envelope, to_ms, to_timestamp
from schemas.events import (
    MessageAccepted,
    MessageBounced,
    MessageCancelled,
    MessageComplained,
    MessageEvent,
    MessageExpired,
    MessageHeld,
    MessageOutcome,
    MessageQueued,
    MessageRescheduled,
    MessageScheduled,
    MessageSuppressed,
    MessageUnsubscribed,
    MessageWaiting,
)
from schemas.mail import TERMINAL
from schemas.routing import PolicyUse, Term
from services.analytics.domain.answers import Json
from services.analytics.domain.waiting import waiting, words_of

Kind = Literal[
    "acceptance", "template", "suppression", "route", "path", "policy", "pacing", "attempt", "retry", "command",
    "feedback", "end",
]  # fmt: skip
# A wait that is shorter is the way through the log, and not worth a word.
_WORTH_A_WORD_MS = 1000
_SCHEDULE_OF = {
    "project": "the project's own schedule",
    "installation": "the installation's schedule",
    None: "its schedule",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule` and `version` name what decided, where something with a name did."""

    kind: Kind
    text: str
    details: Json
    rule: str | None = None
    version: int | None = None

    def view(self, event: Envelope[MessageEvent]) -> Json:
        return {
            "at": event.time,
            "kind": self.kind,
            "event_id": event.id,
            "rule": self.rule,
            "version": self.version,
            "text": self.text,
            "details": self.details,
        }


def explain(events: Sequence[Envelope[MessageEvent]], now_ms: int) -> Json:
    """Of a message's events, in order, at least one."""
    last = events[-1]
    return {
        "object": "explanation",
        "message_id": last.data.message_id,
        "status": last.data.status,
        "waiting": waiting(events, now_ms),
        "decisions": [
            decision.view(event) for index, event in enumerate(events) for decision in _decisions(event, events[:index])
        ],
    }


def pending_explanation(message_id: MessageId) -> Json:
    """Of a message whose first event has not arrived yet: accepted it is (R30)."""
    created_at = to_timestamp(message_id.created_at_ms)
    return {
        "object": "explanation",
        "message_id": message_id.text,
        "status": "queued",
        "waiting": {"reason": "admission", "next_attempt_at": created_at, "text": words_of("admission")},
        "decisions": [],
    }


def _decisions(event: Envelope[MessageEvent], before: Sequence[Envelope[MessageEvent]]) -> Iterator[Decision]:
    data = event.data
    match data:
        case MessageQueued():
            yield from _queued(data)
        case MessageRescheduled():
            yield Decision("command", f"Moved to {data.scheduled_time}.", {"by": data.by})
        case MessageScheduled() | MessageWaiting() | MessageHeld():
            yield _wait(data)
        case MessageAccepted():
            yield from _accepted(data, released=bool(before) and before[-1].data.status == "held")
        case MessageOutcome():
            yield from _outcome(data, before)
        case MessageSuppressed():
            details = {"reason": data.reason, "source_event_id": data.source_event_id}
            yield Decision("suppression", f"The recipient is on the suppression list ({data.reason}).", details)
        case MessageCancelled():
            yield Decision("command", f"Cancelled ({data.reason}).", {"by": data.by})
        case MessageComplained() | MessageUnsubscribed():
            yield Decision("feedback", f"A report came back: {data.feedback.kind}.", data.feedback.model_dump())
    if data.status in TERMINAL and not isinstance(data, MessageComplained | MessageUnsubscribed):
        reason = f": {data.reason}" if isinstance(data, MessageExpired) else ""
        yield Decision("end", f"It ended as {data.status}{reason}.", {})


def _queued(data: MessageQueued) -> Iterator[Decision]:
    named = ("api_key_id", "channel", "priority", "submission_id", "request_id", "scheduled_time", "deliver_before")
    details = data.model_dump(include=set(named))
    yield Decision("acceptance", f"Taken from the key {data.api_key_id} ({data.channel}).", details)
    if data.template is not None:
        text = f"Made from version {data.template_version} of the template."
        yield Decision("template", text, {}, data.template, data.template_version)


def _wait(data: MessageScheduled | MessageWaiting | MessageHeld) -> Decision:
    due = None if isinstance(data, MessageHeld) else data.next_attempt_at
    return Decision("pacing", words_of(data.reason), {"reason": data.reason, "next_attempt_at": due})


def _accepted(data: MessageAccepted, *, released: bool) -> Iterator[Decision]:
    if released:
        yield Decision("command", "Released.", {})
    checked = {"checked_at": data.suppression_checked_at}
    yield Decision("suppression", "The recipient was not on the suppression list.", checked)
    if data.environment == "test":
        by = "mail of test keys goes nowhere else"
    else:
        by = "no rule fits, so it is the installation's default" if data.route_id is None else "the rule's choice"
    details = {"path": data.path, "pool": data.pool}
    yield Decision("route", f"It goes by {data.path}: {by}.", details, data.route_id, data.route_version)
    if data.tls is not None:
        use = _use_of(data.policies, "tls")
        rule, version = (use.policy_id, use.version) if use else (data.route_id, data.route_version)
        yield Decision("policy", f"TLS is {data.tls}.", {"tls": data.tls}, rule, version)
    if data.reason is not None:
        details = {"reason": data.reason, "next_attempt_at": data.next_attempt_at}
        yield Decision("pacing", words_of(data.reason), details)


def _outcome(data: MessageOutcome, before: Sequence[Envelope[MessageEvent]]) -> Iterator[Decision]:
    if data.feedback is not None:
        yield Decision("feedback", f"A report came back: {data.feedback.kind}.", data.feedback.model_dump())
        return
    attempt = data.attempt
    if attempt.path != _last_path(before):
        details = {"path": attempt.path}
        yield Decision("path", f"This attempt went by {attempt.path}.", details, data.route_id, data.route_version)
    waited_ms = _waited_ms(data, before)
    if waited_ms >= _WORTH_A_WORD_MS:
        text = f"It began {waited_ms / 1000:.1f} s after it was due."
        yield Decision("pacing", text, {"waited_ms": waited_ms})
    details = attempt.model_dump() | {"category": data.category}
    said = " ".join(str(part) for part in (attempt.code, attempt.enhanced_code) if part is not None)
    text = f"Attempt {attempt.number} ended as {data.category}{f' ({said})' if said else ''}."
    yield Decision("attempt", text, details, data.rule_id)
    yield from _next(data)


def _next(data: MessageOutcome) -> Iterator[Decision]:
    """Whether there is another attempt, and who decided it."""
    age = _use_of(data.policies, "max_age")
    if isinstance(data, MessageBounced) and data.gave_up == "max_age":
        rule, version = (age.policy_id, age.version) if age else (None, None)
        yield Decision("policy", "The next attempt would have come too late.", {"gave_up": "max_age"}, rule, version)
    elif data.attempts_allowed is not None:
        use = _use_of(data.policies, "retry_schedule")
        by = "a policy" if use else _SCHEDULE_OF.get(data.schedule_from, "its schedule")
        if data.next_attempt_at is None:
            text = f"It was the last of {data.attempts_allowed} attempts, by {by}."
        else:
            text = f"Attempt {data.attempt.number + 1} of {data.attempts_allowed} follows at {data.next_attempt_at}, by {by}."
        details = {
            "next_attempt_at": data.next_attempt_at,
            "attempts_allowed": data.attempts_allowed,
            "schedule_from": data.schedule_from,
        }
        yield Decision("retry", text, details, use.policy_id if use else None, use.version if use else None)


def _use_of(policies: Sequence[PolicyUse], term: Term) -> PolicyUse | None:
    return next((use for use in policies if use.term == term), None)


def _last_path(before: Sequence[Envelope[MessageEvent]]) -> str | None:
    for event in reversed(before):
        if isinstance(event.data, MessageAccepted):
            return event.data.path
        if isinstance(event.data, MessageOutcome):
            return event.data.attempt.path
    return None


def _waited_ms(data: MessageOutcome, before: Sequence[Envelope[MessageEvent]]) -> int:
    """From when it was due, by the last acceptance or outcome, to when the attempt began."""
    for event in reversed(before):
        if isinstance(event.data, MessageAccepted):
            return to_ms(data.attempt.started_at) - to_ms(event.time)
        if isinstance(event.data, MessageOutcome) and event.data.next_attempt_at is not None:
            return to_ms(data.attempt.started_at) - to_ms(event.data.next_attempt_at)
    return 0
